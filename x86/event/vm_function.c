/* SPDX-License-Identifier: BSD-2-Clause */
/* VM functions and virtualization exceptions (SDM Vol. 3C, "VM Functions", "Virtualization Exceptions"). */
#include "event.h"

#include "machine/memory.h"
#include "vmx/modes.h"
#include "vmxtest/raiser.h"
#include "x86/user.h"

#define NEEDS_SWITCHING(...) \
	NEEDS(PROC2_ENABLE_VM_FUNCTIONS, PROC2_ENABLE_EPT, CAP_VMFUNC_EPTP_SWITCHING, CAP_EPT_2M_PAGES, \
	      CAP_EPT_MEMORY_TYPE_WB, ##__VA_ARGS__)

enum { FUNCTION_EPTP_SWITCHING = 0, EPTP_SWITCHING = BIT(0) };

/* Two 2-MByte pages of RAM that hold nothing else: which one does the first address lead to? */
static u64 probed_pages;

static void find_probed_pages(void)
{
	probed_pages = physical_address(ram_within(0, MEMORY_LIMIT, 1024, BIT(21)));
}

static u64 probed(u32 n)
{
	return probed_pages + n * BIT(21);
}

static struct {
	u32 function, index;
	u64 before, after;
} call;

static void vmfunc(u32 function, u32 index)
{
	asm volatile(".byte 0x0f, 0x01, 0xd4" : : "a"(function), "c"(index) : "memory");	/* VMFUNC */
}

static void guest_switches(void)
{
	const volatile u64 *probe = (const volatile u64 *)probed(0);

	call.before = *probe;
	vmfunc(call.function, call.index);
	call.after = *probe;
}

/* Each leads from every address below 4 GiB to the same one, but where a test changes it. */
static u64 *first, *second;
static u64 *eptp_list;

static u64 *use_another_ept(void)
{
	vmcs_use_ept();
	return ept_root();
}

/* The second EPT leads from the first probed page to the second one. */
static void use_eptp_list(void)
{
	eptp_list = page_alloc();
	find_probed_pages();
	*(u64 *)probed(0) = 0x1111;
	*(u64 *)probed(1) = 0x2222;
	second = use_another_ept();
	*ept_entry(probed(0), 2) += BIT(21);
	ept_flush();
	first = use_another_ept();
	vmcs_set_controls(PROC2_ENABLE_VM_FUNCTIONS);
	vmcs_write(VM_FUNCTION_CONTROLS, EPTP_SWITCHING);
	vmcs_write(EPTP_LIST_ADDRESS, physical_address(eptp_list));
}

static void run_vmfunc(u32 function, u32 index)
{
	call.function = function;
	call.index = index;
	guest_run(guest_switches);
}

/* One switch to the second EPT by each index of these. */
static const u32 indexes[] = { 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 511 };

static void check_switches(u32 cpl)
{
	use_eptp_list();
	if (cpl == 3)		/* the probed page belongs to CPL 3 too, for the two reads */
		*page_entry(probed(0), 2) |= PAGE_USER;
	for (u32 i = 0; i < ARRAY_SIZE(indexes); i++) {
		CASE("EPTP list entry %u", indexes[i]);
		eptp_list[indexes[i]] = ept_pointer(second);
		vmcs_write(EPT_POINTER, ept_pointer(first));
		guest_set_cpl(cpl);
		run_vmfunc(FUNCTION_EPTP_SWITCHING, indexes[i]);
		expect_guest_done();
		expect_eq(call.before, 0x1111);
		expect_eq(call.after, 0x2222);
		expect_eq(vmcs_read(EPT_POINTER), ept_pointer(second));
		if (has(PROC2_EPT_VIOLATION_VE))
			expect_eq(vmcs_read(EPTP_INDEX), indexes[i]);
		eptp_list[indexes[i]] = 0;
	}
}

TEST("feat.vmfunc.eptp", "VMFUNC 0 switches to an EPTP of the list without an exit, and stores it", NEEDS_SWITCHING())
{
	check_switches(0);
}

TEST("feat.vmfunc.cpl3", "VMFUNC works at CPL 3", NEEDS_SWITCHING())
{
	user_pages_on();
	check_switches(3);
	*page_entry(probed(0), 2) &= ~(u64)PAGE_USER;
}

TEST("feat.vmfunc.eptp_index", "EPTP switching stores ECX[15:0] in the EPTP index",
     NEEDS_SWITCHING(PROC2_EPT_VIOLATION_VE))
{
	use_eptp_list();
	for (u32 index = 0; index < 512; index++) {
		CASE("ECX %u", index);
		eptp_list[index] = ept_pointer(second);
		vmcs_write(EPTP_INDEX, 0xffff);
		run_vmfunc(FUNCTION_EPTP_SWITCHING, index);
		expect_guest_done();
		expect_eq(vmcs_read(EPTP_INDEX), index);
	}
}

static void expect_vmfunc_exit(void)
{
	expect_exit(EXIT_VMFUNC, .qualification = 0, .instruction_length = 3);
	expect_eq(vmcs_read(EPT_POINTER), ept_pointer(first));
}

TEST("feat.vmfunc.bad_entry", "VMFUNC 0 with ECX from 512, or with an EPTP that is no good, exits with reason 59",
     NEEDS_SWITCHING())
{
	static const u32 outside[] = { 512, 513, 1024, 0x10000, 0x80000000, 0xffffffff };
	u64 bad[5];

	use_eptp_list();
	bad[0] = 0;							/* page-walk length 1 */
	bad[1] = (ept_pointer(second) & ~7ull) | 2;				/* memory type 2 */
	bad[2] = ept_pointer(second) ^ 1 << 3;					/* page-walk length 3 */
	bad[3] = ept_pointer(second) | BIT(11);					/* reserved */
	bad[4] = ept_pointer(second) | BIT(physical_address_width());		/* beyond MAXPHYADDR */
	for (u32 i = 0; i < 512; i++)
		eptp_list[i] = ept_pointer(second);
	for (u32 i = 0; i < ARRAY_SIZE(outside); i++) {
		CASE("ECX %#x", outside[i]);
		run_vmfunc(FUNCTION_EPTP_SWITCHING, outside[i]);
		expect_vmfunc_exit();
	}
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		CASE("EPTP %#lx", bad[i]);
		eptp_list[7] = bad[i];
		run_vmfunc(FUNCTION_EPTP_SWITCHING, 7);
		expect_vmfunc_exit();
	}
}

