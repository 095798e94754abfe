/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults and the exception bitmap: bit 14, the error-code mask and the error-code match decide together
 * (SDM Vol. 3C, "Other Causes of VM Exits").
 *
 * The guest runs a chain of accesses, each of which faults, in supervisor or in user mode. A fault that goes
 * through the guest's IDT reaches a handler that returns to the next access; behind a fault that exits, the host
 * enters the guest at the next one.
 */
#include "event.h"

#include "libc/string.h"

enum { EC_P = BIT(0), EC_W = BIT(1), EC_U = BIT(2), EC_RSVD = BIT(3), EC_ID = BIT(4), EC_PK = BIT(5) };
enum { BITMAP_PF = BIT(VECTOR_PF) };

/* Pages of the window; each has an offset of its own, so that the addresses tell the cases apart. */
#define CODE_PAGE	(PAGE_WINDOW)
#define ABSENT		(PAGE_WINDOW + 0x1123)
#define READ_ONLY	(PAGE_WINDOW + 0x2456)
#define SUPERVISOR	(PAGE_WINDOW + 0x3789)
#define NO_EXECUTE	(PAGE_WINDOW + 0x4abc)
#define USER		(PAGE_WINDOW + 0x5def)
#define USER_KEY_1	(PAGE_WINDOW + 0x6135)
#define RESERVED	(PAGE_WINDOW + 0x600000 + 0x54321)

/* The code page: each access is two bytes, and a VMCALL behind it says that there was no fault. */
enum { CODE_READ = 0, CODE_WRITE = 8 };
static const u8 code[] = {
	0x8a, 0x07, 0x0f, 0x01, 0xc1, 0, 0, 0,		/* mov (%rdi),%al; vmcall */
	0x88, 0x07, 0x0f, 0x01, 0xc1,			/* mov %al,(%rdi); vmcall */
};

/* Every error code that plain paging can raise. */
static const struct page_fault {
	u32 error_code;
	u64 linear;
	u32 need;		/* a feature, or 0 */
} page_faults[] = {
	{ 0, ABSENT, 0 },
	{ EC_W, ABSENT, 0 },
	{ EC_U, ABSENT, 0 },
	{ EC_W | EC_U, ABSENT, 0 },
	{ EC_ID, ABSENT, FEATURE_NX },
	{ EC_ID | EC_U, ABSENT, FEATURE_NX },
	{ EC_P | EC_W, READ_ONLY, 0 },
	{ EC_P | EC_U, SUPERVISOR, 0 },
	{ EC_P | EC_U | EC_W, SUPERVISOR, 0 },
	{ EC_P | EC_U | EC_W, READ_ONLY, 0 },
	{ EC_P | EC_ID, NO_EXECUTE, FEATURE_NX },
	{ EC_P | EC_ID | EC_U, NO_EXECUTE, FEATURE_NX },
	{ EC_P | EC_RSVD, RESERVED, 0 },
	{ EC_P | EC_RSVD | EC_W, RESERVED, 0 },
	{ EC_P | EC_RSVD | EC_U, RESERVED, 0 },
	{ EC_P | EC_RSVD | EC_U | EC_W, RESERVED, 0 },
	{ EC_P | EC_RSVD | EC_ID, RESERVED, FEATURE_NX },
	{ EC_P | EC_RSVD | EC_ID | EC_U, RESERVED, FEATURE_NX },
	{ EC_P, USER, FEATURE_SMAP },
	{ EC_P | EC_W, USER, FEATURE_SMAP },
	{ EC_P | EC_ID, USER, FEATURE_SMEP },
	{ EC_P | EC_PK | EC_U, USER_KEY_1, FEATURE_PKU },
	{ EC_P | EC_PK | EC_U | EC_W, USER_KEY_1, FEATURE_PKU },
};

/* The accesses of one run of the guest, and what came of each: DELIVERED | error code, or EXITED. */
static struct {
	const struct page_fault *fault[ARRAY_SIZE(page_faults)];
	u64 came[ARRAY_SIZE(page_faults)];
	u64 cr2[ARRAY_SIZE(page_faults)];
	u32 count;
	volatile u32 at;
	u32 turn;		/* of chain_matching_and */
} chain;

#define DELIVERED BIT(32)
#define EXITED BIT(33)

static u64 guest_stack_top(void)
{
	return (u64)(guest_stack + GUEST_STACK_SIZE);
}

/* Supervisor code runs in the image's own copy: SMEP would not let it run in the user page. */
static u64 first_rip(const struct page_fault *fault)
{
	const u64 at = fault->error_code & EC_U ? CODE_PAGE : (u64)code;

	return fault->error_code & EC_ID ? fault->linear : at + (fault->error_code & EC_W ? CODE_WRITE : CODE_READ);
}

