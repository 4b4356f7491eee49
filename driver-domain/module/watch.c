// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Polling. A ring that has been served to its end is watched: its notifications are off, and the thread of its channel looks at its
 * index itself. Before the thread goes on to linger it arms the ring, and looks once more (vring_notify_enable). Whether it
 * polls, and how long, comes from what it measured: the mean time from the last event of a ring (a request that came, or one
 * that ended) to the next request, once with requests in flight and once without. Below POLL_NS it polls; above, a
 * notification is cheaper than the wait. POLL_NS is about what a notification and the wake cost, so that a wrong guess costs no
 * more than twice the right one. What never pays is not tried again until requests have come quickly anyway: an idle machine
 * polls nothing.
 *
 * Reaping. The device below can be polled too, if it has queues without interrupts: whether the last requests ended within POLL_NS
 * decides if the next is to be asked for (watch_reaps). Then the thread asks every REAP_NS, and looks at the ring meanwhile,
 * which costs nothing then. It does so until the last of them has ended: for PATIENCE_NS spinning, and after that, or while others
 * want this CPU, by a timer (channel.c).
 */
#define pr_fmt(format) "lichen: " format

#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/thread_info.h>
#include "lichen.h"
#include "vring.h"
#include "watch.h"

#define POLL_NS 20000
/* How often a device is asked, and how long at most without an answer. */
#define REAP_NS	    500
#define PATIENCE_NS 200000
/*
 * What a wait takes that a deadline ended, beside its turns, and what asking in vain takes: counted in QEMU's log of executed
 * instructions, for Linux 6.12 (docs/latency.md).
 */
#define WAIT_INSTRUCTIONS 11
#define REAP_INSTRUCTIONS 307

u64 watch_ticks;
static u64 reap_ticks, patience_ticks;
static unsigned short no_index; /* of a ring that nobody moves */

void watches_start(void)
{
	u64 frequency = lichen_counter_frequency();

	watch_ticks = frequency * POLL_NS / NSEC_PER_SEC;
	reap_ticks = frequency * REAP_NS / NSEC_PER_SEC;
	patience_ticks = frequency * PATIENCE_NS / NSEC_PER_SEC;
}

void watch_init(struct watch *watch, struct vring_device *ring, void (*serve)(struct watch *),
	unsigned int slot, unsigned int queue, unsigned int channel)
{
	*watch = (struct watch){
		.ring = ring,
		.serve = serve,
		.slot = slot,
		.queue = queue,
		.poller = channel_poller(channel),
		.gap = {4 * watch_ticks, 4 * watch_ticks},
		.service = 4 * watch_ticks,
		.last = lichen_counter(),
	};
}

static bool watch_busy(const struct watch *watch)
{
	return watch_in_flight(watch) != 0;
}

static bool watch_pays(const struct watch *watch, bool busy)
{
	return READ_ONCE(watch->gap[busy]) < watch_ticks;
}

bool watch_begin_watching(struct watch *watch)
{
	struct poller *poller = watch->poller;

	if ((!watch->reaping && !watch_pays(watch, watch_busy(watch))) || poller->watched == WATCHES)
		return vring_notify_enable(watch->ring);
	vring_notify_disable(watch->ring);
	watch->watched = true;
	poller->watches[poller->watched++] = watch;
	return false;
}

void watch_drop(struct watch *watch)
{
	struct poller *poller = watch->poller;
	unsigned int i;

	for (i = 0; watch->watched && i < poller->watched; i++)
		if (poller->watches[i] == watch)
			poller->watches[i] = poller->watches[--poller->watched];
	watch->watched = false;
}

/* A thread that lingers is to poll now; in WFI on this CPU, it looks after this interrupt. */
void watch_idle(struct watch *watch)
{
	if (watch_pays(watch, false) && !channel_asleep(watch->poller))
		channel_note(watch->poller, watch->slot, watch->queue);
}

/* Until when the watched rings are worth polling: 0 when none is. */
static u64 poll_deadline(const struct poller *poller, u64 now)
{
	u64 last = 0;
	unsigned int i;

	for (i = 0; i < poller->watched; i++) {
		const struct watch *watch = poller->watches[i];
		u64 end = READ_ONCE(watch->last) + watch_ticks;

		if (watch_pays(watch, watch_busy(watch)) && end > now && end > last)
			last = end;
	}
	return last;
}

