/* SPDX-License-Identifier: MIT */
// kernel: none
// sources: virtio/virtqueue.c virtio/coalesce.c
// cflags: -Ivirtio/include
/*
 * A hostile device against the driver's virtqueue: the input scribbles over the rings while requests are offered and taken. Every token
 * comes back at most once, the free list stays whole, nothing outside is touched.
 */
#include "shim/shim.h"
#include <lichen/irq.h>
#include <virtio/virtqueue.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 8u

static u32 notified;

static void require(bool c)
{
	if (!c)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	static bool started;
	struct virtqueue *queue;
	bool out[256] = {false};
	u32 head, bytes, in_flight = 0, free_left;
	void *token;

	if (!started)
		shim_start(1);
	started = true;
	if (n < 4)
		return 0;
	queue = virtqueue_create(0, SIZE, data[0] & 1 ? 6 : 0, data[0] & 2);
	queue->notify = &notified;
	spin_lock(&queue->lock);
	for (size_t i = 1; i + 4 <= n; i += 4) {
		const u8 *d = data + i;

		switch (d[0] % 6) {
		case 0: { /* a request */
			u32 want = 1 + d[1] % 6;

			if (out[d[2]] || virtqueue_begin(queue, want) < 0)
				break;
			for (u32 k = 0; k < want; k++)
				virtqueue_put(queue, 4096, d[3], k);
			virtqueue_end(queue, &out[d[2]]);
			out[d[2]] = true;
			in_flight++;
			virtqueue_kick(queue);
			break;
		}
		case 1: /* the device finishes something, truthfully or not */
			queue->used->ring[queue->used->idx & (SIZE - 1)] = (struct vring_used_elem){d[1] % (SIZE + 1), d[2]};
			queue->used->idx++;
			break;
		case 2:
			queue->used->idx = (u16)(d[1] | d[2] << 8);
			break;
		case 3: { /* anywhere in what it may write, and in what it should not */
			u32 at = (d[1] | d[2] << 8) % (u32)(PAGE_SIZE);

			((u8 *)queue->desc)[at] = d[3];
			break;
		}
		case 4:
			while ((token = virtqueue_take(queue, &head, &bytes))) {
				bool *slot = token;

				require(slot >= out && slot < out + 256 && *slot);
				require(head < SIZE);
				*slot = false;
				in_flight--;
			}
			virtqueue_rearm(queue);
			break;
		case 5:
			if (d[1] % 8)
				break;
			while ((token = virtqueue_detach(queue))) {
				require(*(bool *)token);
				*(bool *)token = false;
				in_flight--;
			}
			require(!in_flight && queue->free_count == SIZE);
			virtqueue_reset(queue);
			break;
		}
		require(queue->in_flight == in_flight);
		/* The free list has as many as it says. */
		free_left = queue->free_count;
		for (u16 at = queue->free_head; free_left; free_left--) {
			require(at < SIZE);
			at = queue->next[at];
		}
	}
	spin_unlock(&queue->lock);
	virtqueue_destroy(queue);
	return 0;
}
