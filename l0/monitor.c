/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small virtual machine monitor on /dev/kvm: enough of a PC to boot an image by PVH and hear what it says.
 * Port E9H for texts (lib/console/console.c), COM1 (output), the exit port F4H; PIC, I/O APIC, local APICs and PIT are
 * the kernel's.
 */
#include "kick.h"
#include "monitor.h"
#include "report.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	COM1 = 0x3f8, IER = 1, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7,
	LCR_DLAB = 0x80, LSR_EMPTY = 0x60, MSR_READY = 0xb0,
	TEXT_PORT = 0xe9, TEXT_MAGIC = 0x43584d56,	/* VMXC */
	YIELD_PORT = 0x80, EXIT_PORT = 0xf4, KEYBOARD = 0x64, RESET_LINE = 0xfe,
	START_INFO = 0x90000, MEMORY_MAP = 0x90100, COMMAND_LINE = 0x90200,	/* in the image's memory */
	MOST_CPUS = 64,
	POLL_NS = KICK_PUT_OFF_MS * 1000 * 1000,
	PULSE_POLLS = 500 / KICK_PUT_OFF_MS,
};

struct cpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool shut_down;
};

static int kvm, vm;
static struct cpu cpus[MOST_CPUS];
static char *memory;
static uint64_t memory_size;
static uint8_t serial[8];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* the serial port, reports */

/* ---- the end */

static void end(const char *kind, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* With the lock held, or before there is a second thread. */
static void end(const char *kind, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	output_flush();
	kernel_log_report();
	report(REPORT_END, "%s %s", kind, text);
	_exit(0);
}

static int control(int fd, unsigned long request, const char *name, void *argument)
{
	const int result = ioctl(fd, request, argument);

	if (result < 0)
		end(END_ERROR, "%s: %s", name, strerror(errno));
	return result;
}
#define CONTROL(fd, request, argument) control(fd, request, #request, (void *)(argument))

/* ---- loading */

/* Copy SIZE bytes at OFFSET of the image into memory at ADDRESS. */
static void load(const struct job *job, const char *image, uint64_t offset, uint64_t size, uint64_t address)
{
	if (offset + size > job->image_size || address + size > memory_size || (address < 0xa0000 && address + size > START_INFO))
		end(END_ERROR, "the image does not fit: %#lx bytes at %#lx", (unsigned long)size, (unsigned long)address);
	memcpy(memory + address, image + offset, size);
}

static uint32_t pvh_entry(const struct job *job, const char *image, const Elf32_Phdr *header)
{
	const uint32_t limit = header->p_offset + header->p_filesz;
	uint32_t at = header->p_offset;

	while (limit <= job->image_size && at + sizeof(Elf32_Nhdr) <= limit) {
		const Elf32_Nhdr *note = (const void *)(image + at);
		const uint32_t name = at + sizeof(*note), value = name + ((note->n_namesz + 3) & ~3u);

		if (note->n_type == 18 && note->n_namesz == 4 && value + 4 <= limit && !memcmp(image + name, "Xen", 4))
			return *(const uint32_t *)(image + value);
		at = value + ((note->n_descsz + 3) & ~3u);
	}
	return 0;
}

/* The image's entry for PVH. */
static uint32_t load_elf(const struct job *job, const char *image)
{
	const Elf32_Ehdr *elf = (const void *)image;
	uint32_t entry = 0;

	if (job->image_size < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) || elf->e_ident[EI_CLASS] != ELFCLASS32 ||
	    elf->e_phoff + (uint64_t)elf->e_phnum * sizeof(Elf32_Phdr) > job->image_size)
		end(END_ERROR, "the image is no 32-bit ELF file");
	for (int i = 0; i < elf->e_phnum; i++) {
		const Elf32_Phdr *header = (const Elf32_Phdr *)(image + elf->e_phoff) + i;

		if (header->p_type == PT_LOAD)
			load(job, image, header->p_offset, header->p_filesz, header->p_paddr);
		if (header->p_type == PT_NOTE && !entry)
			entry = pvh_entry(job, image, header);
	}
	if (!entry)
		end(END_ERROR, "the image has no PVH entry");
	return entry;
}

static void write_start_info(const struct job *job)
{
	struct {
		uint32_t magic, version, flags, module_count;
		uint64_t modules, command_line, rsdp, memory_map;
		uint32_t memory_map_entries, reserved;
	} info = {
		.magic = 0x336ec578, .version = 1, .command_line = COMMAND_LINE, .memory_map = MEMORY_MAP,
		.memory_map_entries = 2,
	};
	const struct {
		uint64_t address, size;
		uint32_t type, reserved;
	} map[2] = { { .address = 0, .size = START_INFO, .type = 1 },
		     { .address = 0x100000, .size = memory_size - 0x100000, .type = 1 } };

	memcpy(memory + START_INFO, &info, sizeof(info));
	memcpy(memory + MEMORY_MAP, map, sizeof(map));
	memcpy(memory + COMMAND_LINE, job->command_line, sizeof(job->command_line));
}

/* ---- processors */

static void set_cpuid(int fd, uint32_t id)
{
	enum { MOST = 256, VMX = 1u << 5, DEADLINE = 1u << 24, BRAND_FIRST = 0x80000002, BRAND_LAST = 0x80000004 };
	static union {
		struct kvm_cpuid2 table;
		char space[sizeof(struct kvm_cpuid2) + MOST * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;

	cpuid.table.nent = MOST;
	CONTROL(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	for (uint32_t i = 0; i < cpuid.table.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid.table.entries[i];

		if (entry->function == 1) {
			entry->ebx = (entry->ebx & 0xffffff) | id << 24;
			entry->ecx |= 1u << 31;		/* there is a hypervisor */
			if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
				entry->ecx |= DEADLINE;
			if (!(entry->ecx & VMX))
				end(END_ERROR, "KVM offers no VMX: kvm_intel has no nested=1, or the processor lacks VMX");
		}
		if (entry->function == 0xb || entry->function == 0x1f)
			entry->edx = id;
		if (entry->function >= BRAND_FIRST && entry->function <= BRAND_LAST)	/* KVM leaves the name to its user */
			__cpuid(entry->function, entry->eax, entry->ebx, entry->ecx, entry->edx);
	}
	CONTROL(fd, KVM_SET_CPUID2, &cpuid);
}

static void create_cpu(uint32_t id, int run_size)
{
	struct cpu *cpu = &cpus[id];

	cpu->fd = CONTROL(vm, KVM_CREATE_VCPU, (unsigned long)id);
	cpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED)
		end(END_ERROR, "mmap of a virtual CPU: %s", strerror(errno));
	set_cpuid(cpu->fd, id);
}

/* PVH: 32-bit protected mode, flat segments, no paging, EBX = hvm_start_info. */
static void set_entry(int fd, uint32_t entry)
{
	const struct kvm_segment flat = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	const struct kvm_regs regs = { .rip = entry, .rbx = START_INFO, .rflags = 2 };
	struct kvm_sregs sregs;

	CONTROL(fd, KVM_GET_SREGS, &sregs);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.cs = flat;
	sregs.cs.selector = 8;
	sregs.cs.type = 11;
	sregs.cr0 = 0x11;
	CONTROL(fd, KVM_SET_SREGS, &sregs);
	CONTROL(fd, KVM_SET_REGS, &regs);
}

/* Where a processor is, in words. */
static const char *where(int fd)
{
	static char text[320];
	static union {
		struct kvm_nested_state state;
		char space[0x4000];			/* it comes whole or not at all */
	} nested;
	struct kvm_regs regs = { 0 };
	struct kvm_sregs sregs = { 0 };
	struct kvm_vcpu_events events = { 0 };

	ioctl(fd, KVM_GET_VCPU_EVENTS, &events);
	ioctl(fd, KVM_GET_REGS, &regs);
	ioctl(fd, KVM_GET_SREGS, &sregs);
	nested.state.flags = 0;
	nested.state.size = sizeof(nested);
	ioctl(fd, KVM_GET_NESTED_STATE, &nested);
	snprintf(text, sizeof(text), "RIP %#llx, RFLAGS %#llx, CR0 %#llx, CR3 %#llx, CR4 %#llx, EFER %#llx%s%s%s", regs.rip,
		 regs.rflags, sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer,
		 nested.state.flags & KVM_STATE_NESTED_GUEST_MODE ? ", in its guest" : "",
		 events.nmi.pending ? ", an NMI pending" : "", events.nmi.masked ? ", NMIs blocked" : "");
	return text;
}

/* ---- ports */

/* The image says where in its memory a text is: its length, then itself. */
static void take_text(uint32_t address)
{
	uint32_t length;

	if (address + sizeof(length) > memory_size)
		end(END_ERROR, "a text of the image is said to be at %#x, beyond its memory", address);
	memcpy(&length, memory + address, sizeof(length));
	if (address + sizeof(length) + length > memory_size)
		end(END_ERROR, "a text of the image is said to have %u bytes", length);
	for (uint32_t i = 0; i < length; i++)
		output_byte(memory[address + sizeof(length) + i]);
}

static void port_write(uint16_t port, uint32_t size, uint32_t value)
{
	if (port == TEXT_PORT && size == sizeof(value))
		take_text(value);
	else if (port == COM1 && !(serial[LCR] & LCR_DLAB))
		output_byte(value);
	else if (port > COM1 && port <= COM1 + SCRATCH)
		serial[port - COM1] = value;
	else if (port == EXIT_PORT)
		end(END_EXIT, "by its own request");
	else if (port == KEYBOARD && (uint8_t)value == RESET_LINE)
		end(END_SHUTDOWN, "reset");
}

/* Bytes beyond the first are all ones. */
static uint32_t port_read(uint16_t port, uint32_t size)
{
	const uint32_t others = ~0xffu;

	switch (port) {
	case TEXT_PORT:
		return size == 4 ? TEXT_MAGIC : ~0u;
	case COM1:
		return others;
	case COM1 + 2:
		return others | 1;	/* no interrupt pending */
	case COM1 + LSR:
		return others | LSR_EMPTY;
	case COM1 + MSR:
		return others | MSR_READY;
	case COM1 + IER:
	case COM1 + LCR:
	case COM1 + MCR:
	case COM1 + SCRATCH:
		return others | serial[port - COM1];
	}
	return ~0u;
}

static void handle_io(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint32_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			port_write(run->io.port, run->io.size, value);
		} else {
			value = port_read(run->io.port, run->io.size);
			memcpy(data, &value, run->io.size);
		}
	}
}

