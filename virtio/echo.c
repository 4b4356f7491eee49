// SPDX-License-Identifier: MIT
/*
 * The echo device (lichen/abi.h), as /dev/echo: read(2) and write(2) of up to a page make one round trip through rings, hypervisor
 * and driver domain, and return their length; the bytes stay as they are. The program's page goes into the ring itself,
 * as with O_DIRECT: nothing is copied, nothing allocated. It measures what the transport costs, below any real device.
 *
 * A round trip is a block request without a place: it waits as a disk's does (block_wait), so that the two can be compared.
 */
#include <lichen/block.h>
#include <lichen/list.h>
#include <lichen/mm.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/vfs.h>
#include <asm/errno.h>
#include <linux/fs.h>
#include <lichen/tracing.h>
#include <virtio/device.h>

#define ECHO_MAJOR 240 /* of those for local use */
#define QUEUE_SIZE 128u

struct echo_queue {
	struct virtqueue *queue; /* its lock guards this too */
	struct list pending;	 /* struct block_request.node */
};

struct echo {
	struct virtio_device *device;
	u32 count;
	struct echo_queue queues[];
};

/* Puts a request into the ring: 0, or virtqueue_begin's error. */
static __always_inline long echo_offer(struct virtqueue *queue, struct block_request *request) REQUIRES(queue->lock)
{
	long head = virtqueue_begin(queue, 1);

	if (unlikely(head < 0))
		return head;
	virtqueue_put(queue, request->segments->address, request->segments->bytes, request->op == BLOCK_READ);
	if (trace_enabled())
		virtqueue_trace_submit(queue, (u32)head, request);
	virtqueue_end(queue, request);
	return 0;
}

static void echo_poll(struct block_request *request, struct task *self)
{
	virtqueue_poll(request->queue, &request->state, BLOCK_PENDING, self, request->hipri);
}

static void echo_submit(struct echo *echo, struct block_request *request)
{
	struct echo_queue *q = &echo->queues[echo->count == 1 ? 0 : cpu_id() % echo->count];
	struct virtqueue *queue = q->queue;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	long error = -ENOSPC;

	request->queue = queue;
	request->poll = echo_poll;
	if (likely(list_empty(&q->pending)))
		error = echo_offer(queue, request);
	if (likely(!error)) {
		virtqueue_kick(queue);
	} else if (error == -ENOSPC || (error == -EAGAIN && atomic_load(&echo->device->state) != VIRTIO_FAILED)) {
		list_add_tail(&q->pending, &request->node);
		error = 0;
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(error))
		block_request_done(request, -EIO);
}

static void pending_offer(struct virtqueue *queue) REQUIRES(queue->lock)
{
	struct echo_queue *q = queue->private;
	bool any = false;

	while (!list_empty(&q->pending)) {
		struct block_request *request = list_first(&q->pending, struct block_request, node);

		if (echo_offer(queue, request))
			break;
		list_remove(&request->node);
		any = true;
	}
	if (any)
		virtqueue_kick(queue);
}

static void echo_interrupt(struct virtqueue *queue)
{
	struct echo_queue *q = queue->private;
	struct block_request *request;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	const char *broken;
	bool any = false; /* who polls may have found nothing */
	u32 head, bytes;

	do {
		while ((request = virtqueue_take(queue, &head, &bytes))) {
			if (trace_enabled())
				virtqueue_trace_complete(queue, head, request);
			block_request_done(request, 0);
			any = true;
		}
	} while (virtqueue_rearm(queue));
	if (unlikely(!list_empty(&q->pending)))
		pending_offer(queue);
	broken = queue->broken;
	if (likely(any))
		queue->device->resets = 0;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(broken))
		virtio_device_fail(queue->device, broken);
}

static void echo_failed(struct virtio_device *device)
{
	struct echo *echo = device->private;
	struct block_request *request;

	for (u32 i = 0; echo && i < echo->count; i++) {
		struct echo_queue *q = &echo->queues[i];
		unsigned long flags = spin_lock_irqsave(&q->queue->lock);

		while ((request = virtqueue_detach(q->queue)))
			block_request_done(request, -EIO);
		while (!list_empty(&q->pending)) {
			request = list_first(&q->pending, struct block_request, node);
			list_remove(&request->node);
			block_request_done(request, -EIO);
		}
		spin_unlock_irqrestore(&q->queue->lock, flags);
	}
}

static void echo_restore(struct virtio_device *device, bool offer)
{
	struct echo *echo = device->private;
	struct block_request *request;

	for (u32 i = 0; i < echo->count; i++) {
		struct echo_queue *q = &echo->queues[i];
		unsigned long flags = spin_lock_irqsave(&q->queue->lock);

		if (offer)
			pending_offer(q->queue);
		else
			while ((request = virtqueue_detach(q->queue)))
				list_add(&q->pending, &request->node);
		spin_unlock_irqrestore(&q->queue->lock, flags);
	}
}

/* --- the file --- */

/* A round trip in a frame. */
struct echo_trip {
	struct echo *echo;
	u64 address;
	struct page *page; /* of it, once it is pinned */
	struct block_segment segment;
	struct block_request request;
	long error; /* why it was not sent at once: -EAGAIN, the page must be waited for */
};

