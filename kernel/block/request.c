// SPDX-License-Identifier: MIT
/*
 * Block requests: the checks that all share, the hand-over to the driver, and the wait. The path of a read that a program
 * waits for is block_submit -> driver -> interrupt -> block_request_done -> block_wait: no lock of its own, no memory.
 */
#include <lichen/block.h>
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <arch/relax.h>
#include <asm/errno.h>

void block_request_done(struct block_request *request, long status)
{
	struct task *task = request->task;

	request->status = (s32)status;
	if (request->done) {
		void (*done)(struct block_request *) = request->done;

		atomic_store_explicit(&request->state, BLOCK_DONE, memory_order_release);
		done(request);
		return;
	}
	/* Between the wake and DONE the waiter spins: its task and this request may go at once afterwards. */
	atomic_store_explicit(&request->state, BLOCK_WAKING, memory_order_release);
	task_wake(task);
	atomic_store_explicit(&request->state, BLOCK_DONE, memory_order_release);
}

/* 0, or why the device can't do it. */
static long request_check(struct block_device *device, struct block_request *request)
{
	u64 sectors = 0;

	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		if (unlikely(!request->segment_count || request->segment_count > device->max_segments))
			return -EINVAL;
		for (u32 i = 0; i < request->segment_count; i++) {
			if (unlikely(!request->segments[i].bytes || request->segments[i].bytes % BLOCK_SECTOR ||
				    request->segments[i].bytes > device->max_segment_bytes))
				return -EINVAL;
			sectors += request->segments[i].bytes / BLOCK_SECTOR;
		}
		request->sectors = sectors;
		break;
	case BLOCK_FLUSH:
		return device->has_flush ? 0 : -EOPNOTSUPP;
	case BLOCK_DISCARD:
		if (!device->has_discard)
			return -EOPNOTSUPP;
		break;
	case BLOCK_WRITE_ZEROES:
		if (!device->has_write_zeroes)
			return -EOPNOTSUPP;
		break;
	case BLOCK_GET_ID:
		return 0;
	}
	if (unlikely(request->sector > device->sectors || request->sectors > device->sectors - request->sector))
		return -EIO;
	if (unlikely(request->op != BLOCK_READ && device->read_only))
		return -EROFS;
	return 0;
}

void block_submit(struct block_device *device, struct block_request *request)
{
	long error = request_check(device, request);

	if (unlikely(error)) {
		block_request_done(request, error);
		return;
	}
	if (request->op == BLOCK_READ) {
		atomic_fetch_add_explicit(&device->reads, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&device->sectors_read, request->sectors, memory_order_relaxed);
	} else if (request->op == BLOCK_WRITE) {
		atomic_fetch_add_explicit(&device->writes, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&device->sectors_written, request->sectors, memory_order_relaxed);
	}
	request->sector += device->first_sector;
	device->whole->ops->submit(device->whole, request);
}

ASYNC_DEFINE_SHALLOW(block_wait, 0)
{
	for (;;) {
		u32 state = atomic_load_explicit(&f->request->state, memory_order_acquire);

		if (likely(state == BLOCK_DONE))
			ASYNC_RETURN(f->request->status);
		if (state == BLOCK_PENDING)
			return PENDING; /* block_request_done wakes us: a spurious wake steps this again */
		relax();
	}
}

