/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiled once an image: its name. */
#include "tap/tap.h"

const char image_name[] = STRING_OF(IMAGE_NAME);
