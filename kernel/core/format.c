/* SPDX-License-Identifier: MIT */
/* vsnprintf: d i u x X o c s p %, with flags, width, precision and the length modifiers hh h l ll z t j. No floats. */
#include <lichen/printk.h>
#include <lichen/string.h>

struct out {
	char *buf;
	size_t bytes, length; /* length counts what did not fit too */
};

static void put(struct out *o, char c)
{
	if (o->length + 1 < o->bytes)
		o->buf[o->length] = c;
	o->length++;
}

static void pad(struct out *o, char c, int n)
{
	while (n-- > 0)
		put(o, c);
}

struct spec {
	bool left, zero, plus, space, alternate;
	int width, precision; /* precision -1: none */
};

static void put_string(struct out *o, const struct spec *s, const char *text)
{
	size_t n;

	if (!text)
		text = "(null)";
	n = s->precision >= 0 ? strnlen(text, (size_t)s->precision) : strlen(text);
	if (!s->left)
		pad(o, ' ', s->width - (int)n);
	for (size_t i = 0; i < n; i++)
		put(o, text[i]);
	if (s->left)
		pad(o, ' ', s->width - (int)n);
}

static void put_number(struct out *o, const struct spec *s, u64 value, bool negative, unsigned base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24], prefix[3];
	int n = 0, np = 0, zeros, total;

	do
		text[n++] = digits[value % base];
	while (value /= base);
	if (negative)
		prefix[np++] = '-';
	else if (s->plus)
		prefix[np++] = '+';
	else if (s->space)
		prefix[np++] = ' ';
	if (s->alternate && base == 16) {
		prefix[np++] = '0';
		prefix[np++] = upper ? 'X' : 'x';
	} else if (s->alternate && base == 8 && text[n - 1] != '0') {
		prefix[np++] = '0';
	}
	zeros = s->precision > n ? s->precision - n : 0;
	total = n + np + zeros;
	if (s->zero && !s->left && s->precision < 0 && s->width > total) {
		zeros += s->width - total;
		total = s->width;
	}
	if (!s->left)
		pad(o, ' ', s->width - total);
	for (int i = 0; i < np; i++)
		put(o, prefix[i]);
	pad(o, '0', zeros);
	while (n > 0)
		put(o, text[--n]);
	if (s->left)
		pad(o, ' ', s->width - total);
}

static const char *number(const char *p, int *value)
{
	*value = 0;
	while (*p >= '0' && *p <= '9')
		*value = *value * 10 + (*p++ - '0');
	return p;
}

int vsnprintf(char *buf, size_t bytes, const char *format, va_list args)
{
	struct out o = {.buf = buf, .bytes = bytes};

	for (const char *p = format; *p; p++) {
		struct spec s = {.precision = -1};
		int length = 0; /* bytes of the argument beyond int: see below */
		bool is_signed = false;
		u64 value;

		if (*p != '%') {
			put(&o, *p);
			continue;
		}
		for (p++;; p++) {
			if (*p == '-')
				s.left = true;
			else if (*p == '0')
				s.zero = true;
			else if (*p == '+')
				s.plus = true;
			else if (*p == ' ')
				s.space = true;
			else if (*p == '#')
				s.alternate = true;
			else
				break;
		}
		if (*p == '*') {
			s.width = va_arg(args, int);
			if (s.width < 0) {
				s.left = true;
				s.width = -s.width;
			}
			p++;
		} else {
			p = number(p, &s.width);
		}
		if (*p == '.') {
			p++;
			if (*p == '*') {
				s.precision = va_arg(args, int);
				p++;
			} else {
				p = number(p, &s.precision);
			}
		}
		for (;; p++) {
			if (*p == 'l')
				length++;
			else if (*p == 'z' || *p == 't' || *p == 'j')
				length = 1;
			else if (*p == 'h')
				length--;
			else
				break;
		}
		switch (*p) {
		case 'd':
		case 'i':
			is_signed = true;
			fallthrough;
		case 'u':
		case 'x':
		case 'X':
		case 'o':
			if (length > 0)
				value = va_arg(args, u64);
			else if (is_signed)
				value = (u64)(s64)va_arg(args, int);
			else
				value = va_arg(args, unsigned int);
			if (length == -1)
				value = is_signed ? (u64)(s64)(s16)value : (u16)value;
			else if (length == -2)
				value = is_signed ? (u64)(s64)(s8)value : (u8)value;
			if (is_signed && (s64)value < 0)
				put_number(&o, &s, -value, true, 10, false);
			else
				put_number(&o, &s, value, false,
					*p == 'x' || *p == 'X' ? 16 : *p == 'o' ? 8 : 10, *p == 'X');
			break;
		case 'p':
			s.alternate = true;
			put_number(&o, &s, (u64)(uintptr_t)va_arg(args, void *), false, 16, false);
			break;
		case 'c': {
			char c[2] = {(char)va_arg(args, int), 0};

			if (!c[0]) {
				put(&o, 0);
				break;
			}
			put_string(&o, &s, c);
			break;
		}
		case 's':
			put_string(&o, &s, va_arg(args, const char *));
			break;
		case '%':
			put(&o, '%');
			break;
		case '\0':
			p--;
			break;
		default:
			put(&o, '%');
			put(&o, *p);
		}
	}
	if (bytes)
		buf[min(o.length, bytes - 1)] = '\0';
	return (int)o.length;
}

int snprintf(char *buf, size_t bytes, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(buf, bytes, format, args);
	va_end(args);
	return n;
}
