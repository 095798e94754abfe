# SPDX-License-Identifier: BSD-2-Clause
"""Selecting by what is known (--failed, --area, --priority), --repeat, shards and merge, compare and baseline."""
import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck import compare, session, shard, style  # noqa: E402
from vmxcheck.config import Section  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.images import Image  # noqa: E402
from vmxcheck.selection import Selected  # noqa: E402


class Selecting(Project):
    def test_failed(self) -> None:
        self.configure("pass", "fail", "die")
        self.assertEqual(self.run_tests("--failed").status, 3)
        self.run_tests()
        self.assertEqual(self.run_tests("--failed", "--list").out, "t.two\tfail\nt.two\tdie\n")
        run = self.run_tests("--failed")
        self.assertEqual([(p["image"], p["id"], p["verdict"]) for p in run.results["points"]],
                         [("fail", "t.two", "fail"), ("die", "t.two", "crash")])
        self.assertEqual(self.run_tests("--failed", "--image", "die", "--list").out, "t.two\tdie\n")
        self.run_tests("--image", "pass")
        run = self.run_tests("--failed")
        self.assertEqual(run.status, 3)
        self.assertIn("nothing failed in the last run", run.err)

    def test_failed_after_a_lie_is_the_whole_image(self) -> None:
        self.configure("pass", "plan-large")
        self.run_tests()
        self.assertEqual(len(self.run_tests("--failed", "--list").out.splitlines()), 4)

    def test_area_and_priority(self) -> None:
        self.configure("pass")
        self.add_image("fake", "exit.rdtsc.offset\ta\ncap.cpuid.vmx\tb\nt.one\tc\nentry.guest.seg.ar.s\td\n")
        listed = {words: self.run_tests("--list", *words.split()).out for words in (
            "--area exec.tsc", "--area exec,cap", "--area cap --area entry", "--priority 1", "--priority 2", "--priority 1,2 --area cap")}
        ids = {words: [line.split("\t")[0] for line in out.splitlines()] for words, out in listed.items()}
        self.assertEqual(ids, {
            "--area exec.tsc": ["exit.rdtsc.offset"], "--area exec,cap": ["exit.rdtsc.offset", "cap.cpuid.vmx"],
            "--area cap --area entry": ["cap.cpuid.vmx", "entry.guest.seg.ar.s"], "--priority 1": ["exit.rdtsc.offset"],
            "--priority 2": ["cap.cpuid.vmx", "entry.guest.seg.ar.s"], "--priority 1,2 --area cap": ["cap.cpuid.vmx"]})
        for words, part in ((["--area", "exe"], "no area `exe`; there are: "), (["--priority", "7"], "no priority `7`"),
                            (["--area", "vpid"], "nothing is selected")):
            run = self.run_tests(*words)
            self.assertEqual((run.status, run.out), (3, ""))
            self.assertIn(part, run.err)

    def test_repeat(self) -> None:
        self.configure("flaky", "fail")
        run = self.run_tests("--repeat", "3", "-j", "1")
        self.assertEqual((run.status, len(run.results["points"])), (1, 24))
        self.assertEqual([p["round"] for p in run.results["points"] if p["id"] == "t.two" and p["image"] == "flaky"], [1, 2, 3])
        self.assertIn("not the same in all 3 rounds:\n  t.two  (flaky): 1 of 3 fail, 2 of 3 pass\n", run.out)
        logs = sorted(path.name for path in (self.folder / "results" / "latest" / "logs").glob("fail*.log"))
        self.assertEqual(logs, ["fail.bochs.log", "fail.bochs.r2.log", "fail.bochs.r3.log"])
        self.configure("pass")
        self.assertIn("the same in all 2 rounds", self.run_tests("--repeat", "2").out)

    def test_the_longest_starts_first(self) -> None:
        self.configure("pass", "skip", "slow")
        self.run_tests()
        latest = self.folder / "results" / "latest-whole" / "results.json"
        (self.state / "processes").unlink()
        with mock.patch.object(session.Session, "run", lambda self, *_: order.extend(job.name for job in self.jobs)):
            order: List[str] = []
            self.run_tests("-j", "1", "--image", "*")
            self.assertEqual(order, ["pass", "skip", "slow"])
            order.clear()
            self.run_tests("-j", "2", "--image", "*")  # not a whole run: it changes no durations
            self.assertEqual(order[0], "slow")
        for broken in ("{", "{}", '{"format": 1, "points": [{}], "target": []}'):
            latest.write_text(broken)
            self.assertEqual(self.run_tests("--image", "pass").status, 0)
            self.assertEqual(self.run_tests("--image", "pass", "--shard", "1/2").status, 2)


