/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The last 4 KiB of a ROM: from the reset vector to the image at 1 MiB, with no
 * BIOS. scripts/mkrom puts the image in front and fills in rom_image.
 */
#include "boot/layout.h"

	.section .rom, "ax"
	.code16
	.globl rom
rom:
start16:
	cli
	cld
	mov $0x92, %dx			/* A20 by the fast gate */
	in %dx, %al
	or $2, %al
	and $0xfe, %al			/* bit 0 would reset */
	out %al, %dx
	lgdtl %cs:(gdtr - rom + 0xf000)
	mov %cr0, %eax
	and $0x9fffffff, %eax		/* caches on: CD and NW are 1 after reset */
	or $1, %eax
	mov %eax, %cr0
	ljmpl $8, $start32

	.code32
start32:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov rom_image, %esi
	mov rom_image + 4, %ecx
	mov $IMAGE_AT, %edi
	rep movsl
	mov $IMAGE_AT + IMAGE_ROM, %eax	/* rom_start in start.S */
	jmp *%eax

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:	.word 23
	.long gdt

	.org 0xfe0
rom_image:
	.long 0				/* address of the image in the ROM */
	.long 0				/* its size in 32-bit words */

	.org 0xff0
	.code16
	jmp start16
	.org 0x1000
