/* SPDX-License-Identifier: BSD-2-Clause */
/* TEST() for images that are plain guests. */
#pragma once

#include "tap/tap.h"
#include "x86/feature.h"

#define TEST(id, title, ...) TAP_TEST(plain_fixture, id, title, ##__VA_ARGS__)
