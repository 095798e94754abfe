/* SPDX-License-Identifier: BSD-2-Clause */
/* "Saving MSRs" and "Loading MSRs" of VM exits (SDM Vol. 3C), and a list that exit and entry share. */
#include "hostload.h"

#include "libc/string.h"
#include "vmx/msr_list.h"
#include "x86/page.h"

enum {
	LIST_MAX = 512,		/* what every processor takes: IA32_VMX_MISC[27:25] = 0 */
	LIST_PAGES = 4,		/* more than that: to see what is behind the list */
	LIST_ROOM = LIST_PAGES * PAGE_SIZE / sizeof(struct msr_entry),
};

/* MSRs that take any canonical address (FMASK: 32 bits), and that nothing uses here. */
static const u32 free_msrs[] = {
	IA32_LSTAR, IA32_CSTAR, IA32_STAR, IA32_KERNEL_GS_BASE, IA32_FMASK, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP,
};
#define FREE_MSRS ARRAY_SIZE(free_msrs)

/* Another value for each n, every address bit in turn. */
static u64 value_of(u32 msr, u32 n)
{
	const u64 value = BIT(n % 47) ^ n << 3;

	if (msr == (u32)IA32_FMASK)
		return (u32)(value ^ value >> 23);
	return n & 1 ? ~value : value;
}

/* No MSR has the index, and the value is nobody's. */
static struct msr_entry no_msr(u32 i)
{
	return (struct msr_entry){ .index = 0x3f000000 + i, .value = 0x5eed5eed5eed0000 + i };
}

static struct msr_entry *list_alloc(void)
{
	struct msr_entry *list = page_alloc_many(LIST_PAGES);

	for (u32 i = 0; i < LIST_ROOM; i++)
		list[i] = no_msr(i);
	return list;
}

static void use_store_list(const struct msr_entry *list, u32 count)
{
	vmcs_write(VM_EXIT_MSR_STORE_ADDRESS, physical_address(list));
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, count);
}

static void use_load_list(const struct msr_entry *list, u32 count)
{
	vmcs_write(VM_EXIT_MSR_LOAD_ADDRESS, physical_address(list));
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, count);
}

static void expect_entry(const struct msr_entry *entry, u32 index, u64 value)
{
	expect_eq(entry->index, index);
	expect_eq(entry->reserved, 0);
	expect_eq(entry->value, value);
}

static u32 round_number;

static void guest_writes_msrs(void)
{
	for (u32 i = 0; i < FREE_MSRS; i++)
		wrmsr(free_msrs[i], value_of(free_msrs[i], round_number + i));
}

/* The list begins behind `first` entries, before and behind which nothing may change. */
static void expect_stored(struct msr_entry *list, u32 first, u32 count)
{
	round_number++;
	for (u32 i = 0; i < LIST_ROOM; i++)
		list[i] = no_msr(i);
	for (u32 i = 0; i < count; i++)
		list[first + i].index = free_msrs[(i + i / 64) % FREE_MSRS];
	use_store_list(list + first, count);
	guest_run(guest_writes_msrs);
	expect_guest_done();

	for (u32 i = 0; i < LIST_ROOM; i++) {
		const u32 n = i - first, at = (n + n / 64) % FREE_MSRS;
		const bool stored = i >= first && n < count;
		const struct msr_entry none = no_msr(i);

		CASE("list of %u at %#lx, entry %u", count, list + first, n);
		if (stored)
			expect_entry(&list[i], free_msrs[at], value_of(free_msrs[at], round_number + at));
		else
			expect_entry(&list[i], none.index, none.value);
	}
}

TEST("exit.msr.store_ok", "each entry of the MSR-store list gets the guest's value of its MSR, and nothing else changes",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	static const u32 counts[] = { 0, 1, 2, 7, 8, 64, 255, 256, 257, 511, LIST_MAX };
	struct msr_entry *list = list_alloc();

	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < ARRAY_SIZE(counts); i++)
		expect_stored(list, 0, counts[i]);
	for (u32 first = 1; first < PAGE_SIZE / sizeof(*list); first *= 2)	/* each address bit, across a page's end */
		expect_stored(list, first, 256);
	for (u32 i = 0; i < 47; i++)						/* each bit of the values */
		expect_stored(list, i, FREE_MSRS);
}

