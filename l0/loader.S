/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first sector of L0's disk: loads an uncompressed vmlinux and its initramfs from the first ATA
 * disk and enters the kernel by its PVH entry. The second sector says what goes where, in
 * entries of three 32-bit words: first sector, number of sectors, address. The last entry is 0, the
 * kernel's entry, the address of its hvm_start_info.
 *
 * There are builds of Bochs whose 64-bit IDIV is wrong. No Linux gets far on these, nor says why: so the loader divides
 * first, and if it is so, speaks in L0's stead (the frame is that of l0/report.c).
 */
TABLE = 0x8000
PML4 = 0x9000
PDPT = 0xa000
PD = 0xb000
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

	mov $PML4, %edi
	mov %edi, %cr3
	xor %eax, %eax
	mov $(PD + 0x1000 - PML4) / 4, %ecx
	rep stosl
	movw $PDPT + 3, PML4
	movw $PD + 3, PDPT
	movb $0x83, PD			/* the first 2 MBytes */
	mov $0x20, %al			/* CR4.PAE */
	mov %eax, %cr4
	mov $0xc0000080, %ecx		/* IA32_EFER */
	mov $1, %ah			/* LME */
	xor %edx, %edx
	mov $0, %al
	wrmsr
	mov %cr0, %eax
	bts $31, %eax
	mov %eax, %cr0
	ljmp $24, $divide
	.code64
divide:
	push $-43
	pop %rax
	cqo
	push $5
	pop %rbx
	idiv %rbx
	add $8, %rax			/* -8, and -3 is left */
	add $3, %rdx
	or %rax, %rdx
	ljmp *compatible
	.code32
in_32_bits:
	mov %cr0, %eax
	btr $31, %eax
	mov %eax, %cr0
	xor %eax, %eax
	mov $0xc0000080, %ecx
	mov %edx, %ebx
	xor %edx, %edx
	wrmsr
	mov %eax, %cr4
	test %ebx, %ebx
	jz divides
	mov $complaint, %esi
	mov $complaint_end - complaint, %ecx
	mov $0xe9, %dx
	rep outsb
	hlt
divides:
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
	.quad 0x00af9b000000ffff
gdtr:	.word 31
	.long gdt
compatible:
	.long in_32_bits
	.word 8
complaint:
	.byte 2
	.ascii "H"
	.word complaint_end - 1f
1:	.ascii "problem=its Bochs does 64-bit IDIV wrong\n"
complaint_end:

	.org 510
	.word 0xaa55
