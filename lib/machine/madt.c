/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/acpi.h"
#include "machine/madt.h"

enum { FIRST_ENTRY = 44, LOCAL_APIC = 0, LOCAL_X2APIC = 9, ENABLED = 1, NO_ID = 0xff };

struct entry {
	u8 type, length;
} __attribute__((packed));

struct local_apic {
	struct entry head;
	u8 uid, id;
	u32 flags;
} __attribute__((packed));

struct local_x2apic {
	struct entry head;
	u16 reserved;
	u32 id, flags, uid;
} __attribute__((packed));

/* What an entry says of a processor; false: it speaks of something else. */
static bool read_entry(const struct entry *entry, u32 *id, u32 *flags)
{
	const struct local_apic *apic = (const void *)entry;
	const struct local_x2apic *x2apic = (const void *)entry;

	if (entry->type == LOCAL_APIC && entry->length >= sizeof(*apic)) {
		*id = apic->id;
		*flags = apic->flags;
		return apic->id != NO_ID;
	}
	if (entry->type == LOCAL_X2APIC && entry->length >= sizeof(*x2apic)) {
		*id = x2apic->id;
		*flags = x2apic->flags;
		return x2apic->id != 0xffffffff;
	}
	return false;
}

/* The entry behind this one, or the first; NULL: there is none that is whole. */
static const struct entry *next_entry(const void *madt, const struct entry *entry)
{
	const struct acpi_table *table = madt;
	const u8 *end = (const u8 *)madt + table->length;
	const u8 *next = entry ? (const u8 *)entry + entry->length : (const u8 *)madt + FIRST_ENTRY;

	entry = (const void *)next;
	if (next + sizeof(*entry) > end || entry->length < sizeof(*entry) || next + entry->length > end)
		return NULL;
	return entry;
}

static bool is_among(u32 id, const u32 *ids, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

unsigned int madt_processors(const void *madt, u32 *ids, unsigned int most)
{
	unsigned int count = 0;
	u32 id, flags;

	for (const struct entry *entry = next_entry(madt, NULL); entry && count < most; entry = next_entry(madt, entry))
		if (read_entry(entry, &id, &flags) && flags & ENABLED && !is_among(id, ids, count))
			ids[count++] = id;
	return count;
}

bool madt_has_id(const void *madt, u32 wanted)
{
	u32 id, flags;

	for (const struct entry *entry = next_entry(madt, NULL); entry; entry = next_entry(madt, entry))
		if (read_entry(entry, &id, &flags) && id == wanted)
			return true;
	return false;
}
