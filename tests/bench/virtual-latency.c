// SPDX-License-Identifier: MIT
/*
 * For measurements under QEMU -icount, preloaded into QEMU itself (scripts/bench does it): completes block I/O at a fixed virtual time
 * after its submission, VIRTUAL_LATENCY ns (10,000). With VIRTUAL_STALL=EVERY:FOR (ns) all disks stand still for the last FOR of every
 * EVERY of virtual time, and what would be completed then comes at the end of that: so they seem to do on a host that is busy otherwise.
 *
 * Without it a completion comes when the host's thread pool happens to be done. With sleep=off the virtual clock then leaps
 * ahead to the next timer meanwhile, and the latency of a request reads as milliseconds. QEMU's block layer hands each
 * completion that it has at once to one function, which record and replay may defer (replay_bh_schedule_oneshot_event); this replaces
 * its body by a timer on the virtual clock. A file's I/O goes through a pool of threads instead (thread_pool_submit_co): the other
 * replacement does it at the spot, so that it too is had at once. Where a symbol or the processor is another, it says so and
 * does nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include "redirect.h"

/* QEMU's: struct QEMUTimer is opaque here; 256 bytes are more than any version's. */
#define TIMER_BYTES   256
#define CLOCK_VIRTUAL 1
#define SCALE_NS      1

typedef void callback(void *opaque);
typedef int work(void *opaque);

static void (*timer_init)(void *timer, void *list_group, int clock, int scale, int attributes, callback *fn, void *opaque);
static void (*timer_mod)(void *timer, int64_t when);
static int64_t (*clock_now)(int clock);
static int64_t latency = 10000, stall_every, stall_for;

struct completion {
	_Alignas(16) char timer[TIMER_BYTES];
	callback *fn;
	void *opaque;
	struct completion *next;
};
static struct completion *unused;

static void expired(void *opaque)
{
	struct completion *completion = opaque;
	callback *fn = completion->fn;

	completion->next = unused;
	unused = completion;
	fn(completion->opaque);
}

static int64_t completion_time(void)
{
	int64_t when = clock_now(CLOCK_VIRTUAL) + latency, into = stall_every ? when % stall_every : 0;

	return into > stall_every - stall_for ? when + stall_every - into : when;
}

/* Called in place of QEMU's function, always under its big lock. */
static void schedule(void *context, callback *fn, void *opaque)
{
	struct completion *completion = unused;

	(void)context;
	if (completion)
		unused = completion->next;
	else
		completion = malloc(sizeof(*completion));
	if (!completion)
		abort();
	memset(completion->timer, 0, sizeof(completion->timer));
	completion->fn = fn;
	completion->opaque = opaque;
	timer_init(completion->timer, NULL, CLOCK_VIRTUAL, SCALE_NS, 0, expired, completion);
	timer_mod(completion->timer, completion_time());
}

/*
 * In place of QEMU's function: the work is done here and now. Up to QEMU 8 the pool is the first argument; later the function is,
 * and only that lies in a program.
 */
static int submit(void *first, void *second, void *third)
{
	Dl_info info;

	if (dladdr(first, &info))
		return ((work *)first)(second);
	return ((work *)second)(third);
}

__attribute__((constructor)) static void start(void)
{
	void *function = dlsym(RTLD_DEFAULT, "replay_bh_schedule_oneshot_event");
	void *pool = dlsym(RTLD_DEFAULT, "thread_pool_submit_co");
	const char *given = getenv("VIRTUAL_LATENCY"), *stall = getenv("VIRTUAL_STALL");

	*(void **)&timer_init = dlsym(RTLD_DEFAULT, "timer_init_full");
	*(void **)&timer_mod = dlsym(RTLD_DEFAULT, "timer_mod_ns");
	*(void **)&clock_now = dlsym(RTLD_DEFAULT, "qemu_clock_get_ns");
	if (!function || !pool || !timer_init || !timer_mod || !clock_now) {
		fprintf(stderr, "virtual-latency: this QEMU has other symbols; times of block I/O are the host's\n");
		return;
	}
	if (given)
		latency = atoll(given);
	if (stall && (sscanf(stall, "%" SCNd64 ":%" SCNd64, &stall_every, &stall_for) != 2 || stall_for < 0 || stall_every <= stall_for)) {
		fprintf(stderr, "virtual-latency: VIRTUAL_STALL=%s is not EVERY:FOR\n", stall);
		exit(1);
	}
	if (!redirect(function, (void *)schedule) || !redirect(pool, (void *)submit))
		fprintf(stderr, "virtual-latency: times of block I/O are the host's\n");
}
