/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What L0 says to the runner: frames over port E9H, which Bochs copies to its stdout at no cost of time.
 * A frame is the byte 02H, its type, the size of its text (16 bits, little-endian), and the text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum report {
	REPORT_HELLO = 'H',	/* L0 is up: lines KEY=VALUE about kernel and KVM */
	REPORT_START = 'S',	/* a job begins: its sequence number */
	REPORT_OUTPUT = 'O',	/* bytes of the image's serial port */
	REPORT_KERNEL = 'K',	/* a message of L0's kernel: <LEVEL>TEXT */
	REPORT_PULSE = 'P',	/* the machine monitor is alive, and so is the kernel below it */
	REPORT_END = 'E',	/* a job is over: KIND TEXT; KIND is one of the words below */
};

#define END_EXIT	"exit"		/* the image asked for it */
#define END_SHUTDOWN	"shutdown"	/* triple fault */
#define END_LIMIT	"limit"		/* no progress for the time limit */
#define END_ERROR	"error"		/* the kernel or the monitor gave up */

/* Needs iopl(3). Not for two threads at once. */
void report_bytes(enum report type, const void *data, size_t size);
void report(enum report type, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The image's serial port: collected to lines; kernel messages until now are reported in front of what follows. */
void output_byte(char byte);
void output_flush(void);

/* Milliseconds since the image last began or reported a test, or since output_begin(). */
unsigned int output_idle_ms(void);
void output_begin(void);

/* Report what the kernel has logged since the last call; kernel_log_begin() skips what is old. */
void kernel_log_begin(void);
void kernel_log_report(void);
