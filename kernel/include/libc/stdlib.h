/* SPDX-License-Identifier: MIT */
/* libfdt wants it; it needs strtoul alone. */
#include <lichen/string.h>