/* What both the host and the guest have a value of their own of. */
static const struct switched {
	u32 msr;
	u32 load, guest_load;		/* the exit and entry controls that load it; 0: always loaded */
	enum vmcs_field host, guest;
	u64 host_value, guest_value;	/* EFER: what is flipped */
	u64 list_value;
} switched[] = {
	{ IA32_SYSENTER_CS, 0, 0, HOST_IA32_SYSENTER_CS, GUEST_IA32_SYSENTER_CS, 0x1230, 0x4560, 0x7890 },
	{ IA32_SYSENTER_ESP, 0, 0, HOST_IA32_SYSENTER_ESP, GUEST_IA32_SYSENTER_ESP, 0x123456789abc, -0x23456789ll, 0x7f0000000011 },
	{ IA32_SYSENTER_EIP, 0, 0, HOST_IA32_SYSENTER_EIP, GUEST_IA32_SYSENTER_EIP, -0x3456789abcll, 0x23456789abc, -2ll },
	{ IA32_PAT, EXITCTL_LOAD_IA32_PAT, ENTRYCTL_LOAD_IA32_PAT, HOST_IA32_PAT, GUEST_IA32_PAT,
	  0x0001040500070406, 0x0507060100070506, 0x0405060700070106 },
	{ IA32_EFER, EXITCTL_LOAD_IA32_EFER, ENTRYCTL_LOAD_IA32_EFER, HOST_IA32_EFER, GUEST_IA32_EFER,
	  0, EFER_SCE, EFER_SCE },
};
/* Bases that only the MSR-store list may have. */
static const struct switched bases[] = {
	{ IA32_FS_BASE, 0, 0, HOST_FS_BASE, GUEST_FS_BASE, 0x1234567, -0x765432100ll, 0 },
};

static bool can_switch(const struct switched *s)
{
	return !s->load || (has(s->load) && has(s->guest_load));
}

/* Give host and guest their values by the VMCS; false: the processor lacks a control for it. */
static bool use_switched(const struct switched *s)
{
	const bool efer = s->msr == (u32)IA32_EFER;
	const u64 efer_home = rdmsr(IA32_EFER) & ~(u64)EFER_SCE;

	if (!can_switch(s))
		return false;
	if (s->load)
		vmcs_set_controls(s->load, s->guest_load);
	vmcs_write(s->host, (efer ? efer_home : 0) | s->host_value);
	vmcs_write(s->guest, (efer ? efer_home : 0) | s->guest_value);
	return true;
}

static u64 with_efer_home(const struct switched *s, u64 value)
{
	return s->msr == (u32)IA32_EFER ? (rdmsr(IA32_EFER) & ~(u64)EFER_SCE) | value : value;
}

static void expect_stored_before_load(const struct switched *s, struct msr_entry *list)
{
	CASE("MSR %#x", s->msr);
	if (!use_switched(s))
		return;
	*list = (struct msr_entry){ .index = s->msr, .value = 0x5eed };
	use_store_list(list, 1);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(list->value, with_efer_home(s, s->guest_value));
	expect_eq(exit_probe_msr(s->msr), with_efer_home(s, s->host_value));
}

