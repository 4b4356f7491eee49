// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Doorbell channels. Each has a page of bits that the hypervisor sets, an interrupt, and a thread
 * on one CPU that takes the bits and serves the queues they name: submitting to a block device may
 * sleep, an interrupt must not.
 *
 * Waking a thread and switching to it costs more than serving a request. So a thread that has just
 * had work does not sleep at once: while it is alone on its CPU and for LINGER at most, it waits
 * for the next interrupt itself, where the idle task would otherwise do so. A kick then finds it
 * already running.
 *
 *     serve -> poll (WFE on the ring) -> serve ...
 *                 | POLL_NS over, or it would not pay
 *                 v
 *               linger (WFI, alone on the CPU) -> serve ...
 *                 | LINGER over, or another task wants the CPU
 *                 v
 *               sleep (schedule) <- doorbell interrupt wakes
 *
 * A bit is set before its interrupt is made pending, and taken by an atomic swap: none is lost.
 *
 * Polling. A ring that has been served to its end is watched: its notifications are off, and the
 * thread looks at its index itself. Before the thread goes on to linger it arms the ring, and looks
 * once more (vring_notify_enable). Whether it polls, and how long, comes from what it measured: the
 * mean time from the last event of a ring (a request that came, or one that was finished) to the
 * next request, once with requests in flight and once without. Below POLL_NS it polls; above, a
 * notification is cheaper than the wait. POLL_NS is about what a notification and the wake cost, so
 * that a wrong guess costs no more than twice the right one. What never pays is not tried again until
 * requests have come quickly anyway: an idle machine polls nothing.
 *
 * Reaping. The device below can be polled too, if it has queues without interrupts: who makes a
 * request asks beforehand (watch_reaps) whether the last ones were finished within POLL_NS, and says
 * so if the request is one that the device will not tell of (watch_reaping). Then the thread looks
 * for it every REAP_NS, and at the ring meanwhile, which costs nothing then. It does so until the
 * last of them is finished: for PATIENCE_NS spinning, and after that, or while others want this CPU,
 * by a timer.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <uapi/linux/sched/types.h>
#include <lichen/spin.h>
#include "lichen.h"
#include "vring.h"
#include "trace.h"

#define LINGER	msecs_to_jiffies(20)
#define POLL_NS 20000
/* How often a device is asked, how long at most without an answer, and how often when it has not answered for so long. */
#define REAP_NS	      500
#define PATIENCE_NS   200000
#define REAP_SLEEP_NS 50000
/*
 * What a wait takes that a deadline ended, beside its turns, and what asking in vain takes: counted in QEMU's log of executed
 * instructions, for Linux 6.12 (docs/latency.md).
 */
#define WAIT_INSTRUCTIONS 11
#define REAP_INSTRUCTIONS 309
/* Rings that a channel watches at once, and that it reaps; further ones are armed, and interrupt. */
#define WATCHES 8

struct channel {
	struct lichen_doorbells *bells;
	struct task_struct *thread;
	struct mutex serving; /* held while rings are touched */
	bool asleep;	      /* the interrupt must wake the thread */
	atomic_t quiescing;   /* who waits for `serving`, so that polling does not keep it */
	u32 attention;	      /* ends a poll: an interrupt, channel_kick or channels_quiesce */
	unsigned int watched; /* guarded by `serving`, as watches */
	struct watch *watches[WATCHES];
	unsigned int reaped; /* guarded by `serving`, as reaps: those with requests to look for */
	struct watch *reaps[WATCHES];
	u64 answered; /* when a device answered last, or was given something to answer */
	u64 own_slots;	      /* channel_kick: like the doorbell page, but from this side */
	u64 own[LICHEN_SLOTS];
	unsigned int index;
	int interrupt;
};

static struct channel *channels;
static unsigned int channel_count;
static u64 poll_ticks, reap_ticks, patience_ticks; /* POLL_NS, REAP_NS, PATIENCE_NS */
static unsigned short no_index; /* of a ring that nobody moves */