def selection(**sizes: int) -> List[Selected]:
    found = []
    for name, size in sizes.items():
        tests = {"%s.%d" % (name, n): "t" for n in range(size)}
        found.append(Selected(Section(name, 1, name), Image(name, Path("."), tests), tests, tests))
    return found


class Cutting(unittest.TestCase):
    def parts(self, chosen: List[Selected], seconds: Dict[Any, float], number: int) -> List[List[str]]:
        cuts = [shard.cut(chosen, seconds, "%d/%d" % (k, number)) for k in range(1, number + 1)]
        self.assertEqual(len({name for _, name in cuts}), 1)
        parts = [[i for s in part for i in s.wanted] for part, _ in cuts]
        self.assertEqual(sorted(i for part in parts for i in part), sorted(i for s in chosen for i in s.wanted))
        return parts

    def test_balanced(self) -> None:
        chosen = selection(long=50, a=10, b=10, c=10)
        seconds = {(s.section.name, i): 0.2 if s.section.name == "long" else 0.1 for s in chosen for i in s.wanted}
        for number in (1, 2, 3, 4, 7):
            parts = self.parts(chosen, seconds, number)
            loads = [sum(seconds[(i.split(".")[0], i)] for i in part) for part in parts]
            self.assertLess(max(loads) - min(loads), 13 / number * 0.5 + 0.5, (number, loads))
            self.assertEqual(parts, self.parts(chosen, seconds, number))
        self.assertNotEqual(shard.cut(chosen, seconds, "1/3")[1], shard.cut(chosen, {}, "1/3")[1])

    def test_every_part_has_something(self) -> None:
        chosen = selection(a=9)
        for seconds in ({}, {("a", "a.0"): 100.0}):
            for number in (2, 5, 9):
                self.assertTrue(all(self.parts(chosen, seconds, number)))
        with self.assertRaisesRegex(Problem, "only 9 tests"):
            shard.cut(chosen, {}, "1/10")


