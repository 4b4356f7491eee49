/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Rings that a channel's thread looks at by itself while requests come quickly, with notifications off, and devices that it asks
 * for what they have finished. See watch.c for when it does.
 *
 * Who serves a ring has a watch for it: made when the ring starts (watch_init), and told of what happens, in the channel's thread
 *     watch_arrived   there is something in the ring; before it is served
 *     watch_begin     a request is taken on, that ends later
 *     watch_end       the ring is empty. True: something came by now, go on serving
 *     watch_drop      the ring is broken; instead
 * and from wherever a request ends, watch_completed.
 *
 * A device that can be asked instead of interrupting: `reap` is set after watch_init, and watch_reaps says whether the next request
 * may be one that the device has to be asked for. For as long as there are such, the thread calls `reap`, whatever else happens to
 * the ring.
 */
#ifndef LICHEN_WATCH_H
#define LICHEN_WATCH_H

#include <linux/types.h>
#include <lichen/spin.h>

/* Rings that a channel watches at once, and that it reaps; further ones are armed, and interrupt. */
#define WATCHES 8

struct vring_device;
struct watch;

/* A channel's; guarded by its `serving`, but for `attention`. */
struct poller {
	u32 attention; /* not 0: end the poll */
	unsigned int watched;
	unsigned int reaped;
	struct watch *watches[WATCHES];
	struct watch *reaps[WATCHES]; /* those with requests to be asked for */
};

struct watch {
	struct vring_device *ring;
	/* In the channel's thread: take what the ring has. */
	void (*serve)(struct watch *watch);
	/* In the channel's thread: end what the device has finished. True if there was something. Does not sleep. */
	bool (*reap)(struct watch *watch);
	struct poller *poller;
	unsigned int slot, queue;
	bool watched, reaping;
	/* Requests that were taken on, by the thread, and that ended, under the owner's lock; and those of them to be asked for. */
	u32 begun, ended;
	u32 polled_begun, polled_ended;
	u64 last;     /* when the ring was served or a request ended last; ticks, as below */
	u64 gap[2];   /* the mean time from there to the next request: none in flight, some in flight */
	u64 service;  /* and to the next end of a request */
	u64 answered; /* when the device was given something to be asked for, or had finished something */
};

/* Below so many ticks a wait is worth polling for. */
extern u64 watch_ticks;

/* Once, before the first channel. */
void watches_start(void);
void watch_init(struct watch *watch, struct vring_device *ring, void (*serve)(struct watch *),
	unsigned int slot, unsigned int queue, unsigned int channel);
void watch_drop(struct watch *watch);

static inline u32 watch_in_flight(const struct watch *watch)
{
	return READ_ONCE(watch->begun) - READ_ONCE(watch->ended);
}

static inline u32 watch_polled(const struct watch *watch)
{
	return READ_ONCE(watch->polled_begun) - READ_ONCE(watch->polled_ended);
}

/* A mean over the last few. */
static inline void watch_sample(u64 *mean, u64 gap)
{
	s64 limited = min(gap, 4 * watch_ticks), old = *mean;

	WRITE_ONCE(*mean, old + (limited - old) / 4);
}

static inline void watch_arrived(struct watch *watch)
{
	watch_sample(&watch->gap[watch_in_flight(watch) != 0], lichen_counter() - READ_ONCE(watch->last));
}

/* Whether the next request may be one to be asked for. `always`: whatever that has cost lately. */
static inline bool watch_reaps(const struct watch *watch, bool always)
{
	return (always || READ_ONCE(watch->service) < watch_ticks) &&
	       (watch->reaping || watch->poller->reaped < WATCHES);
}

static inline void watch_begin(struct watch *watch, bool polled)
{
	WRITE_ONCE(watch->begun, watch->begun + 1);
	if (!polled)
		return;
	WRITE_ONCE(watch->polled_begun, watch->polled_begun + 1);
	watch->answered = lichen_counter();
	if (!watch->reaping) {
		watch->reaping = true;
		watch->poller->reaps[watch->poller->reaped++] = watch;
	}
}

/* Out of the way of a ring that is watched already. */
bool watch_begin_watching(struct watch *watch);
void watch_idle(struct watch *watch);

static inline bool watch_end(struct watch *watch)
{
	WRITE_ONCE(watch->last, lichen_counter());
	return watch->watched ? false : watch_begin_watching(watch);
}

/* Any context. How many are still in flight. */
static inline u32 watch_completed(struct watch *watch, bool polled)
{
	u64 now = lichen_counter();
	u32 left;

	if (polled)
		WRITE_ONCE(watch->polled_ended, watch->polled_ended + 1);
	WRITE_ONCE(watch->ended, watch->ended + 1);
	watch_sample(&watch->service, now - READ_ONCE(watch->last));
	WRITE_ONCE(watch->last, now);
	left = watch_in_flight(watch);
	if (!left && unlikely(!READ_ONCE(watch->watched)))
		watch_idle(watch);
	return left;
}

/* ---- for channel.c; `serving` is held ---- */

/*
 * Poll the watched rings and the devices and serve what comes, as long as that pays and nothing else wants this CPU or this
 * thread. False: what is left to be reaped is to be looked for by a timer.
 */
bool poller_poll(struct poller *poller);
/* Ask for notifications of all watched rings; those that have something by now are kicked. */
void poller_arm(struct poller *poller);
/* Watch none any more: each is kicked. Forget the devices that have finished all. */
void poller_drop(struct poller *poller);

/* ---- of channel.c, for watch.c ---- */

struct poller *channel_poller(unsigned int channel);
/* As if the queue had been kicked, for a thread that is awake. Any context. */
void channel_note(struct poller *poller, unsigned int slot, unsigned int queue);
bool channel_asleep(const struct poller *poller);

#endif