TEST("exit.msr.store_before_load", "MSRs are stored before host state is loaded: what is stored is the guest's",
     NEEDS(FEATURE_PAT))
{
	struct msr_entry *list = list_alloc();

	exit_probe_on();
	for (u32 i = 0; i < ARRAY_SIZE(switched); i++)
		expect_stored_before_load(&switched[i], list);
	for (u32 i = 0; i < ARRAY_SIZE(bases); i++)
		expect_stored_before_load(&bases[i], list);

	/* GS base is this_cpu() for the library: the guest has the same for its C code, and none is run here. */
	CASE("IA32_GS_BASE");
	vmcs_write(GUEST_GS_BASE, 0x123456789000);
	*list = (struct msr_entry){ .index = IA32_GS_BASE };
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(list->value, 0x123456789000);
	expect_eq(exit_probe_msr(IA32_GS_BASE), vmcs_read(HOST_GS_BASE));

	CASE("stored before the MSR-load list is loaded");
	list[0] = (struct msr_entry){ .index = IA32_LSTAR };
	list[1] = (struct msr_entry){ .index = IA32_LSTAR, .value = 0x1111 };
	wrmsr(IA32_LSTAR, 0x2222);
	use_load_list(list + 1, 1);
	guest_run(guest_ends);
	expect_guest_done();
	expect_eq(list[0].value, 0x2222);
	expect_eq(exit_probe_msr(IA32_LSTAR), 0x1111);
}

static void expect_tsc_stored(void)
{
	struct msr_entry *list = list_alloc();

	list[0] = (struct msr_entry){ .index = IA32_TIME_STAMP_COUNTER };
	use_store_list(list, 1);

	const u64 before = rdtsc();

	guest_run(guest_ends);

	const u64 after = rdtsc();

	expect_guest_done();
	expect_between(before, list[0].value, after);
}

TEST("exit.msr.store_tsc_no_offset", "the TSC in the MSR-store list of a guest without an offset is the time of the exit")
{
	expect_tsc_stored();
}

TEST("exit.msr.store_tsc", "the TSC in the MSR-store list is the one without the guest's offset and multiplier")
{
	static const u64 offsets[] = { 0, BIT(40), BIT(62), -BIT(62) };

	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		CASE("TSC offset %#lx", offsets[i]);
		if (has(PROC_USE_TSC_OFFSETTING))
			vmcs_set_controls(PROC_USE_TSC_OFFSETTING);
		if (has(PROC2_USE_TSC_SCALING) && i) {
			vmcs_set_controls(PROC2_USE_TSC_SCALING);
			vmcs_write(TSC_MULTIPLIER, BIT(51));
		}
		vmcs_write(TSC_OFFSET, offsets[i]);
		expect_tsc_stored();
	}
}

/* The last value for each MSR wins; the entry behind the list does not count. */
static void expect_loaded(struct msr_entry *list, u32 first, u32 count)
{
	u64 expected[FREE_MSRS];

	round_number++;
	for (u32 i = 0; i < FREE_MSRS; i++) {
		expected[i] = value_of(free_msrs[i], round_number + 20 + i);
		wrmsr(free_msrs[i], expected[i]);
		if (free_msrs[i] == IA32_SYSENTER_ESP)
			vmcs_write(HOST_IA32_SYSENTER_ESP, expected[i]);
		if (free_msrs[i] == IA32_SYSENTER_EIP)
			vmcs_write(HOST_IA32_SYSENTER_EIP, expected[i]);
	}
	for (u32 i = 0; i <= count; i++) {
		const u32 at = (i + i / 64) % FREE_MSRS;
		const u64 value = value_of(free_msrs[at], round_number + 5 * i);

		list[first + i] = (struct msr_entry){ .index = free_msrs[at], .value = value };
		if (i < count)
			expected[at] = value;
	}
	use_load_list(list + first, count);
	guest_run(guest_ends);
	expect_guest_done();
	for (u32 i = 0; i < FREE_MSRS; i++) {
		CASE("list of %u at %#lx, MSR %#x", count, list + first, free_msrs[i]);
		expect_eq(exit_probe_msr(free_msrs[i]), expected[i]);
	}
	for (u32 i = 0; i <= count; i++) {
		const u32 at = (i + i / 64) % FREE_MSRS;

		CASE("list of %u, entry %u", count, i);
		expect_entry(&list[first + i], free_msrs[at], value_of(free_msrs[at], round_number + 5 * i));
	}
}

