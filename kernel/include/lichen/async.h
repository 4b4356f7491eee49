/* SPDX-License-Identifier: MIT */
/*
 * Async functions: Rust's futures, in C.
 *
 * An async function is a frame (its arguments and the variables that outlive an await) plus a step function that returns
 * PENDING or READY. Frames lie on the task's async stack, a caller below its callee:
 *
 *     sys_read | vfs_read | pipe_read | wait_on        <- async.top: the innermost frame
 *
 * AWAIT pushes the callee's frame and steps it at once. READY: the caller goes on, a plain function call, with no
 * queue and no heap. PENDING: everybody returns up to the executor. A wake steps the *innermost* frame; when that is
 * READY its caller is stepped, and so on: resuming costs nothing for depth.
 *
 *     ASYNC(pipe_read, struct pipe *pipe; struct kiov *to; u32 ticket; ssize_t n;)
 *     {
 *             ASYNC_BEGIN;
 *             ...
 *             AWAIT(wait_on, .queue = &f->pipe->readable, .ticket = f->ticket);
 *             if (RESULT < 0)
 *                     ASYNC_RETURN(RESULT);
 *             ...
 *             ASYNC_END;
 *     }
 *
 * In the body `self` is the task and `f` the frame. Rules, and who enforces them:
 *   - no spinlock across an AWAIT: clang -Wthread-safety (AWAIT may return);
 *   - no local variable that lives across an AWAIT, put it into the frame: gcc -Wjump-misses-init and
 *     -Wmaybe-uninitialized (the body is a switch, a resumed function jumps to its case);
 *   - no AWAIT inside a `switch` of the body (its case would bind to the inner switch): stops at the first
 *     resumption in async_corrupt(); use if/else, or choose first and await after the switch;
 *   - one AWAIT a line (the line is the resume point, and what a backtrace shows).
 *
 * The result of an async function is one long: a value, or a negative errno. Frame fields that the AWAIT does not name start as
 * zero. If there is no memory for the callee's frame the caller waits for some (memory_wait), then evaluates the arguments
 * again; with AWAIT_TRY the await yields -ENOMEM instead, and the callee has not begun. Shallow functions, locks and
 * waits among them, never need memory.
 */
#ifndef LICHEN_ASYNC_H
#define LICHEN_ASYNC_H

#include <lichen/types.h>

struct task;

enum async_poll {
	PENDING,
	READY,
};

/* What is constant about an async function: one static object each, found by backtraces through the frame. */
struct async_fn {
	enum async_poll (*step)(struct task *self, void *frame);
	const char *name;
	const char *file;
	u32 frame_size; /* bytes, header included, a multiple of 16 */
	bool shallow;	/* never fails for want of memory: see ASYNC_DEFINE_SHALLOW */
};

struct async_frame {
	const struct async_fn *fn;
	struct async_frame *caller; /* NULL: the outermost */
	u32 resume;		    /* 0: not begun; else the line of the await it is suspended in */
	u32 flags;		    /* ASYNC_FRAME_* */
};
#define ASYNC_FRAME_SEGMENT 1u /* first in an overflow segment: popping it frees the segment */

/* The end of every segment that only shallow functions use. */
#define ASYNC_SLACK 288

/*
 * The async stack of a task: a first segment inside the task's own memory, and overflow segments from the
 * slab, which go as soon as they are empty.
 */
struct async_stack {
	struct async_frame *top;
	char *sp, *limit; /* free room of the current segment; ASYNC_SLACK bytes behind limit are its too */
	long result;	  /* of the await that finished last */
	struct async_segment *segment; /* NULL while in the first one */
};

/* Gives the task `bytes` of memory at `base` as its first segment. */
void async_stack_init(struct async_stack *stack, void *base, size_t bytes);
/* Room for a frame when the segment is full: NULL if there is no memory. Never blocks. */
void *async_push_slow(struct async_stack *stack, const struct async_fn *fn, size_t bytes);
/* Who frees memory at once, without waiting, and says whether there was any; called where no spinlock is held. */
void async_set_reclaim(bool (*reclaim)(void));
void async_pop_slow(struct async_stack *stack, struct async_frame *frame);
/* A frame resumed at a point it does not have: a bug of the kernel. */
void __noreturn async_corrupt(const struct async_frame *frame);
/*
 * Steps the innermost frame and unwinds: READY once no frame is left (the outermost's result is in
 * stack->result), PENDING if the task must wait.
 */
enum async_poll async_resume(struct task *self);
/* Pushes a frame without stepping it: for tasks that begin. NULL without memory. */
struct async_frame *async_prepare(struct task *self, const struct async_fn *fn, const void *args, size_t args_size);
/*
 * Calls a function through its descriptor, without a caller: the outermost. Without memory the result is -ENOMEM, and READY.
 */
enum async_poll async_call(struct task *self, const struct async_fn *fn, const void *args, size_t args_size);

/* Every struct task begins with its async stack; task.h asserts it. */
#define ASYNC_STACK(self) ((struct async_stack *)(self))

