// SPDX-License-Identifier: MIT
/* The options that tmpfs takes at mount: tmpfs(5). */
#include "tmpfs.h"

/* A number with k, m, g or (of memory) %: false if it is none. */
static bool parse_size(const char *s, size_t n, u64 whole, u64 *value)
{
	u64 v = 0;
	size_t i;

	for (i = 0; i < n && s[i] >= '0' && s[i] <= '9'; i++)
		v = v * 10 + (u64)(s[i] - '0');
	if (!i)
		return false;
	if (i < n && (s[i] | 32) == 'k')
		v <<= 10, i++;
	else if (i < n && (s[i] | 32) == 'm')
		v <<= 20, i++;
	else if (i < n && (s[i] | 32) == 'g')
		v <<= 30, i++;
	else if (i < n && s[i] == '%')
		v = whole * v / 100, i++;
	*value = v;
	return i == n;
}

static bool parse_octal(const char *s, size_t n, mode_t *mode)
{
	*mode = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '7')
			return false;
		*mode = *mode * 8 + (mode_t)(s[i] - '0');
	}
	return n && *mode <= 07777;
}

static bool parse_option(const char *s, size_t n, u64 ram, struct tmpfs_options *o)
{
	const char *value = memchr(s, '=', n);
	size_t key = value ? (size_t)(value - s) : n, rest = value ? n - key - 1 : 0;
	u64 v;

	if (value)
		value++;
	else
		value = "";
#define KEY(text) (key == sizeof(text) - 1 && !memcmp(s, text, key))
	if (KEY("size")) {
		if (!parse_size(value, rest, ram * PAGE_SIZE, &v))
			return false;
		o->max_pages = div_round_up(v, PAGE_SIZE);
	} else if (KEY("nr_blocks")) {
		return parse_size(value, rest, ram, &o->max_pages);
	} else if (KEY("nr_inodes")) {
		return parse_size(value, rest, ram, &o->max_inodes);
	} else if (KEY("mode")) {
		return parse_octal(value, rest, &o->mode);
	} else if (KEY("uid")) {
		if (!parse_size(value, rest, 0, &v))
			return false;
		o->uid = (uid_t)v;
	} else if (KEY("gid")) {
		if (!parse_size(value, rest, 0, &v))
			return false;
		o->gid = (gid_t)v;
	} else {
		return KEY("huge") || KEY("inode32") || KEY("inode64") || KEY("noswap") || KEY("mpol");
	}
	return true;
#undef KEY
}

long tmpfs_parse_options(const char *data, struct tmpfs_options *o)
{
	struct memory_info memory;

	memory_info(&memory);
	*o = (struct tmpfs_options){.max_pages = memory.total / 2, .max_inodes = memory.total / 2, .mode = 01777};
	while (data && *data) {
		const char *end = strchr(data, ',');
		size_t n = end ? (size_t)(end - data) : strlen(data);

		if (n && !parse_option(data, n, memory.total, o))
			return -EINVAL;
		data = end ? end + 1 : NULL;
	}
	return 0;
}