/* ---- running */

static void internal_error(int fd, const struct kvm_run *run)
{
	static const char *const names[] = { "unknown", "emulation failure", "simultaneous exceptions", "delivery of an event",
					     "unexpected exit reason" };
	const uint32_t kind = run->internal.suberror;
	char data[400] = "";
	size_t length = 0;

	for (uint32_t i = 0; i < run->internal.ndata && i < 16; i++)
		length += snprintf(data + length, sizeof(data) - length, " %#llx", run->internal.data[i]);
	end(END_ERROR, "KVM_EXIT_INTERNAL_ERROR %u (%s), data%s; %s", kind, kind < 5 ? names[kind] : "?", data, where(fd));
}

/*
 * That of the first processor ends the machine. Another one executes nothing more, while the rest go on, until INIT
 * and SIPI: nothing but a reset ends a shutdown by a VMX abort, and this is what a board may make of INIT.
 */
static void shut_down(struct cpu *cpu)
{
	const struct kvm_nested_state no_vmx = {
		.size = sizeof(no_vmx), .hdr.vmx = { .vmxon_pa = ~0ull, .vmcs12_pa = ~0ull },
	};
	const struct kvm_mp_state waiting = { .mp_state = KVM_MP_STATE_UNINITIALIZED };

	if (cpu == cpus)
		end(END_SHUTDOWN, "triple fault; %s", where(cpu->fd));
	CONTROL(cpu->fd, KVM_SET_NESTED_STATE, &no_vmx);	/* VMX operation blocks INIT */
	CONTROL(cpu->fd, KVM_SET_MP_STATE, &waiting);
	cpu->shut_down = true;
}

static void handle_exit(struct cpu *cpu)
{
	struct kvm_run *run = cpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(run);
		break;
	case KVM_EXIT_MMIO:
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		shut_down(cpu);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(cpu->fd, run);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		end(END_ERROR, "KVM_EXIT_FAIL_ENTRY: L0's own VM entry failed, reason %#llx; %s",
		    run->fail_entry.hardware_entry_failure_reason, where(cpu->fd));
	default:
		end(END_ERROR, "KVM_RUN came back with exit reason %u; %s", run->exit_reason, where(cpu->fd));
	}
}

static _Atomic bool stop;

/* Of L0's one processor: the image writes to this port where it waits for another processor (lib/x86/cpu.h). */
static bool yields(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.port == YIELD_PORT;
}

