/* SPDX-License-Identifier: MIT */
/*
 * A domain: its CPUs, its memory, its log line.
 */
#ifndef HYP_DOMAIN_H
#define HYP_DOMAIN_H

#include "config.h"
#include "cpu.h"
#include "layout.h"
#include "lock.h"
#include "pagetable.h"

/*
 *     WAITING --- domain_start ---> RUNNING --- domain_stop, or its own SYSTEM_OFF ---> DOWN
 */
enum domain_state { DOMAIN_WAITING, DOMAIN_RUNNING, DOMAIN_DOWN };

#define LOG_LINE 240

struct domain {
	const struct domain_config *config;
	u32 index;
	enum domain_state state;
	struct spinlock lock; /* state, and CPU_ON of its CPUs */
	const struct range_list *ram;
	u64 entry; /* of the boot CPU, and the tree's address for x0 */
	u64 dtb;
	struct range initrd;
	struct pagetable stage2;
	u64 vttbr;
	bool stopping; /* its CPUs are being taken back */
	bool routed;   /* its SPIs go to a CPU of its own */
	u32 gicd_ctlr; /* what the domain wrote to GICD_CTLR */
	u32 faults;    /* bad accesses logged so far */
	struct spinlock log_lock;
	char line[LOG_LINE];
	u32 line_length;
};

extern struct domain domains[HYP_DOMAINS];
extern u32 domain_count;
extern struct domain *driver_domain;

/* Starts the domain's boot CPU. When that is the calling CPU it does not return. */
void domain_start(struct domain *domain);

/*
 * Takes the domain's CPUs back, whatever they do, and marks it down. When the calling CPU is one of them it is left to the caller.
 * Returns 0, or -ETIMEDOUT when a CPU did not come: it sleeps with its CPU interface closed (see stop.c); its memory is unmapped in any case.
 */
int domain_stop(struct domain *domain);

/* True while domain_stop takes the domain's CPUs: an abort is then the way in, not a mistake of the domain. */
bool domain_stopping(const struct domain *domain);

/* The driver domain says that it serves: domains that wait for it are started. */
void domain_backend_ready(void);
/* The calling CPU's domain asked for SYSTEM_OFF or SYSTEM_RESET. May return (the request was recorded): the CPU is then to be turned off. */
void domain_power(struct domain *domain, bool reset);

/* One log line about a bad access of the domain, unless it had too many. */
void domain_complain(struct domain *domain, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline struct domain *this_domain(void)
{
	return this_cpu()->domain;
}

#endif