static bool channel_pending(struct channel *channel)
{
	struct lichen_doorbells *bells = channel->bells;

	return READ_ONCE(bells->kicked) | READ_ONCE(channel->own_slots) |
	       (channel->index ? 0 : READ_ONCE(bells->changed) | READ_ONCE(bells->machine));
}

static irqreturn_t channel_interrupt(int irq, void *data)
{
	struct channel *channel = data;

	WRITE_ONCE(channel->attention, 1);
	trace_point(LICHEN_TRACE_DOORBELL, LICHEN_TRACE_NO_KEY, channel->index);
	if (READ_ONCE(channel->asleep))
		wake_up_process(channel->thread);
	return IRQ_HANDLED;
}

/* ---- watched rings ---- */

static struct channel *channel_at(unsigned int index)
{
	return &channels[index < channel_count ? index : 0];
}

static bool watch_busy(const struct watch *watch)
{
	return watch->in_flight && READ_ONCE(*watch->in_flight);
}

static bool watch_pays(const struct watch *watch, bool busy)
{
	return READ_ONCE(watch->gap[busy]) < poll_ticks;
}

/* A mean over the last few. */
static void sample(u64 *mean, u64 gap)
{
	s64 limited = min(gap, 4 * poll_ticks), old = *mean;

	WRITE_ONCE(*mean, old + (limited - old) / 4);
}

void watch_init(struct watch *watch, struct vring_device *ring, unsigned int slot,
	unsigned int queue, unsigned int channel, const unsigned int *in_flight)
{
	*watch = (struct watch){
		.ring = ring,
		.slot = slot,
		.queue = queue,
		.channel = channel_at(channel),
		.in_flight = in_flight,
		.gap = {4 * poll_ticks, 4 * poll_ticks},
		.service = 4 * poll_ticks,
		.last = lichen_counter(),
	};
}

void watch_arrived(struct watch *watch)
{
	sample(&watch->gap[watch_busy(watch)], lichen_counter() - READ_ONCE(watch->last));
}

bool watch_reaps(const struct watch *watch, bool always)
{
	return (always || READ_ONCE(watch->service) < poll_ticks) &&
	       (watch->reaping || watch->channel->reaped < WATCHES);
}

void watch_reaping(struct watch *watch)
{
	struct channel *channel = watch->channel;

	channel->answered = lichen_counter();
	if (watch->reaping)
		return;
	watch->reaping = true;
	channel->reaps[channel->reaped++] = watch;
}

bool watch_end(struct watch *watch)
{
	struct channel *channel = watch->channel;

	WRITE_ONCE(watch->last, lichen_counter());
	if (watch->watched)
		return false;
	if ((!watch->reaping && !watch_pays(watch, watch_busy(watch))) ||
		channel->watched == WATCHES)
		return vring_notify_enable(watch->ring);
	vring_notify_disable(watch->ring);
	watch->watched = true;
	channel->watches[channel->watched++] = watch;
	return false;
}

void watch_drop(struct watch *watch)
{
	struct channel *channel = watch->channel;
	unsigned int i;

	for (i = 0; watch->watched && i < channel->watched; i++)
		if (channel->watches[i] == watch)
			channel->watches[i] = channel->watches[--channel->watched];
	watch->watched = false;
}

/* The bits as the doorbell page has them, from this side. */
static void own_kick(struct channel *channel, unsigned int slot, u64 queues)
{
	atomic64_or(queues, (atomic64_t *)&channel->own[slot]);
	smp_mb__after_atomic();
	atomic64_or(BIT_ULL(slot), (atomic64_t *)&channel->own_slots);
}

void watch_completed(struct watch *watch, bool idle)
{
	struct channel *channel = watch->channel;
	u64 now = lichen_counter();

	sample(&watch->service, now - READ_ONCE(watch->last));
	WRITE_ONCE(watch->last, now);
	/* A thread that lingers is to poll now; in WFI on this CPU, it looks after this interrupt. */
	if (idle && watch_pays(watch, false) && !READ_ONCE(channel->asleep) &&
		!READ_ONCE(watch->watched))
		own_kick(channel, watch->slot, BIT_ULL(watch->queue));
}