static __always_inline void *async_push(struct async_stack *stack, const struct async_fn *fn, size_t bytes)
{
	char *p = stack->sp;

	if (unlikely(stack->limit - p < (long)bytes))
		return async_push_slow(stack, fn, bytes);
	stack->sp = p + bytes;
	return p;
}

static __always_inline void async_pop(struct async_stack *stack, struct async_frame *frame)
{
	stack->top = frame->caller;
	if (unlikely(frame->flags & ASYNC_FRAME_SEGMENT))
		async_pop_slow(stack, frame);
	else
		stack->sp = (char *)frame;
}

/* In a header: makes an async function known. The fields named first are its arguments. */
#define ASYNC_DECLARE(afn, ...)                                                                   \
	struct afn##_frame {                                                                      \
		struct async_frame async;                                                          \
		__VA_ARGS__                                                                        \
	} __aligned(16);                                                                           \
	enum async_poll afn##_step(struct task *self, struct afn##_frame *f);                    \
	extern const struct async_fn afn##_fn

/* In a source file: the body of a declared one. */
#define ASYNC_DEFINE(afn)                                                                         \
	const struct async_fn afn##_fn = {                                                        \
		.step = (enum async_poll (*)(struct task *, void *))afn##_step,                   \
		.name = #afn,                                                                     \
		.file = __FILE__,                                                                  \
		.frame_size = sizeof(struct afn##_frame),                                         \
	};                                                                                         \
	enum async_poll afn##_step(struct task *self, struct afn##_frame *f)

/*
 * The same for one that must never fail for want of memory, because who calls it cannot go on without: locks, waits. Its
 * frame and all that it pushes (`below` bytes) fit into the slack that each segment keeps for such functions.
 */
