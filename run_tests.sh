#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The door to scripts/vmxcheck, with the Python that configure found; ./run_tests.sh --help says what it takes.
top=$(dirname "$(readlink -f "$0")") && python=$(sed -n 's/^PYTHON=//p' "$top/config.mk" 2>/dev/null)
exec "${python:-python3}" -S "$top/scripts/vmxcheck/__main__.py" "$@" # -S: no site-packages are needed, and the start is quicker
