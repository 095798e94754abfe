/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Port E9H: of an emulator (Bochs, QEMU's isa-debugcon), which takes bytes there and answers E9H; or of a monitor that
 * takes the address of a whole text at one exit (l0/monitor.c), and says so.
 */
#pragma once

#include "libc/types.h"

bool debug_port_is_there(void);
void debug_port_send(const char *bytes, size_t count);

bool debug_port_takes_texts(void);
void debug_port_hand_over(const char *text, size_t length);
