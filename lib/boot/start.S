/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every way in ends at start32: 32-bit protected mode, flat segments, paging
 * off, interrupts off, EAX = which way (BOOT_MAGIC_*), EBX = its information.
 * From there: page tables, long mode, C.
 */
#include "boot/layout.h"
#include "x86/selectors.h"

	.section .head, "ax"
	.code32
head:

	/* Multiboot 1: page-align modules, memory information; ELF says the rest. */
	.balign 4
	.long 0x1badb002
	.long 0x00000003
	.long -(0x1badb002 + 0x00000003)
	.long 0

	/* The ROM jumps here (rom.S). */
	.org IMAGE_ROM
	.globl rom_start
rom_start:
	mov $0x4d4f5256, %eax
	xor %ebx, %ebx
	jmp start32

	.org IMAGE_WRAPPED32
	jmp relocate
	.org IMAGE_WRAPPED64
	.code64
	jmp leave_long_mode
	.code32

	/* Multiboot 2: what it has no tag for is as with Multiboot 1. */
	.balign 8
multiboot2_header:
	.long 0xe85250d6
	.long 0				/* 32-bit protected mode */
	.long multiboot2_end - multiboot2_header
	.long -(0xe85250d6 + (multiboot2_end - multiboot2_header))
	.short 6			/* page-align modules */
	.short 0
	.long 8
	.short 0			/* the last tag */
	.short 0
	.long 8
multiboot2_end:

	.globl multiboot_start
multiboot_start:
	jmp start32

	.globl pvh_start
pvh_start:
	mov $0x336ec578, %eax
	jmp start32

	.section .note.Xen, "a", @note
	.balign 4
	.long 4				/* size of the name */
	.long 4				/* size of the value */
	.long 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start

	.text
	/* A wrapper's 64-bit way in: no address of the image is right yet, and there may be no stack. */
	.code64
leave_long_mode:
	cli
	mov %eax, %ebp
	lea flat_gdt(%rip), %rcx
	mov %rcx, flat_gdtr + 2(%rip)
	lgdt flat_gdtr(%rip)
	lea 1f(%rip), %rcx
	mov %ecx, flat_start(%rip)
	ljmp *flat_start(%rip)
	.code32
1:	mov $16, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %ss
	mov %cr4, %ecx
	and $~0x20000, %ecx		/* PCIDE: paging cannot be turned off with it */
	mov %ecx, %cr4
	mov %cr0, %ecx
	and $0x7fffffff, %ecx
	mov %ecx, %cr0
	mov $0xc0000080, %ecx
	rdmsr
	and $~0x100, %eax		/* LME */
	wrmsr
	mov %ebp, %eax
	/* and on */

	/* A wrapper's way in: each place that holds an address gets what the image was moved by (layout.h). */
relocate:
	cli
	cld
	mov %edi, %edx
	sub $IMAGE_AT, %edx
	lea -4(%edi), %esi
	mov (%esi), %ecx
	jecxz start32
1:	sub $4, %esi
	mov (%esi), %ebp
	add %edx, (%edi, %ebp)
	loop 1b

start32:
	cli
	cld
	mov %eax, %esi
	mov $bss_start, %edi		/* no loader but ours must be trusted to have cleared it */
	mov $bss_end, %ecx
	sub %edi, %ecx
	shr $2, %ecx
	xor %eax, %eax
	rep stosl
	mov %esi, boot_magic
	mov %ebx, boot_information

	/* Identity map of the first 4 GiB by 2-MiB pages; the last GiB (APIC, ROM) uncached. */
	mov $boot_pd, %edi
	mov $0x83, %eax			/* present, writable, page size */
	xor %ecx, %ecx
1:	mov %eax, (%edi, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $1536, %ecx
	jne 1b
	or $0x18, %eax			/* PCD, PWT */
2:	mov %eax, (%edi, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $2048, %ecx
	jne 2b

	mov $boot_pd + 7, %eax
	mov %eax, boot_pdpt
	add $0x1000, %eax
	mov %eax, boot_pdpt + 8
	add $0x1000, %eax
	mov %eax, boot_pdpt + 16
	add $0x1000, %eax
	mov %eax, boot_pdpt + 24
	movl $boot_pdpt + 7, boot_pml4

	mov $boot_stack_top, %esp
	lgdt boot_gdtr
	call enter_long_mode
	.code64
	call boot_main
	/* not reached */

/*
 * 32-bit code: turn on long mode with boot_pml4 and return in 64-bit mode with
 * flat data segments. Needs the boot GDT loaded. Clobbers EAX, ECX, EDX.
 * Other processors come through here too.
 */
	.code32
	.globl enter_long_mode
enter_long_mode:
	push $0				/* whatever the loader left: ID, NT, IOPL, AC... */
	popf
	mov $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0x80000001, %eax
	push %ebx
	cpuid
	pop %ebx
	mov %edx, %eax
	shr $20, %eax			/* CPUID.80000001H:EDX[20]: NX */
	and $1, %eax
	shl $11, %eax
	or $0x100, %eax			/* EFER.LME, and NXE where it exists */
	xor %edx, %edx
	mov $0xc0000080, %ecx
	wrmsr
	mov $0x80010033, %eax		/* PG, WP, NE, ET, MP, PE */
	mov %eax, %cr0
	ljmp $SELECTOR_CODE64, $3f
	.code64
3:	mov $SELECTOR_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	pop %rax			/* a 32-bit return address and what is above it */
	mov %eax, %eax
	add $-4, %rsp
	jmp *%rax

	.section .rodata
	.balign 8
	.globl boot_gdt
boot_gdt:				/* the permanent one is lib/x86's */
	.quad 0
	.quad 0x00af9b000000ffff	/* SELECTOR_CODE64 */
	.quad 0x00cf93000000ffff	/* SELECTOR_DATA */
boot_gdt_end:
	.globl boot_gdtr
boot_gdtr:
	.word boot_gdt_end - boot_gdt - 1
	.quad boot_gdt

	.data
	.balign 8
flat_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
flat_gdtr:
	.word 23
	.quad 0
flat_start:
	.long 0
	.word 8

	.balign 8
	.globl boot_magic, boot_information
boot_magic:	.long 0
boot_information: .long 0

	/* Patched by the runner into a ROM, which has no boot protocol. */
	.section .cmdline, "aw"
	.balign 16
	.ascii "VMXCHECK-CMDLINE"
	.globl patched_command_line
patched_command_line:
	.fill 1008, 1, 0

	.bss
	.balign 4096
	.globl boot_pml4
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
	.globl boot_pd
boot_pd:	.skip 4096 * 4
	.globl boot_stack
boot_stack:	.skip 65536
	.globl boot_stack_top
boot_stack_top:
