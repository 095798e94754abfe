/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a job comes into the running L0: the runner writes it into the file that is Bochs' second ATA disk,
 * and L0 reads that disk again and again, by PIO and without a driver.
 * scripts/vmxcheck/l0/machine.py writes the same layout.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SECTOR = 512, JOB_SECTORS = 4, IMAGE_SECTOR = 8 };

#define JOB_MAGIC	"VMXJOB1"

struct job {
	char magic[8];
	uint32_t sequence;	/* the first one is 1; written last */
	uint32_t image_size;	/* bytes of the ELF file from IMAGE_SECTOR on */
	uint32_t limit_ms;	/* without progress */
	uint32_t cpus;
	uint32_t memory_mib;
	uint32_t monitor;	/* enum monitor */
	uint32_t unused[8];
	char command_line[JOB_SECTORS * SECTOR - 64];
};
_Static_assert(sizeof(struct job) == JOB_SECTORS * SECTOR, "a whole number of sectors");

enum monitor { MONITOR_OURS, MONITOR_QEMU };

/* Waits for the job with this number. The image is malloc()ed; NULL if it is too large. Needs iopl(3). */
void *mailbox_wait(uint32_t sequence, struct job *job);
