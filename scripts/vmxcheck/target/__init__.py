# SPDX-License-Identifier: BSD-2-Clause
"""A target of one's own: any command that starts a machine, any way by which its serial port comes here (docs/targets.md)."""
