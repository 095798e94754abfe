# SPDX-License-Identifier: BSD-2-Clause
"""An inventory as rows of names and values: for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..decode import Bits
from . import raw, tables
from .raw import Inventory

BOTH, ONE, ZERO, YES, NO, ABSENT = "0 or 1", "1", "0", "yes", "no", "-"
PROCESSOR, TOPOLOGY, CPUID, MSRS, FIELDS = "processor", "processors", "CPUID features", "MSRs", "VMCS fields"
TSC_FREQUENCY = "TSC frequency"  # if it is measured, it is another one each time
Key = Tuple[str, str, str]
LIMITS = ("CR3-target values", "MSR-list maximum")  # of IA32_VMX_MISC: the more the better


@dataclass(frozen=True)
class Row:
    group: str
    name: str
    place: str  # where it is from: an MSR and its bits, a leaf of CPUID, an encoding
    value: str
    alias: str = ""  # in /proc/cpuinfo of Linux

    @property
    def key(self) -> Key:
        return self.group, self.name, self.place


def _hex(value: Optional[int], digits: int = 16) -> str:
    return ABSENT if value is None else "%0*x" % (digits, value)


def _signature(inventory: Inventory, leaf: int) -> str:
    _, b, c, d = inventory.cpuid(leaf)
    registers = (b, c, d) if leaf else (b, d, c)
    return b"".join(value.to_bytes(4, "little") for value in registers).decode("latin-1").rstrip("\0 ")


def _name(inventory: Inventory) -> str:
    return b"".join(value.to_bytes(4, "little") for leaf in (0x80000002, 0x80000003, 0x80000004)
                    for value in inventory.cpuid(leaf)).partition(b"\0")[0].decode("latin-1").strip()


def _processor(inventory: Inventory) -> Iterator[Row]:
    facts = raw.banner_facts(inventory.banner)
    microcode, platform = inventory.msr(0x8B), inventory.msr(0x17)
    yield Row(PROCESSOR, "vendor", "CPUID.00H", _signature(inventory, 0))
    yield Row(PROCESSOR, "name", "CPUID.80000002H", _name(inventory))
    yield Row(PROCESSOR, "family-model-stepping", "CPUID.01H:EAX", facts.get("fms") or _fms(inventory.cpuid(1)[0]))
    yield Row(PROCESSOR, "microcode revision", "IA32_BIOS_SIGN_ID[63:32]", ABSENT if microcode is None else "%#x" % (microcode >> 32))
    yield Row(PROCESSOR, "platform ID", "IA32_PLATFORM_ID[52:50]", ABSENT if platform is None else "%d" % (platform >> 50 & 7))
    yield Row(PROCESSOR, "core type", "CPUID.1AH:EAX[31:24]", _core(inventory.cpuid(0x1A)[0]))
    yield Row(PROCESSOR, "physical-address width", "CPUID.80000008H:EAX[7:0]", str(inventory.widths[0]))
    yield Row(PROCESSOR, "linear-address width", "CPUID.80000008H:EAX[15:8]", str(inventory.widths[1]))
    yield Row(PROCESSOR, TSC_FREQUENCY, "-", inventory.tsc or ABSENT)
    yield Row(PROCESSOR, "TSC frequency is from", "-", inventory.tsc_source or ABSENT)
    bases = [leaf for leaf, _ in inventory.first.cpuid if 0x40000000 <= leaf < 0x50000000 and not leaf & 0xFF]
    for leaf in bases or [0]:
        yield Row(PROCESSOR, "hypervisor", "CPUID.%XH" % (leaf or 0x40000000), _signature(inventory, leaf) if leaf else "none")
    if inventory.has_vmx:
        yield Row(PROCESSOR, "IA32_FEATURE_CONTROL locked by", "-", inventory.locked or ABSENT)


def _fms(signature: int) -> str:
    family, extended = signature >> 8 & 15, signature >> 20 & 255
    model = signature >> 4 & 15 | (signature >> 12 & 0xF0 if family in (6, 15) else 0)
    return "%x-%x-%x" % (family + extended if family == 15 else family, model, signature & 15)


def _core(value: int) -> str:
    return {0x20: "atom", 0x40: "core"}.get(value >> 24, "none")


def _topology(inventory: Inventory) -> Iterator[Row]:
    shifts = {level[2] >> 8 & 0xFF: level[0] & 31 for (leaf, _), level in inventory.first.cpuid.items() if leaf == 0xB}
    for number, processor in sorted(inventory.processors.items()):
        if processor.apic is None:
            continue
        said = "APIC ID %x" % processor.apic
        if 1 in shifts and 2 in shifts:
            core = (processor.apic & (1 << shifts[2]) - 1) >> shifts[1]
            said += ", package %d, core %d, thread %d" % (processor.apic >> shifts[2], core, processor.apic & (1 << shifts[1]) - 1)
        kind = _core(processor.cpuid.get((0x1A, 0), inventory.cpuid(0x1A))[0])
        yield Row(TOPOLOGY, "processor %d" % number, "CPUID.0BH", said + (", " + kind if kind != "none" else ""))


def _msrs(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    names = {number: name for name, number in known.msrs.items()}
    for number, value in sorted(inventory.first.msrs.items()):
        yield Row(MSRS, names.get(number, "%XH" % number), "%XH" % number, _hex(value))


def _control_value(word: tables.Word, inventory: Inventory, bit: int) -> str:
    legacy, true = inventory.msr(word.msr), inventory.msr(word.true_msr) if word.true_msr else None
    value = legacy if true is None else true
    if value is None:
        return ZERO
    if word.wide:
        return BOTH if value >> bit & 1 else ZERO
    return ONE if value >> bit & 1 else BOTH if value >> 32 + bit & 1 else ZERO


def _controls(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    names = {number: name for name, number in known.msrs.items()}
    for word in known.words:
        place = names[word.true_msr if inventory.msr(word.true_msr) is not None else word.msr]
        named = set()
        for bit, name, text in word.controls:
            named.add(bit)
            yield Row(word.text, text, "%s[%d]" % (place, bit), _control_value(word, inventory, bit), known.aliases.get(name, ""))
        for bit in range(64 if word.wide else 32):
            value = _control_value(word, inventory, bit)
            if bit not in named and (value == BOTH or value == ONE and not word.default1 >> bit & 1):
                yield Row(word.text, "bit %d, which has no name" % bit, "%s[%d]" % (place, bit), value)


def _capabilities(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    for name, msr, bit, text in known.capabilities:
        value = (inventory.msr(known.msrs[msr]) or 0) >> bit & 1
        yield Row(msr, text, "%s[%d]" % (msr, bit), YES if value else NO, known.aliases.get(name, ""))


def _parts(inventory: Inventory, known: tables.Tables, msr: str) -> Iterator[Row]:
    """The bits of an MSR by spec/bits.tsv; nothing where it is not there."""
    value = inventory.msr(known.msrs[msr])
    for bits in known.bits.get(msr, []) if value is not None else []:
        assert value is not None
        yield Row(msr, bits.name, "%s[%s]" % (msr, _range(bits)), bits.text(value) if bits.width > 1 else (YES if bits.of(value) else NO))


def _range(bits: Bits) -> str:
    return str(bits.low) if bits.width == 1 else "%d:%d" % (bits.low + bits.width - 1, bits.low)


def _fixed(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    for register, zero, one in (("CR0", 0x486, 0x487), ("CR4", 0x488, 0x489)):
        fixed0, fixed1 = inventory.msr(zero) or 0, inventory.msr(one) or 0
        names = {bits.low: bits.name for key, rows in known.bits.items() if key == "GUEST_" + register for bits in rows if bits.width == 1}
        for bit in range(32):
            value = ONE if fixed0 >> bit & 1 else BOTH if fixed1 >> bit & 1 else ZERO
            if bit in names or register == "CR4" and value != ZERO:
                yield Row("%s in VMX operation" % register, names.get(bit, "bit %d" % bit), "IA32_VMX_%s_FIXED0, 1[%d]" % (register, bit), value)


def _fields(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    names = dict(known.fields)
    for encoding in sorted(set(names) | set(inventory.fields)):
        yield Row(FIELDS, names.get(encoding, "no field that is known"), "%04XH" % encoding, inventory.fields.get(encoding, ABSENT))


def _cpuid(inventory: Inventory, known: tables.Tables) -> Iterator[Row]:
    for feature in known.features:
        value = inventory.cpuid(feature.leaf, feature.subleaf)[feature.register] >> feature.bit & 1
        yield Row(CPUID, feature.text, feature.place, YES if value else NO)


def rows(inventory: Inventory) -> List[Row]:
    known = tables.load()
    found = [*_processor(inventory), *_topology(inventory), *_cpuid(inventory, known), *_parts(inventory, known, "IA32_ARCH_CAPABILITIES")]
    if inventory.has_vmx:
        found += [*_parts(inventory, known, "IA32_FEATURE_CONTROL"), *_controls(inventory, known), *_parts(inventory, known, "IA32_VMX_BASIC"),
                  *_parts(inventory, known, "IA32_VMX_MISC"), *_capabilities(inventory, known), *_parts(inventory, known, "IA32_VMX_VMCS_ENUM"),
                  *_fixed(inventory, known), *_fields(inventory, known)]
    return found + list(_msrs(inventory, known))


def differences(inventory: Inventory) -> List[str]:
    """Where processors of one machine say different things, but for what says which of them is speaking."""
    names = {number: name for name, number in tables.load().msrs.items()}
    said, first = [], inventory.first
    for number, one in sorted(inventory.processors.items()):
        for leaf, registers in sorted(one.cpuid.items()) if number else []:
            before = first.cpuid.get(leaf)
            if before is None or _own(leaf[0], registers) != _own(leaf[0], before):
                said.append("processor %d: CPUID.%XH.%d is %s, not %s" % (number, *leaf, _registers(registers), _registers(before)))
        for msr, value in sorted(one.msrs.items()) if number else []:
            old = first.msrs.get(msr)
            if msr == 0x3A and inventory.locked == "suite":
                continue  # on the first one alone
            if msr != 0x1B or value is None or old is None or (value ^ old) & ~0x100:
                said.append("processor %d: %s is %s, not %s" % (number, names.get(msr, "MSR %XH" % msr), _hex(value), _hex(old)))
        said += ["processor %d lacks %s" % (number, what) for what in one.lacks]
    return said


def _registers(registers: Optional[Sequence[int]]) -> str:
    return " ".join("%08x" % value for value in registers) if registers else ABSENT


def _own(leaf: int, registers: Sequence[int]) -> Tuple[int, ...]:
    """Without the APIC ID."""
    a, b, c, d = registers
    return (a, b & 0xFFFFFF, c, d) if leaf == 1 else (a, b, c) if leaf in (0xB, 0x1F) else (a, b, c, d)


def side_by_side(machines: Sequence[Inventory], key: Callable[[Row], Key]) -> Iterator[Tuple[Row, List[str]]]:
    """What is the same thing by the key: its row on the first machine that has it, and what it says of each."""
    columns = [{key(row): row for row in rows(machine)} for machine in machines]
    for one in dict.fromkeys(one for column in columns for one in column):
        yield next(column[one] for column in columns if one in column), [column[one].value if one in column else ABSENT for column in columns]


# ---- as text

def table(lines: Sequence[Sequence[str]]) -> List[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def text(inventory: Inventory) -> str:
    groups: Dict[str, List[Row]] = {}
    for row in rows(inventory):
        groups.setdefault(row.group, []).append(row)
    out = [inventory.name]
    for group, found in groups.items():
        out += ["", group] + table([(row.name, row.value, row.alias, row.place) for row in found])
    differ = differences(inventory)
    out += ["", "processors that disagree"] + ["  " + line for line in differ] if differ else []
    return "\n".join(out + ["problem: " + problem for problem in inventory.problems])


def as_csv(inventories: Sequence[Inventory]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("machine", "group", "name", "value", "linux", "place"))
    for inventory in inventories:
        writer.writerows((inventory.name, row.group, row.name, row.value, row.alias, row.place) for row in rows(inventory))
    return out.getvalue().rstrip("\n")


def as_json(inventories: Sequence[Inventory]) -> str:
    return json.dumps([_object(inventory) for inventory in inventories], indent=1)


def _object(inventory: Inventory) -> Dict[str, Any]:
    return {
        "machine": inventory.name, "banner": inventory.banner, "differences": differences(inventory), "problems": inventory.problems,
        "processors": [{"number": number, "apic": one.apic, "lacks": one.lacks,
                        "cpuid": {"%x.%x" % leaf: ["%08x" % value for value in registers] for leaf, registers in one.cpuid.items()},
                        "msrs": {"%x" % msr: _hex(value) for msr, value in one.msrs.items()}}
                       for number, one in sorted(inventory.processors.items())],
        "rows": [asdict(row) for row in rows(inventory)],
    }