/* The guest's handler of #PF. */
static void go_on_with_next(struct exception_frame *frame)
{
	const struct page_fault *next;

	chain.came[chain.at] = DELIVERED | frame->error_code;
	chain.cr2[chain.at] = read_cr2();
	if (++chain.at >= chain.count)
		guest_call_host(0);
	next = chain.fault[chain.at];
	frame->rip = first_rip(next);
	frame->rdi = next->linear;
	frame->cs = next->error_code & EC_U ? SELECTOR_USER_CODE64 : SELECTOR_CODE64;
	frame->ss = next->error_code & EC_U ? SELECTOR_USER_DATA : SELECTOR_DATA;
	frame->rsp = guest_stack_top();
	frame->rflags = RFLAGS_FIXED;
}

static void write_pkru(u32 value)
{
	asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0));
}

/* Key 1: no access. PKRU is in no VMCS field: the guest has the host's. */
static void set_key_1(bool closed)
{
	const u64 cr4 = read_cr4();

	if (!has(FEATURE_PKU))
		return;
	write_cr4(cr4 | CR4_PKE);
	write_pkru(closed ? BIT(2) : 0);
	write_cr4(cr4);
}

static void prepare_page_faults(void)
{
	const u64 page = physical_address(page_alloc());
	const u64 nx = has(FEATURE_NX) ? PAGE_NX : 0;

	memcpy((void *)page, code, sizeof(code));
	page_map(CODE_PAGE, page, PAGE_PRESENT | PAGE_USER);
	page_map(READ_ONLY & ~0xfffull, page, PAGE_PRESENT);
	page_map(SUPERVISOR & ~0xfffull, page, PAGE_PRESENT | PAGE_WRITE);
	page_map(NO_EXECUTE & ~0xfffull, page, PAGE_PRESENT | PAGE_WRITE | PAGE_USER | nx);
	page_map(USER & ~0xfffull, page, PAGE_PRESENT | PAGE_WRITE | PAGE_USER);
	page_map(USER_KEY_1 & ~0xfffull, page, PAGE_PRESENT | PAGE_WRITE | PAGE_USER | BIT(59));
	/* Bit 13 of an entry that maps 2 MBytes is reserved, whatever MAXPHYADDR is. */
	*page_entry(RESERVED, 2) = PAGE_PRESENT | PAGE_WRITE | PAGE_USER | PAGE_LARGE | BIT(13);
	chain.turn = 0;
	interrupt_handle(VECTOR_PF, go_on_with_next);
	set_key_1(true);
	vmcs_write(GUEST_CR4, read_cr4() | (has(FEATURE_SMAP) ? CR4_SMAP : 0) | (has(FEATURE_SMEP) ? CR4_SMEP : 0) |
			      (has(FEATURE_PKU) ? CR4_PKE : 0));
}

static void end_page_faults(void)
{
	set_key_1(false);
}

/* Enter at an access, from the state that the last one may have changed. */
static void enter_at(const struct page_fault *fault)
{
	guest_set_cpl(fault->error_code & EC_U ? 3 : 0);
	vmcs_write(GUEST_RSP, guest_stack_top());
	vmcs_write(GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(GUEST_RIP, first_rip(fault));
	guest.regs.rdi = fault->linear;
	guest_enter();
}

static void set_filter(u32 bitmap, u32 mask, u32 match)
{
	vmcs_write(EXCEPTION_BITMAP, bitmap);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, mask);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, match);
}

/* Run the chain to its end; the details of each exit are checked on the way. */
static void run_chain(void)
{
	chain.at = 0;
	while (chain.at < chain.count) {
		const struct page_fault *fault = chain.fault[chain.at];

		enter_at(fault);
		if (guest.outcome.kind != OUTCOME_EXIT || guest.outcome.number != EXIT_EXCEPTION_OR_NMI)
			break;
		fault = chain.fault[chain.at];
		chain.came[chain.at] = EXITED;
		expect_exit(EXIT_EXCEPTION_OR_NMI,
			    .interruption = INTERRUPTION_VALID | INTERRUPTION_TYPE_HARDWARE |
					    INTERRUPTION_ERROR_CODE | VECTOR_PF,
			    .interruption_error = fault->error_code, .qualification = fault->linear);
		chain.at++;
	}
	expect_eq(chain.at, chain.count);
}

