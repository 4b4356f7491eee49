/* SPDX-License-Identifier: MIT */
/* The machine's log console: where printk writes. One at a time; before there is one, lines wait in the ring. */
#ifndef LICHEN_CONSOLE_H
#define LICHEN_CONSOLE_H

#include <lichen/types.h>

struct console {
	const char *name;
	void (*write)(const char *text, size_t bytes); /* under the log's lock, interrupts masked; never waits long */
};

/* Replaces the console; what the ring holds is written to it. */
void console_register(const struct console *console);

#endif
