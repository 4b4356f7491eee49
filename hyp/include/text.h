/* SPDX-License-Identifier: MIT */
/*
 * Formatting into a buffer: %s %c %d %u %x %%, with l for 64 bits, and a width with leading zeros (%08x).
 */
#ifndef HYP_TEXT_H
#define HYP_TEXT_H

#include <stdarg.h>

#include "types.h"

/* Always terminates; returns the length that is in the buffer (less than size). */
size_t text_vformat(char *to, size_t size, const char *format, va_list args);
size_t text_format(char *to, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
