/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiled once an image: its name, and a list of its tests ends here. */
#include "tap/tap.h"

const char image_name[] = IMAGE_NAME;