/* Take and serve one page of bits: a summary word, and the words that it names. */
static void bits_serve(u64 *summary, u64 *words, bool doorbell)
{
	u64 slots, queues;
	unsigned int slot;

	if (!READ_ONCE(*summary))
		return;
	slots = xchg_acquire(summary, 0);
	while (slots) {
		slot = __ffs64(slots);
		slots &= slots - 1;
		if (slot >= lichen_window.slots)
			continue;
		queues = xchg_acquire(&words[slot], 0);
		if (!queues)
			continue;
		if (doorbell)
			slot_count(slot, doorbells, 1);
		slot_kicked(slot, queues);
	}
}

static void channel_serve(struct channel *channel)
{
	struct lichen_doorbells *bells = channel->bells;
	u64 bits;

	mutex_lock(&channel->serving);
	bits_serve(&bells->kicked, bells->queues, true);
	bits_serve(&channel->own_slots, channel->own, false);
	mutex_unlock(&channel->serving);
	if (channel->index)
		return;
	if (READ_ONCE(bells->changed)) {
		bits = xchg_acquire(&bells->changed, 0);
		for (; bits; bits &= bits - 1)
			slot_changed(__ffs64(bits));
	}
	if (READ_ONCE(bells->machine)) {
		bits = xchg_acquire(&bells->machine, 0);
		if (bits & LICHEN_MACHINE_TRACE)
			trace_changed();
		if (bits & LICHEN_MACHINE_SAMPLE)
			sample_take();
		bits &= LICHEN_MACHINE_OFF | LICHEN_MACHINE_REBOOT;
		if (bits)
			chardev_machine(bits);
	}
}

/* Until when the watched rings are worth polling: 0 when none is. */
static u64 poll_deadline(const struct channel *channel, u64 now)
{
	u64 last = 0;
	unsigned int i;

	for (i = 0; i < channel->watched; i++) {
		const struct watch *watch = channel->watches[i];
		u64 end = READ_ONCE(watch->last) + poll_ticks;

		if (watch_pays(watch, watch_busy(watch)) && end > now && end > last)
			last = end;
	}
	return last;
}

/* What was waited for did not come in time: so long at least was the wait. */
static void watches_missed(struct channel *channel)
{
	unsigned int i;

	for (i = 0; i < channel->watched; i++) {
		struct watch *watch = channel->watches[i];
		bool busy = watch_busy(watch);

		if (watch_pays(watch, busy))
			sample(&watch->gap[busy], 4 * poll_ticks);
	}
}

/* Forget those that have nothing left. */
static void reaps_end(struct channel *channel)
{
	unsigned int i = 0;

	while (i < channel->reaped) {
		struct watch *watch = channel->reaps[i];

		if (READ_ONCE(*watch->polled)) {
			i++;
			continue;
		}
		watch->reaping = false;
		channel->reaps[i] = channel->reaps[--channel->reaped];
	}
}

/* Look for what the devices have finished. True if they had something. */
static bool channel_reap(struct channel *channel)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < channel->reaped; i++)
		any |= channel->reaps[i]->reap(channel->reaps[i]);
	if (any)
		channel->answered = lichen_counter();
	reaps_end(channel);
	return any;
}