/* What was waited for did not come in time: so long at least was the wait. */
static void watches_missed(struct poller *poller)
{
	unsigned int i;

	for (i = 0; i < poller->watched; i++) {
		struct watch *watch = poller->watches[i];
		bool busy = watch_busy(watch);

		if (watch_pays(watch, busy))
			watch_sample(&watch->gap[busy], 4 * watch_ticks);
	}
}

/* Forget those that have nothing left. */
static void reaps_end(struct poller *poller)
{
	unsigned int i = 0;

	while (i < poller->reaped) {
		struct watch *watch = poller->reaps[i];

		if (watch_polled(watch)) {
			i++;
			continue;
		}
		watch->reaping = false;
		poller->reaps[i] = poller->reaps[--poller->reaped];
	}
}

/* Ask the devices for what they have finished. True if one had something. */
static bool reaps_ask(struct poller *poller)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < poller->reaped; i++) {
		struct watch *watch = poller->reaps[i];

		if (watch->reap(watch)) {
			watch->answered = lichen_counter();
			any = true;
		}
	}
	reaps_end(poller);
	return any;
}

static bool reaps_patient(const struct poller *poller, u64 now)
{
	unsigned int i;

	for (i = 0; i < poller->reaped; i++)
		if (now - poller->reaps[i]->answered <= patience_ticks)
			return true;
	return !poller->reaped;
}

/* Wait until the ring moves, or the deadline. The turns that it waited. */
static unsigned long ring_wait(struct poller *poller, const struct watch *watch, u64 deadline)
{
	struct lichen_spin spin = {
		.index = watch ? &watch->ring->available->idx : &no_index,
		.seen = watch ? watch->ring->next : 0,
		.stop = &poller->attention,
		.flags = (const unsigned int *)&current_thread_info()->flags,
		.mask = _TIF_NEED_RESCHED,
		.deadline = deadline,
	};

	return lichen_spin(&spin);
}

static bool ring_serve(struct watch *watch)
{
	if (!vring_waiting(watch->ring))
		return false;
	watch->serve(watch);
	return true;
}

bool poller_poll(struct poller *poller)
{
	unsigned int slot = 0; /* whose waiting it is */
	unsigned long round = 0, spin = 0;
	bool again = true;
	unsigned int i;

	for (;;) {
		u64 now = lichen_counter(), deadline;

		if (poller->reaped) {
			slot = poller->reaps[0]->slot;
			if (!reaps_ask(poller)) {
				spin += REAP_INSTRUCTIONS;
				if (!reaps_patient(poller, now)) {
					again = false;
					break;
				}
			}
			deadline = now + reap_ticks;
		} else {
			deadline = poll_deadline(poller, now);
		}
		if (!deadline) {
			watches_missed(poller);
			break;
		}
		if (poller->watched <= 1) {
			struct watch *watch = poller->watched ? poller->watches[0] : NULL;

			if (watch)
				slot = watch->slot;
			spin += ring_wait(poller, watch, deadline) * LICHEN_SPIN_INSTRUCTIONS;
			if (!watch || !ring_serve(watch))
				spin += WAIT_INSTRUCTIONS;
		} else {
			/* A turn for each, without WFE. */
			slot = poller->watches[0]->slot;
			do {
				for (i = 0; i < poller->watched; i++)
					ring_serve(poller->watches[i]);
				spin += poller->watched * LICHEN_SPIN_INSTRUCTIONS;
				cpu_relax();
			} while (lichen_counter() < deadline && !READ_ONCE(poller->attention) &&
				 !need_resched());
		}
		if (READ_ONCE(poller->attention))
			break;
		/* As often as a few dozen requests: these are calls. */
		if (round++ % 32 == 31) {
			slot_count(slot, spin_instructions, spin);
			spin = 0;
			cond_resched();
			if (!single_task_running()) {
				again = false;
				break;
			}
		}
	}
	if (spin)
		slot_count(slot, spin_instructions, spin);
	return again;
}

void poller_arm(struct poller *poller)
{
	while (poller->watched) {
		struct watch *watch = poller->watches[--poller->watched];

		watch->watched = false;
		if (vring_notify_enable(watch->ring))
			channel_note(poller, watch->slot, watch->queue);
	}
}

void poller_drop(struct poller *poller)
{
	while (poller->watched) {
		struct watch *watch = poller->watches[--poller->watched];

		watch->watched = false;
		channel_note(poller, watch->slot, watch->queue);
	}
	reaps_end(poller);
}
