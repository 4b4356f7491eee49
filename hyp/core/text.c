/* SPDX-License-Identifier: MIT */
/*
 * The few conversions that log lines and device-tree names need.
 */
#include <string.h>

#include "text.h"

struct out {
	char *at, *end;
};

static void put(struct out *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
}

static void put_number(struct out *out, u64 value, u32 base, u32 width, char pad)
{
	char digits[20];
	u32 n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (; width > n; width--)
		put(out, pad);
	while (n)
		put(out, digits[--n]);
}

size_t text_vformat(char *to, size_t size, const char *format, va_list args)
{
	struct out out = {to, to + size - 1};

	for (; *format; format++) {
		bool is_long = false;
		u32 width = 0;
		char pad = ' ';
		u64 value;

		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		if (*++format == '0')
			pad = '0';
		for (; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (*format - '0');
		for (; *format == 'l' || *format == 'z'; format++)
			is_long = true;
		switch (*format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(&out, *s);
			break;
		case 'c':
			put(&out, va_arg(args, int));
			break;
		case 'd': {
			long number = is_long ? va_arg(args, long) : va_arg(args, int);

			if (number < 0)
				put(&out, '-');
			put_number(&out, number < 0 ? -(u64)number : (u64)number, 10, width, pad);
			break;
		}
		case 'u':
		case 'x':
			value = is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned int);
			put_number(&out, value, *format == 'x' ? 16 : 10, width, pad);
			break;
		case '\0':
			format--;
			break;
		default:
			put(&out, *format);
		}
	}
	*out.at = '\0';
	return out.at - to;
}

size_t text_format(char *to, size_t size, const char *format, ...)
{
	va_list args;
	size_t n;

	va_start(args, format);
	n = text_vformat(to, size, format, args);
	va_end(args);
	return n;
}