class Merging(Project):
    def command(self, *words: str):  # type: ignore[no-untyped-def]
        return subprocess.run([str(TOP / "run_tests.sh"), *words], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)

    def shards(self, number: int, *words: str) -> List[str]:
        folders = []
        for k in range(1, number + 1):
            self.run_tests("--shard", "%d/%d" % (k, number), "--results", str(self.folder / ("s%d" % k)), *words)
            folders.append(str(self.folder / ("s%d" % k)))
        return folders

    def arguments(self, *words: str) -> List[str]:
        given = super().arguments()
        if "--results" in words:
            at = given.index("--results")
            del given[at:at + 2]
        return [*given, *words]

    def test_shards_make_the_whole(self) -> None:
        self.configure("pass", "fail", "skip", "slow")
        whole = self.run_tests()
        expected = sorted((p["image"], p["id"], p["verdict"]) for p in whole.results["points"])
        folders = self.shards(3)
        done = self.command("merge", *folders, "--results", str(self.folder / "all"))
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertEqual(done.stdout.splitlines()[-1], whole.out.splitlines()[-1])
        merged = json.loads((self.folder / "all" / "latest" / "results.json").read_text())
        self.assertEqual(sorted((p["image"], p["id"], p["verdict"]) for p in merged["points"]), expected)
        self.assertEqual([part["shard"] for part in merged["merged"]], ["1/3", "2/3", "3/3"])
        self.assertTrue(merged["whole"])

    def test_what_is_missing_is_never_green(self) -> None:
        self.configure("pass", "skip")
        folders = self.shards(3)
        for given, part in ((folders[:2], "missing: shard 3/3"), ([folders[0], *folders], "shard 1/3 is there twice")):
            done = self.command("merge", *given, "--results", str(self.folder / "all"))
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(part, done.stderr)
        self.assertEqual(self.command("merge", *folders, "--results", str(self.folder / "all")).returncode, 0)
        shutil.rmtree(folders[1])
        self.configure("pass")
        self.run_tests("--shard", "2/3", "--results", folders[1])
        done = self.command("merge", *folders, "--results", str(self.folder / "all"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("cut differently", done.stderr)

    def test_two_targets_and_two_rounds(self) -> None:
        self.configure("pass")
        for name, cpu in (("a", "tigerlake"), ("b", "core2_penryn_t9600"), ("c", "tigerlake")):
            self.run_tests("--cpu", cpu, "--results", str(self.folder / name))
        done = self.command("merge", *(str(self.folder / n) for n in "abc"), "--results", str(self.folder / "all"))
        self.assertEqual(done.stdout.splitlines()[-1], "12 passed, 0 failed, 0 skipped")
        merged = json.loads((self.folder / "all" / "latest" / "results.json").read_text())
        self.assertEqual([t["cpu"] for t in merged["target"]], ["tigerlake", "core2_penryn_t9600"])
        self.assertEqual(sorted({(p["target"], p["round"]) for p in merged["points"]}),
                         [("bochs-2.7 core2_penryn_t9600", 1), ("bochs-2.7 tigerlake", 1), ("bochs-2.7 tigerlake", 2)])

    def test_inputs_that_are_none(self) -> None:
        (self.folder / "x.json").write_text("{}")
        (self.folder / "y.json").write_text("[")
        for name in ("x.json", "y.json", "nowhere"):
            for command in (["merge"], ["compare", str(self.folder / name)], ["report", "--html", "x.html"]):
                done = self.command(*command, str(self.folder / name))
                self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (2, "", 1), done.stderr)
                self.assertIn(name, done.stderr)

    @unittest.skipUnless(shutil.which("parallel"), "GNU parallel is not installed")
    def test_the_recipe_with_gnu_parallel(self) -> None:
        self.configure("pass", "slow", "skip")
        words = self.arguments("--results", "-")[:-2]
        for status, fault in ((0, ""), (1, "fail")):
            if fault:
                self.configure("pass", "slow", fault)
            out = self.folder / ("out%d" % status)
            done = subprocess.run([str(TOP / "docs" / "ci" / "fleet.sh"), str(out), "3", *words], env=self.environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, status, done.stdout)
            self.assertEqual(len(json.loads((out / "merged" / "latest" / "results.json").read_text())["points"]), 12)
        self.assert_nothing_left()


def data(points: Dict[str, str], target: str = "bochs-2.7 tigerlake", name: str = "bochs") -> Dict[str, Any]:
    return {"format": 1, "target": [{"name": target, "backend": name, "version": "2.7", "cpu": target.split()[1]}],
            "points": [{"id": i, "image": "m", "target": target, "verdict": v} for i, v in points.items()]}


class Comparing(Project):
    def test_kinds(self) -> None:
        before = {"a": "pass", "b": "fail", "c": "pass", "d": "skip", "e": "hang", "f": "known", "g": "pass", "h": "pass", "k": "skip"}
        after = {"a": "crash", "b": "pass", "d": "pass", "e": "fail", "f": "pass", "g": "skip", "h": "pass", "i": "fail", "j": "pass",
                 "k": "fail"}
        for target in ("bochs-2.7 tigerlake", "bochs-2.8 tigerlake", "bochs-2.7 core2", "qemu-kvm-9 host"):
            found = compare.changes(data(before), data(after, target))
            self.assertEqual({c.id: c.kind for c in found}, {
                "a": "broke", "b": "fixed", "c": "gone", "d": "gained", "e": "other", "f": "fixed", "g": "lost", "i": "appeared",
                "j": "appeared", "k": "broke"}, target)
            self.assertEqual({c.id for c in found if c.bad}, set("acik"))

    def test_known_deviations(self) -> None:
        found = compare.changes(data({"a": "pass", "b": "known", "c": "known", "d": "known"}),
                                data({"a": "known", "b": "pass", "c": "fail", "d": "known"}, "bochs-2.8 tigerlake"))
        self.assertEqual({c.id: (c.kind, c.bad) for c in found}, {"a": ("deviating", False), "b": ("fixed", False), "c": ("broke", True)})

    def test_checks(self) -> None:
        """The same verdict, and other checks behind it."""
        def run(*failing: str) -> Dict[str, Any]:
            found = data({"a": "known", "b": "known", "c": "pass"})
            found["points"][0].update(failing=list(failing), failed=len(failing), checks=9)
            found["points"][1].update(failing=["x"], failed=1, checks=9)
            return found

        runs = [run("bit 1", "bit 2"), run("bit 2", "bit 3", "bit 4", "bit 5", "bit 6")]
        found = compare.changes(*runs)
        self.assertEqual([(c.kind, c.id, c.failed, c.went, c.came, c.bad) for c in found],
                         [("checks", "a", (2, 5), ("bit 1",), ("bit 3", "bit 4", "bit 5", "bit 6"), False)])
        text = compare.text(*runs, found, False, style.Style())
        self.assertIn("(3 points, 18 checks, of which 3 failed)\n", text)
        self.assertIn("  known -> known  a  (m, bochs-2.7 tigerlake)\n      failed checks: 2 -> 5\n"
                      "        - bit 1\n        + bit 3\n        + bit 4\n"
                      "        + bit 5\n        + and 1 more (-v names all)\n", text)
        self.assertIn("        + bit 6\n", compare.text(*runs, found, True, style.Style()))
        self.assertEqual(compare.changes(runs[0], runs[0]), [])
        self.assertEqual([c.id for c in compare.changes(data({"a": "known"}), run("bit 1"))], ["b", "c"])  # older results: no names

    def test_several_targets(self) -> None:
        def both(one: str, two: str, version: str) -> Dict[str, Any]:
            runs = [data({"a": one}, "bochs-%s core2" % version), data({"a": two}, "bochs-%s tigerlake" % version)]
            return {"format": 1, "target": runs[0]["target"] + runs[1]["target"], "points": runs[0]["points"] + runs[1]["points"]}

        found = compare.changes(both("pass", "fail", "2.7"), both("fail", "fail", "2.8"))
        self.assertEqual([(c.kind, c.target) for c in found], [("broke", "bochs-2.8 core2")])

    def run_compare(self, *words: str):  # type: ignore[no-untyped-def]
        return subprocess.run([str(TOP / "run_tests.sh"), "compare", *words], stdout=subprocess.PIPE, text=True, check=False)

    def test_command(self) -> None:
        self.configure("pass", "skip")
        self.run_tests()
        os.rename((self.folder / "results" / "latest").resolve(), self.folder / "a")
        self.configure("fail", "skip")
        (self.folder / "unittests.cfg").write_text((self.folder / "unittests.cfg").read_text().replace("[fail]", "[pass]"))
        self.run_tests()
        a, b = str(self.folder / "a"), str(self.folder / "results")
        done = self.run_compare(a, b)
        self.assertEqual(done.returncode, 1)
        self.assertIn("  pass -> fail  t.two  (pass, bochs-2.7 tigerlake)\n      1 + 1: expected 3, actual 2\n"
                      "      failed checks: 0 -> 1\n        + case_1 | 1 + 1\n"
                      "      repeat: ", done.stdout)
        self.assertEqual(done.stdout.splitlines()[-1], "1 broke, 0 fixed, 0 deviating, 0 checks, 0 appeared, 0 gone, 0 lost, 0 gained, 0 other")
        done = self.run_compare(b, a)
        self.assertEqual((done.returncode, "1 fixed" in done.stdout), (0, True))
        self.run_tests("--image", "skip", "u.three")
        self.assertEqual(self.run_compare(a, b).returncode, 1)
        self.assertEqual(self.run_compare(a, b, "--allow-gone").returncode, 0)

    def test_baseline(self) -> None:
        self.configure("fail", "die", "pass")
        base = self.folder / "base.json"
        self.assertEqual(self.run_tests("--save-baseline", str(base)).status, 1)
        self.assertEqual(len(base.read_text().splitlines()), 14)  # a line a verdict
        run = self.run_tests("--baseline", str(base))
        self.assertEqual((run.status, run.out.splitlines()[-1]), (0, "10 passed, 0 failed, 0 skipped"))
        self.assertIn("2 red in the baseline too", run.out)
        self.assertNotIn("repeat:", run.out)
        self.assertEqual([p["verdict"] for p in run.results["points"] if p["old"]], ["fail", "crash"])
        # Another model, and a results.json as the baseline: the same.
        self.assertEqual(self.run_tests("--baseline", str(self.folder / "results"), "--cpu", "core2_penryn_t9600").status, 0)
        self.configure("pass", "skip", "hang", timeout="0.6")
        text = (self.folder / "unittests.cfg").read_text()
        (self.folder / "unittests.cfg").write_text(text.replace("[hang]", "[die]").replace("[pass]", "[fail]").replace("[skip]", "[pass]"))
        run = self.run_tests("--baseline", str(base))
        self.assertEqual(run.status, 0, run.out)
        self.assertIn("fixed since the baseline: 1 (t.two)", run.out)
        self.configure("fail", "die", "pass")
        (self.folder / "unittests.cfg").write_text((self.folder / "unittests.cfg").read_text().replace(
            "arguments = fault=pass", "arguments = fault=fail"))
        run = self.run_tests("--baseline", str(base))
        self.assertEqual((run.status, run.out.splitlines()[-1]), (1, "9 passed, 1 failed, 0 skipped"))
        self.assertEqual(run.out.count("repeat:"), 1)
        self.assertEqual(self.run_tests("--baseline", "/nowhere").status, 2)

    def test_baseline_that_cannot_be_written(self) -> None:
        self.configure("pass")
        run = self.run_tests("--save-baseline", str(self.folder / "no" / "base"))
        self.assertEqual(run.status, 2)
        self.assertIn("No such file", run.out)


if __name__ == "__main__":
    unittest.main()
