/* SPDX-License-Identifier: MIT */
// sources: hyp/core/config.c hyp/core/cpio.c hyp/core/layout.c hyp/core/text.c hyp/core/seed.c
// cflags: -Ihyp/include
/*
 * domains.conf, the payload archive, the division of memory, and the small things beside them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"
#include "cpio.h"
#include "layout.h"
#include "seed.h"
#include "text.h"

static struct config config;
static struct config_error error;

static int parse(const char *text)
{
	/* A copy of exactly its size: the sanitizer sees a byte too many. */
	size_t size = strlen(text);
	char *copy = malloc(size ? size : 1);
	int err;

	memcpy(copy, text, size);
	err = config_parse(copy, size, 4, &config, &error);
	free(copy);
	return err;
}

#define GOOD                                                                                           \
	"# a comment\npool 25%\nspare-spis 200-220\n\ndomain linux\n role driver\n cpus 0\n"           \
	" memory 192M # what it needs\n kernel linux.Image\n initrd linux.initrd\n cmdline  a # b  \n" \
	"domain lichen\n cpus 1-\n memory rest\n kernel lichen.Image\n signal spi\n start at-once\n slots 3\n sgi-filter\n wfi-trap"

static void test_good(void)
{
	CHECK(parse(GOOD) == 0);
	CHECK(config.pool_percent == 25 && config.spare_first == 200 && config.spare_last == 220);
	CHECK(config.domains == 2 && config.domain[0].driver && !config.domain[1].driver);
	CHECK(config.domain[0].cpus == 1 && config.domain[1].cpus == 0xe);
	CHECK(config.domain[0].memory == 192 * MIB && config.domain[1].memory == 0);
	CHECK(!strcmp(config.domain[0].cmdline, "a # b") &&
		!strcmp(config.domain[0].initrd, "linux.initrd"));
	CHECK(!config.domain[1].signal_sgi && config.domain[1].at_once &&
		config.domain[1].slots == 3);
	CHECK(config.domain[1].sgi_filter && config.domain[1].wfi_trap &&
		!config.domain[1].share_memory);
	CHECK(config.domain[0].slots == 0);
	CHECK(parse("domain a\r\n role driver\r\n cpus 0,2-3\r\n memory 2G\r\n kernel k\r\n") == 0);
	CHECK(config.domain[0].cpus == 0xd && config.domain[0].memory == 2 * GIB &&
		config.pool_percent == 40);
}

static void refused(const char *text, u32 line, const char *says)
{
	int err = parse(text);
	bool as_wanted = err == -EINVAL && error.line == line && strstr(error.text, says);

	if (!as_wanted)
		fprintf(stderr, "line %u: %s\n", error.line, error.text);
	CHECK(as_wanted);
}

#define D "domain a\nrole driver\ncpus 0\nmemory 4M\nkernel k\n"