ASYNC_DEFINE(block_io)
{
	ASYNC_BEGIN;
	f->request = (struct block_request){
		.op = f->op,
		.sector = f->sector,
		.sectors = f->sectors,
		.segments = f->segments,
		.segment_count = f->segment_count,
		.task = self,
	};
	block_submit(f->device, &f->request);
	if (block_poll(&f->request, self))
		ASYNC_RETURN(f->request.status);
	AWAIT(block_wait, .request = &f->request);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DEFINE(block_flush)
{
	ASYNC_BEGIN;
	if (!f->device->has_flush)
		ASYNC_RETURN(0);
	AWAIT(block_io, .device = f->device, .op = BLOCK_FLUSH);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* How many of the pages from `at` on are neighbours in memory, `end` being the first that is not ours. */
static u32 neighbours(struct page **pages, u32 at, u32 end)
{
	u32 next = at + 1;

	while (next < end && pages[next] == pages[at] + (next - at))
		next++;
	return next - at;
}

static u32 page_count(const struct block_io_pages_frame *f)
{
	return (u32)div_round_up(f->offset + f->bytes, PAGE_SIZE);
}

/* Segments that all of it needs, as long as the device takes any length. */
static u32 stretches(const struct block_io_pages_frame *f)
{
	u32 n = 0, pages = page_count(f);

	for (u32 at = 0; at < pages; n++)
		at += neighbours(f->pages, at, pages);
	return n;
}

/* Gathers bytes from f->done on, at most f->room segments; neighbours in memory become one. Bytes taken. */
static u64 gather(struct block_io_pages_frame *f)
{
	u64 at = f->offset + f->done, end = min((u64)f->offset + f->bytes, at + f->device->max_sectors * BLOCK_SECTOR), begin = at;
	u32 n = 0, pages = page_count(f), most = f->device->max_segment_bytes;

	while (at < end && n < f->room) {
		u32 page = (u32)(at / PAGE_SIZE), in_page = (u32)(at % PAGE_SIZE);
		u64 bytes = min((u64)neighbours(f->pages, page, pages) * PAGE_SIZE - in_page, end - at);

		f->segments[n++] = (struct block_segment){page_phys(f->pages[page]) + in_page, (u32)min(bytes, (u64)most)};
		at += f->segments[n - 1].bytes;
	}
	f->request.segment_count = n;
	return at - begin;
}

/* Where the segments of a request go: as many as it needs, or as there is memory for. */
static void segments_room(struct block_io_pages_frame *f)
{
	f->segments = f->own_segments;
	f->room = min((u32)ARRAY_SIZE(f->own_segments), f->device->max_segments);
	if (page_count(f) > ARRAY_SIZE(f->own_segments) && stretches(f) > ARRAY_SIZE(f->own_segments)) {
		u32 room = min(stretches(f), f->device->max_segments);
		struct block_segment *segments = kmalloc(sizeof(*segments) * room);

		if (segments) { /* else it is slower, but it goes on */
			f->segments = segments;
			f->room = room;
		}
	}
}

ASYNC_DEFINE(block_io_pages)
{
	ASYNC_BEGIN;
	segments_room(f);
	while (f->done < f->bytes && !f->error) {
		f->request = (struct block_request){
			.op = f->op,
			.sector = f->sector + f->done / BLOCK_SECTOR,
			.segments = f->segments,
			.task = self,
		};
		f->taken = gather(f);
		block_submit(f->device, &f->request);
		AWAIT(block_wait, .request = &f->request);
		f->error = RESULT;
		f->done += f->taken;
	}
	if (f->segments != f->own_segments)
		kfree(f->segments);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* Zeroes are written from one zero page where the device lacks the command. */
ASYNC_DEFINE(block_clear)
{
	u64 most;
	long error;

	ASYNC_BEGIN;
	if (f->op == BLOCK_DISCARD && !f->device->has_discard)
		ASYNC_RETURN(-EOPNOTSUPP);
	if (f->op == BLOCK_WRITE_ZEROES && !f->device->has_write_zeroes) {
		f->page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
		if (!f->page)
			ASYNC_RETURN(-ENOMEM);
		f->op = BLOCK_WRITE;
	}
	RESULT = 0;
	while (f->sectors) {
		most = f->op == BLOCK_WRITE	? PAGE_SIZE / BLOCK_SECTOR
		       : f->op == BLOCK_DISCARD ? f->device->max_discard_sectors
						: f->device->max_zeroes_sectors;
		f->n = min(f->sectors, max(most, (u64)1));
		if (f->page)
			f->segment = (struct block_segment){page_phys(f->page), (u32)f->n * BLOCK_SECTOR};
		AWAIT(block_io, .device = f->device, .op = f->op, .sector = f->sector, .sectors = f->n,
			.segments = &f->segment, .segment_count = f->page ? 1 : 0);
		if (RESULT < 0)
			break;
		f->sector += f->n;
		f->sectors -= f->n;
	}
	error = RESULT;
	if (f->page)
		page_put(f->page);
	ASYNC_RETURN(error);
	ASYNC_END;
}
