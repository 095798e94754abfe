# SPDX-License-Identifier: BSD-2-Clause
"""JUnit XML and the HTML report, from whole runs with the fake Bochs; the report in a real headless browser."""
import html
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runner"))
from support import TOP, Project  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

PYTHON = Settings.load(TOP, {}).config_mk.get("PYTHON", sys.executable)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr"]


# What Jenkins' schema allows, the strictest of the usual readers, and file and line, which GitLab links to.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname"},
    "testcase": {"name", "time", "classname", "file", "line"}, "system-out": set(), "properties": set(), "property": {"name", "value"},
    "failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"type", "message"},
}
DRIVER = """
const seen = {};
function note(name) {
  seen[name] = {
    ids: Array.from(document.querySelectorAll("tr.row")).filter(r => r.offsetParent !== null).map(r => r.dataset.id),
    count: document.getElementById("shown").textContent, empty: document.getElementById("empty").hidden };
}
function set(id, value) {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("input", {bubbles: true}));
}
const chip = name => document.querySelector(".chip input[value=" + name + "]");
const row = id => document.querySelector("tr.row[data-id='" + id + "']");
note("address");
document.getElementById("reset").click();
note("all");
chip("fail").click();
note("fail");
row("t.two").click();
seen.opened = row("t.two").nextElementSibling.textContent;
row("t.two").click();
seen.closed = document.querySelectorAll("tr.detail").length;
chip("fail").click();
chip("pass").click();
document.querySelector("button.area[data-area=cap]").click();
note("area");
set("area", "");
set("priority", "1");
note("priority");
set("search", "nosuchword");
note("nothing");
seen.wide = document.documentElement.scrollWidth <= innerWidth;
const pre = document.createElement("pre");
pre.id = "seen";
pre.textContent = JSON.stringify(seen);
document.body.append(pre);
"""


def has(module: str) -> bool:
    return subprocess.run([PYTHON, "-c", "import " + module], stderr=subprocess.DEVNULL, check=False).returncode == 0


class Reports(Project):
    """run_tests.sh as its users start it: with `python -S`, in which the libraries have to be found all the same."""

    tests = "exit.rdtsc.offset\tRDTSC <b>returns</b>\nt.two\tthe one with the fault\ncap.cpuid.vmx\t\"quoted\" & more\nu.three\tthe last\n"

    def program(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(TOP / "run_tests.sh"), *words], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)

    def make(self, name: str, *faults: str, **keys: str) -> "Tuple[subprocess.CompletedProcess[str], Path]":
        self.configure(*faults, **keys)
        path = self.folder / ("report." + name)
        return self.program(*self.arguments("--" + name, str(path), "-q")), path

    def real_ids(self) -> None:
        """Some tests get the names of rows of the catalogue."""
        self.add_image("fake", self.tests)
        text = self.bochs.read_text()
        text = re.sub(r'TESTS = .*', "TESTS = %r" % dict(line.split("\t") for line in self.tests.splitlines()), text, count=1)
        self.bochs.write_text(text)