TEST("feat.vmfunc.disabled_fn", "VMFUNC of a function whose control bit is 0 exits; EAX from 64 raises #UD",
     NEEDS_SWITCHING())
{
	static const u32 beyond[] = { 64, 65, 128, 0x10000, 0x80000000, 0xffffffff };

	use_eptp_list();
	eptp_list[0] = ept_pointer(second);
	for (u32 function = 0; function < 64; function++) {
		CASE("EAX %u", function);
		vmcs_write(VM_FUNCTION_CONTROLS, function == 0 ? 0 : EPTP_SWITCHING);
		run_vmfunc(function, 0);
		expect_vmfunc_exit();
	}
	for (u32 i = 0; i < ARRAY_SIZE(beyond); i++) {
		CASE("EAX %#x", beyond[i]);
		run_vmfunc(beyond[i], 0);
		expect_guest_fault(VECTOR_UD, 0);
	}
}

TEST("feat.vmfunc.ud_off", "VMFUNC with enable VM functions = 0 raises #UD", NEEDS_SWITCHING())
{
	use_eptp_list();
	eptp_list[0] = ept_pointer(second);
	vmcs_clear_controls(PROC2_ENABLE_VM_FUNCTIONS);
	run_vmfunc(FUNCTION_EPTP_SWITCHING, 0);
	expect_guest_fault(VECTOR_UD, 0);
}

/* The virtualization-exception information area. */
struct ve_information {
	u32 reason, busy;
	u64 qualification, linear, physical;
	u16 eptp_index;
};

#define NEEDS_VE NEEDS(PROC2_EPT_VIOLATION_VE, PROC2_ENABLE_EPT, CAP_EPT_2M_PAGES, CAP_EPT_MEMORY_TYPE_WB)

enum { EPTP_INDEX_HERE = 0x1a5, OFFSET = 0x12348 };
static u64 ve_address;

static void guest_reads_ve_address(void)
{
	*(const volatile u64 *)ve_address;
}

static void guest_writes_ve_address(void)
{
	*(volatile u64 *)ve_address = 1;
}

/* An access to the first probed page, which the EPT does not map, is an EPT violation. */
static struct ve_information *use_ve(u64 entry)
{
	struct ve_information *information = page_alloc();

	find_probed_pages();
	first = use_another_ept();
	*ept_entry(probed(0), 2) = entry;
	ept_flush();
	vmcs_set_controls(PROC2_EPT_VIOLATION_VE);
	vmcs_write(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, physical_address(information));
	vmcs_write(EPTP_INDEX, EPTP_INDEX_HERE);
	ve_address = probed(0) + OFFSET;
	return information;
}

static void expect_area(const struct ve_information *information, u64 access)
{
	expect_eq(information->reason, EXIT_EPT_VIOLATION);
	expect_eq(information->busy, 0xffffffff);
	/* Bits 2:0 the access, 5:3 what the entries allow, 7 and 8: of a linear address, to its translation. */
	expect_bits(information->qualification, 0x1bf, access | BIT(7) | BIT(8));
	expect_eq(information->linear, ve_address);
	expect_eq(information->physical, ve_address);
}