TEST("exit.msr.load_ok", "the entries of the MSR-load list are loaded in order, and no more than the count")
{
	struct msr_entry *list = list_alloc();

	exit_probe_on();
	for (u32 count = 0; count < 64; count++)
		expect_loaded(list, 0, count);
	for (u32 count = 64; count <= LIST_MAX; count += 64) {
		expect_loaded(list, 0, count);
		expect_loaded(list, 0, count - 1);
	}
	for (u32 first = 1; first < PAGE_SIZE / sizeof(*list); first *= 2)
		expect_loaded(list, first, 256);
}

TEST("exit.msr.load_after_host", "the MSR-load list is loaded after the host state: its values win",
     NEEDS(FEATURE_PAT))
{
	struct msr_entry *list = list_alloc();
	u32 count = 0;

	exit_probe_on();
	for (u32 i = 0; i < ARRAY_SIZE(switched); i++)
		if (use_switched(&switched[i]))
			list[count++] = (struct msr_entry){
				.index = switched[i].msr, .value = with_efer_home(&switched[i], switched[i].list_value),
			};
	use_load_list(list, count);
	guest_run(guest_ends);
	expect_guest_done();
	for (u32 i = 0; i < count; i++) {
		CASE("MSR %#x", list[i].index);
		expect_eq(exit_probe_msr(list[i].index), list[i].value);
	}

	CASE("in a host that the list is not for");
	use_load_list(list, 0);
	guest_run(guest_ends);
	expect_guest_done();
	for (u32 i = 0; i < ARRAY_SIZE(switched); i++)
		if (can_switch(&switched[i]))
			expect_eq(exit_probe_msr(switched[i].msr), with_efer_home(&switched[i], switched[i].host_value));
}

static u64 guest_found[FREE_MSRS];

static void guest_uses_msrs(void)
{
	for (u32 i = 0; i < FREE_MSRS; i++)
		guest_found[i] = rdmsr(free_msrs[i]);
	guest_writes_msrs();
	guest_call_host(0);
	for (u32 i = 0; i < FREE_MSRS; i++)
		guest_found[i] = rdmsr(free_msrs[i]);
}

static void expect_host_msrs(const struct msr_entry *host)
{
	for (u32 i = 0; i < FREE_MSRS; i++)
		expect_eq(exit_probe_msr(free_msrs[i]), host[i].value);
}

TEST("exit.msr.shared_list", "one list for MSR store on exit and load on entry gives the guest MSRs of its own",
     NEEDS(PROC_USE_MSR_BITMAPS))
{
	struct msr_entry *shared = list_alloc(), *host = list_alloc();

	exit_probe_on();
	vmcs_use_msr_bitmap();
	for (u32 i = 0; i < FREE_MSRS; i++) {
		shared[i] = (struct msr_entry){ .index = free_msrs[i], .value = value_of(free_msrs[i], i) };
		host[i] = (struct msr_entry){ .index = free_msrs[i], .value = value_of(free_msrs[i], 100 + i) };
	}
	use_store_list(shared, FREE_MSRS);
	use_load_list(host, FREE_MSRS);
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDRESS, physical_address(shared));
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, FREE_MSRS);
	round_number = 0;
	for (u32 n = 0; n < 50; n++) {
		const u32 before = round_number;

		CASE("round %u", n);
		round_number = 7 * n + 3;
		guest_run(guest_uses_msrs);
		expect_exit(EXIT_VMCALL);
		for (u32 i = 0; i < FREE_MSRS; i++) {
			expect_eq(guest_found[i], value_of(free_msrs[i], before + i));
			expect_eq(shared[i].value, value_of(free_msrs[i], round_number + i));
		}
		expect_host_msrs(host);

		guest_skip_instruction();
		guest_resume();
		expect_guest_done();
		for (u32 i = 0; i < FREE_MSRS; i++)
			expect_eq(guest_found[i], value_of(free_msrs[i], round_number + i));
		expect_host_msrs(host);
	}
}
