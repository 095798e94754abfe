/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first 4 KiB of an image in its wrapper: at once the headers of an EFI application (Microsoft PE format, "Optional
 * Header"), those of a kernel in Linux' boot protocol ("The Linux/x86 Boot Protocol", "The Real-Mode Kernel Header"), and
 * that kernel's real-mode code. In the file, each byte from here on is where it is in memory. scripts/mkbzimage puts the
 * image behind, and fills in the sizes (0 here).
 */
	.section .setup, "ax"
	.code16
	.globl setup
setup:
	.ascii "MZ"
	.org 0x3c
	.long pe_header - setup

	/* ---- EFI application */
	.org 0x40
pe_header:
	.ascii "PE\0\0"
	.short 0x8664			/* x86-64 */
	.short 2			/* sections */
	.long 0, 0, 0			/* no time, no symbols */
	.short pe_sections - pe_optional
	.short 0x22e			/* executable, no line numbers, no symbols, large addresses, no debug information */
pe_optional:
	.short 0x20b			/* PE32+ */
	.byte 2, 40
	.long 0				/* 5CH: size of the code */
	.long 0				/* 60H: of the data */
	.long 0
	.long efi_entry
	.long 0x1000
	.quad 0				/* linked at */
	.long 0x1000, 0x200		/* alignment of sections in memory, in the file */
	.short 0, 0, 0, 0, 1, 0
	.long 0
	.long 0				/* 90H: size of all */
	.long 0x1000			/* of the headers */
	.long 0				/* no checksum */
	.short 10			/* EFI application */
	.short 0
	.quad 0, 0, 0, 0		/* stack and heap */
	.long 0
	.long 6				/* directories; the sixth is that of base relocations: none, but it must be there */
	.quad 0, 0, 0, 0, 0
	.long no_relocations, 8
pe_sections:
	.ascii ".text\0\0\0"
	.long pe_text_size, 0x1000, pe_text_size, 0x1000
	.long 0, 0, 0, 0x60000020		/* code, to be executed and read */
	.ascii ".data\0\0\0"
	.globl pe_data
pe_data:
	.long 0, pe_text_end, 0, pe_text_end	/* sizes */
	.long 0, 0, 0, 0xc0000040		/* data, to be read and written */

	/* ---- kernel */
	.org 0x1f1
header:
	.byte 7				/* sectors of 512 bytes behind the first */
	.short 1
	.long 0				/* 1F4H: 16-byte units of what runs in protected mode */
	.short 0, 0xffff, 0
	.short 0xaa55
	jmp start			/* 200H: two bytes */
	.ascii "HdrS"
	.short 0x20f			/* version 2.15 */
	.long 0
	.short 0x1000
	.short name - setup - 0x200
	.byte 0
	.byte 1				/* loaded high */
	.short 0x8000
code32_start:
	.long 0x100000
	.long 0, 0, 0
	.short 0x7e00			/* end of the heap */
	.byte 0, 0
	.long 0				/* 228H: command line */
	.long 0x7fffffff
	.long 0x1000			/* alignment */
	.byte 1				/* relocatable */
	.byte 12			/* least alignment, its logarithm */
	.short 1			/* there is a 64-bit entry at 200H */
	.long 2047			/* longest command line */
	.long 0
	.quad 0
	.long 0, 0
	.quad 0
	.quad 0x100000			/* best address */
	.long 0				/* 260H: memory needed from there on */
	.long 0
	.long 0
header_end:

	/* ---- real mode. The loader gives the segment 32 KiB; the zero page is behind this code, and a stack. */
	.set zero_page, 0x2000
	.set stack, 0x4000
start:
	cli
	cld
	mov %cs, %ax
	sub $0x20, %ax			/* of the first sector */
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $stack, %sp
	sti

	mov $zero_page, %di
	mov $0x400, %cx
	xor %eax, %eax
	rep stosl
	mov $header - setup, %si
	mov $zero_page + 0x1f1, %di
	mov $header_end - header, %cx
	rep movsb

	/* The memory map of the BIOS: up to 128 entries. */
	mov $zero_page + 0x2d0, %di
	xor %ebx, %ebx
1:	mov $0xe820, %eax
	mov $20, %ecx
	mov $0x534d4150, %edx		/* "SMAP" */
	int $0x15
	jc 2f
	cmp $0x534d4150, %eax
	jne 2f
	add $20, %di
	incb zero_page + 0x1e8
	cmpb $128, zero_page + 0x1e8
	jae 2f
	test %ebx, %ebx
	jnz 1b

	/* A text screen? */
2:	mov $0x0f00, %ax
	int $0x10
	and $0x7f, %al
	cmp $3, %al
	jne 3f
	mov %al, zero_page + 6
	mov %ah, zero_page + 7
	movb $25, zero_page + 0x0e
	movb $1, zero_page + 0x0f
3:	cli

	/* A20: by the BIOS, then by the fast gate, and only if it is off. */
	call a20_is_off
	jne 4f
	mov $0x2401, %ax
	int $0x15
	cli
	call a20_is_off
	jne 4f
	in $0x92, %al
	or $2, %al
	and $0xfe, %al			/* bit 0 would reset */
	out %al, $0x92
4:
	/* Protected mode; the segments that the protocol wants. */
	xor %eax, %eax
	mov %ds, %ax
	shl $4, %eax
	lea zero_page(%eax), %esi
	add $gdt - setup, %eax
	mov %eax, gdtr + 2 - setup
	mov code32_start - setup, %eax
	mov %eax, far_start - setup
	lgdtl gdtr - setup
	mov %cr0, %eax
	or $1, %eax
	mov %eax, %cr0
	mov $0x18, %ax
	mov %ax, %es
	mov %ax, %fs
	mov %ax, %gs
	mov %ax, %ss
	mov %ax, %ds
	ljmpl *%cs:(far_start - setup - 0x200)

/* ZF: what is written at 0:500H is read 1 MiB above it, twice. */
a20_is_off:
	push %ds
	push %es
	xor %ax, %ax
	mov %ax, %ds
	dec %ax
	mov %ax, %es
	mov 0x500, %ax
	push %ax
	mov $0x55aa, %ax
	mov %ax, 0x500
	cmp %es:0x510, %ax
	jne 5f
	not %ax
	mov %ax, 0x500
	cmp %es:0x510, %ax
5:	pop %ax
	mov %ax, 0x500
	pop %es
	pop %ds
	ret

	.balign 8
gdt:	.quad 0, 0
	.quad 0x00cf9b000000ffff	/* 10H */
	.quad 0x00cf93000000ffff	/* 18H */
gdtr:	.short 31
	.long 0
far_start:
	.long 0
	.short 0x10
name:	.asciz "vmxcheck"
	.org 0x1000
