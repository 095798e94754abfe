# SPDX-License-Identifier: BSD-2-Clause
"""Bits of fields by their names: each table names fields that exist, and what is shown says what differs."""
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import decode  # noqa: E402

ALL = 2**64 - 1


class Table(unittest.TestCase):
    def test_every_row_is_used(self) -> None:
        names = set(re.findall(r"^FIELD\((\w+),", (ROOT / "lib/vmx/fields.def").read_text(), re.MULTILINE))
        names |= set(re.findall(r"^MSR\((\w+),", (ROOT / "lib/x86/msrs.def").read_text(), re.MULTILINE))
        for line in (ROOT / "spec/bits.tsv").read_text().splitlines():
            if line.startswith("#"):
                continue
            self.assertIn(line.count("\t"), (2, 3), line)
            for field in line.split("\t")[0].split(","):
                pattern = field.partition("@")[0].replace("*", r"\w*")
                self.assertTrue(any(re.fullmatch(pattern, name) for name in names), line)

    def test_bits_do_not_overlap(self) -> None:
        for key, bits in decode.table().items():
            seen = 0
            for one in bits:
                self.assertFalse(seen & one.mask(), (hex(key[0]), one))
                seen |= one.mask()
                self.assertTrue(all(value < 1 << one.width for value in one.values), one)

    def test_without_tables(self) -> None:
        self.assertEqual(decode.table(Path("/nowhere")), {})
        self.assertEqual(decode.explained(['set: "Guest RFLAGS [6820H] = 0x2"'], Path("/nowhere")), ['set: "Guest RFLAGS [6820H] = 0x2"'])


class Words(unittest.TestCase):
    def test_one_value(self) -> None:
        self.assertEqual(decode.described(0x6820, 0x8202), "IF, bit 15")
        self.assertEqual(decode.described(0x4826, 0), "activity: active")
        self.assertEqual(decode.described(0x4404, 0x80000b0e), "vector: 14, type: hardware exception, error code valid, valid".replace("14", "0xe"))
        self.assertEqual(decode.described(0x4002, 0x8000080), "HLT exiting, monitor trap flag")
        self.assertEqual(decode.described(0x6400, 0x181, 48), "data read, guest-linear address valid, translation of the linear address")
        self.assertEqual(decode.described(0x6400, 0x181, 10), "")
        self.assertEqual(decode.described(0x681e, 0x1234), "")

    def test_two_values(self) -> None:
        self.assertEqual(decode.differing(0x6820, 0x2, 0x3002, ALL), "IOPL (bits 13:12): expected 0, actual 3")
        self.assertEqual(decode.differing(0x4816, 0xa09b, 0x1c09b, ALL),
                         "L (bit 13): expected 1, actual 0; D/B (bit 14): expected 0, actual 1; unusable (bit 16): expected 0, actual 1")
        self.assertEqual(decode.differing(0x6820, 0x2, 0x8002, 0xfff), "")
        self.assertEqual(decode.differing(0x6820, 0x2, 0x8002, ALL), "bit 15: expected 0, actual 1")

    def test_a_failure(self) -> None:
        block = ['at: x86/t.c:1', 'set: "Guest RFLAGS [6820H] = 0x8002"', 'field: "Guest CS access rights [4816H]"',
                 'expected: "0x9b in the bits 0x40ff"', 'actual: "0xe09b"',
                 'exit: { reason: "30 I/O instruction", "Exit qualification [6400H]": 0x5a0008 }',
                 'more:', '  - at: x86/t.c:2', '    expected: "0"', '    actual: "0x1"', '  - at: x86/t.c:3', '    field: "Guest RIP [681EH]"',
                 '    expected: "0x1"', '    actual: "0x2"']
        said = decode.explained(block)
        self.assertEqual([line for line in said if line not in block],
                         ['bits: "bit 15"', 'differ: "D/B (bit 14): expected 0, actual 1"',
                          'bits: "Exit qualification: size: 1 byte, IN, port: 0x5a"'])
        self.assertEqual([line for line in said if line in block], block)
        for check, differs in (("read_cr0()", 1), ("flipped_cr0", 1), ("cr0 >> 4", 0), ("cr0 ^ cr4", 0), ("rcr0x", 0), ("rflags", 0)):
            said = decode.explained(["at: x86/t.c:1", 'check: "%s"' % check, 'expected: "0x80010023"', 'actual: "0x80010033"'])
            self.assertEqual('differ: "ET (bit 4): expected 0, actual 1"' in said, bool(differs), check)
        for line in ("actual: 5", "field: ", "set: [XH] = 0x", "exit: {}", "", "  - "):
            self.assertEqual(decode.explained([line]), [line])


if __name__ == "__main__":
    unittest.main()