/* Wait until the ring moves, or the deadline. The turns that it waited. */
static unsigned long ring_wait(struct channel *channel, const struct watch *watch, u64 deadline)
{
	struct lichen_spin spin = {
		.index = watch ? &watch->ring->available->idx : &no_index,
		.seen = watch ? watch->ring->next : 0,
		.stop = &channel->attention,
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
	slot_kicked(watch->slot, BIT_ULL(watch->queue));
	return true;
}

/*
 * Poll the watched rings and the devices and serve what comes, as long as that pays and nothing else wants this CPU or this
 * thread. `serving` is held. False: what is left to be reaped is to be looked for by a timer.
 */
static bool channel_poll(struct channel *channel)
{
	unsigned int slot = 0; /* whose waiting it is */
	unsigned long round = 0, spin = 0;
	bool again = true;
	unsigned int i;

	for (;;) {
		u64 now = lichen_counter(), deadline;

		if (channel->reaped) {
			slot = channel->reaps[0]->slot;
			if (!channel_reap(channel)) {
				spin += REAP_INSTRUCTIONS;
				if (now - channel->answered > patience_ticks) {
					again = false;
					break;
				}
			}
			deadline = now + reap_ticks;
		} else {
			deadline = poll_deadline(channel, now);
		}
		if (!deadline) {
			watches_missed(channel);
			break;
		}
		if (channel->watched <= 1) {
			struct watch *watch = channel->watched ? channel->watches[0] : NULL;

			if (watch)
				slot = watch->slot;
			spin += ring_wait(channel, watch, deadline) * LICHEN_SPIN_INSTRUCTIONS;
			if (!watch || !ring_serve(watch))
				spin += WAIT_INSTRUCTIONS;
		} else {
			/* A turn for each, without WFE. */
			slot = channel->watches[0]->slot;
			do {
				for (i = 0; i < channel->watched; i++)
					ring_serve(channel->watches[i]);
				spin += channel->watched * LICHEN_SPIN_INSTRUCTIONS;
				cpu_relax();
			} while (lichen_counter() < deadline && !READ_ONCE(channel->attention) &&
				 !need_resched());
		}
		if (READ_ONCE(channel->attention) || READ_ONCE(channel->own_slots))
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

/* Ask for notifications of all watched rings. False: one has a chain by now. */
static bool channel_arm(struct channel *channel)
{
	bool quiet = true;

	while (channel->watched) {
		struct watch *watch = channel->watches[--channel->watched];

		watch->watched = false;
		if (vring_notify_enable(watch->ring)) {
			own_kick(channel, watch->slot, BIT_ULL(watch->queue));
			quiet = false;
		}
	}
	return quiet;
}

/* Serve, poll, and arm, until there is nothing to be done at once. */
static void channel_work(struct channel *channel)
{
	bool again = false;

	do {
		WRITE_ONCE(channel->attention, 0);
		smp_mb(); /* the bits are looked at after that */
		channel_serve(channel);
		if (!channel->watched && !READ_ONCE(channel->reaped))
			continue;
		mutex_lock(&channel->serving);
		if (!channel_pending(channel))
			again = channel_poll(channel);
		if (!channel_pending(channel) && !(again && channel->reaped))
			channel_arm(channel);
		mutex_unlock(&channel->serving);
		while (atomic_read(&channel->quiescing))
			schedule_timeout_uninterruptible(1);
		cond_resched();
	} while (channel_pending(channel) || READ_ONCE(channel->watched) ||
		 (again && READ_ONCE(channel->reaped)));
}

/* Wait for work on this CPU without leaving it. False when it is time to sleep instead. */
static bool channel_linger(struct channel *channel, unsigned long until)
{
	while (!channel_pending(channel)) {
		if (READ_ONCE(channel->reaped) || need_resched() || !single_task_running() || kthread_should_stop() ||
			time_after(jiffies, until))
			return false;
		local_irq_disable();
		/*
		 * An interrupt that arrives from here on ends the WFI, and is taken when interrupts
		 * are on again.
		 */
		if (!channel_pending(channel) && !need_resched()) {
			dsb(sy);
			wfi();
		}
		local_irq_enable();
	}
	return true;
}

static int channel_thread(void *data)
{
	struct channel *channel = data;
	ktime_t reap_sleep = ns_to_ktime(REAP_SLEEP_NS);

	lichen_event_stream(REAP_NS);
	while (!kthread_should_stop()) {
		if (channel_pending(channel) || READ_ONCE(channel->reaped)) {
			do {
				channel_work(channel);
			} while (channel_linger(channel, jiffies + LINGER));
		}
		set_current_state(TASK_IDLE);
		WRITE_ONCE(channel->asleep, true);
		/* Either this sees the bits, or the interrupt that follows them sees us asleep. */
		smp_mb();
		if (!channel_pending(channel) && !kthread_should_stop()) {
			if (READ_ONCE(channel->reaped))
				schedule_hrtimeout(&reap_sleep, HRTIMER_MODE_REL);
			else
				schedule();
		}
		WRITE_ONCE(channel->asleep, false);
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

void channel_kick(unsigned int index, unsigned int slot, u64 queues)
{
	struct channel *channel = channel_at(index);

	own_kick(channel, slot, queues);
	WRITE_ONCE(channel->attention, 1);
	wake_up_process(channel->thread);
	/* A thread that lingers in WFI on another CPU is running already, and nobody tells it. */
	if (!READ_ONCE(channel->asleep))
		kick_process(channel->thread);
}

void channels_quiesce(void)
{
	unsigned int i;

	for (i = 0; i < channel_count; i++) {
		struct channel *channel = &channels[i];

		atomic_inc(&channel->quiescing);
		WRITE_ONCE(channel->attention, 1);
		mutex_lock(&channel->serving);
		/* Those that go on are served, and watched, anew. */
		while (channel->watched) {
			struct watch *watch = channel->watches[--channel->watched];

			watch->watched = false;
			channel_kick(i, watch->slot, BIT_ULL(watch->queue));
		}
		/* And none whose requests have come back is looked at. */
		reaps_end(channel);
		mutex_unlock(&channel->serving);
		atomic_dec(&channel->quiescing);
	}
}

static int channel_start(struct device *parent, struct channel *channel, int interrupt)
{
	unsigned int cpu = cpumask_nth(channel->index % num_online_cpus(), cpu_online_mask);
	int error;

	channel->bells = window_doorbells(channel->index);
	mutex_init(&channel->serving);
	channel->thread = kthread_create_on_cpu(channel_thread, channel, cpu, "lichen/%u");
	if (IS_ERR(channel->thread))
		return PTR_ERR(channel->thread);
	sched_set_fifo_low(channel->thread);
	channel->interrupt = interrupt;
	error = request_irq(
		interrupt, channel_interrupt, IRQF_NO_THREAD | IRQF_NOBALANCING, "lichen", channel);
	if (error) {
		dev_err(parent, "channel %u: interrupt %d: error %d\n", channel->index, interrupt,
			error);
		kthread_stop(channel->thread);
		return error;
	}
	irq_set_affinity(interrupt, cpumask_of(cpu));
	wake_up_process(channel->thread);
	return 0;
}

int channels_start(struct device *parent, const int *interrupts)
{
	unsigned int i;
	int error;

	poll_ticks = (u64)lichen_counter_frequency() * POLL_NS / NSEC_PER_SEC;
	reap_ticks = (u64)lichen_counter_frequency() * REAP_NS / NSEC_PER_SEC;
	patience_ticks = (u64)lichen_counter_frequency() * PATIENCE_NS / NSEC_PER_SEC;
	channels = kcalloc(lichen_window.channels, sizeof(*channels), GFP_KERNEL);
	if (!channels)
		return -ENOMEM;
	for (i = 0; i < lichen_window.channels; i++) {
		channels[i].index = i;
		error = channel_start(parent, &channels[i], interrupts[i]);
		if (error) {
			channels_stop();
			return error;
		}
		channel_count = i + 1;
	}
	return 0;
}

void channels_stop(void)
{
	while (channel_count) {
		struct channel *channel = &channels[--channel_count];

		free_irq(channel->interrupt, channel);
		kthread_stop(channel->thread);
	}
	kfree(channels);
	channels = NULL;
}
