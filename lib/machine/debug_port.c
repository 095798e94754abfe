/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine/debug_port.h"

#include "libc/string.h"
#include "x86/processor.h"

enum { PORT = 0xe9, TEXT_MAGIC = 0x43584d56 /* VMXC */ };

bool debug_port_is_there(void)
{
	return inb(PORT) == PORT;
}

void debug_port_send(const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		outb(PORT, bytes[i]);
}

bool debug_port_takes_texts(void)
{
	return inl(PORT) == TEXT_MAGIC;
}

/* What the monitor reads. */
static struct {
	u32 length;
	char text[2048];
} message;

void debug_port_hand_over(const char *text, size_t length)
{
	while (length) {
		message.length = length < sizeof(message.text) ? length : sizeof(message.text);
		memcpy(message.text, text, message.length);
		asm volatile("" : : : "memory");
		outl(PORT, (u32)(u64)&message);
		text += message.length;
		length -= message.length;
	}
}
