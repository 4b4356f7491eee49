// SPDX-License-Identifier: MIT
/* The trace points of a virtqueue (lichen/tracing.h), out of the way of those who pass them while the trace is off. */
#include <lichen/block.h>
#include <lichen/irq.h>
#include <lichen/tracing.h>
#include <virtio/virtqueue.h>

static u32 key_of(const struct virtqueue *queue, u32 head)
{
	return queue->trace_key ^ (LICHEN_TRACE_NO_HEAD ^ head);
}

void virtqueue_trace_submit(const struct virtqueue *queue, u32 head, struct block_request *request)
{
	trace_put_submit(key_of(queue, head), request->task, request->sector);
}

void virtqueue_trace_complete(const struct virtqueue *queue, u32 head, const struct block_request *request)
{
	trace_put(LICHEN_TRACE_COMPLETE, key_of(queue, head), request->task, 0);
}

void virtqueue_trace_notify(const struct virtqueue *queue)
{
	trace_put(LICHEN_TRACE_NOTIFY, queue->trace_key, NULL, 0);
	io_write32(queue->notify, queue->index);
}
