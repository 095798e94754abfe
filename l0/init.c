/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first and only program of L0: mounts, loads KVM, starts the kick, and then runs one job after the
 * other, each in a process of its own. What it is told stands on the kernel's command line.
 */
#include "kick.h"
#include "mailbox.h"
#include "monitor.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static char hello[4096];

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	const size_t length = strlen(hello);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(hello + length, sizeof(hello) - length, format, arguments);
	va_end(arguments);
}

/* The first line of a file; "" if there is none. */
static void read_line(const char *path, char *text, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static void write_line(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say("problem=%s cannot be written\n", path);
	close(fd);
}

/* The words MODULE.NAME=VALUE of the kernel's command line, as NAME=VALUE. */
static void parameters_of(const char *module, char *found, size_t size)
{
	char line[4096];
	size_t length = 0;

	found[0] = '\0';
	read_line("/proc/cmdline", line, sizeof(line));
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		if (!strncmp(word, module, strlen(module)) && word[strlen(module)] == '.')
			length += snprintf(found + length, size - length, "%s ", word + strlen(module) + 1);
}

/* A module that the kernel has built in has no file: nothing to do. */
static void load_module(const char *file, const char *name)
{
	char parameters[1024];
	const int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	parameters_of(name, parameters, sizeof(parameters));
	if (syscall(SYS_finit_module, fd, parameters, 0))
		say("problem=module %s cannot be loaded: %s\n", name, strerror(errno));
	close(fd);
}

static void say_parameters(const char *module)
{
	char path[512], value[256];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters", module);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, entry->d_name);
		read_line(path, value, sizeof(value));
		say("%s.%s=%s\n", module, entry->d_name, value);
	}
	if (folder)
		closedir(folder);
}

static void prepare(void)
{
	struct utsname name;
	const char *trouble;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (iopl(3))
		_exit(1);
	/* The kernel's messages go over kernel_log_report(): the kick alone would keep the serial console busy for ever. */
	write_line("/proc/sys/kernel/printk", "0");

	uname(&name);
	say("kernel=%s\n", name.release);
	load_module("/irqbypass.ko", "irqbypass");
	load_module("/kvm.ko", "kvm");
	load_module("/kvm-intel.ko", "kvm_intel");
	say_parameters("kvm");
	say_parameters("kvm_intel");
	if (access("/dev/kvm", R_OK | W_OK))
		say("problem=there is no /dev/kvm\n");
	trouble = kick_start();
	if (trouble)
		say("problem=the kick does not work: %s\n", trouble);
	report_bytes(REPORT_HELLO, hello, strlen(hello));
}

static void run(const struct job *job, const void *image)
{
	pid_t child;
	int status;

	kernel_log_begin();
	report(REPORT_START, "%u", job->sequence);
	child = image ? fork() : -1;
	if (child == 0) {
		output_begin();
		if (job->monitor == MONITOR_QEMU)
			qemu_run(job, image);
		monitor_run(job, image);
	}
	if (child < 0) {
		report(REPORT_END, END_ERROR " L0 has no memory for another process");
		return;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		report(REPORT_END, END_ERROR " the monitor died (status %#x)", status);
	kill(-1, SIGKILL);	/* whatever it left behind */
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int main(void)
{
	static struct job job;

	prepare();
	for (uint32_t sequence = 1;; sequence++) {
		void *image = mailbox_wait(sequence, &job);

		run(&job, image);
		free(image);
	}
}
