// SPDX-License-Identifier: MIT
/*
 * Completions in batches. A queue with many requests in flight asks for an interrupt not at the next completion, but at one
 * further on (EVENT_IDX, virtio 1.2, 2.7.7.2): so that one interrupt serves many, and what the woken tasks submit next goes out
 * with one notification too.
 *
 * How far: half of what was in flight lately, as long as the device is expected to have finished that within BATCH_NS at the pace at which
 * it finished the last ones; and never beyond what is in flight, so that a batch never waits for requests that nobody has made yet.
 * When the device turns out to be slower, a timer looks after DELAY_NS. Below VIRTQUEUE_BATCH_DEPTH requests each is reported at once: a task that
 * waits for a request alone never waits for others'.
 *
 * The wish moves on with each request that is made (virtqueue_kick), and is looked at anew when completions were taken
 * (virtqueue_rearm). Moving it on loses nothing: a device that has passed the old place has seen it there, or sees the new one, which
 * it will reach with what is in flight.
 */
#include <lichen/timer.h>
#include <arch/clock.h>
#include <virtio/virtqueue.h>

#define BATCH_NS 100000
#define DELAY_NS 400000
#define SAMPLE	 32

void virtqueue_batch_timer(struct timer *timer)
{
	struct virtqueue *queue = container_of(timer, struct virtqueue, batch_timer);

	if (likely(queue->interrupt))
		queue->interrupt(queue);
}

/* The pace of completions, over the last SAMPLE of them: bursts and pauses together; and how many that makes in BATCH_NS. */
static void pace_sample(struct virtqueue *queue, u32 taken)
{
	u64 now = clock_ticks();

	if (!queue->batch_since) {
		queue->batch_since = now;
		queue->batch_count = 0;
		return;
	}
	queue->batch_count += taken;
	if (queue->batch_count < SAMPLE)
		return;
	queue->batch_most = (u16)min(queue->batch_count * clock_ticks_of(BATCH_NS) / max(now - queue->batch_since, (u64)1), (u64)queue->size);
	queue->batch_since = now;
	queue->batch_count = 0;
}

u16 virtqueue_batch(struct virtqueue *queue)
{
	u32 batch = min(min((u32)queue->batch_depth / 2, (u32)queue->in_flight), (u32)queue->batch_most);

	if (batch <= 1)
		return 1;
	if (!timer_pending(&queue->batch_timer))
		timer_start(&queue->batch_timer, time_monotonic() + DELAY_NS);
	return (u16)batch;
}

__noinline u16 virtqueue_batch_next(struct virtqueue *queue, u32 taken)
{
	u32 depth = (u32)queue->in_flight + taken;

	/* Nothing came, and the timer looked: from now on the next one counts. */
	if (!taken || !queue->batched)
		return 1;
	/* Who is woken by a batch makes his next request only later: the depth falls off slowly. */
	queue->batch_depth = (u16)max(depth, queue->batch_depth * 3u / 4);
	if (queue->batch_depth < VIRTQUEUE_BATCH_DEPTH) {
		queue->batch_depth = 0;
		return 1;
	}
	pace_sample(queue, taken);
	return virtqueue_batch(queue);
}
