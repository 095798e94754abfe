/* SPDX-License-Identifier: BSD-2-Clause */
/* Unmodified QEMU inside L0, started as people start it; its serial port comes through a pipe. */
#include "kick.h"
#include "monitor.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define QEMU	"/qemu/qemu-system-x86_64"
#define IMAGE	"/image.elf"

static void finish(const char *kind, const char *text) __attribute__((noreturn));

static void finish(const char *kind, const char *text)
{
	output_flush();
	kernel_log_report();
	report(REPORT_END, "%s %s", kind, text);
	_exit(0);
}

static void write_image(const struct job *job, const char *image)
{
	const int fd = open(IMAGE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	for (size_t done = 0; done < job->image_size;) {
		const ssize_t written = write(fd, image + done, job->image_size - done);

		if (written <= 0)
			finish(END_ERROR, "the image cannot be written");
		done += written;
	}
	close(fd);
}

static pid_t start(const struct job *job, int output)
{
	char cpus[16], memory[16];
	const char *arguments[] = {
		"/qemu/ld.so", "--library-path", "/qemu/lib", QEMU, "-L", "/qemu/share",
		"-enable-kvm", "-cpu", "max,+vmx", "-smp", cpus, "-m", memory, "-display", "none", "-vga", "none", "-nodefaults",
		"-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-kernel", IMAGE, "-append", job->command_line, NULL,
	};
	pid_t child;

	snprintf(cpus, sizeof(cpus), "%u", job->cpus);
	snprintf(memory, sizeof(memory), "%u", job->memory_mib);
	child = fork();
	if (child)
		return child;
	dup2(output, STDOUT_FILENO);
	dup2(open("/dev/null", O_RDWR), STDIN_FILENO);
	dup2(open("/qemu.log", O_RDWR | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
	execv(arguments[0], (char **)arguments);
	_exit(127);
}

/* QEMU's last words, in one line. */
static const char *said(void)
{
	static char text[512];
	const int fd = open("/qemu.log", O_RDONLY | O_CLOEXEC);
	const ssize_t size = read(fd, text, sizeof(text) - 1);

	text[size > 0 ? size : 0] = '\0';
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	close(fd);
	return text;
}

/* isa-debug-exit makes QEMU end with 1, and so do errors; those are no warnings. */
static void judge(int status) __attribute__((noreturn));

static void judge(int status)
{
	char text[700];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 1 && (!*said() || strstr(said(), "warning: ")))
		finish(END_EXIT, "by its own request");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		finish(END_SHUTDOWN, "QEMU ended with status 0: reset or power-off");
	snprintf(text, sizeof(text), "QEMU ended with status %#x: %s", status, said());
	finish(END_ERROR, text);
}

void qemu_run(const struct job *job, const void *image)
{
	enum { PULSE_POLLS = 25 };
	char buffer[512];
	int pipes[2];
	unsigned int polls = 0;
	pid_t child;

	write_image(job, image);
	if (pipe2(pipes, O_CLOEXEC))
		finish(END_ERROR, "no pipe");
	child = start(job, pipes[1]);
	close(pipes[1]);
	for (;;) {
		struct pollfd wait = { .fd = pipes[0], .events = POLLIN };
		const int ready = poll(&wait, 1, KICK_PUT_OFF_MS);
		const ssize_t size = ready > 0 ? read(pipes[0], buffer, sizeof(buffer)) : -1;

		kick_put_off();
		kernel_log_report();
		for (ssize_t i = 0; i < size; i++)
			output_byte(buffer[i]);
		output_flush();
		if (size == 0)
			break;
		if (++polls % PULSE_POLLS == 0)
			report(REPORT_PULSE, "%u", output_idle_ms());
		if (job->limit_ms && output_idle_ms() > job->limit_ms)
			finish(END_LIMIT, "of L0's time, under QEMU");
	}
	int status = 0;

	waitpid(child, &status, 0);
	judge(status);
}