@unittest.skipUnless(has("junitparser"), "python3-junitparser is not installed")
class JUnit(Reports):
    def read(self, path: Path) -> Dict[Tuple[str, str], ElementTree.Element]:
        """What every reader of this format relies on."""
        root = ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, "testsuites")
        cases = {}
        totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        for suite in root:
            self.assertEqual(suite.tag, "testsuite")
            self.assertRegex(suite.get("timestamp", ""), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")
            self.assertEqual([child.tag for child in suite][0], "properties")
            found = suite.findall("testcase")
            numbers = {"tests": len(found), "failures": len(suite.findall("testcase/failure")),
                       "errors": len(suite.findall("testcase/error")), "skipped": len(suite.findall("testcase/skipped"))}
            self.assertEqual(numbers, {key: int(suite.get(key, "-1")) for key in numbers})
            for key, number in numbers.items():
                totals[key] += number
            for case in found:
                self.assertGreaterEqual(float(case.get("time", "-1")), 0)
                self.assertLessEqual([child.tag for child in case][1:], ["system-out"])
                cases[(case.get("classname", ""), case.get("name", ""))] = case
        del totals["skipped"]  # Jenkins' schema (junit-10.xsd) has no such attribute here
        self.assertEqual(totals, {key: int(root.get(key, "-1")) for key in totals})
        self.assertEqual(set(root.keys()), {"name", "time", *totals})
        for element in root.iter():
            self.assertLessEqual(set(element.keys()), ATTRIBUTES[element.tag])
            self.assertRegex(element.get("time", "0"), r"^[0-9]+(\.[0-9]+)?$")
        return cases

    def test_verdicts(self) -> None:
        (self.known / "bochs.tsv").write_text("# tried: 2.7\nt.two\timage=end,failed=1\tit <does> & not\tsomewhere\n")
        done, path = self.make("junit", "pass", "fail", "skip", "die", "silent", "plan-large", timeout="5")
        self.assertEqual(done.returncode, 1, done.stderr)
        cases = self.read(path)
        self.assertEqual(len(cases), 25)
        self.assertEqual(list(cases[("vmxcheck.pass", "t.two")]), [])
        failure = cases[("vmxcheck.fail", "t.two")].find("failure")
        assert failure is not None and failure.text
        self.assertEqual((failure.get("message"), failure.get("type")), ("1 + 1: expected 3, actual 2", "fail"))
        self.assertIn('actual: "2"', failure.text)
        self.assertIn("repeat: BOCHS=", failure.text)
        self.assertEqual(cases[("vmxcheck.skip", "t.two")].find("skipped").get("message"), "needs a bit")  # type: ignore
        self.assertEqual(cases[("vmxcheck.die", "t.two")].find("error").get("type"), "crash")  # type: ignore
        self.assertEqual(cases[("vmxcheck.silent", "t.one")].find("error").get("type"), "missing")  # type: ignore
        self.assertIsNotNone(cases[("vmxcheck.plan-large", "image.plan-large")].find("failure"))

    def test_known_and_what_xml_cannot_carry(self) -> None:
        (self.known / "bochs.tsv").write_text("# tried: 2.7\nt.two\tfailed=1\tit <does> & not\tsomewhere\n")
        done, path = self.make("junit", "fail", "garbage")
        cases = self.read(path)
        skipped = cases[("vmxcheck.fail", "t.two")].find("skipped")
        self.assertEqual(skipped.get("message"), "known deviation: it <does> & not (somewhere)")  # type: ignore
        self.assertIn(("vmxcheck.garbage", "image.garbage"), cases)

    def test_the_library_reads_it_back(self) -> None:
        _, path = self.make("junit", "pass", "fail", "hang", timeout="0.6")
        code = "import junitparser, sys; x = junitparser.JUnitXml.fromfile(sys.argv[1]); print(x.tests, x.failures, x.errors, x.skipped)"
        self.assertEqual(subprocess.run([PYTHON, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout,
                         "12 1 1 0\n")

    def test_of_a_run_that_is_over(self) -> None:
        _, path = self.make("junit", "pass", "fail")
        again = self.folder / "again.xml"
        done = self.program("report", str(self.folder / "results"), "--junit", str(again))
        self.assertEqual((done.returncode, done.stdout), (0, "written: %s\n" % again))
        self.assertEqual(again.read_bytes(), path.read_bytes())


class Missing(Reports):
    def test_a_library_that_is_missing_is_one_line_before_anything_runs(self) -> None:
        hidden = self.folder / "empty"
        hidden.mkdir()
        for module, option, package in (("jinja2", "--html", "python3-jinja2"), ("junitparser", "--junit", "python3-junitparser")):
            (hidden / (module + ".py")).write_text("raise ImportError('hidden')\n")
            self.environment["PYTHONPATH"] = str(hidden)
            self.configure("pass")
            for words in (self.arguments(option, "x"), ["report", option, "x"]):
                done = self.program(*words)
                self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (2, "", 1), done.stderr)
                self.assertIn("install the Debian package %s (or run ./configure --install-deps)" % package, done.stderr)
        self.assertEqual(self.processes(), [])

    def test_a_report_that_cannot_be_written_is_not_green(self) -> None:
        if not has("jinja2"):
            self.skipTest("python3-jinja2 is not installed")
        self.configure("pass")
        done = self.program(*self.arguments("--html", str(self.folder / "none" / "x.html")))
        self.assertEqual(done.returncode, 2)
        self.assertIn("not kept whole: ", done.stdout)
        self.assertEqual(self.program("report").returncode, 2)


class _Page(html.parser.HTMLParser):
    """Elements that never end, links, and what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: List[str] = []
        self.loads: List[str] = []
        self.ids: List[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        if tag not in ("meta", "input", "link", "br", "img"):
            self.open.append(tag)
        self.loads += [given[key] for key in ("src", "srcset", "data") if given.get(key)]
        self.loads += [given["href"]] if given.get("href") and not given["href"].startswith("#") else []
        self.ids += [given["id"]] if "id" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


@unittest.skipUnless(has("jinja2"), "python3-jinja2 is not installed")
class Html(Reports):
    def test_one_file_that_is_well_formed(self) -> None:
        self.real_ids()
        done, path = self.make("html", "fail", "die", "skip", "long-line")
        self.assertEqual(done.returncode, 1, done.stderr)
        text = path.read_text()
        page = _Page()
        page.feed(text)
        self.assertEqual((page.open, page.loads), ([], []))
        self.assertEqual(len(page.ids), len(set(page.ids)))
        self.assertNotIn("url(", text)
        self.assertNotIn("@import", text)

    def test_what_it_says(self) -> None:
        self.real_ids()
        (self.known / "bochs.tsv").write_text("# tried: 2.7\nexit.rdtsc.offset\tfailed=1\twhy not\twhere\n"
                                                "t.two\timage=die,verdict=crash\tit dies\tthere\n")
        done, path = self.make("html", "fail", "die", "skip", "notes")
        text = path.read_text()
        self.assertIn("\\u003cb>returns", text)
        self.assertNotIn("<b>returns", text)
        rows = re.findall(r'<tr class="row"[^>]*data-id="([^"]+)" data-state="([a-z]+)"', text)
        states = dict(rows)
        self.assertGreater(len(rows), 990)
        self.assertEqual([states[i] for i in ("exit.rdtsc.offset", "cap.cpuid.vmx", "t.two", "entry.guest.seg.ar.s")],
                         ["pass", "pass", "fail", "none"])
        self.assertIn('<td class="section">Changes to Instruction Behavior in VMX Non-Root Operation</td>', text)
        for part in ("not in the catalogue", "needs a bit", "it dies (there)", "exit status 1", "bochs-2.7", "x86/t.c:7",
                     "vmxcheck 0.1 image=fake cpus=1", "Stale: these pass now", "requirements ran", "and so is another"):
            self.assertIn(part, text)
        self.assertEqual(text.count('<details class="failure"'), 1)

    def test_several_runs_are_columns(self) -> None:
        self.configure("pass")
        for cpu in ("tigerlake", "core2_penryn_t9600"):
            self.run_tests("--cpu", cpu)
            (self.folder / "results" / "latest").resolve().rename(self.folder / cpu)
        path = self.folder / "both.html"
        done = self.program("report", str(self.folder / "tigerlake"), str(self.folder / "core2_penryn_t9600"), "--html", str(path))
        self.assertEqual(done.returncode, 0, done.stderr)
        heads = re.findall(r'<th class="target">bochs-2.7<br><small>([^<]*)</small>', path.read_text().replace("<wbr>", ""))
        self.assertEqual(heads, ["tigerlake", "core2_penryn_t9600"])

    def test_an_empty_run(self) -> None:
        done, path = self.make("html", "none")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the image ran nothing", path.read_text())


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
@unittest.skipUnless(has("jinja2"), "python3-jinja2 is not installed")
class Browser(Reports):
    def browse(self, path: Path, fragment: str, *words: str) -> str:
        """The page's elements after its script has run, from file://; nothing may be complained about."""
        assert CHROMIUM
        with tempfile.TemporaryDirectory(prefix="vmxcheck-browser-") as profile:
            done = subprocess.run([CHROMIUM, *FLAGS, "--user-data-dir=" + profile, *(words or ["--dump-dom"]),
                                   "file://%s%s" % (path, fragment)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=60, check=False, env={**os.environ, "HOME": profile})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line for line in done.stderr.splitlines() if "CONSOLE" in line], [])
        return done.stdout

    def test_filters_and_picture(self) -> None:
        """One start of the browser: a script behind the page's own uses the controls as people do and notes what is seen."""
        self.real_ids()
        _, path = self.make("html", "fail", "die", "skip")
        page = self.folder / "driven.html"
        page.write_text(path.read_text().replace("</body>", "<script>%s</script></body>" % DRIVER))
        dom = self.browse(page, "#q=rdtsc+offset&v=pass")
        seen = json.loads(html.unescape(re.search(r'<pre id="seen">([^<]*)</pre>', dom).group(1)))  # type: ignore
        total = len(re.findall(r'<tr class="row"', path.read_text()))
        self.assertEqual(seen["address"], {"ids": ["exit.rdtsc.offset"], "count": "1 of %d" % total, "empty": True})
        self.assertEqual((len(seen["all"]["ids"]), seen["all"]["count"]), (total, "%d of %d" % (total, total)))
        self.assertEqual(seen["fail"], {"ids": ["t.two"], "count": "1 of %d" % total, "empty": True})
        self.assertEqual(seen["area"]["ids"], ["cap.cpuid.vmx"])
        self.assertEqual(seen["priority"]["ids"], ["exit.rdtsc.offset"])
        self.assertEqual((seen["nothing"]["ids"], seen["nothing"]["empty"]), ([], False))
        self.assertIn("1 + 1: expected 3, actual 2", seen["opened"])
        self.assertIn("run_tests.sh", seen["opened"])
        self.assertEqual((seen["closed"], seen["wide"]), (0, True))
        picture = self.folder / "page.png"
        self.browse(path, "", "--window-size=1400,1000", "--screenshot=%s" % picture)
        self.assertGreater(picture.stat().st_size, 20000)


class Same(Reports):
    def test_all_reports_are_views_of_one_file(self) -> None:
        """What a report shows is in results.json, so a report made later is the same."""
        if not has("jinja2"):
            self.skipTest("python3-jinja2 is not installed")
        _, path = self.make("html", "fail", "skip")
        again = self.folder / "again.html"
        self.program("report", str(self.folder / "results" / "latest" / "results.json"), "--html", str(again))
        self.assertEqual(again.read_text(), path.read_text())
        self.assertEqual(json.loads((self.folder / "results" / "latest" / "results.json").read_text())["format"], 1)


if __name__ == "__main__":
    unittest.main()
