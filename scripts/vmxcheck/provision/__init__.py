# SPDX-License-Identifier: BSD-2-Clause
"""Emulators of other Debian releases: found, fetched, checked, kept in a cache, started with their own libraries.

debian.py knows releases and packages, emulator.py what an emulator is made of.
"""
