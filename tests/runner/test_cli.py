# SPDX-License-Identifier: BSD-2-Clause
"""The program as its users meet it: options, exit statuses, outputs, interruption."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
import unittest.mock
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402


class Selecting(Project):
    def setUp(self) -> None:
        super().setUp()
        self.add_image("other", "v.one\tv\n")
        (self.folder / "unittests.cfg").write_text(
            "[fake]\nbackends = bochs\ngroups = g1 g2\n[other]\ngroups = g2\n[twin]\nfile = fake\ngroups = nodefault\n")

    def test_list(self) -> None:
        run = self.run_tests("--list")
        self.assertEqual((run.status, run.out), (0, "t.one\tfake\nt.two\tfake\nt.two.b\tfake\nu.three\tfake\nv.one\tother\n"))
        self.assertEqual(run.results, {})
        self.assertEqual(self.run_tests("-l", "-g", "g1", "t.two").out, "t.two\tfake\n")
        self.assertEqual(self.run_tests("-l", "t").out, "t.one\tfake\nt.two\tfake\nt.two.b\tfake\n")
        self.assertEqual(self.run_tests("-l", "--image", "tw*", "u").out, "u.three\ttwin\n")
        self.assertEqual(self.run_tests("-l", "-g", "nodefault", "u").out, "u.three\ttwin\n")

    def test_patterns_boot_only_what_they_need(self) -> None:
        run = self.run_tests("t.two", "u.*")
        self.assertEqual((run.status, self.verdicts(run)), (0, {"t.two": "pass", "u.three": "pass"}))
        self.assertEqual(len(self.processes()), 1)

    def test_nothing_matches(self) -> None:
        for words, part in ((["nosuch"], "`nosuch`"), (["-g", "nosuch"], "have the group `nosuch`; there are: g1, g2"),
                            (["--image", "nosuch"], "`nosuch`; there are: fake"), (["-g", "g1", "v.one"], "`v.one`"),
                            (["-l", "t.on"], "`t.on`")):
            run = self.run_tests(*words)
            self.assertEqual((run.status, run.out, run.results), (3, "", {}), words)
            self.assertIn(part.replace("have", "has"), run.err)

    def test_repeating(self) -> None:
        self.configure("fail", "pass")
        run = self.run_tests()
        point = [p for p in run.results["points"] if p["verdict"] == "fail"][0]
        self.assertIn("--backend bochs --image fail t.two", point["repro"])
        self.assertTrue(point["repro"].startswith("BOCHS="))
        again = subprocess.run(["sh", "-c", point["repro"] + " --results " + str(self.folder / "again")],
                               env=self.environment, stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(again.returncode, 1)
        self.assertEqual(again.stdout.splitlines()[-1], "0 passed, 1 failed, 0 skipped")


class Problems(Project):
    def expect(self, status: int, part: str, *words: str, **environment: str) -> None:
        run = self.run_tests(*words, **environment)
        self.assertEqual((run.status, run.results), (status, {}), run.out + run.err)
        self.assertIn(part, run.err)
        self.assertEqual(self.processes(), [])

    def test_usage(self) -> None:
        self.configure("pass")
        for words, part in ((["--nonsense"], "unrecognized arguments"), (["-j", "0"], "not a number above 0"),
                            (["--seed", "1"], "--seed needs --order random"), (["--timeout", "x"], "--timeout x"),
                            (["--backend", "xen"], "unknown backend `xen`"), (["--cpu", "z80"], "model `z80`")):
            self.expect(2, part, *words)
        self.expect(2, "TIMEOUT=soon", TIMEOUT="soon")
        self.expect(2, "ACCEL=hax", ACCEL="hax")

    def test_config(self) -> None:
        self.configure("pass", tiemout="3")
        self.expect(2, "unittests.cfg:6: unknown key `tiemout`: did you mean `timeout`?")
        self.configure("pass", file="nowhere")
        self.expect(2, "image `nowhere` is not built")
        self.configure("pass")
        (self.images / "fake.rom").unlink()
        self.expect(2, "fake.rom is missing; run make")

    def test_emulators(self) -> None:
        self.configure("pass")
        self.expect(2, "BOCHS=/nowhere/bochs: no such file", BOCHS="/nowhere/bochs")
        self.expect(2, "BOCHS=/etc/passwd: not a program that can be run", BOCHS="/etc/passwd")
        self.expect(2, "does not say that it is Bochs", BOCHS="/bin/false")
        broken = self.script("broken", "#!/nowhere/python\n")
        self.expect(2, "does not say that it is Bochs", BOCHS=str(broken))

    def test_no_backend_for_an_image(self) -> None:
        self.configure("pass", needs="vmx", backends="qemu-tcg")
        self.expect(2, "image `pass` needs vmx and has no backend here")

    def test_the_emulator_vanishes(self) -> None:
        self.configure("pass")
        self.bochs.write_text(self.bochs.read_text().replace("sys.exit(0)", "os.unlink(__file__); sys.exit(0)"))
        run = self.run_tests()
        self.assertEqual((run.status, set(self.verdicts(run).values())), (1, {"missing"}))
        self.assertIn("bochs", run.out)

    def test_results_folder(self) -> None:
        self.configure("pass")
        (self.folder / "results").write_text("in the way")
        run = self.run_tests()
        self.assertEqual(run.status, 2)
        self.assertIn("results", run.err)
        self.assertEqual(self.processes(), [])

    @unittest.skipUnless(Path("/dev/full").exists(), "needs /dev/full")
    def test_results_that_cannot_be_written(self) -> None:
        self.configure("pass")
        with unittest.mock.patch("vmxcheck.run.open", lambda *a, **k: open("/dev/full", "wb", buffering=0), create=True):
            run = self.run_tests()
        self.assertEqual(run.status, 2, run.out)
        self.assertIn("not kept whole: /dev/full: No space left", run.out)
        self.assertTrue(run.out.endswith("4 passed, 0 failed, 0 skipped\n"))

    def test_what_forced_backends_cannot_run_is_skipped(self) -> None:
        self.configure("pass")
        (self.folder / "unittests.cfg").write_text("[a]\nfile = fake\n[b]\nfile = fake\nbackends = qemu-tcg\n")
        run = self.run_tests("--backend", "bochs")
        self.assertEqual((run.status, run.results["counts"]["skip"], run.results["counts"]["pass"]), (0, 4, 4))
        self.assertIn("bochs is not for it", run.out)
        self.assertEqual(self.run_tests("--backend", "bochs", "--image", "b").status, 3)


class Outputs(Project):
    def test_results_are_kept(self) -> None:
        self.configure("pass", "fail", "die", "hang", timeout="0.6")
        run = self.run_tests("-j", "4")
        self.assertEqual(run.status, 1)
        self.assertEqual(set(run.results) >= {"format", "run", "target", "points", "images", "counts", "exit_status"}, True)
        for point in run.results["points"]:
            for key in ("id", "image", "verdict", "reason", "checks", "seconds", "repro"):
                self.assertIn(key, point)
        self.assertEqual([p["image"] for p in run.results["points"]],
                         [i for i in ("pass", "fail", "die", "hang") for _ in range(4)])
        self.assertEqual(os.readlink(self.folder / "results" / "latest"), run.results["run"])
        self.run_tests("--image", "pass")
        self.assertEqual(len(list((self.folder / "results").glob("2*"))), 2)

    def test_walks(self) -> None:
        """--walks brief reaches the image, the results and the commands, and leaves long sections out."""
        self.configure("pass", "fail")
        (self.folder / "unittests.cfg").write_text("[a]\nfile = fake\narguments = fault=fail\n[b]\nfile = fake\ngroups = long\n")
        whole = self.run_tests("--backend", "bochs", "--keep")
        self.assertEqual((whole.results["target"][0]["walks"], whole.results["counts"]["skip"]), ("whole", 0))
        self.assertNotIn("--walks", self.point(whole, "t.two", "a")["repro"])
        brief = self.run_tests("--backend", "bochs", "--walks", "brief", "--keep")
        self.assertEqual((brief.results["target"][0]["walks"], brief.results["counts"]["skip"]), ("brief", 4))
        self.assertIn("--walks brief", self.point(brief, "t.two", "a")["repro"])
        self.assertIn("--walks whole or --image runs it", brief.out)
        self.assertIn("walks: brief", brief.out)
        self.assertNotIn("walks:", whole.out)
        named = self.run_tests("--backend", "bochs", "--walks", "brief", "--image", "b")
        self.assertEqual((named.status, named.results["counts"]["pass"]), (0, 4))
        roms = [path.read_bytes() for path in sorted((self.folder / "results").rglob("*.rom"))]
        self.assertTrue(roms)
        self.assertEqual({b" brief" in rom for rom in roms}, {False, True})

    def test_order(self) -> None:
        self.configure("die")
        run = self.run_tests("--order", "random", "--seed", "7")
        self.assertEqual((run.results["order"], run.results["seed"]), ("random", 7))
        self.assertIn("order: random, seed 7", run.out)

    @unittest.skipUnless(shutil.which("prove"), "prove (perl) is not installed")
    def test_merged_tap(self) -> None:
        self.configure("pass", "skip")
        run = self.run_tests("--tap")
        self.assertTrue(run.out.startswith("TAP version 13\n"))
        self.assertTrue(run.out.endswith("1..8\n"))
        self.assertIn("8 passed" if "8 passed" in run.err else "7 passed, 0 failed, 1 skipped", run.err)
        self.assertEqual(self.prove(run.out).returncode, 0)
        self.configure("fail")
        run = self.run_tests("-t")
        proved = self.prove(run.out)
        self.assertEqual(proved.returncode, 1)
        self.assertIn("Failed 1/4", proved.stdout)
        self.assertIn("  repro: ", run.out)

    def prove(self, text: str) -> "subprocess.CompletedProcess[str]":
        (self.folder / "stream.tap").write_text(text)
        return subprocess.run(["prove", "-e", "cat", "stream.tap"], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def test_verbose(self) -> None:
        self.configure("skip")
        self.assertIn("pass  t.two.b: a neighbour", self.run_tests("-v").out)
        self.assertNotIn("t.two.b", self.run_tests().out)

    def test_coverage(self) -> None:
        self.configure("pass")
        run = self.run_tests("--coverage")
        self.assertEqual(run.status, 0)
        self.assertRegex(run.out, r"(?m)^all +[0-9]{3,} +0 ")
        self.assertIn("not in the catalogue: 4 tests", run.out)

    def test_cpu_and_timeout(self) -> None:
        self.configure("hang", timeout="100")
        run = self.run_tests("--cpu", "core2_penryn_t9600", TIMEOUT="0.6")
        self.assertEqual(run.results["target"][0]["cpu"], "core2_penryn_t9600")
        self.assertIn("no progress for 0.6 s", run.out)
        self.assertIn("TIMEOUT=0.6", self.point(run, "t.two")["repro"])
        self.assertIn("--cpu core2_penryn_t9600", self.point(run, "t.two")["repro"])
        self.assertIn("no progress for 0.5 s", self.run_tests("--timeout", "0.5", TIMEOUT="50").out)


class Interrupted(Project):
    def test_results_are_kept_and_nothing_is_left(self) -> None:
        self.configure("pass", "stubborn", "silent-hang", "fail", timeout="60")
        for number in (signal.SIGINT, signal.SIGTERM):
            shutil.rmtree(self.folder / "results", ignore_errors=True)
            (self.state / "processes").unlink(missing_ok=True)
            process = subprocess.Popen([str(TOP / "run_tests.sh"), *self.arguments("-j", "2")], env=self.environment,
                                       stdout=subprocess.PIPE, text=True)
            log = "results/*/logs/stubborn.bochs.log"
            for _ in range(500):
                if len(self.processes()) == 4 and any(b"t.two" in p.read_bytes() for p in self.folder.glob(log)):
                    break
                time.sleep(0.01)
            process.send_signal(number)
            out = process.communicate(timeout=10)[0]
            self.assertEqual(process.returncode, 130, out)
            results = self.results()
            self.assertTrue(results["interrupted"])
            self.assertEqual(results["counts"]["pass"], 5)
            self.assertEqual(results["counts"]["notrun"], 11)
            self.assertEqual(out.splitlines()[-1], "5 passed, 0 failed, 0 skipped")
            self.assertIn("11 not run: interrupted", out)
            self.assert_nothing_left()

    @unittest.skipUnless(shutil.which("setpriv"), "setpriv (util-linux) is not installed")
    def test_killed_hard(self) -> None:
        self.configure("silent-hang", timeout="60")
        process = subprocess.Popen([sys.executable, "-S", str(TOP / "scripts" / "vmxcheck"), *self.arguments()],
                                   env={**self.environment, "TMPDIR": str(self.folder)}, stdout=subprocess.DEVNULL)
        for _ in range(500):
            if self.processes():
                break
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.assertTrue(self.processes())
        self.assert_nothing_left()

    def test_the_reader_goes_away(self) -> None:
        self.configure("pass", "fail")
        words = [str(TOP / "run_tests.sh"), *self.arguments("-v", "-j", "1")]
        process = subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout and process.stderr
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        self.assertEqual((process.wait(), errors), (1, b""))
        self.assertEqual(self.results()["counts"]["pass"], 7)


class Door(unittest.TestCase):
    def test_help_and_version(self) -> None:
        run = subprocess.run([str(TOP / "run_tests.sh"), "--help"], stdout=subprocess.PIPE, text=True, cwd="/", check=False)
        self.assertEqual(run.returncode, 0)
        for option in ("--group", "--list", "--jobs", "--tap", "--backend", "--cpu", "--timeout", "--results", "--coverage"):
            self.assertIn(option, run.stdout)

    def test_by_a_link(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            os.symlink(TOP / "run_tests.sh", folder + "/vmxcheck")
            run = subprocess.run([folder + "/vmxcheck", "--version"], stdout=subprocess.PIPE, text=True, check=False)
        self.assertTrue(re.match(r"vmxcheck \d", run.stdout))


if __name__ == "__main__":
    unittest.main()
