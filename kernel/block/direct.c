// SPDX-License-Identifier: MIT
/*
 * O_DIRECT: requests whose segments are the program's own pages. A page is moved into the pool at its first use (mm_pin_page)
 * and stays there, so that nothing is copied here. Up to two pages need no memory beside the frame.
 */
#include <lichen/block.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/uaccess.h>
#include <asm/errno.h>

#define DIRECT_PAGES 256u /* at most in a request */

/* Every address and every length a multiple of the logical block: then no page's part splits one. */
static bool direct_aligned(const struct block_device *device, const struct kiov *iov, size_t bytes)
{
	const struct iovec *segment = iov->segment;
	size_t offset = iov->offset, n;

	if (bytes % device->logical_block)
		return false;
	while (bytes) {
		n = min((size_t)segment->iov_len - offset, bytes);
		if (((uintptr_t)segment->iov_base + offset) % device->logical_block || n % device->logical_block)
			return false;
		bytes -= n;
		segment++;
		offset = 0;
	}
	return true;
}

static u64 direct_address(const struct kiov *iov)
{
	return (u64)(uintptr_t)iov->segment->iov_base + iov->offset;
}

/* Adds a pinned page's part to the request, and moves on. False: the request is full, the page was not taken. */
static bool direct_add(struct block_direct_frame *f, struct page *page)
{
	u64 address = direct_address(f->iov);
	phys_addr_t phys = page_phys(page) + (address & (PAGE_SIZE - 1));
	u32 n = (u32)min(PAGE_SIZE - (address & (PAGE_SIZE - 1)), min(f->iov->segment->iov_len - f->iov->offset, f->bytes - f->done - f->taken));
	struct block_segment *last = f->segments + f->request.segment_count - 1;

	if (f->request.segment_count && last->address + last->bytes == phys && last->bytes + n <= f->device->max_segment_bytes) {
		last->bytes += n;
	} else {
		if (f->request.segment_count == f->room)
			return false;
		f->segments[f->request.segment_count++] = (struct block_segment){phys, n};
	}
	f->pages[f->pinned++] = page;
	f->taken += n;
	kiov_skip(f->iov, n);
	return true;
}

/* The next page, without waiting: mm_pin_page_fast's results. The kernel's own buffers must lie in the pool. */
static long direct_pin(struct block_direct_frame *f, struct task *self)
{
	if (unlikely(f->iov->kernel)) {
		f->page = address_page((void *)(uintptr_t)direct_address(f->iov));
		if (!f->page || !page_test(f->page, PAGE_POOL))
			return -EINVAL;
		return 0; /* the caller's, who waits: no reference is needed */
	}
	return mm_pin_page_fast(thread_of(self)->mm, direct_address(f->iov), f->op == BLOCK_READ, true, &f->page);
}

static void direct_unpin(struct block_direct_frame *f)
{
	for (u32 i = 0; i < f->pinned && !f->iov->kernel; i++)
		page_put(f->pages[i]);
	f->pinned = 0;
}

ASYNC_DEFINE(block_direct)
{
	long error;

	ASYNC_BEGIN;
	if (unlikely(!direct_aligned(f->device, f->iov, f->bytes)))
		ASYNC_RETURN(-EINVAL);
	f->segments = f->own_segments;
	f->pages = f->own_pages;
	f->room = ARRAY_SIZE(f->own_segments);
	if (f->bytes > PAGE_SIZE) {
		u32 want = (u32)min(f->bytes / PAGE_SIZE + 2, (size_t)DIRECT_PAGES);
		char *memory = kmalloc(want * (sizeof(struct block_segment) + sizeof(struct page *)));

		if (memory) {
			f->segments = (struct block_segment *)memory;
			f->pages = (struct page **)(memory + want * sizeof(struct block_segment));
			f->room = want;
		}
	}
	f->room = min(f->room, f->device->max_segments);
	while (f->done < f->bytes) {
		f->request = (struct block_request){
			.op = f->op,
			.sector = f->sector + f->done / BLOCK_SECTOR,
			.segments = f->segments,
			.task = self,
			.hipri = f->hipri,
		};
		f->taken = 0;
		while (f->taken < f->bytes - f->done && f->pinned < f->room) {
			error = direct_pin(f, self);
			if (unlikely(error)) {
				if (error == -EAGAIN) {
					AWAIT(mm_pin_page, .mm = thread_of(self)->mm, .address = direct_address(f->iov),
						.write = f->op == BLOCK_READ, .device = true, .page = &f->page);
					error = RESULT;
				}
				if (error) {
					f->error = error;
					break;
				}
			}
			if (!direct_add(f, f->page)) {
				if (!f->iov->kernel)
					page_put(f->page);
				break;
			}
		}
		if (!f->taken)
			break;
		block_submit(f->device, &f->request);
		if (!block_poll(&f->request, self))
			AWAIT(block_wait, .request = &f->request);
		else
			RESULT = f->request.status;
		direct_unpin(f);
		if (RESULT < 0) {
			f->error = RESULT;
			break;
		}
		f->done += f->taken;
		if (f->error)
			break;
	}
	if (f->segments != f->own_segments)
		kfree(f->segments);
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}
