// SPDX-License-Identifier: MIT
// sources: driver-domain/daemon/config.c
// cflags: -Idriver-domain/daemon -Idriver-domain/include -Idriver-domain/module -Ivirtio/include
/*
 * The driver domain's configuration: what is right, and which line is said to be wrong and why.
 */
#include <string.h>
#include "check.h"
#include "daemon.h"

static char errors[4096];

static void error(unsigned int line, const char *message)
{
	size_t n = strlen(errors);

	snprintf(errors + n, sizeof(errors) - n, "%u: %s\n", line, message);
}

static struct config config;

static unsigned int parse(const char *text)
{
	errors[0] = 0;
	return config_parse(&config, text, error);
}

static void expect_wrong(const char *text, const char *what)
{
	CHECK(parse(text) == 1);
	CHECK(strstr(errors, what));
	if (!strstr(errors, what))
		fprintf(stderr, "   got '%s', expected '%s'\n", errors, what);
}

int main(void)
{
	CHECK(parse("") == 0 && config.count == 0);
	CHECK(parse("# only a comment\n\n   \t\n") == 0 && config.count == 0);

	CHECK(parse("blk /dev/nvme0n1 queues=auto  # the disk\n"
		    "console port0=/dev/vport0p1 port5=/dev/vport0p5 size=132x43\n"
		    "rng\t/dev/urandom") == 0);
	CHECK(config.count == 3);
	CHECK(config.lines[0].kind == CONFIG_BLOCK &&
		!strcmp(config.lines[0].path, "/dev/nvme0n1"));
	CHECK(config.lines[0].queues == 0 && !config.lines[0].read_only &&
		config.lines[0].line == 1);
	CHECK(config.lines[1].kind == CONFIG_CONSOLE &&
		!strcmp(config.lines[1].port[5], "/dev/vport0p5"));
	CHECK(!config.lines[1].port[1][0] && config.lines[1].columns == 132 &&
		config.lines[1].rows == 43);
	CHECK(config.lines[2].kind == CONFIG_RNG && config.lines[2].slot == 2 &&
		config.lines[2].line == 3);

	CHECK(parse("blk /dev/sda queues=4 readonly id=12345678901234567890\r\n") == 0);
	CHECK(config.lines[0].queues == 4 && config.lines[0].read_only &&
		strlen(config.lines[0].id) == 20);

	CHECK(parse("blk /dev/sda without=flush,indirect_desc\nblk /dev/sdb without=mq without=event_idx\n") ==
		0);
	CHECK(config.lines[0].without == (1ull << 9 | 1ull << 28));
	CHECK(config.lines[1].without == (1ull << 12 | 1ull << 29));
	CHECK(parse("blk /dev/sda\n") == 0 && !config.lines[0].without);

	CHECK(parse("blk /dev/sda poll=always\nblk /dev/sdb poll=never\nblk /dev/sdc poll=auto\nblk /dev/sdd\n") == 0);
	CHECK(config.lines[0].poll == BACKEND_POLL_ALWAYS && config.lines[1].poll == BACKEND_POLL_NEVER);
	CHECK(config.lines[2].poll == BACKEND_POLL_AUTO && config.lines[3].poll == BACKEND_POLL_AUTO);
	expect_wrong("blk /dev/sda poll=", "poll= takes 'auto', 'always' or 'never', not ''");
	expect_wrong("blk /dev/sda without=", "without= does not know the feature ''");
	expect_wrong("blk /dev/sda without=flush,", "without= does not know the feature ''");
	expect_wrong("blk /dev/sda without=flus", "without= does not know the feature 'flus'");
	expect_wrong(
		"blk /dev/sda without=flushed", "without= does not know the feature 'flushed'");
	expect_wrong("blk /dev/sda without=version_1", "does not know the feature 'version_1'");
	expect_wrong("blk\n", "1: a device path is missing");
	expect_wrong("\n\ntape /dev/st0\n", "3: unknown device 'tape'");
	expect_wrong("blk nvme0n1", "'nvme0n1' is no absolute path");
	expect_wrong("blk /dev/sda queues=0", "queues=");
	expect_wrong("blk /dev/sda queues=65", "queues=");
	expect_wrong("blk /dev/sda queues=2x", "queues=");
	expect_wrong("blk /dev/sda id=123456789012345678901", "id=");
	expect_wrong("blk /dev/sda fast", "does not know 'fast'");
	expect_wrong("console port2=/dev/vport0p2", "console needs port0=");
	expect_wrong("console port0=/dev/a port0=/dev/b", "port0 is given twice");
	expect_wrong("console port16=/dev/a port0=/dev/b", "ports are port0 to port15");
	expect_wrong("console port=/dev/a", "ports are");
	expect_wrong("console port0=/dev/a size=80", "size=");
	CHECK(parse("echo\necho queues=3\n") == 0 && config.count == 2);
	CHECK(config.lines[0].kind == CONFIG_ECHO && config.lines[0].queues == 0 &&
		config.lines[1].queues == 3);
	expect_wrong("echo /dev/null", "echo does not know '/dev/null'");
	expect_wrong("echo queues=65", "queues=");
	expect_wrong("rng", "a device path is missing");
	expect_wrong("rng /dev/a /dev/b", "rng does not know");

	/* A wrong line keeps its slot. */
	CHECK(parse("blk x\nrng /dev/urandom\n") == 1);
	CHECK(config.count == 1 && config.lines[0].slot == 1);
	return CHECK_RESULT();
}
