/* SPDX-License-Identifier: MIT */
/* String functions. Those on memory that matter for speed are the architecture's (arch/.../string.S). */
#include <lichen/string.h>

bool string_copy(char *to, size_t bytes, const char *from)
{
	size_t n = strlen(from);
	bool fits = n < bytes;

	if (!bytes)
		return false;
	if (!fits)
		n = bytes - 1;
	memcpy(to, from, n);
	to[n] = '\0';
	return fits;
}

#ifdef LICHEN_HOST_BUILD
void page_copy(void *to, const void *from)
{
	memcpy(to, from, PAGE_SIZE);
}

void page_zero(void *to)
{
	memset(to, 0, PAGE_SIZE);
}
#else
int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n >= 8; n -= 8, p += 8, q += 8) {
		u64 x, y;

		__builtin_memcpy(&x, p, 8);
		__builtin_memcpy(&y, q, 8);
		if (x != y)
			break;
	}
	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	for (const u8 *p = s; n; n--, p++)
		if (*p == (u8)c)
			return (void *)(uintptr_t)p;
	return NULL;
}

size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i])
		i++;
	return i;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (!*s)
			return (char *)(uintptr_t)last;
	}
}

char *strstr(const char *s, const char *what)
{
	size_t n = strlen(what);

	for (; *s || !n; s++) {
		if (!strncmp(s, what, n))
			return (char *)(uintptr_t)s;
		if (!*s)
			break;
	}
	return NULL;
}

unsigned long strtoul(const char *s, char **end, int base)
{
	unsigned long value = 0;
	bool negative = false;

	while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
		s++;
	if (*s == '-' || *s == '+')
		negative = *s++ == '-';
	if ((base == 0 || base == 16) && s[0] == '0' && (s[1] | 32) == 'x') {
		s += 2;
		base = 16;
	}
	if (base == 0)
		base = *s == '0' ? 8 : 10;
	for (;; s++) {
		int digit = *s >= '0' && *s <= '9' ? *s - '0' : (*s | 32) >= 'a' && (*s | 32) <= 'z' ? (*s | 32) - 'a' + 10 : 99;
		unsigned long next;

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(value, (unsigned long)base, &next) ||
			__builtin_add_overflow(next, (unsigned long)digit, &next))
			next = ~0ul;
		value = next;
	}
	if (end)
		*end = (char *)(uintptr_t)s;
	return negative ? -value : value;
}
#endif
