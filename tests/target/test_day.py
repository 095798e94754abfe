# SPDX-License-Identifier: BSD-2-Clause
"""What a developer does all day: names, stops, retries, what is kept, what a CI shows, and the search for the commit that broke it."""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runner"))
from support import TOP, Project  # noqa: E402

VMM = Path(__file__).resolve().parent / "fake_vmm.py"
ALL_PASS = {"t.one": "pass", "t.two": "pass", "t.two.b": "pass", "u.three": "pass"}


class Names(Project):
    def test_an_image_is_a_pattern(self) -> None:
        self.add_image("other", "o.one\tx\n")
        (self.folder / "unittests.cfg").write_text("[fake]\nbackends = bochs\n[t]\nfile = fake\narguments = run=u.three\nbackends = bochs\n"
                                                   "[rest]\nfile = fake\ngroups = nodefault\nbackends = bochs\n")
        listed = self.run_tests("--list", "fake").out
        self.assertEqual(listed, "t.one\tfake\nt.two\tfake\nt.two.b\tfake\nu.three\tfake\n")
        self.assertEqual(self.run_tests("--list", "rest").out.count("\trest\n"), 4)  # asked for by its name
        self.assertEqual(self.run_tests("--list", "re*").status, 3)
        both = self.run_tests("--list", "t").out  # a section, and the front of ids
        self.assertEqual(both, "t.one\tfake\nt.two\tfake\nt.two.b\tfake\nu.three\tt\n")
        self.assertEqual(self.run_tests("--list", "t.two").out, "t.two\tfake\n")
        self.assertEqual(self.run_tests("--list", "fak*").out.count("\n"), 4)

    def test_did_you_mean(self) -> None:
        self.configure("pass")
        for word, meant in (("t.tow", "`t.two`"), ("two", "`t.two`"), ("pas", "`pass`")):
            run = self.run_tests(word)
            self.assertEqual(run.status, 3)
            self.assertIn("no test matches `%s`: did you mean %s" % (word, meant), run.err)

    def test_names_of_kvm_unit_tests(self) -> None:
        self.configure("pass", groups="nodefault")
        self.assertEqual(self.verdicts(self.run_tests("-a", "--parallel", "2")), ALL_PASS)
        self.assertIn("warning: MACHINE is not read: --qemu-args '-machine q35' says it", self.run_tests("-a", MACHINE="q35").err)
        self.assertTrue(self.run_tests("-a", "--tap13").out.startswith("TAP version 13\n"))
        for key, hint in (("qemu_params = -smp 2", "smp, memory and topology; --qemu-args"), ("extra_params = -cpu max", "--qemu-args"),
                          ("test_args = x", "arguments"), ("accel = kvm", "backends"), ("check = /proc/x", "needs"),
                          ("arch = x86_64", "leave it out")):
            (self.folder / "unittests.cfg").write_text("[pass]\n%s\n" % key)
            run = self.run_tests()
            self.assertEqual(run.status, 2)
            self.assertIn("unittests.cfg:2: unknown key `%s`" % key.split()[0], run.err)
            self.assertIn(hint, run.err)
        (self.folder / "unittests.cfg").write_text("[pass]\nfile = fake.flat\nsmp = 17\n")
        self.assertIn("a whole number from 1 to 16", self.run_tests().err)


class Tools(Project):
    """The emulators that a developer has just built."""

    def test_a_relative_path(self) -> None:
        self.configure("pass")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.state)
        self.assertEqual(self.verdicts(self.run_tests(BOCHS="../bochs")), ALL_PASS)

    def test_one_that_is_none_is_no_other(self) -> None:
        self.configure("pass", backends="bochs")
        for variable, key in (("BOCHS", "needs = vmx"), ("QEMU", "")):
            (self.folder / "unittests.cfg").write_text("[fake]\n%s\n" % key)
            run = self.run_tests(**{variable: "/bin/true"})
            self.assertEqual(run.status, 2)
            self.assertIn("%s=/bin/true: it does not say that it is" % variable, run.err)

    @unittest.skipUnless(shutil.which("qemu-system-x86_64") and (TOP / "build/x86/fault.elf").exists(), "QEMU or build/x86/fault is not here")
    def test_a_blank_in_the_path_of_the_images(self) -> None:
        place = self.folder / "sp äß ü" / "x86"
        place.mkdir(parents=True)
        for suffix in (".elf", ".rom", ".tests"):
            shutil.copy(TOP / "build" / "x86" / ("fault" + suffix), place)
        (self.folder / "unittests.cfg").write_text("[fault]\nbackends = qemu-tcg\n")
        run = self.run_tests("--build", str(place.parent), "--qemu-args", "-M q35 -name 'a b'")
        self.assertEqual((run.status, run.results["counts"]["pass"]), (0, 3), run.out)
        self.assertIn("--qemu-args", run.results["points"][0]["repro"])


