/* SPDX-License-Identifier: MIT */
/* What libfdt wants of <limits.h>. */
#ifndef LIBC_LIMITS_H
#define LIBC_LIMITS_H
#define INT_MAX	 __INT_MAX__
#define UINT_MAX (__INT_MAX__ * 2u + 1u)
#endif