/* Pins the page, without waiting: mm_pin_page_fast's results; -EINVAL for the kernel's own buffers, which nobody has a use for. */
static long echo_pin(struct echo_trip *trip, const struct kiov *iov, struct task *self)
{
	u64 address = (u64)(uintptr_t)iov->segment->iov_base + iov->offset;

	if (unlikely(iov->kernel))
		return -EINVAL;
	trip->address = address;
	/* As far as it lies in one page. */
	trip->segment.bytes = (u32)min(min(iov->left, (size_t)iov->segment->iov_len - iov->offset), PAGE_SIZE - (address & (PAGE_SIZE - 1)));
	return mm_pin_page_fast(thread_of(self)->mm, address, trip->request.op == BLOCK_READ, true, &trip->page);
}

/* Submits, and waits if the answer comes soon: true when it is there. The frame was zero. */
static bool echo_send(struct echo_trip *trip, struct task *self)
{
	trip->segment.address = page_phys(trip->page) + (trip->address & (PAGE_SIZE - 1));
	trip->request.segments = &trip->segment;
	trip->request.segment_count = 1;
	trip->request.task = self;
	echo_submit(trip->echo, &trip->request);
	return block_poll(&trip->request, self);
}

/* Bytes, or -errno. */
static long echo_end(struct echo_trip *trip, struct kiov *iov)
{
	page_put(trip->page);
	if (unlikely(trip->request.status))
		return trip->request.status;
	kiov_skip(iov, trip->segment.bytes);
	return trip->segment.bytes;
}

/* What was begun without waiting goes on with it. */
ASYNC(echo_wait, struct echo_trip *trip; struct kiov *iov;)
{
	ASYNC_BEGIN;
	if (f->trip->error == -EAGAIN) {
		AWAIT(mm_pin_page, .mm = thread_of(self)->mm, .address = f->trip->address, .write = f->trip->request.op == BLOCK_READ,
			.device = true, .page = &f->trip->page);
		f->trip->error = RESULT;
		if (!f->trip->error)
			echo_send(f->trip, self);
	}
	if (f->trip->error)
		ASYNC_RETURN(f->trip->error);
	AWAIT(block_wait, .request = &f->trip->request);
	ASYNC_RETURN(echo_end(f->trip, f->iov));
	ASYNC_END;
}

ASYNC(echo_read, FILE_READ_ARGS struct echo_trip trip;)
{
	long error;

	ASYNC_BEGIN;
	if (!f->to->left)
		ASYNC_RETURN(0);
	f->trip.echo = f->file->private;
	f->trip.request.op = BLOCK_READ;
	f->trip.request.hipri = f->flags & RWF_HIPRI;
	error = echo_pin(&f->trip, f->to, self);
	if (likely(!error) && likely(echo_send(&f->trip, self)))
		ASYNC_RETURN(echo_end(&f->trip, f->to));
	f->trip.error = error;
	AWAIT(echo_wait, .trip = &f->trip, .iov = f->to);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(echo_write, FILE_WRITE_ARGS struct echo_trip trip;)
{
	long error;

	ASYNC_BEGIN;
	if (!f->from->left)
		ASYNC_RETURN(0);
	f->trip.echo = f->file->private;
	f->trip.request.op = BLOCK_WRITE;
	f->trip.request.hipri = f->flags & RWF_HIPRI;
	error = echo_pin(&f->trip, f->from, self);
	if (likely(!error) && likely(echo_send(&f->trip, self)))
		ASYNC_RETURN(echo_end(&f->trip, f->from));
	f->trip.error = error;
	AWAIT(echo_wait, .trip = &f->trip, .iov = f->from);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(echo_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	f->file->mode |= FILE_SEEK; /* pread and preadv2, at any place */
	ASYNC_END;
}

static s64 echo_seek(struct file *file, s64 offset, int whence)
{
	return 0;
}

static const struct file_ops echo_file_ops = {.open = &echo_open_fn, .read = &echo_read_fn, .write = &echo_write_fn, .seek = echo_seek};

/* --- probe --- */

static struct echo *echo_create(struct virtio_device *device)
{
	struct lichen_echo_config config = {0};
	struct echo *echo;
	long error = 0;
	u32 count;

	virtio_config_read(device, 0, &config, sizeof(config));
	count = min(max(config.queues, 1u), min(cpu_count(), (u32)LICHEN_QUEUES));
	echo = kzalloc(sizeof(*echo) + sizeof(echo->queues[0]) * count);
	if (!echo)
		return ERR_PTR(-ENOMEM);
	echo->device = device;
	for (u32 i = 0; i < count; i++) {
		list_init(&echo->queues[i].pending);
		error = virtio_queue_setup(device, i, QUEUE_SIZE, 0, i, echo_interrupt);
		if (error)
			break;
		echo->queues[i].queue = device->queues[i];
		device->queues[i]->private = &echo->queues[i];
		device->queues[i]->batched = device->queues[i]->event_index;
		echo->count = i + 1;
	}
	device->private = echo;
	return echo->count ? echo : ERR_PTR(error);
}

ASYNC(echo_probe, VIRTIO_PROBE_ARGS)
{
	struct echo *echo;
	char name[16];

	ASYNC_BEGIN;
	echo = echo_create(f->device);
	if (IS_ERR(echo))
		ASYNC_RETURN(PTR_ERR(echo));
	virtio_device_ready(f->device);
	snprintf(name, sizeof(name), f->device->index ? "echo%u" : "echo", f->device->index);
	ASYNC_RETURN(device_register(name, S_IFCHR | 0600, MAKE_DEV(ECHO_MAJOR, f->device->index), &echo_file_ops, echo));
	ASYNC_END;
}

const struct virtio_driver virtio_echo_driver = {
	.id = LICHEN_VIRTIO_ID_ECHO,
	.name = "echo",
	.probe = &echo_probe_fn,
	.failed = echo_failed,
	.restore = echo_restore,
};
