/* SPDX-License-Identifier: MIT */
/* Async stacks: pushing beyond a segment, popping the last frame of one, resuming from the innermost frame. */
#include <lichen/async.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>

#define SEGMENT_BYTES 1024 /* what an overflow segment takes from the allocator, at least */
#define RECLAIMS      4	   /* batches, before the reserve is used */

void async_stack_init(struct async_stack *stack, void *base, size_t bytes)
{
	char *start = (char *)align_up((uintptr_t)base, 16);

	stack->top = NULL;
	stack->sp = start;
	stack->limit = (char *)base + bytes - ASYNC_SLACK;
	stack->result = 0;
	stack->segment = NULL;
}

static bool (*reclaim)(void);

void async_set_reclaim(bool (*fn)(void))
{
	reclaim = fn;
}

enum async_poll async_wait_for_memory(struct task *self, struct async_frame *caller)
{
	struct memory_wait_frame *frame = async_push(ASYNC_STACK(self), &memory_wait_fn, sizeof(*frame));

	return ASYNC_STEP(memory_wait, frame, caller, .result = RESULT);
}

/* First what is free, then what can be made free, then the reserve: who waits for memory needs frames. */
static struct async_segment *segment_alloc(size_t bytes)
{
	struct async_segment *segment = kmalloc(bytes);

	for (u32 i = 0; unlikely(!segment) && i < RECLAIMS && reclaim && reclaim(); i++)
		segment = kmalloc(bytes);
	return likely(segment) ? segment : kmalloc_reserve(bytes);
}

void *async_push_slow(struct async_stack *stack, const struct async_fn *fn, size_t bytes)
{
	size_t size = max(sizeof(struct async_segment) + bytes + ASYNC_SLACK, (size_t)SEGMENT_BYTES);
	struct async_segment *segment;

	if (fn->shallow && stack->limit + ASYNC_SLACK - stack->sp >= (long)bytes) {
		void *p = stack->sp;

		stack->sp += bytes;
		return p;
	}
	segment = segment_alloc(size);
	if (!segment)
		return NULL;
	segment->below = stack->segment;
	segment->sp = stack->sp;
	segment->limit = stack->limit;
	segment->bytes = size - sizeof(*segment);
	stack->segment = segment;
	stack->sp = segment->room + bytes;
	stack->limit = segment->room + segment->bytes - ASYNC_SLACK;
	return segment->room;
}

void async_pop_slow(struct async_stack *stack, struct async_frame *frame)
{
	struct async_segment *segment = stack->segment;

	if (unlikely((void *)frame != segment->room))
		async_corrupt(frame);
	stack->sp = segment->sp;
	stack->limit = segment->limit;
	stack->segment = segment->below;
	kfree(segment);
}

void __noreturn async_corrupt(const struct async_frame *frame)
{
	panic("async frame %p of %s: no resume point %u", (const void *)frame,
		frame->fn ? frame->fn->name : "?", frame->resume);
}

enum async_poll async_resume(struct task *self)
{
	struct async_stack *stack = ASYNC_STACK(self);

	while (stack->top)
		if (stack->top->fn->step(self, stack->top) == PENDING)
			return PENDING;
	return READY;
}

struct async_frame *async_prepare(struct task *self, const struct async_fn *fn, const void *args, size_t args_size)
{
	struct async_stack *stack = ASYNC_STACK(self);
	struct async_frame *frame = async_push_fn(stack, fn);

	if (unlikely(!frame))
		return NULL;
	async_frame_make(stack, frame, NULL, fn);
	if (args_size)
		memcpy(frame + 1, args, args_size);
	return frame;
}

enum async_poll async_call(struct task *self, const struct async_fn *fn, const void *args, size_t args_size)
{
	struct async_frame *frame = async_prepare(self, fn, args, args_size);

	if (unlikely(!frame)) {
		ASYNC_STACK(self)->result = -12; /* ENOMEM */
		return READY;
	}
	return fn->step(self, frame);
}
