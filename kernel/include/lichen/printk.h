/* SPDX-License-Identifier: MIT */
/* The kernel's log: a ring for dmesg, and the console of the machine. */
#ifndef LICHEN_PRINTK_H
#define LICHEN_PRINTK_H

#include <lichen/types.h>
#include <stdarg.h>

enum log_level { LOG_ERR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };
/* One line, without the newline. Any context. */
void log_line(enum log_level level, const char *format, ...) __printf(2, 3);
#define log_err(...)  log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
/* At most `burst` lines a second of this place: for what programs or the other side can cause. */
#define log_ratelimited(level, ...)                                                                \
	do {                                                                                       \
		static struct log_limit _limit;                                                    \
		if (log_limit_pass(&_limit))                                                       \
			log_line(level, __VA_ARGS__);                                              \
	} while (0)
struct log_limit {
	u64 window;
	_Atomic u32 lines;
};
bool log_limit_pass(struct log_limit *limit);
/* Copies the log from position *pos (0 = oldest kept) and advances it; the bytes. For syslog(2) and /dev/kmsg. */
size_t log_read(u64 *pos, char *buf, size_t bytes);

/* The kernel's own broken invariants only. */
void __noreturn panic(const char *format, ...) __printf(1, 2);
#define kassert(c)                                                                                 \
	do {                                                                                       \
		if (unlikely(!(c)))                                                                \
			panic("%s:%d: %s", __FILE__, __LINE__, #c);                                \
	} while (0)

int snprintf(char *buf, size_t bytes, const char *format, ...) __printf(3, 4);
int vsnprintf(char *buf, size_t bytes, const char *format, va_list args);

#endif