/* Raise the faults of the chain under one filter, and say where each must have gone. */
static void check_filter(u32 bitmap, u32 mask, u32 match)
{
	CASE("bitmap %#x, mask %#x, match %#x", bitmap, mask, match);
	set_filter(bitmap, mask, match);
	run_chain();
	for (u32 i = 0; i < chain.count; i++) {
		const u32 error_code = chain.fault[i]->error_code;
		const bool matches = (error_code & mask) == match;

		CASE("#PF(%#x), bitmap %#x, mask %#x, match %#x", error_code, bitmap, mask, match);
		expect_eq(chain.came[i], matches == !!(bitmap & BITMAP_PF) ? EXITED : DELIVERED | error_code);
	}
}

/* Every error code that this processor can raise. */
#define FOR_EACH_FAULT(fault)								\
	for (const struct page_fault *fault = page_faults;				\
	     fault < page_faults + ARRAY_SIZE(page_faults); fault++)			\
		if (fault->need && !has(fault->need)) { } else

static void chain_all_faults(void)
{
	chain.count = 0;
	FOR_EACH_FAULT(fault)
		chain.fault[chain.count++] = fault;
}

/* All faults that match, and n of the others, in turn. */
static void chain_matching_and(u32 n, u32 mask, u32 match)
{
	chain.count = 0;
	FOR_EACH_FAULT(fault)
		if ((fault->error_code & mask) == match)
			chain.fault[chain.count++] = fault;
	for (u32 tried = 0; n && tried < ARRAY_SIZE(page_faults); tried++) {
		const struct page_fault *fault = &page_faults[chain.turn++ % ARRAY_SIZE(page_faults)];

		if ((fault->need && !has(fault->need)) || (fault->error_code & mask) == match)
			continue;
		chain.fault[chain.count++] = fault;
		n--;
	}
}

/* All pairs of mask and match over the six bits that the faults have. */
TEST("exec.pf.eb1_match", "Bit 14 = 1: a page fault exits if error code AND mask equals match")
{
	prepare_page_faults();
	for (u32 mask = 0; mask < 64; mask++)
		for (u32 match = 0; match < 64; match++) {
			if (!walk_takes(mask * 64 + match, 64 * 64))
				continue;
			if (match & ~mask)		/* matches none: some faults in turn will do */
				chain_matching_and(6, mask, match);
			else
				chain_all_faults();
			check_filter(BITMAP_PF, mask, match);
		}
	chain_all_faults();
	/* Each higher bit, which no fault has, in the mask, in the match, and in both. */
	for (u32 bit = 6, turn = 0; bit < 32; bit++) {
		if (!walk_takes_nth(&turn, 4))
			continue;
		check_filter(BITMAP_PF, BIT(bit), 0);
		check_filter(BITMAP_PF, 0, BIT(bit));
		check_filter(BITMAP_PF, BIT(bit), BIT(bit));
		check_filter(BITMAP_PF, ~BIT(bit), EC_P | EC_W | EC_U);
		check_filter(BITMAP_PF, ~0u, BIT(bit) | EC_P | EC_W | EC_U);
	}
	end_page_faults();
}

TEST("exec.pf.eb0_nomatch", "Bit 14 = 0: a page fault exits if error code AND mask differs from match")
{
	prepare_page_faults();
	for (u32 mask = 0; mask < 64; mask++)
		for (u32 match = 0; match < 64; match++) {
			if (!walk_takes(mask * 64 + match, 64 * 64))
				continue;
			chain_matching_and(match & ~mask ? 1 : 4, mask, match);
			check_filter(0, mask, match);
		}
	chain_matching_and(2, EC_P, EC_P);
	for (u32 bit = 6, turn = 0; bit < 32; bit++) {
		if (!walk_takes_nth(&turn, 4))
			continue;
		check_filter(0, BIT(bit), 0);
		check_filter(0, 0, BIT(bit));
		check_filter(0, BIT(bit), BIT(bit));
		check_filter(~(u32)BITMAP_PF, ~0u, BIT(bit) | EC_P | EC_W | EC_U);
	}
	end_page_faults();
}

TEST("exec.pf.mask_match_both0", "Bit 14 = 1 with mask 0 and match 0: every page fault exits")
{
	prepare_page_faults();
	chain_all_faults();
	check_filter(BITMAP_PF, 0, 0);
	check_filter(~0u, 0, 0);
	/* Without bit 14 the same pair lets every page fault through. */
	check_filter(0, 0, 0);
	check_filter(~(u32)BITMAP_PF, 0, 0);
	end_page_faults();
}

TEST("exec.pf.never_match", "Bit 14 = 1 with mask 0 and match FFFFFFFFH: no page fault exits")
{
	prepare_page_faults();
	chain_all_faults();
	check_filter(BITMAP_PF, 0, ~0u);
	check_filter(~0u, 0, ~0u);
	end_page_faults();
}

