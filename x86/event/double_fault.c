/* SPDX-License-Identifier: BSD-2-Clause */
/* Double faults and triple faults (SDM Vol. 3C, "Other Causes of VM Exits"). */
#include "event.h"
#include "x86/tables.h"

#include "libc/string.h"

/* An IDT whose gates are not there; or none at all. */
GUEST_ASM(guest_ud2, "ud2");
GUEST_ASM(guest_divides_by_0, "xor %ecx, %ecx; div %ecx");
GUEST_ASM(guest_int_20, "int $0x20");

/*
 * Each ends in #DF: no gate within the limit, so that #GP meets #GP; an IDT in a page that is not present. No RIP is
 * looked at: that of a #DF is undefined (SDM Vol. 3A, "Interrupt 8 - Double Fault Exception (#DF)").
 */
static const struct double_fault {
	const char *name;
	void (*function)(void);
	u64 idt_base, idt_limit;	/* base 0: the image's own */
} double_faults[] = {
	{ "#UD, #GP, #GP", guest_ud2, 0, 0 },
	{ "#DE, #GP", guest_divides_by_0, 0, 0 },
	{ "#DE, #GP, IDT limit 12", guest_divides_by_0, 0, 12 },
	{ "INT 20H, #GP, #GP", guest_int_20, 0, 8 * 16 - 1 },
	{ "#UD, #PF, #PF", guest_ud2, BIT(46), 0xfff },
	{ "#DE, #PF", guest_divides_by_0, BIT(46), 0xfff },
};

static void run_double_fault(const struct double_fault *at, u32 bitmap)
{
	vmcs_write(EXCEPTION_BITMAP, bitmap);
	vmcs_write(GUEST_IDTR_BASE, at->idt_base ? at->idt_base : read_idtr().base);
	vmcs_write(GUEST_IDTR_LIMIT, at->idt_limit);
	guest_run(at->function);
}

static struct gate gates[256] ALIGNED(16);

TEST("exec.df.exit", "#DF with bit 8 set exits with error code 0, and IDT-vectoring information that is not valid")
{
	for (u32 i = 0; i < ARRAY_SIZE(double_faults); i++) {
		CASE("%s", double_faults[i].name);
		run_double_fault(&double_faults[i], BIT(VECTOR_DF));
		expect_exit(EXIT_EXCEPTION_OR_NMI, .qualification = 0, .interruption_error = 0);
		expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), ~(u64)INTERRUPTION_NMI_UNBLOCKING,
			    INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE | INTERRUPTION_ERROR_CODE | VECTOR_DF);
		expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
	}

	/* Bit 8 clear: #DF goes through the guest's IDT, if there is one. */
	CASE("delivered");
	memcpy(gates, idt, sizeof(gates));
	gates[VECTOR_DE].type = 0;
	gates[VECTOR_GP].type = 0;
	vmcs_write(EXCEPTION_BITMAP, 0);
	vmcs_write(GUEST_IDTR_BASE, (u64)gates);
	vmcs_write(GUEST_IDTR_LIMIT, sizeof(gates) - 1);
	guest_run(guest_divides_by_0);
	expect_guest_fault(VECTOR_DF, 0);
}

TEST("exec.triple_fault", "An exception on the way to #DF exits with reason 2 and qualification 0")
{
	static const u32 others =
		~(u32)(BIT(VECTOR_DF) | BIT(VECTOR_UD) | BIT(VECTOR_GP) | BIT(VECTOR_DE) | BIT(VECTOR_PF));

	for (u32 i = 0; i < ARRAY_SIZE(double_faults); i++) {
		for (int with_others = 0; with_others < 2; with_others++) {
			CASE("%s, other bits of the bitmap %u", double_faults[i].name, with_others);
			/* With bit 14 clear page faults exit if the masked code does not match: it does. */
			run_double_fault(&double_faults[i], with_others ? others : 0);
			expect_exit(EXIT_TRIPLE_FAULT, .qualification = 0);
			expect_bits(vmcs_read(EXIT_INTERRUPTION_INFORMATION), INTERRUPTION_VALID, 0);
			expect_bits(vmcs_read(IDT_VECTORING_INFORMATION), INTERRUPTION_VALID, 0);
		}
	}
}
