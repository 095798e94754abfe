/* SPDX-License-Identifier: BSD-2-Clause */
/* Behind the setup: a kernel's entries in 32-bit mode, at its beginning, and in 64-bit mode, at 200H. ESI: the zero page. */
#include "boot/layout.h"

	.section .entry, "ax"
	.code32
entry32:
	cli
	cld
	lea 0x1e8(%esi), %esp		/* four bytes there are the kernel's */
	call 1f
1:	pop %edi
	sub $1b - entry32, %edi
	add payload_image - entry32(%edi), %edi
	mov $0x584e494c, %eax		/* BOOT_MAGIC_LINUX */
	mov %esi, %ebx
	lea IMAGE_WRAPPED32(%edi), %ecx
	jmp *%ecx

	/* struct payload of efi.c: filled in by scripts/mkbzimage. Offsets are from entry32. */
	.org 0x1e0
	.globl payload
payload:
	.long 0				/* the table of places in front of the image, */
payload_image:
	.long 0				/* the image, */
	.long 0				/* the bytes of it that are here, */
	.long 0				/* and the memory that it needs */
	.globl no_relocations
no_relocations:
	.long 0, 8			/* one block with nothing in it */

	.org 0x200
	.code64
	cli
	cld
	lea entry32(%rip), %rdi
	mov payload_image(%rip), %eax
	add %rax, %rdi
	mov $0x584e494c, %eax
	mov %esi, %ebx
	lea IMAGE_WRAPPED64(%rdi), %rcx
	jmp *%rcx
