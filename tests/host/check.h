/* SPDX-License-Identifier: MIT */
/*
 * Three lines of a test framework: CHECK counts and reports, CHECK_RESULT is what main returns.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static _Atomic unsigned int check_failures, check_count;

#define CHECK(condition)                                                                         \
	do {                                                                                     \
		check_count++;                                                                   \
		if (!(condition)) {                                                              \
			check_failures++;                                                        \
			fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, \
				#condition);                                                     \
		}                                                                                \
	} while (0)

/* 0 when all held. */
#define CHECK_RESULT() \
	(printf("%u checks, %u failed\n", check_count, check_failures), check_failures != 0)

#endif