static void test_bad(void)
{
	refused("", 0, "driver");
	refused("pool\n", 1, "size");
	refused("pool 0%\n", 1, "1% to 90%");
	refused("pool 91%\n", 1, "1% to 90%");
	refused("pool 12Q\n", 1, "12Q");
	refused("pool 99999999999999999999999\n", 1, "size");
	refused("pool 16777216G\n", 1, "size");
	refused("pool 5% 6%\n", 1, "too much");
	refused("\n\ncpus 0\n", 3, "no domain");
	refused("domain\n", 1, "name");
	refused("domain a-name-that-is-too-long\n", 1, "too long");
	refused("domain a\ndomain a\n", 2, "twice");
	refused("domain a\ndomain b\ndomain c\ndomain d\ndomain e\n", 5, "too many");
	refused("domain a\ncpus 4\n", 2, "no such CPU");
	refused("domain a\ncpus 3-1\n", 2, "no such CPU");
	refused("domain a\ncpus 0-99999999999\n", 2, "no such CPU");
	refused("domain a\ncpus x\n", 2, "list of CPUs");
	refused("domain a\ncpus 0,\n", 2, "list of CPUs");
	refused("domain a\ncpus 0;1\n", 2, "list of CPUs");
	refused(D "domain b\ncpus 0-1\n", 7, "another domain");
	refused("domain a\nmemory 1M\n", 2, "192M");
	refused("domain a\nmemory\n", 2, "192M");
	refused("domain a\nrole king\n", 2, "king");
	refused("domain a\nfoo bar\n", 2, "foo");
	refused("domain a\nslots 33\n", 2, "32");
	refused("spare-spis 10-20\n", 1, "32 to 1019");
	refused("spare-spis 200\n", 1, "range");
	refused("domain a\nrole driver\n", 1, "no CPUs");
	refused("domain a\nrole driver\ncpus 0\n", 1, "no kernel");
	refused("domain a\nrole driver\ncpus 0\nkernel k\n", 1, "no memory");
	refused(D "domain b\nrole driver\ncpus 1\nmemory 4M\nkernel k\n", 6, "two driver");
	refused("domain a\ncpus 0\nmemory 4M\nkernel k\n", 0, "driver role");
	refused(D
		"domain b\ncpus 1\nmemory rest\nkernel k\ndomain c\ncpus 2\nmemory rest\nkernel k\n",
		12, "rest");
	refused(D
		"domain b\ncpus 1\nmemory rest\nkernel k\ndomain c\ncpus 2\nmemory 4M\nkernel k\n",
		10, "pool");
	refused(D
		"domain b\ncpus 1\nmemory rest\nkernel k\nslots 20\ndomain c\ncpus 2\nmemory 4M\nkernel k\nslots 20\nshare-memory\n",
		11, "slots");

	/* A command line one byte too long: there is no word to show with that. */
	char text[32 + sizeof(config.domain[0].cmdline)] = "domain a\ncmdline ";

	memset(text + strlen(text), 'x', sizeof(config.domain[0].cmdline));
	refused(text, 2, "command line is too long");
}

/* Cut anywhere, it is taken or refused, and nothing behind it is read. */
static void test_cut(void)
{
	const char *text = GOOD;

	for (size_t n = 0; n <= strlen(text); n++) {
		char *copy = malloc(n ? n : 1);

		memcpy(copy, text, n);
		error.text[0] = '\0';
		CHECK(config_parse(copy, n, 4, &config, &error) == 0 || error.text[0]);
		free(copy);
	}
}

static size_t member(char *to, const char *name, const char *data)
{
	int n = sprintf(to, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0, 0, 0,
		0, 1, 0, strlen(data), 0, 0, 0, 0, strlen(name) + 1, 0);

	n += sprintf(to + n, "%s", name) + 1;
	while (n % 4)
		to[n++] = 0;
	n += sprintf(to + n, "%s", data);
	while (n % 4)
		to[n++] = 0;
	return n;
}

static void test_cpio(void)
{
	char text[2048];
	size_t n = 0, size;
	const void *data;

	n += member(text + n, "first", "one");
	n += member(text + n, "./second", "twotwo");
	n += member(text + n, "empty", "");
	n += member(text + n, "TRAILER!!!", "");
	CHECK(cpio_find(text, n, "first", &data, &size) == 0 && size == 3 &&
		!memcmp(data, "one", 3));
	CHECK(cpio_find(text, n, "second", &data, &size) == 0 && size == 6);
	CHECK(cpio_find(text, n, "empty", &data, &size) == 0 && size == 0);
	CHECK(cpio_find(text, n, "third", &data, &size) == -ENOENT);
	for (size_t cut = 0; cut < n; cut++) {
		char *copy = malloc(cut ? cut : 1);

		memcpy(copy, text, cut);
		CHECK(cpio_find(copy, cut, "third", &data, &size) == -EINVAL || cut >= n - 4);
		free(copy);
	}
	text[54] = 'z';
	CHECK(cpio_find(text, n, "second", &data, &size) == -EINVAL);
	memset(text + 54, 'f', 8);
	CHECK(cpio_find(text, n, "second", &data, &size) == -EINVAL);
}

