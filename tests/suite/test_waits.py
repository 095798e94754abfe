# SPDX-License-Identifier: BSD-2-Clause
"""Waiting has one room, lib/x86/wait.c: nobody else counts instructions until something has come."""
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOM = {"lib/x86/wait.c", "lib/x86/wait.h"}
# PAUSE is what this file tests.
ABOUT_PAUSE = {"x86/exec/insn_wait.c"}
# What plays the strange machine, which the words for waiting are to meet, and the tests that are wrong on purpose.
STRANGE = ("lib/hostile/", "tests/images/hostile.c")

# What is forbidden -> examples of it.
RULES = {
    "a loop around PAUSE": (r'\bcpu_relax\b|"[^"\n]*\bpause\b[^"\n]*\bj\w+\s', ('cpu_relax();', 'asm("1: pause; jmp 1b");')),
    "a loop around a delay": (r"\b(for|while) \(.*\)\s*\n\s*(delay_us|cpu_yield|wait_ticks|wait_for_nothing)\(",
                              ("for (int ms = 0; ms < 200 && !done; ms++)\n\t\tdelay_us(1000);", "while (!done)\n\tcpu_yield();")),
    "a loop that counts until something has come": (r"\bfor \((int|u32|u64|size_t)? ?\w+ = 0; [^;]*&& ?!?\(?(apic_\w+|interrupt_count|nmis)\b",
                                                     ("for (u32 i = 0; i < 1000 && !apic_requested(vector); i++)",
                                                      "for (int i = 0; i < 1000 && !interrupt_count[2]; i++)")),
    "a drain of its own": (r'asm volatile\("sti; (nop; )*cli"', ('asm volatile("sti; nop; cli" : : : "memory");',)),
}


def sources() -> dict[str, str]:
    files = [path for folder in ("lib", "x86", "tests/images") for path in sorted((ROOT / folder).rglob("*.[chS]"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


class Waits(unittest.TestCase):
    def test_nobody_waits_elsewhere(self) -> None:
        found = [f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {what}"
                 for name, text in sources().items() if name not in ROOM | ABOUT_PAUSE and not name.startswith(STRANGE)
                 for what, (pattern, _) in RULES.items() for match in re.finditer(pattern, text)]
        self.assertEqual(found, [], "lib/x86/wait.h has words for it")

    def test_the_rules_find_what_they_forbid(self) -> None:
        for what, (pattern, examples) in RULES.items():
            for example in examples:
                self.assertRegex(example, pattern, what)

    def test_the_room_is_there(self) -> None:
        self.assertLessEqual(ROOM | ABOUT_PAUSE, set(sources()))


if __name__ == "__main__":
    unittest.main()
