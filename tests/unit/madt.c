/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/machine/madt: which processors a table lists. */
#include <stdio.h>
#include <string.h>

#include "../../lib/machine/madt.c"

static int number, failures;

static void point(bool passed, const char *name)
{
	number++;
	failures += !passed;
	printf("%s %d - %s\n", passed ? "ok" : "not ok", number, name);
}

/* ---- A table, entry by entry */

static u8 table[1024];

static void begin(void)
{
	memset(table, 0, sizeof(table));
	((struct acpi_table *)table)->length = FIRST_ENTRY;
}

static u8 *add(u8 type, u8 length)
{
	struct acpi_table *head = (void *)table;
	u8 *entry = table + head->length;

	entry[0] = type;
	entry[1] = length;
	head->length += length;
	return entry;
}

static void add_apic(u8 id, u32 flags)
{
	*(struct local_apic *)add(LOCAL_APIC, 8) = (struct local_apic){ { LOCAL_APIC, 8 }, 0, id, flags };
}

static void add_x2apic(u32 id, u32 flags)
{
	*(struct local_x2apic *)add(LOCAL_X2APIC, 16) = (struct local_x2apic){ { LOCAL_X2APIC, 16 }, 0, id, flags, 0 };
}

/* ---- What is read from it */

static bool lists(unsigned int count, const u32 *expected)
{
	u32 ids[16];

	return madt_processors(table, ids, 16) == count && !memcmp(ids, expected, count * sizeof(ids[0]));
}
#define LISTS(...) lists(sizeof((u32[]){ __VA_ARGS__ }) / sizeof(u32), (u32[]){ __VA_ARGS__ })

int main(void)
{
	u32 two[2];

	printf("TAP version 13\n");
	begin();
	point(lists(0, NULL), "a table without entries lists none");

	add_apic(0, 1);
	add_apic(2, 1);
	add_apic(6, 1);
	point(LISTS(0, 2, 6), "IDs need not be dense, and keep the table's order");

	add_apic(7, 0);
	add_apic(8, 2);
	point(LISTS(0, 2, 6), "who is disabled, or may be enabled later, is not listed");
	point(madt_has_id(table, 7) && madt_has_id(table, 8) && madt_has_id(table, 6), "but has its ID");
	point(!madt_has_id(table, 1) && !madt_has_id(table, 9), "an ID that is in no entry is nobody's");

	add(1, 12)[4] = 1;		/* an I/O APIC */
	add_x2apic(6, 1);
	add_x2apic(0x12345, 1);
	add_x2apic(0x200, 3);
	add_x2apic(0x300, 0);
	point(LISTS(0, 2, 6, 0x12345, 0x200), "x2APIC IDs above 255, behind an entry of another type; each ID once");

	point(madt_processors(table, two, 2) == 2 && two[0] == 0 && two[1] == 2, "no more than asked for");

	begin();
	add_apic(0xff, 1);
	add_x2apic(0xffffffff, 1);
	add_apic(1, 1);
	point(LISTS(1), "the IDs that mean everybody are nobody's");

	begin();
	add_apic(1, 1);
	((struct acpi_table *)table)->length += 3;	/* an entry of length 0 */
	point(LISTS(1), "an entry of length 0 ends the walk");

	begin();
	add_apic(1, 1);
	add_apic(2, 1);
	((struct acpi_table *)table)->length -= 1;
	point(LISTS(1), "an entry that is not whole is none");

	printf("1..%d\n", number);
	return failures != 0;
}
