/* SPDX-License-Identifier: MIT */
/* libfdt includes it and uses nothing of it but strtoul, in the part that is not built. */
#ifndef HYP_STDLIB_H
#define HYP_STDLIB_H
#include <stddef.h>
#endif
