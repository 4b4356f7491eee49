/* SPDX-License-Identifier: MIT */
#include <lichen/string.h>
