// SPDX-License-Identifier: MIT
/*
 * Completions in batches. A queue with many requests in flight asks for an interrupt not at the next completion, but at one
 * further on (EVENT_IDX, virtio 1.2, 2.7.7.2): so that one interrupt serves many, and what the woken tasks submit next goes out
 * with one notification too.
 *
 * How far: as far as the device is expected to get within BATCH_NS at its pace, and never beyond what is in flight, so that a batch
 * never waits for requests that nobody has made yet. That is half of what was in flight lately: the device is busy with the other half
 * while tasks are woken. But when a task ran and others waited for the CPU besides, the interrupt came too early, and the next batch is
 * larger by a quarter. With half alone, a CPU that makes requests no faster than the device finishes them would never see more in
 * flight than a batch and the few that the device has, and that would keep batches as small as those few, however many tasks there are.
 *
 * When the device turns out to be slower, a timer looks: DELAY_NS after the last completions were taken, or after the wish began to
 * wait. So no completion is held back for longer than DELAY_NS, and after a look that finds nothing the next one is reported at once;
 * a device that slows down is found out after a few samples of its pace. Below VIRTQUEUE_BATCH_DEPTH requests each is reported at
 * once: a task that waits for a request alone never waits for others'.
 *
 * The wish moves on with each request that is made (virtqueue_kick), and is looked at anew when completions were taken
 * (virtqueue_rearm). Moving it on loses nothing: a device that has passed the old place has seen it there, or sees the new one, which
 * it will reach with what is in flight.
 */
#include <lichen/cpu.h>
#include <lichen/timer.h>
#include <virtio/virtqueue.h>

#define BATCH_NS  100000
#define DELAY_NS  400000
#define SAMPLE	  8
#define SAMPLE_NS 800000

static u16 batch_of(const struct virtqueue *queue) REQUIRES(queue->lock)
{
	return min(queue->batch_limit, queue->in_flight);
}

void virtqueue_batch_timer(struct timer *timer)
{
	struct virtqueue *queue = container_of(timer, struct virtqueue, batch_timer);
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	nsec_t due = queue->batch_taken + DELAY_NS;
	bool waits = queue->batch_depth && batch_of(queue) > 1, early = time_monotonic() < due;

	/* Something was taken since it was started: it is too early to look. */
	if (early && waits)
		timer_start(timer, due);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (!early && likely(queue->interrupt))
		queue->interrupt(queue);
}

/*
 * How many completions come in BATCH_NS: a sample is SAMPLE of them, or what came in SAMPLE_NS. Not less than half of what it was, since
 * a pause, which no batch can shorten, makes one sample slow, and a slow device all of them.
 */
static void pace_sample(struct virtqueue *queue, u32 taken, nsec_t now)
{
	nsec_t passed = now - queue->batch_since;
	u64 most;

	if (queue->batch_since) {
		queue->batch_count += taken;
		if (queue->batch_count < SAMPLE && passed < SAMPLE_NS)
			return;
		most = (u64)queue->batch_count * BATCH_NS / max(passed, (nsec_t)1);
		queue->batch_most = (u16)min(max(most, (u64)queue->batch_most / 2), (u64)queue->size);
	}
	queue->batch_since = now;
	queue->batch_count = 0;
}

u16 virtqueue_batch(struct virtqueue *queue)
{
	u16 batch = batch_of(queue);

	if (batch <= 1)
		return 1;
	if (!timer_pending(&queue->batch_timer))
		timer_start(&queue->batch_timer, time_monotonic() + DELAY_NS);
	return batch;
}

__noinline u16 virtqueue_batch_next(struct virtqueue *queue, u32 taken)
{
	u32 depth = (u32)queue->in_flight + taken, limit;
	struct cpu *cpu = this_cpu();

	if (!queue->batched)
		return 1;
	/* The timer looked, and nothing had come: from now on the next one counts. */
	if (!taken) {
		queue->batch_limit = 1;
		return 1;
	}
	/* Who is woken by a batch makes his next request only later: the depth falls off slowly. */
	queue->batch_depth = (u16)max(depth, queue->batch_depth * 3u / 4);
	if (queue->batch_depth < VIRTQUEUE_BATCH_DEPTH) {
		queue->batch_depth = 0;
		queue->batch_since = 0;
		return 1;
	}
	queue->batch_taken = time_monotonic();
	pace_sample(queue, taken, queue->batch_taken);
	limit = queue->batch_depth / 2;
	if (cpu->current && atomic_load_explicit(&cpu->queue.count, memory_order_relaxed) > taken)
		limit = max(limit, min(queue->batch_limit * 5u / 4, (u32)queue->batch_depth));
	queue->batch_limit = (u16)min(limit, (u32)queue->batch_most);
	return virtqueue_batch(queue);
}
