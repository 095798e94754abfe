/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first sector of L0's disk: loads an uncompressed vmlinux and its initramfs from the first ATA
 * disk and enters the kernel by its PVH entry. The second sector says what goes where, in
 * entries of three 32-bit words: first sector, number of sectors, address. The last entry is 0, the
 * kernel's entry, the address of its hvm_start_info.
 */
TABLE = 0x8000
ATA = 0x1f0

	.code16
	.text
	.globl _start
_start:
	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	in $0x92, %al			/* A20 by the fast gate */
	or $2, %al
	and $0xfe, %al			/* bit 0 would reset */
	out %al, $0x92
	lgdtl gdtr
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $start32

	.code32
start32:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov $0x7c00, %esp
	mov $0x3f6, %dx
	mov $2, %al			/* no interrupts: the drive is polled */
	out %al, %dx

	mov $1, %ebx
	mov $1, %ecx
	mov $TABLE, %edi
	call read
	mov $TABLE, %esi
next_entry:
	mov (%esi), %ebx
	mov 4(%esi), %ecx
	mov 8(%esi), %edi
	add $12, %esi
	test %ebx, %ebx
	jz enter
	call read
	jmp next_entry
enter:
	mov %edi, %ebx
	jmp *%ecx

/* Read ECX sectors from sector EBX on to EDI. */
read:
	push %ecx
	cmp $256, %ecx
	jbe 1f
	mov $256, %ecx
1:	push %ecx
	call read_command
	pop %eax
	pop %ecx
	add %eax, %ebx
	sub %eax, %ecx
	jnz read
	ret

/* One READ SECTORS: ECX (1 to 256) sectors from sector EBX on to EDI, which moves on. */
read_command:
	mov $ATA + 6, %dx
	mov %ebx, %eax
	shr $24, %eax
	or $0xe0, %al			/* LBA, master */
	out %al, %dx
	mov $ATA + 2, %dx
	mov %cl, %al			/* 0 means 256 */
	out %al, %dx
	inc %edx
	mov %bl, %al
	out %al, %dx
	inc %edx
	mov %bh, %al
	out %al, %dx
	inc %edx
	mov %ebx, %eax
	shr $16, %eax
	out %al, %dx
	mov $ATA + 7, %dx
	mov $0x20, %al
	out %al, %dx
1:	mov $ATA + 7, %dx
2:	in %dx, %al
	and $0x88, %al			/* BSY, DRQ */
	cmp $0x08, %al
	jne 2b
	mov %ecx, %eax
	mov $128, %ecx
	mov $ATA, %dx
	rep insl
	mov %eax, %ecx
	loop 1b
	ret

	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:	.word 23
	.long gdt

	.org 510
	.word 0xaa55
