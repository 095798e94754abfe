/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI by configuration mechanism #1 (PCI Local Bus Specification 3.0, "Configuration Mechanism"): read, but for one bit. */
#pragma once

#include "libc/types.h"
#include "machine/serial.h"

/* May any port of [first, end) be a PCI function's, by its base addresses, or by a bridge's window? */
bool pci_has_ports(u32 first, u32 end);

/* The first serial controller that answers; its decoding of ports, or of memory, is turned on. False: there is none. */
bool pci_find_serial(struct serial_port *port);