/* What does not come at once may never come. L0 is idle meanwhile, and Bochs lets the time of an idle machine pass at once. */
static void let_others_run(unsigned int waits)
{
	enum { SOON = 64, NAP_NS = 500000 };

	if (waits < SOON)
		sched_yield();
	else
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

static void *run_cpu(void *argument)
{
	struct cpu *cpu = argument;
	unsigned int waits = 0;			/* in a row */

	while (!stop) {
		const int result = ioctl(cpu->fd, KVM_RUN, 0);
		const int error = errno;

		pthread_mutex_lock(&lock);
		kernel_log_report();
		if (result < 0 && error != EINTR && error != EAGAIN)
			end(END_ERROR, "KVM_RUN: %s; %s", strerror(error), where(cpu->fd));
		if (result == 0)
			handle_exit(cpu);
		pthread_mutex_unlock(&lock);
		if (result == 0 && yields(cpu->run))
			let_others_run(++waits);
		else if (result == 0)
			waits = 0;
	}
	return NULL;
}

static void ignore(int number)
{
	(void)number;
}

static bool had_shutdown(void)
{
	for (int i = 1; i < MOST_CPUS; i++)
		if (cpus[i].shut_down)
			return true;
	return false;
}

/* The watchdog's patience is over: where is the first processor? It may not come out of KVM_RUN; then nobody knows. */
static void end_at_limit(const struct job *job)
{
	enum { TRIES = 1000 / KICK_PUT_OFF_MS };
	struct timespec wait = { .tv_nsec = POLL_NS };
	bool out = false;

	stop = true;
	for (int i = 0; i < TRIES && !out; i++) {
		pthread_kill(cpus[0].thread, SIGUSR1);
		pthread_mutex_unlock(&lock);
		nanosleep(&wait, NULL);
		kick_put_off();
		out = pthread_tryjoin_np(cpus[0].thread, NULL) == 0;
		pthread_mutex_lock(&lock);
	}
	end(END_LIMIT, "%g s of L0's time; %s%s", job->limit_ms / 1000.0,
	    out ? where(cpus[0].fd) : "KVM_RUN of its first processor does not return",
	    had_shutdown() ? "; another processor was in shutdown" : "");
}

static void watch(const struct job *job)
{
	const struct timespec wait = { .tv_nsec = POLL_NS };
	const struct sched_param first = { .sched_priority = 1 };

	/* A scheduler need not let it run before the processor's thread at its wake-up, and ticks do not reach a guest that spins. */
	sched_setscheduler(0, SCHED_FIFO, &first);
	for (unsigned int polls = 1;; polls++) {
		nanosleep(&wait, NULL);
		kick_put_off();
		pthread_mutex_lock(&lock);
		kernel_log_report();
		output_flush();
		if (polls % PULSE_POLLS == 0)
			report(REPORT_PULSE, "%u", output_idle_ms());
		if (job->limit_ms && output_idle_ms() > job->limit_ms)
			end_at_limit(job);
		pthread_mutex_unlock(&lock);
	}
}

static void create_vm(const struct job *job)
{
	const uint64_t identity_map = 0xfffbc000;
	const struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_userspace_memory_region region;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		end(END_ERROR, "/dev/kvm: %s", strerror(errno));
	vm = CONTROL(kvm, KVM_CREATE_VM, 0);
	CONTROL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	CONTROL(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	CONTROL(vm, KVM_CREATE_IRQCHIP, 0);
	CONTROL(vm, KVM_CREATE_PIT2, &pit);

	memory_size = (uint64_t)job->memory_mib << 20;
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		end(END_ERROR, "%u MiB of memory: %s", job->memory_mib, strerror(errno));
	region = (struct kvm_userspace_memory_region){ .memory_size = memory_size, .userspace_addr = (uintptr_t)memory };
	CONTROL(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

void monitor_run(const struct job *job, const void *image)
{
	const struct sigaction action = { .sa_handler = ignore };
	int run_size;

	sigaction(SIGUSR1, &action, NULL);	/* brings a thread out of KVM_RUN */
	create_vm(job);
	run_size = CONTROL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (job->cpus < 1 || job->cpus > MOST_CPUS)
		end(END_ERROR, "%u processors", job->cpus);
	for (uint32_t i = 0; i < job->cpus; i++)
		create_cpu(i, run_size);
	set_entry(cpus[0].fd, load_elf(job, image));
	write_start_info(job);
	for (uint32_t i = 0; i < job->cpus; i++)
		if (pthread_create(&cpus[i].thread, NULL, run_cpu, &cpus[i]))
			end(END_ERROR, "no thread for a virtual CPU");
	watch(job);
	__builtin_unreachable();
}
