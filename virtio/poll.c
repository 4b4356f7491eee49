// SPDX-License-Identifier: MIT
/*
 * Polling a virtqueue, for a task that waits for one of its requests: no interrupt is asked for, and the used index is
 * watched instead. It ends with the request, or when another task wants the CPU, or when it takes too long; then interrupts
 * are asked for again before the last look (virtqueue_rearm), so that no completion is lost.
 *
 * It is worth while if the answer comes sooner than an interrupt could be taken and the task be woken: the queue keeps a mean of
 * how long requests took that were alone in it.
 */
#include <lichen/cpu.h>
#include <arch/clock.h>
#include <virtio/virtqueue.h>

#define SOON_NS	 10000	 /* adaptively: what is expected to take less is polled for, this long at most */
#define HIPRI_NS 1000000 /* when asked to: an interrupt will do after that */

void virtqueue_poll(struct virtqueue *queue, const _Atomic u32 *state, u32 pending, struct task *self, bool hipri)
{
	u64 limit = clock_ticks_of(hipri ? HIPRI_NS : SOON_NS), deadline;

	if (!hipri && queue->latency >= limit)
		return;
	deadline = clock_ticks() + limit;
	while (atomic_load_explicit(state, memory_order_acquire) == pending) {
		u16 seen = *(volatile u16 *)&queue->used_seen;
		bool moved;

		virtqueue_disarm(queue);
		cpu_arch_spin((const volatile u16 *)&queue->used->idx, seen, self, deadline);
		moved = *(const volatile u16 *)&queue->used->idx != seen;
		/* Takes what has come, and arms the queue again. */
		queue->interrupt(queue);
		if (!moved)
			break;
	}
}