static bool owned_once(const struct layout *layout, const struct range *hyp, u64 at)
{
	u32 owners = range_contains(hyp, at, PAGE_SIZE) +
		     range_list_contains(&layout->pool, at, PAGE_SIZE);

	for (u32 i = 0; i < HYP_DOMAINS; i++)
		owners += range_list_contains(&layout->domain[i], at, PAGE_SIZE);
	return owners <= 1;
}

static void test_layout(void)
{
	struct machine m = {.rams = 2, .reserveds = 2};
	struct range hyp = {0x40200000, 4 * MIB};
	struct layout layout;
	struct range_list busy = {{{0x40000000, 0x100000}, {0x40800000, 0x100000}}, 2};

	/* The banks in the wrong order, edges that are no multiples of 2 MiB, holes. */
	m.ram[0] = (struct range){0x880000000, GIB};
	m.ram[1] = (struct range){0x40000000, GIB - 0x1000};
	m.reserved[0] = (struct range){0x50000000, 0x1000};
	m.reserved[1] = (struct range){0x8a0000000, 4 * MIB};
	CHECK(parse(GOOD) == 0);
	CHECK(layout_plan(&m, &config, &hyp, &layout, &error) == 0);
	CHECK(range_list_size(&layout.domain[0]) == 192 * MIB &&
		layout.domain[0].range[0].base == 0x40000000);
	CHECK(range_list_size(&layout.pool) >= 500 * MIB);
	CHECK(!range_list_contains(&layout.domain[1], 0x50000000, PAGE_SIZE));
	for (u64 at = 0x40000000; at < 0x80000000; at += MIB)
		CHECK(owned_once(&layout, &hyp, at));
	for (u64 at = 0x880000000; at < 0x8c0000000; at += MIB)
		CHECK(owned_once(&layout, &hyp, at));
	CHECK(range_list_size(&layout.pool) + range_list_size(&layout.domain[0]) +
			range_list_size(&layout.domain[1]) ==
		2 * GIB - 2 * MIB - 4 * MIB - 2 * MIB - 4 * MIB);

	CHECK(layout_place(&layout.domain[0], &busy, 0x100000, PAGE_SIZE) == 0x40100000);
	CHECK(layout_place(&layout.domain[0], &busy, 0x100000, BLOCK_SIZE) == 0x40600000);
	CHECK(layout_place(&layout.domain[0], &busy, 4 * MIB, BLOCK_SIZE) == 0x40a00000);
	CHECK(layout_place(&layout.domain[0], &busy, GIB, BLOCK_SIZE) == 0);
	CHECK(layout_place(&layout.domain[0], &busy, ~0ull - 0x1000, BLOCK_SIZE) == 0);

	m.rams = 1;
	m.ram[0] = (struct range){0x40000000, 128 * MIB};
	CHECK(layout_plan(&m, &config, &hyp, &layout, &error) == -EINVAL && error.line &&
		strstr(error.text, "RAM"));
}

static void test_text(void)
{
	char text[16];

	CHECK(text_format(text, sizeof(text), "%s-%04x-%d", "ab", 0xfu, -5) == 10 &&
		!strcmp(text, "ab-000f--5"));
	CHECK(text_format(text, sizeof(text), "%lx%%%c", 0xffff000011112222ul, 'z') == 15);
	CHECK(strlen(text) == 15);
	CHECK(text_format(text, 4, "%u", 123456u) == 3 && !strcmp(text, "123"));
}

static void test_seed(void)
{
	/* RFC 8439, A.1, test vector 1: an all-zero key, nonce and counter. */
	static const u8 wanted[8] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90};
	u8 key[32] = {0}, one[64], two[64];

	seed_expand(key, sizeof(key), 0, one, sizeof(one));
	CHECK(!memcmp(one, wanted, sizeof(wanted)));
	seed_expand(key, sizeof(key), 1, two, sizeof(two));
	CHECK(memcmp(one, two, sizeof(one)));
}

int main(void)
{
	test_good();
	test_bad();
	test_cut();
	test_cpio();
	test_layout();
	test_text();
	test_seed();
	return CHECK_RESULT();
}