#define ASYNC_DEFINE_SHALLOW(afn, below)                                                          \
	_Static_assert(sizeof(struct afn##_frame) + (below) <= ASYNC_SLACK, "not shallow: " #afn); \
	const struct async_fn afn##_fn = {                                                        \
		.step = (enum async_poll (*)(struct task *, void *))afn##_step,                   \
		.name = #afn,                                                                     \
		.file = __FILE__,                                                                  \
		.frame_size = sizeof(struct afn##_frame),                                         \
		.shallow = true,                                                                  \
	};                                                                                         \
	enum async_poll afn##_step(struct task *self, struct afn##_frame *f)

/* An async function of this file alone: declaration and body in one. */
#define ASYNC(afn, ...)                                                                           \
	ASYNC_STATIC(afn, __VA_ARGS__);                                                           \
	ASYNC_STATIC_DEFINE(afn)

/* The same in two parts, for mutual use or for a table of operations. */
#define ASYNC_STATIC(afn, ...)                                                                    \
	struct afn##_frame {                                                                      \
		struct async_frame async;                                                          \
		__VA_ARGS__                                                                        \
	} __aligned(16);                                                                           \
	static enum async_poll afn##_step(struct task *self, struct afn##_frame *f);             \
	static const struct async_fn afn##_fn __unused = {                                        \
		.step = (enum async_poll (*)(struct task *, void *))afn##_step,                   \
		.name = #afn,                                                                     \
		.file = __FILE__,                                                                  \
		.frame_size = sizeof(struct afn##_frame),                                         \
	}
#define ASYNC_STATIC_DEFINE(afn)                                                                  \
	static enum async_poll afn##_step(                                                        \
		struct task *self __unused, struct afn##_frame *f)

#define ASYNC_BEGIN                                                                                \
	switch (f->async.resume) {                                                                 \
	default:                                                                                   \
		async_corrupt(&f->async);                                                          \
	case 0:

/* Falling off the end returns 0. */
#define ASYNC_END                                                                                  \
	}                                                                                          \
	ASYNC_RETURN(0)

#define RESULT (ASYNC_STACK(self)->result)

#define ASYNC_RETURN(value)                                                                        \
	do {                                                                                       \
		RESULT = (long)(value);                                                            \
		async_pop(ASYNC_STACK(self), &f->async);                                           \
		return READY;                                                                      \
	} while (0)

/*
 * Calls async function `callee` with its frame fields as named arguments; its result is RESULT. Arguments are taken from the
 * frame, or from locals that are set before ASYNC_BEGIN: the compiler says so else (use AWAIT_TRY, or the frame).
 */
#define AWAIT(callee, ...)                                                                         \
	do {                                                                                       \
		struct callee##_frame *_callee;                                                    \
		while (unlikely(!(_callee = async_push(ASYNC_STACK(self), &callee##_fn,            \
					  sizeof(struct callee##_frame))))) {                      \
			ASYNC_WAIT_FOR_MEMORY:;                                                    \
		}                                                                                  \
		f->async.resume = __LINE__;                                                        \
		if (ASYNC_STEP(callee, _callee, &f->async, __VA_ARGS__) == PENDING)                \
			return PENDING;                                                            \
		fallthrough;                                                                       \
	case __LINE__:;                                                                            \
	} while (0)

/* The same, but -ENOMEM if it cannot begin. Any arguments. */
#define AWAIT_TRY(callee, ...)                                                                     \
	do {                                                                                       \
		struct callee##_frame *_callee;                                                    \
		f->async.resume = __LINE__;                                                        \
		_callee = async_push(ASYNC_STACK(self), &callee##_fn, sizeof(struct callee##_frame)); \
		if (unlikely(!_callee))                                                            \
			RESULT = -12; /* ENOMEM */                                                 \
		else if (ASYNC_STEP(callee, _callee, &f->async, __VA_ARGS__) == PENDING)           \
			return PENDING;                                                            \
		fallthrough;                                                                       \
	case __LINE__:;                                                                            \
	} while (0)

/* Makes a pushed frame of `callee`, and steps it at once. */
#define ASYNC_STEP(callee, pushed, caller_frame, ...)                                              \
	({                                                                                         \
		*(pushed) = (struct callee##_frame){                                               \
			.async = {.fn = &callee##_fn,                                              \
				.caller = (caller_frame),                                          \
				.flags = async_frame_flags(ASYNC_STACK(self), (pushed))},          \
			__VA_ARGS__};                                                              \
		ASYNC_STACK(self)->top = &(pushed)->async;                                         \
		callee##_step(self, (pushed));                                                     \
	})

/* In the line of an await: until there may be memory for its frame. */
#define ASYNC_RETRY (1u << 31) /* in `resume`, besides the line */
#define ASYNC_WAIT_FOR_MEMORY                                                                      \
	f->async.resume = __LINE__ | ASYNC_RETRY;                                                  \
	if (async_wait_for_memory(self, &f->async) == PENDING)                                     \
		return PENDING;                                                                    \
	fallthrough;                                                                               \
	case __LINE__ | ASYNC_RETRY

/* Steps memory_wait. */
enum async_poll async_wait_for_memory(struct task *self, struct async_frame *caller);

struct async_segment {
	struct async_segment *below;
	char *sp, *limit; /* of the segment below, when this one was begun */
	size_t bytes;	  /* of `room` */
	char room[] __aligned(16);
};

static __always_inline u32 async_frame_flags(struct async_stack *stack, void *frame)
{
	return stack->segment && unlikely(frame == stack->segment->room) ? ASYNC_FRAME_SEGMENT : 0;
}

static __always_inline void *async_push_fn(struct async_stack *stack, const struct async_fn *fn)
{
	return async_push(stack, fn, fn->frame_size);
}

/*
 * A pushed frame of a function that is known only as its descriptor: zeroes, behind the header. A loop of its own, because frames
 * are small, and a multiple of 16 bytes.
 */
static __always_inline void async_frame_make(
	struct async_stack *stack, struct async_frame *frame, struct async_frame *caller, const struct async_fn *fn)
{
	unsigned __int128 *p = (unsigned __int128 *)frame, *end = (unsigned __int128 *)((char *)frame + fn->frame_size);

	if (fn->frame_size & 16)
		*p++ = 0;
	while (p < end) {
		p[0] = 0;
		p[1] = 0;
		p += 2;
		__asm__ volatile("" : : : "memory"); /* not a call of memset */
	}
	frame->fn = fn;
	frame->caller = caller;
	frame->flags = async_frame_flags(stack, frame);
	stack->top = frame;
}

/*
 * A virtual call. An operation `op` fixes its arguments as a macro and a struct:
 *
 *     #define FILE_READ_ARGS struct file *file; struct kiov *to; loff_t pos;
 *     struct file_read_args { FILE_READ_ARGS };
 *
 * an implementation begins its frame with them, ASYNC(pipe_read, FILE_READ_ARGS u32 ticket;), and the caller writes
 *     AWAIT_OP(file->ops->read, file_read, .file = file, .to = to, .pos = pos);
 */
#define AWAIT_OP(function, op, ...)                                                                \
	do {                                                                                       \
		const struct async_fn *_fn;                                                        \
		struct async_frame *_callee;                                                       \
		while (unlikely(!(_callee = async_push_fn(ASYNC_STACK(self), _fn = (function))))) { \
			ASYNC_WAIT_FOR_MEMORY:;                                                    \
		}                                                                                  \
		f->async.resume = __LINE__;                                                        \
		async_frame_make(ASYNC_STACK(self), _callee, &f->async, _fn);                      \
		*(struct op##_args *)(_callee + 1) = (struct op##_args){__VA_ARGS__};              \
		if (_fn->step(self, _callee) == PENDING)                                           \
			return PENDING;                                                            \
		fallthrough;                                                                       \
	case __LINE__:;                                                                            \
	} while (0)

/*
 * Until there may be memory: what can be freed at once is, what can be written is, in the end a process is killed. Never fails;
 * shallow. The result of the await before stays. kernel/mm/reclaim.c.
 */
ASYNC_DECLARE(memory_wait, long result;);

#endif
