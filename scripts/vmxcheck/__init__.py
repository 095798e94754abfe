# SPDX-License-Identifier: BSD-2-Clause
"""vmxcheck's runner: boots the images on a backend and gives one verdict."""

VERSION = "0.1"
