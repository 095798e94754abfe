/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI by configuration mechanism #1 (PCI Local Bus Specification 3.0, "Configuration Mechanism"): read, never written. */
#pragma once

#include "libc/types.h"

/* May any port of [first, end) be a PCI function's, by its base addresses, or by a bridge's window? */
bool pci_has_ports(u32 first, u32 end);
