# SPDX-License-Identifier: BSD-2-Clause
"""The inventory: the lines of an image become names and values, machines are compared and pooled, what is torn is said."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck.inventory import of_results, raw, several, tables, view  # noqa: E402

BANNER = ('vmxcheck 0.1 image=inventory boot=rom cpu="A" family=6 model=143 stepping=8 microcode=0x2b000181 core=core '
          'hypervisor="Microsoft Hv" maxphyaddr=46')
LINES = [
    "0 cpuid 0 0 00000016 756e6547 6c65746e 49656e69", "0 cpuid 1 0 000806f8 00010800 00000020 00000000",
    "0 msr 8b 2b00018100000000", "0 msr 3a -", "0 msr 480 00d8100000000004", "0 msr 481 0000007f00000016", "0 msr 482 fff9fffe0401e172",
    "0 msr 48b 0000000200000000", "0 msr 485 0000000020040020", "0 msr 48e fff9fffe04006172",
    "0 apic 0", "0 width 46 48", "0 tsc 2000000 from CPUID 15H", "end processor 13",
    "1 apic 2", "1 cpuid 1 0 000806f8 02010800 00000020 00000000", "1 msr 482 fff9fffe0401e170", "1 lacks msr 485 0", "end processors 4",
    "0 fields rw 0 800 6800", "0 fields r 4400", "0 fields unknown 2ffe", "end fields 3",
]


def changed(name: str, *pairs: str) -> raw.Inventory:
    lines = LINES
    for pair in pairs:
        old, new = pair.split(" -> ")
        lines = [line.replace(old, new) for line in lines]
    return raw.parse(name, BANNER, lines)


def values(inventory: raw.Inventory) -> "dict[str, str]":
    return {row.name: row.value for row in view.rows(inventory)}


class OneMachine(unittest.TestCase):
    def test_names(self) -> None:
        found = raw.parse("a", BANNER, [raw.MARK + line for line in LINES])
        said = values(found)
        self.assertEqual(found.problems, [])
        for name, value in {
                "vendor": "GenuineIntel", "family-model-stepping": "6-8f-8", "microcode revision": "0x2b000181", "physical-address width": "46",
                "NMI exiting": "0 or 1", "process posted interrupts": "0", "enable EPT": "0 or 1", "enable VPID": "0", "CR3-load exiting": "0 or 1",
                "CR3-target values": "4", "memory type": "WB", "IA32_FEATURE_CONTROL": "-", "Guest CR0": "rw",
                "TSC frequency": "2000000 kHz", "TSC frequency is from": "CPUID 15H", "no field that is known": "unknown"}.items():
            self.assertEqual(said[name], value, name)
        self.assertEqual([row.alias for row in view.rows(found) if row.name == "enable EPT"], ["ept"])

    def test_processors_that_disagree(self) -> None:
        self.assertEqual(view.differences(raw.parse("a", BANNER, LINES)),
                         ["processor 1: IA32_VMX_PROCBASED_CTLS is fff9fffe0401e170, not fff9fffe0401e172", "processor 1 lacks msr 485 0"])

    def test_without_true_msrs_the_others_count(self) -> None:
        self.assertEqual(values(changed("a", "48e fff9fffe04006172 -> 48e -"))["CR3-load exiting"], "1")

    def test_what_is_torn(self) -> None:
        for lines, problem in ((LINES[:5] + LINES[6:], "part processor: 12 lines came, 13 were said"), (LINES[:-1], "the end is lost"),
                               (["0 msr x y", "end p 1"], "a line that is none: 0 msr x y"),
                               (["0 nothing 1", "end p 1"], "a line that is none: 0 nothing 1")):
            self.assertIn(problem, raw.parse("a", "", lines).problems)

    def test_facts_of_the_banner(self) -> None:
        self.assertEqual(raw.banner_facts(BANNER), {"fms": "6-8f-8", "microcode": "0x2b000181", "core": "core", "hypervisor": "MicrosoftHv"})
        self.assertEqual(raw.banner_facts(""), {"hypervisor": "none"})

    def test_tables_are_whole(self) -> None:
        known = tables.load()
        for macro, name, count in (("CONTROL", "vmx/controls.def", sum(len(word.controls) for word in known.words)),
                                   ("CAPABILITY", "vmx/capabilities.def", len(known.capabilities)),
                                   ("FIELD", "vmx/fields.def", len(known.fields)), ("FEATURE", "x86/features.def", len(known.features)),
                                   ("MSR", "x86/msrs.def", len(known.msrs))):
            lines = (ROOT / "lib" / name).read_text().splitlines()
            self.assertEqual(sum(line.startswith(macro + "(") for line in lines), count, name)
        names = {name for word in known.words for _, name, _ in word.controls} | {row[0] for row in known.capabilities}
        self.assertEqual(set(known.aliases) - names, set())


class Several(unittest.TestCase):
    def test_differences(self) -> None:
        other = changed("b", "0000000200000000 -> 0000002000000000", "tsc 2000000 -> tsc 2000001", "r 4400 -> rw 4400")
        found = {row.name: said for row, said in several.differing([changed("a"), other])}
        self.assertEqual(found, {"enable EPT": ["0 or 1", "0"], "enable VPID": ["0", "0 or 1"], "IA32_VMX_PROCBASED_CTLS2":
                                 ["0000000200000000", "0000002000000000"], "VM-instruction error": ["r", "rw"]})

    def test_pool(self) -> None:
        other = changed("b", "0000000200000000 -> 0000002200000000", "width 46 48 -> width 39 57", "20040020 -> 20020023")
        third = changed("c", "48e fff9fffe04006172 -> 48e -")
        found = several.pool([changed("a"), other, third])
        secondary = "secondary processor-based VM-execution controls: enable "
        self.assertIn(secondary + "EPT (ept)", found.common)
        self.assertEqual(found.lacking[secondary + "VPID (vpid)"], ["a", "c"])
        self.assertEqual(found.forced["primary processor-based VM-execution controls: CR3-load exiting"], ["c"])
        self.assertEqual(found.limits, {"CR3-target values": 2, "MSR-list maximum": 0, "physical-address width": 39, "linear-address width": 48})
        self.assertEqual(found.unlike, {"IA32_VMX_MISC: VMX-preemption timer rate": ["0", "3", "0"]})
        self.assertEqual(json.loads(several.pool_json(found))["lacking"], found.lacking)

    def test_results(self) -> None:
        images = [{"target": "t", "inventory": LINES, "banner": BANNER}, {"target": "u"}, {"target": "t", "inventory": [], "banner": ""}]
        self.assertEqual([machine.name for machine in of_results({"images": images})], ["t"])


class Commands(unittest.TestCase):
    def run_it(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(ROOT / "run_tests.sh"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def log(self, folder: str, name: str, lines: List[str]) -> str:
        path = Path(folder) / name
        path.write_text("TAP version 13\n# %s\n" % BANNER + "".join(raw.MARK + line + "\n" for line in lines) + "# end\n")
        return str(path)

    def test_logs(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            a, b = self.log(folder, "a.log", LINES), self.log(folder, "b.log", [line.replace("width 46", "width 52") for line in LINES])
            self.assertIn("a.log,pin-based VM-execution controls,virtual NMIs,0 or 1,vnmi", self.run_it("inventory", "--csv", a).stdout)
            self.assertEqual([one["machine"] for one in json.loads(self.run_it("inventory", "--json", a, b).stdout)], [a, b])
            done = self.run_it("compare", "--inventory", a, b)
            self.assertEqual(done.returncode, 1)
            self.assertIn("physical-address width  46   52", done.stdout)
            self.assertEqual(self.run_it("compare", "--inventory", a, a).returncode, 0)
            self.assertIn("physical-address width: 46", self.run_it("inventory", "--pool", a, b).stdout)
            torn = self.run_it("inventory", self.log(folder, "c.log", LINES[:-1]))
            self.assertEqual((torn.returncode, torn.stdout.splitlines()[-1]), (2, "problem: the end is lost"))
            self.assertIn("--csv and --pool contradict", self.run_it("inventory", "--csv", "--pool", a, b).stderr)
            empty = self.run_it("inventory", self.log(folder, "d.log", []))
            self.assertEqual(empty.returncode, 2)
            self.assertIn("no inventory is in it", empty.stderr)


if __name__ == "__main__":
    unittest.main()