TEST("exec.pf.always_eb0", "Bit 14 = 0 with mask 0 and match FFFFFFFFH: every page fault exits")
{
	prepare_page_faults();
	chain_all_faults();
	check_filter(0, 0, ~0u);
	check_filter(~(u32)BITMAP_PF, 0, ~0u);
	end_page_faults();
}

/* How many faults of the last chain exited. */
static u32 exits_of_chain(void)
{
	u32 exits = 0;

	for (u32 i = 0; i < chain.count; i++)
		exits += chain.came[i] == EXITED;
	return exits;
}

TEST("exec.pf.each_ec_bit", "Each bit of the error code alone, in mask and match, separates page faults")
{
	prepare_page_faults();
	chain_all_faults();
	for (u32 bit = EC_P; bit <= EC_PK; bit <<= 1) {
		u32 with = 0, without = 0;

		for (u32 i = 0; i < chain.count; i++)
			if (chain.fault[i]->error_code & bit)
				with++;
			else
				without++;
		if (!with)
			continue;		/* I/D without NX and SMEP, PK without protection keys */
		check_filter(BITMAP_PF, bit, bit);
		expect_eq(exits_of_chain(), with);
		check_filter(BITMAP_PF, bit, 0);
		expect_eq(exits_of_chain(), without);
		check_filter(0, bit, bit);
		expect_eq(exits_of_chain(), without);
		check_filter(0, bit, 0);
		expect_eq(exits_of_chain(), with);
	}
	end_page_faults();
}

/* A read, or a write, of an address that nothing maps: each bit of the address, in either half. */
static void check_address(u64 linear, u32 error_code)
{
	const struct page_fault fault = { error_code, linear, 0 };
	const u64 token = linear ^ 0x00005a5a5a5a5a5a;

	chain.fault[0] = &fault;
	chain.count = 1;
	write_cr2(token);
	set_filter(BITMAP_PF, 0, 0);
	run_chain();			/* checks the qualification and the error code */
	CASE("exit, address %#lx, error code %#x", linear, error_code);
	expect_eq(chain.came[0], EXITED);
	expect_eq(read_cr2(), token);
	/* RIP is at the access: it has not run. */
	expect_eq(vmcs_read(GUEST_RIP), first_rip(&fault));

	write_cr2(token);
	set_filter(0, 0, 0);
	run_chain();
	CASE("delivery, address %#lx, error code %#x", linear, error_code);
	expect_eq(chain.came[0], DELIVERED | error_code);
	expect_eq(chain.cr2[0], linear);
	expect_eq(read_cr2(), linear);
}

static const u32 plain_errors[] = { 0, EC_W, EC_U, EC_U | EC_W };

TEST("exec.pf.qual_is_address", "A page-fault exit has the linear address as its qualification, and the error code")
{
	u32 turn = 0;

	prepare_page_faults();
	for (u32 bit = 0; bit < 47; bit++)
		for (u32 i = 0; i < ARRAY_SIZE(plain_errors); i++) {
			/* In the upper half all bits above 46 are 1; bit 46 keeps the lower one off the identity map. */
			if (!walk_takes_nth(&turn, 4))
				continue;
			check_address(0xffff800000000000 | BIT(bit), plain_errors[i]);
			check_address(BIT(46) | BIT(bit), plain_errors[i]);
		}
	check_address(0xffffffffffffffff, 0);
	check_address(0x00007fffffffffff, EC_U | EC_W);
	end_page_faults();
}

TEST("exec.pf.cr2_unchanged", "A page fault that exits leaves CR2 alone; one that is delivered writes it")
{
	static const u64 tokens[] = { 0, ~0ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0xfedcba9876543210 };

	prepare_page_faults();
	FOR_EACH_FAULT(fault) {
		for (u32 i = 0; i < ARRAY_SIZE(tokens); i++) {
			chain.fault[0] = fault;
			chain.count = 1;

			CASE("#PF(%#x) at %#lx exits, CR2 %#lx", fault->error_code, fault->linear, tokens[i]);
			set_filter(BITMAP_PF, 0, 0);
			write_cr2(tokens[i]);
			run_chain();
			expect_eq(chain.came[0], EXITED);
			expect_eq(read_cr2(), tokens[i]);

			CASE("#PF(%#x) at %#lx is delivered, CR2 %#lx", fault->error_code, fault->linear, tokens[i]);
			set_filter(0, 0, 0);
			write_cr2(tokens[i]);
			run_chain();
			expect_eq(chain.came[0], DELIVERED | fault->error_code);
			expect_eq(chain.cr2[0], fault->linear);
			expect_eq(read_cr2(), fault->linear);
		}
	}
	end_page_faults();
}
