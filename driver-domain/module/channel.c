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
 * A bit is set before its interrupt is made pending, and taken by an atomic swap: none is lost. What is polled, and when, is
 * watch.c's.
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
#include "trace.h"
#include "watch.h"

#define LINGER	msecs_to_jiffies(20)
/* How often a device is looked at that has not answered for long, and how often the counter's event stream ends a WFE at least. */
#define REAP_SLEEP_NS 50000
#define EVENT_NS      500

struct channel {
	struct lichen_doorbells *bells;
	struct task_struct *thread;
	struct mutex serving; /* held while rings are touched */
	bool asleep;	      /* the interrupt must wake the thread */
	atomic_t quiescing;   /* who waits for `serving`, so that polling does not keep it */
	struct poller poller;
	u64 own_slots;	      /* channel_kick: like the doorbell page, but from this side */
	u64 own[LICHEN_SLOTS];
	unsigned int index;
	int interrupt;
};

static struct channel *channels;
static unsigned int channel_count;

static bool channel_pending(struct channel *channel)
{
	struct lichen_doorbells *bells = channel->bells;

	return READ_ONCE(bells->kicked) | READ_ONCE(channel->own_slots) |
	       (channel->index ? 0 : READ_ONCE(bells->changed) | READ_ONCE(bells->machine));
}

static irqreturn_t channel_interrupt(int irq, void *data)
{
	struct channel *channel = data;

	WRITE_ONCE(channel->poller.attention, 1);
	trace_point(LICHEN_TRACE_DOORBELL, LICHEN_TRACE_NO_KEY, channel->index);
	if (READ_ONCE(channel->asleep))
		wake_up_process(channel->thread);
	return IRQ_HANDLED;
}

static struct channel *channel_at(unsigned int index)
{
	return &channels[index < channel_count ? index : 0];
}

static struct channel *channel_of(struct poller *poller)
{
	return container_of(poller, struct channel, poller);
}

struct poller *channel_poller(unsigned int index)
{
	return &channel_at(index)->poller;
}

bool channel_asleep(const struct poller *poller)
{
	return READ_ONCE(container_of_const(poller, struct channel, poller)->asleep);
}

/* The bits as the doorbell page has them, from this side. */
static void own_kick(struct channel *channel, unsigned int slot, u64 queues)
{
	atomic64_or(queues, (atomic64_t *)&channel->own[slot]);
	smp_mb__after_atomic();
	atomic64_or(BIT_ULL(slot), (atomic64_t *)&channel->own_slots);
	/* After the bits: who clears it looks at them next. */
	smp_mb__after_atomic();
	WRITE_ONCE(channel->poller.attention, 1);
}

void channel_note(struct poller *poller, unsigned int slot, unsigned int queue)
{
	own_kick(channel_of(poller), slot, BIT_ULL(queue));
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

/* Serve, poll, and arm, until there is nothing to be done at once. */
static void channel_work(struct channel *channel)
{
	struct poller *poller = &channel->poller;
	bool again = false;

	do {
		WRITE_ONCE(poller->attention, 0);
		smp_mb(); /* the bits are looked at after that */
		channel_serve(channel);
		if (!poller->watched && !READ_ONCE(poller->reaped))
			continue;
		mutex_lock(&channel->serving);
		if (!channel_pending(channel))
			again = poller_poll(poller);
		if (!channel_pending(channel) && !(again && poller->reaped))
			poller_arm(poller);
		mutex_unlock(&channel->serving);
		while (atomic_read(&channel->quiescing))
			schedule_timeout_uninterruptible(1);
		cond_resched();
	} while (channel_pending(channel) || READ_ONCE(poller->watched) ||
		 (again && READ_ONCE(poller->reaped)));
}

/* Wait for work on this CPU without leaving it. False when it is time to sleep instead. */
static bool channel_linger(struct channel *channel, unsigned long until)
{
	while (!channel_pending(channel)) {
		if (READ_ONCE(channel->poller.reaped) || need_resched() || !single_task_running() || kthread_should_stop() ||
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

	lichen_event_stream(EVENT_NS);
	while (!kthread_should_stop()) {
		if (channel_pending(channel) || READ_ONCE(channel->poller.reaped)) {
			do {
				channel_work(channel);
			} while (channel_linger(channel, jiffies + LINGER));
		}
		set_current_state(TASK_IDLE);
		WRITE_ONCE(channel->asleep, true);
		/* Either this sees the bits, or the interrupt that follows them sees us asleep. */
		smp_mb();
		if (!channel_pending(channel) && !kthread_should_stop()) {
			if (READ_ONCE(channel->poller.reaped))
				schedule_hrtimeout(&reap_sleep, HRTIMER_MODE_REL);
			else
				schedule();
		}
		WRITE_ONCE(channel->asleep, false);
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static void channel_wake(struct channel *channel)
{
	wake_up_process(channel->thread);
	/* A thread that lingers in WFI on another CPU is running already, and nobody tells it. */
	if (!READ_ONCE(channel->asleep))
		kick_process(channel->thread);
}

void channel_kick(unsigned int index, unsigned int slot, u64 queues)
{
	struct channel *channel = channel_at(index);

	own_kick(channel, slot, queues);
	channel_wake(channel);
}

void channels_quiesce(void)
{
	unsigned int i;

	for (i = 0; i < channel_count; i++) {
		struct channel *channel = &channels[i];
		bool noted;

		atomic_inc(&channel->quiescing);
		WRITE_ONCE(channel->poller.attention, 1);
		mutex_lock(&channel->serving);
		/* Those that go on are served, and watched, anew. */
		noted = channel->poller.watched;
		poller_drop(&channel->poller);
		if (noted)
			channel_wake(channel);
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

	watches_start();
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