class Stops(Project):
    def test_max_failures(self) -> None:
        self.configure("fail", "die", "pass")
        run = self.run_tests("-x", "-j1")
        self.assertEqual((run.status, run.results["counts"]["fail"]), (1, 1), run.out)
        self.assertGreaterEqual(run.results["counts"]["notrun"], 8)
        self.assertRegex(run.out, r"(?m)^[0-9]+ not run: 1 failure, and no more are wanted \(--max-failures\)$")
        self.assertRegex(run.out.splitlines()[-1], r"^[0-9]+ passed, 1 failed, 0 skipped$")
        self.assertFalse((self.folder / "results" / "latest-whole").exists())
        self.assertEqual(self.run_tests("--max-failures", "3", "-j1").results["counts"]["notrun"], 0)

    def test_time_limit(self) -> None:
        self.configure("hang", "pass", timeouts={"hang": "30"})
        run = self.run_tests("--time-limit", "1s", "-j1")
        self.assertEqual(run.status, 2, run.out)  # nothing is known to be wrong, and nothing to be right
        self.assertIn("not run: the time limit of the run was reached (--time-limit 1 s)", run.out)
        self.assertEqual(run.results["counts"]["missing"], 0)
        self.assertEqual(self.run_tests("--time-limit", "soon").status, 2)

    def test_results_are_pruned(self) -> None:
        self.configure("pass")
        whole = self.run_tests().results["run"]
        for _ in range(3):
            run = self.run_tests("t.one", "--keep-results", "2")
        kept = {path.name for path in (self.folder / "results").iterdir() if not path.is_symlink()}
        self.assertEqual(len(kept), 3, kept)
        self.assertLessEqual({whole, run.results["run"]}, kept)

    def test_flaky(self) -> None:
        self.configure("flaky", "fail")
        run = self.run_tests("--retry-failed", "2")
        self.assertEqual(run.status, 1)
        self.assertEqual(self.verdicts(run, "flaky"), {**ALL_PASS, "t.two": "flaky"}, run.out)
        self.assertEqual(self.verdicts(run, "fail"), {**ALL_PASS, "t.two": "fail"})
        self.assertIn("it was fail at first", self.point(run, "t.two", "flaky")["reason"])
        (self.state / "flaky").unlink()
        run = self.run_tests("--retry-failed", "2", "--allow-flaky", "--image", "flaky", "--tap")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("# TODO flaky", run.out)
        self.assertIn("1 flaky, which is allowed", run.err)
        (self.state / "flaky").unlink()
        self.assertEqual(self.run_tests("--image", "flaky").status, 1)
        self.assertIn("--allow-flaky needs --retry-failed", self.run_tests("--allow-flaky").err)