TEST("feat.ve.convert", "An EPT violation with suppress #VE = 0 becomes #VE, with no exit", NEEDS_VE)
{
	struct ve_information *information = use_ve(0);

	guest_run(guest_reads_ve_address);
	expect_guest_fault(VECTOR_VE, 0);
	expect_area(information, 1);
	*information = (struct ve_information){ 0 };
	guest_run(guest_writes_ve_address);
	expect_guest_fault(VECTOR_VE, 0);
	expect_area(information, 2);

	/* Without the control the same violation exits. */
	vmcs_clear_controls(PROC2_EPT_VIOLATION_VE);
	information->busy = 0;
	guest_run(guest_reads_ve_address);
	expect_exit(EXIT_EPT_VIOLATION, .physical = ve_address);
	expect_eq(information->busy, 0);
}

/* The index of the last switch: the guest switches to the EPT that it has, of another place in the list, and then reads. */
static void guest_switches_and_reads(void)
{
	vmfunc(FUNCTION_EPTP_SWITCHING, call.index);
	guest_reads_ve_address();
}

static void check_switched_index(struct ve_information *information)
{
	eptp_list = page_alloc();
	vmcs_set_controls(PROC2_ENABLE_VM_FUNCTIONS);
	vmcs_write(VM_FUNCTION_CONTROLS, EPTP_SWITCHING);
	vmcs_write(EPTP_LIST_ADDRESS, physical_address(eptp_list));
	for (u32 i = 0; i < ARRAY_SIZE(indexes); i++) {
		CASE("behind VMFUNC to entry %u", indexes[i]);
		eptp_list[indexes[i]] = ept_pointer(first);
		*information = (struct ve_information){ .eptp_index = ~indexes[i] };
		call.index = indexes[i];
		guest_run(guest_switches_and_reads);
		expect_guest_fault(VECTOR_VE, 0);
		expect_area(information, 1);
		expect_eq(information->eptp_index, indexes[i]);
		eptp_list[indexes[i]] = 0;
	}
}

TEST("feat.ve.area", "#VE fills the information area, each field in its place", NEEDS_VE)
{
	struct ve_information *information = use_ve(0);

	if (has(PROC2_ENABLE_VM_FUNCTIONS) && has(CAP_VMFUNC_EPTP_SWITCHING)) {
		check_switched_index(information);
		*information = (struct ve_information){ 0 };
		vmcs_clear_controls(PROC2_ENABLE_VM_FUNCTIONS);
		vmcs_write(EPTP_INDEX, EPTP_INDEX_HERE);
	}

	CASE("read");
	guest_run(guest_reads_ve_address);
	expect_guest_fault(VECTOR_VE, 0);
	expect_area(information, 1);
	expect_eq(information->eptp_index, EPTP_INDEX_HERE);
	CASE("write");
	*information = (struct ve_information){ 0 };
	guest_run(guest_writes_ve_address);
	expect_guest_fault(VECTOR_VE, 0);
	expect_area(information, 2);
	expect_eq(information->eptp_index, EPTP_INDEX_HERE);
}

TEST("feat.ve.suppressed", "Bit 63 of the EPT entry, a dword at 4 that is not 0, or a delivery keeps an EPT violation an exit",
     NEEDS_VE)
{
	struct ve_information *information = use_ve(EPT_SUPPRESS_VE);

	CASE("suppress #VE");
	guest_run(guest_reads_ve_address);
	expect_exit(EXIT_EPT_VIOLATION, .physical = ve_address);
	expect_eq(information->reason, 0);
	expect_eq(information->busy, 0);

	information = use_ve(0);
	for (u32 bit = 0; bit < 32; bit++) {
		CASE("dword at 4: %#x", BIT(bit));
		*information = (struct ve_information){ .busy = BIT(bit) };
		guest_run(guest_reads_ve_address);
		expect_exit(EXIT_EPT_VIOLATION, .physical = ve_address);
		expect_eq(information->reason, 0);
		expect_eq(information->busy, BIT(bit));
	}

	CASE("the delivery of an event");
	*information = (struct ve_information){ 0 };
	vmcs_write(GUEST_IDTR_BASE, ve_address);
	guest_run(raise_ud);
	expect_exit(EXIT_EPT_VIOLATION);
	expect_between(ve_address + 16 * VECTOR_UD, vmcs_read(GUEST_PHYSICAL_ADDRESS), ve_address + 16 * VECTOR_UD + 15);
	expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), ~BIT(12), INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_UD);
	expect_eq(information->reason, 0);
	expect_eq(information->busy, 0);
}

TEST("feat.ve.bitmap20", "#VE exits if bit 20 of the exception bitmap is 1", NEEDS_VE)
{
	struct ve_information *information = use_ve(0);

	vmcs_write(EXCEPTION_BITMAP, BIT(VECTOR_VE));
	guest_run(guest_reads_ve_address);
	expect_exit(EXIT_EXCEPTION_OR_NMI,
		    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | VECTOR_VE);
	expect_area(information, 1);

	information->busy = 0;
	vmcs_write(EXCEPTION_BITMAP, ~(u32)BIT(VECTOR_VE));
	guest_run(guest_reads_ve_address);
	expect_guest_fault(VECTOR_VE, 0);
}
