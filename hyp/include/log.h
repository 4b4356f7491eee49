/* SPDX-License-Identifier: MIT */
/*
 * The machine's console: one PL011 for the hypervisor and all domains, a whole line at a time, each with its author's name.
 */
#ifndef HYP_LOG_H
#define HYP_LOG_H

#include "types.h"

struct domain;

/* `base`: a mapped PL011, or 0 for a machine without one. */
void log_init(u64 base);

/* A line of the hypervisor's own; no newline at its end. Cut at 200 characters. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes of a domain's log; full lines go out. Control characters become '?'. */
void log_domain(struct domain *domain, const char *bytes, size_t n);

/* Only for mistakes of the hypervisor's own, and for a boot that cannot go on. */
void panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
