/* SPDX-License-Identifier: MIT */
/*
 * For programs that run on Linux and on Lichen: say on standard output what was observed (it must be the same on
 * both), and CHECK what must be so on any kernel.
 */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int check_failures;

/* A failed one is counted and told; the program goes on. */
#define CHECK(condition)                                                                                          \
	do {                                                                                                      \
		if (!(condition)) {                                                                               \
			__atomic_fetch_add(&check_failures, 1, __ATOMIC_RELAXED);                                 \
			printf("%s:%d: not so: %s (errno %s)\n", __FILE__, __LINE__, #condition, strerrorname_np(errno)); \
		}                                                                                                 \
	} while (0)

/* One line: what a call returned, or the name of its error. */
#define SHOW(call)                                                                                                \
	do {                                                                                                      \
		errno = 0;                                                                                        \
		long show_result = (long)(call);                                                                  \
		if (show_result == -1 && errno)                                                                   \
			printf("%s = %s\n", #call, strerrorname_np(errno));                                       \
		else                                                                                              \
			printf("%s = %ld\n", #call, show_result);                                                 \
	} while (0)

/* What main returns. */
#define CHECK_RESULT() (fflush(stdout), check_failures != 0)

#endif
