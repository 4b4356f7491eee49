// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Linux's log, from its first line, into the hypervisor's stream: a console whose output is
 * hypercalls.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/console.h>
#include <linux/string.h>
#include "lichen.h"

static void log_write(struct console *console, const char *text, unsigned int length)
{
	while (length) {
		u64 words[LICHEN_LOG_BYTES / 8] = {};
		unsigned int n = min_t(unsigned int, length, LICHEN_LOG_BYTES);
		struct arm_smccc_res result;

		memcpy(words, text, n);
		arm_smccc_1_1_hvc(LICHEN_HVC_LOG, n, words[0], words[1], words[2], words[3],
			words[4], &result);
		text += n;
		length -= n;
	}
}

static struct console log_console = {
	.name = "lichen",
	.write = log_write,
	.flags = CON_PRINTBUFFER | CON_ENABLED | CON_ANYTIME,
	.index = -1,
};
static bool started;

void log_start(void)
{
	if (!started)
		register_console(&log_console);
	started = true;
}

void log_stop(void)
{
	if (started)
		unregister_console(&log_console);
	started = false;
}
