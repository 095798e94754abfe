# SPDX-License-Identifier: BSD-2-Clause
"""L0: a Linux on Bochs whose KVM runs the images. Its own programs are in the folder l0/ of the sources."""
