// SPDX-License-Identifier: MIT
/* Lines in Linux's log (/dev/kmsg), or on standard error where there is none. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "daemon.h"

static int kmsg = -1;

void log_open(void)
{
	int limit = open("/proc/sys/kernel/printk_devkmsg", O_WRONLY | O_CLOEXEC);

	/*
	 * By default the kernel drops lines of programs that come fast: ours are few, and wanted.
	 */
	if (limit >= 0 && write(limit, "on\n", 3) == 3)
		close(limit);
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

static void log_line(int level, const char *format, va_list arguments)
{
	char line[512];
	int length = snprintf(line, sizeof(line), "<%d>lichend: ", level);

	length += vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	if (write(kmsg >= 0 ? kmsg : STDERR_FILENO, line, length) < 0)
		return; /* There is nobody left to tell. */
}

void log_info(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_line(6, format, arguments);
	va_end(arguments);
}

void log_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_line(3, format, arguments);
	va_end(arguments);
}
