/* SPDX-License-Identifier: MIT */
/*
 * Writes whole lines to the PL011. It waits for room in its FIFO, but never for long: a line may be lost, a CPU may not.
 */
#include <string.h>

#include "arm64.h"
#include "domain.h"
#include "lock.h"
#include "log.h"
#include "text.h"

#define PL011_DR       0x00
#define PL011_FR       0x18
#define PL011_FR_TXFF  (1 << 5)
#define PL011_PATIENCE 100000 /* looks at a full FIFO; some milliseconds */

static u64 uart;
static struct spinlock uart_lock;

void log_init(u64 base)
{
	uart = base;
}

static void put(char c)
{
	for (u32 i = 0; i < PL011_PATIENCE && (mmio_read32(uart + PL011_FR) & PL011_FR_TXFF); i++)
		cpu_relax();
	mmio_write32(uart + PL011_DR, (u8)c);
}

static void put_line(const char *name, const char *text, size_t n)
{
	if (!uart)
		return;
	spin_lock(&uart_lock);
	while (*name)
		put(*name++);
	put(':');
	put(' ');
	while (n--)
		put(*text++);
	put('\r');
	put('\n');
	spin_unlock(&uart_lock);
}

void log_line(const char *format, ...)
{
	char text[200];
	va_list args;
	size_t n;

	va_start(args, format);
	n = text_vformat(text, sizeof(text), format, args);
	va_end(args);
	put_line("hyp", text, n);
}

void log_domain(struct domain *domain, const char *bytes, size_t n)
{
	spin_lock(&domain->log_lock);
	for (; n; n--, bytes++) {
		char c = *bytes;

		if (c == '\n' || domain->line_length == LOG_LINE) {
			put_line(domain->config->name, domain->line, domain->line_length);
			domain->line_length = 0;
		}
		if (c == '\n' || c == '\r' || c == '\0')
			continue;
		if ((c < ' ' && c != '\t' && c != '\033') || c == 0x7f)
			c = '?';
		domain->line[domain->line_length++] = c;
	}
	spin_unlock(&domain->log_lock);
}

void panic(const char *format, ...)
{
	char text[200];
	va_list args;
	size_t n;

	va_start(args, format);
	n = text_vformat(text, sizeof(text), format, args);
	va_end(args);
	put_line("hyp: panic", text, n);
	for (;;)
		wfe();
}
