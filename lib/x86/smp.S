/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where another processor starts: copied to a page below 1 MiB, the SIPI's vector.
 * Real mode, then 32-bit, then long mode through enter_long_mode, then ap_main
 * on the stack of the number that it drew.
 */
	.section .rodata
	.globl ap_start, ap_start_end
	.code16
	.balign 16
ap_start:
	cli
	cld
	mov %cs, %ax
	mov %ax, %ds
	lgdtl ap_gdtr - ap_start
	mov %cr0, %eax
	and $0x9fffffff, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $8, $ap_start32
	.balign 8
ap_gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
ap_gdtr: .word 23
	.long 0				/* ap_gdt's place in the copy: cpu.c fills it in */
ap_start_end:
	.globl ap_gdtr_offset, ap_gdt_offset
	.balign 4
ap_gdtr_offset: .long ap_gdtr + 2 - ap_start
ap_gdt_offset: .long ap_gdt - ap_start

	.text
	.code32
ap_start32:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $1, %ebx
	lock xaddl %ebx, ap_next
	cmp $8, %ebx			/* MAX_CPUS: no room for more */
	jae 1f
	mov ap_stacks(, %ebx, 4), %esp
	lgdt boot_gdtr
	call enter_long_mode
	.code64
	mov %ebx, %edi
	call ap_main
	.code32
1:	hlt
	jmp 1b

	.data
	.balign 4
	.globl ap_next
ap_next: .long 1			/* the number of the next one to arrive */

	.bss
	.balign 4
	.globl ap_stacks
ap_stacks: .skip 4 * 8
