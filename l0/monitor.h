/* SPDX-License-Identifier: BSD-2-Clause */
/* What runs an image inside L0. Each is called in a process of its own and does not return. */
#pragma once

#include "mailbox.h"

/* A few hundred lines on /dev/kvm (monitor.c). */
void monitor_run(const struct job *job, const void *image) __attribute__((noreturn));

/* Unmodified QEMU, as people start it (qemu.c). */
void qemu_run(const struct job *job, const void *image) __attribute__((noreturn));