class Shown(Project):
    def setUp(self) -> None:
        super().setUp()
        self.configure("fail", "die")
        self.before = os.getcwd()
        self.addCleanup(os.chdir, self.before)
        os.chdir(self.folder)

    def test_what_a_ci_shows(self) -> None:
        (self.folder / "step").write_text("before\n")
        run = self.run_tests("--markdown", "step", "--gitlab", "quality.json", "--github", "--junit", "out.xml",
                             GITHUB_STEP_SUMMARY="step")
        self.assertEqual(run.status, 1, run.out + run.err)
        text = (self.folder / "step").read_text()
        self.assertTrue(text.startswith("before\n## vmxcheck: Not green\n"))
        self.assertIn("| `t.two` | fail | fail | 1 + 1: expected 3, actual 2 |", text)
        self.assertIn("6 passed, 2 failed, 0 skipped; 1 fail, 1 crash", text)
        self.assertIn("::error file=x86/t.c,line=7,title=t.two::fail (bochs-2.7 tigerlake): 1 + 1", run.out)
        self.assertRegex(run.out.splitlines()[-1], "^6 passed")
        issues = json.loads((self.folder / "quality.json").read_text())
        self.assertEqual([(one["location"]["path"], one["location"]["lines"]["begin"], one["severity"]) for one in issues],
                         [("x86/t.c", 7, "major"), ("unittests.cfg", 1, "critical")])
        cases = {case.get("name"): case for case in ElementTree.parse("out.xml").iter("testcase")
                 if case.get("classname") == "vmxcheck.fail"}
        self.assertEqual((cases["t.two"].get("file"), cases["t.two"].get("line")), ("x86/t.c", "7"))
        self.assertIn("# begin t.two", str(cases["t.two"].findtext("system-out")))
        again = self.run_tests("--junit", "out.xml", BOCHS="/nonexistent")
        self.assertEqual(again.status, 2)
        self.assertFalse((self.folder / "out.xml").exists())  # not that of the run before

    def test_a_failure_ends_with_the_manual(self) -> None:
        self.add_image("real", "exec.rdtsc.exiting\tx\n")
        identity = next(line.split("\t")[0] for line in (TOP / "spec/catalogue.tsv").read_text().splitlines()[1:])
        self.add_image("fake", "%s\tx\n" % identity)
        self.configure("plan-small")
        out = self.run_tests().out
        row = next(line.split("\t") for line in (TOP / "spec/catalogue.tsv").read_text().splitlines() if line.startswith(identity + "\t"))
        self.assertIn("manual: " + row[3], out)
        self.assertIn(row[6], out)

    def test_compare(self) -> None:
        (self.folder / "unittests.cfg").write_text("[fake]\narguments = fault=pass\nbackends = bochs\n")
        a = self.run_tests().results["run"]
        (self.folder / "unittests.cfg").write_text("[fake]\narguments = fault=fail\nbackends = bochs\n")
        b = self.run_tests().results["run"]
        words = ["compare", "results/" + a, "results/" + b]

        def compare(*more: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run([str(TOP / "run_tests.sh"), *words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)

        done = compare("--junit", "c.xml", "--html", "c.html", "--markdown", "c.md")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(list(ElementTree.parse("c.xml").iter("failure"))), 1)
        self.assertIn("1 for the worse", (self.folder / "c.html").read_text())
        self.assertIn("| `t.two` | fake | pass | fail |", (self.folder / "c.md").read_text())
        self.assertEqual(compare("u").returncode, 0)
        self.assertEqual(compare("t.two").returncode, 1)
        done = compare("t.tow")
        self.assertEqual(done.returncode, 3)
        self.assertIn("did you mean `t.two`", done.stderr)


@unittest.skipUnless(shutil.which("git"), "git is not installed")
class Bisect(Project):
    """The recipe of docs/ci.md on a repository whose hypervisor breaks in one commit, and does not build in another."""

    def test_it_finds_the_commit(self) -> None:
        recipe = re.search(r"```sh\n(.*?git bisect run.*?)```", (TOP / "docs" / "ci.md").read_text(), re.DOTALL)
        assert recipe
        repository = self.folder / "vmm"
        repository.mkdir()
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                       "GIT_COMMITTER_EMAIL": "a@b"}

        def git(*words: str) -> str:
            return subprocess.run(["git", *words], cwd=repository, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True).stdout

        git("init", "-q")
        good = "#!%s -S\n%s" % (sys.executable, VMM.read_text())
        bad = good.replace('fault = values.get("fault", "")', 'fault = "fail"')
        self.assertNotEqual(good, bad)
        for number, text in enumerate((good, good, "no program at all\n", good, bad, bad, "no program at all\n", bad)):
            (repository / "my-vmm").write_text("%s# %d\n" % (text, number))
            (repository / "my-vmm").chmod(0o755 if "no program" not in text else 0o644)
            (repository / "Makefile").write_text("all:\n")
            git("add", "-A")
            git("commit", "-q", "-m", "commit %d" % number)
        (self.folder / "unittests.cfg").write_text("[fake]\ntimeout = 5\n")
        script = recipe.group(1).replace("GOOD", git("rev-list", "--max-parents=0", "HEAD").strip()).replace("../vmxcheck/run_tests.sh", "%s %s" % (
            TOP / "run_tests.sh", " ".join(self.arguments())))
        done = subprocess.run(["sh", "-e", "-c", script], cwd=repository, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"(?s)is the first bad commit.*commit 4")

    def test_the_statuses(self) -> None:
        self.configure("fail", "pass")
        self.assertEqual(self.run_tests("--bisect", "pass").status, 0)
        self.assertEqual(self.run_tests("--bisect").status, 1)
        self.assertEqual(self.run_tests("--bisect", "nosuch").status, 125)
        self.assertEqual(self.run_tests("--bisect", BOCHS="/nonexistent").status, 125)


if __name__ == "__main__":
    unittest.main()
