/* SPDX-License-Identifier: MIT */
/*
 * The log: a ring of text lines "<level>[seconds.micros] text\n" and the console. One lock guards both; a line is short
 * and the console never waits, so it may be taken in any context.
 */
#include <lichen/console.h>
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <lichen/timer.h>

#define RING_BYTES (256u << 10)

static spinlock_t log_lock = SPINLOCK_INIT;
static char ring[RING_BYTES];
static u64 ring_end; /* position after the last byte ever written; the byte at p is ring[p % RING_BYTES] */
static const struct console *console;
static u64 console_position;
static _Atomic bool panicking;
static enum log_level console_level = LOG_INFO;

static u64 ring_start(void)
{
	return ring_end > RING_BYTES ? ring_end - RING_BYTES : 0;
}

/* The console gets lines without the "<level>" prefix, and only those that are important enough. */
static void console_flush(void)
{
	char line[256];
	size_t n = 0;

	if (console_position < ring_start())
		console_position = ring_start();
	while (console_position < ring_end) {
		char c = ring[console_position++ % RING_BYTES];

		if (n < sizeof(line) - 1)
			line[n++] = c;
		if (c != '\n')
			continue;
		line[n - 1] = '\n';
		if (n > 3 && line[0] == '<' && line[2] == '>') {
			if (line[1] - '0' <= (int)console_level)
				console->write(line + 3, n - 3);
		} else {
			console->write(line, n);
		}
		n = 0;
	}
}

static void log_append(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		ring[ring_end++ % RING_BYTES] = text[i];
}

static void log_vline(enum log_level level, const char *format, va_list args)
{
	char line[240];
	nsec_t now = time_monotonic();
	int n = snprintf(line, sizeof(line), "<%d>[%5llu.%06llu] ", (int)level, (unsigned long long)(now / NSEC_PER_SEC),
		(unsigned long long)(now / 1000 % 1000000));
	unsigned long flags;

	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	/* A line is one line, whoever made the text. */
	for (int i = 0; i < n; i++)
		if ((u8)line[i] < ' ' && line[i] != '\t')
			line[i] = '?';
	line[n++] = '\n';
	flags = spin_lock_irqsave(&log_lock);
	log_append(line, (size_t)n);
	if (console)
		console_flush();
	spin_unlock_irqrestore(&log_lock, flags);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vline(level, format, args);
	va_end(args);
}

void console_register(const struct console *new)
{
	unsigned long flags = spin_lock_irqsave(&log_lock);

	console = new;
	console_flush();
	spin_unlock_irqrestore(&log_lock, flags);
}

bool log_limit_pass(struct log_limit *limit)
{
	enum { BURST = 10 };
	u64 window = time_monotonic() / NSEC_PER_SEC + 1;

	/* Two CPUs at the turn of a second may both reset the count: a few lines more, no harm. */
	if (limit->window != window) {
		limit->window = window;
		atomic_store_explicit(&limit->lines, 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&limit->lines, 1, memory_order_relaxed) < BURST;
}

size_t log_read(u64 *pos, char *buf, size_t bytes)
{
	unsigned long flags = spin_lock_irqsave(&log_lock);
	size_t n = 0;

	if (*pos < ring_start()) {
		*pos = ring_start();
		/* The oldest line is cut: begin with the next. */
		while (*pos && *pos < ring_end && ring[*pos % RING_BYTES] != '\n')
			++*pos;
		if (*pos && *pos < ring_end)
			++*pos;
	}
	while (n < bytes && *pos < ring_end)
		buf[n++] = ring[(*pos)++ % RING_BYTES];
	spin_unlock_irqrestore(&log_lock, flags);
	return n;
}

/* Tells panic.c's callers apart: the first CPU that panics prints, all others stop. */
bool log_panic_begin(void)
{
	if (atomic_exchange(&panicking, true))
		return false;
	/* Whoever held the lock is stopped by now or is ourselves. */
	spin_init(&log_lock);
	return true;
}
