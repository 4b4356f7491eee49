// SPDX-License-Identifier: MIT
/*
 * poll(2) and select(2): one wait on many files.
 *
 * While it waits, a waiter hangs in each queue that the files named, and a private wait queue in the frame gathers their
 * wakes. Files are referenced until their waiters are out again.
 */
#include <lichen/poll.h>
#include <lichen/timer.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <linux/time_types.h>
#include <linux/posix_types.h>

u32 file_poll(struct file *file, struct poll_table *table)
{
	if (!file->ops->poll)
		return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
	return file->ops->poll(file, table);
}

void poll_register(struct poll_table *table, struct wait_queue *queue)
{
	if (table && table->add)
		table->add(table, queue);
}

/* One descriptor that is waited for. */
struct poll_item {
	int fd;
	u32 events, revents;
	struct file *file; /* referenced while registered */
};

struct poll_hook {
	struct waiter waiter;
	struct wait_queue *event;
	struct poll_hook *next;
};

#define POLL_INLINE 3

/* All that a poll hangs up; lives in the frame of poll_wait. */
struct poll_set {
	struct poll_table table;
	struct wait_queue event;
	struct poll_hook *hooks; /* beyond the inline ones: kmalloc */
	struct poll_hook inline_hooks[POLL_INLINE];
	u32 used;
};

static void poll_hook_wake(struct waiter *waiter, u64 key __unused)
{
	wait_wake_all(container_of(waiter, struct poll_hook, waiter)->event);
}

static void poll_set_add(struct poll_table *table, struct wait_queue *queue)
{
	struct poll_set *set = container_of(table, struct poll_set, table);
	struct poll_hook *hook;

	if (set->used < POLL_INLINE) {
		hook = &set->inline_hooks[set->used++];
	} else {
		hook = kmalloc(sizeof(*hook));
		if (!hook) {
			table->error = -ENOMEM;
			return;
		}
		hook->next = set->hooks;
		set->hooks = hook;
	}
	hook->event = &set->event;
	hook->waiter = (struct waiter){.wake = poll_hook_wake};
	list_init(&hook->waiter.node);
	wait_insert(queue, &hook->waiter);
}

static void poll_set_clear(struct poll_set *set)
{
	while (set->used)
		wait_remove(&set->inline_hooks[--set->used].waiter);
	while (set->hooks) {
		struct poll_hook *hook = set->hooks;

		set->hooks = hook->next;
		wait_remove(&hook->waiter);
		kfree(hook);
	}
}

/* Asks each; the number that are ready. The first round registers, until one is ready. */
static u32 poll_scan(struct poll_item *items, u32 count, struct poll_set *set, bool first)
{
	u32 ready = 0;

	for (u32 i = 0; i < count; i++) {
		struct poll_item *item = &items[i];

		item->revents = 0;
		if (item->fd < 0)
			continue;
		if (!item->file && first)
			item->file = fd_get(item->fd);
		if (item->file)
			item->revents = file_poll(item->file, first && !ready ? &set->table : NULL) &
					(item->events | EPOLLERR | EPOLLHUP);
		else
			item->revents = EPOLLNVAL;
		ready += item->revents != 0;
	}
	return ready;
}

/*
 * Waits until an item is ready or the deadline passes (0: never). The number of ready items, 0 at the deadline,
 * -ERESTARTNOHAND, -ENOMEM.
 */
ASYNC(poll_wait, struct poll_item *items; u32 count; nsec_t deadline; struct poll_set set; u32 ticket; u32 i; bool first; long result;)
{
	ASYNC_BEGIN;
	wait_queue_init(&f->set.event);
	f->set.table.add = poll_set_add;
	f->first = true;
	for (;;) {
		f->ticket = wait_ticket(&f->set.event);
		f->result = poll_scan(f->items, f->count, &f->set, f->first);
		f->first = false;
		if (f->result || f->deadline == 1)
			break;
		f->result = f->set.table.error;
		if (f->result)
			break;
		AWAIT(wait_on, .queue = &f->set.event, .ticket = f->ticket, .deadline = f->deadline);
		if (RESULT == -EINTR)
			f->result = -ERESTARTNOHAND;
		else if (RESULT == -ETIMEDOUT)
			f->deadline = 1; /* one last look */
		if (f->result)
			break;
	}
	poll_set_clear(&f->set);
	for (f->i = 0; f->i < f->count; f->i++) {
		if (f->items[f->i].file)
			AWAIT(file_put, .file = f->items[f->i].file);
	}
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

long poll_deadline(s64 sec, s64 nsec, nsec_t *deadline)
{
	nsec_t now = time_monotonic();

	if (sec < 0 || nsec < 0 || nsec >= (s64)NSEC_PER_SEC)
		return -EINVAL;
	if (!sec && !nsec)
		*deadline = 1;
	else if ((u64)sec > (~0ull - now) / NSEC_PER_SEC - 1)
		*deadline = 0; /* beyond the end of time */
	else
		*deadline = now + (u64)sec * NSEC_PER_SEC + (u64)nsec;
	return 0;
}

/* What is left of a timeout, as ppoll and pselect6 write it back. */
static struct __kernel_timespec poll_remaining(nsec_t deadline)
{
	nsec_t now = time_monotonic(), left = deadline > now ? deadline - now : 0;

	return (struct __kernel_timespec){(s64)(left / NSEC_PER_SEC), (s64)(left % NSEC_PER_SEC)};
}

struct pollfd_ {
	int fd;
	s16 events, revents;
};

#define PPOLL_INLINE 4

SYSCALL_ASYNC(ppoll, 5, SYS_ARG(struct pollfd_ __user *, fds) SYS_ARG(u32, count)
	SYS_ARG(struct __kernel_timespec __user *, timeout) SYS_ARG(const u64 __user *, sigmask)
	SYS_ARG(size_t, sigsetsize) struct __kernel_timespec time; nsec_t deadline; u64 mask;
	struct pollfd_ *user; struct poll_item *items; long result;
	struct pollfd_ inline_user[PPOLL_INLINE]; struct poll_item inline_items[PPOLL_INLINE];)
{
	ASYNC_BEGIN;
	if (f->timeout) {
		AWAIT(copy_in, .to = &f->time, .from = f->timeout, .n = sizeof(f->time));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->result = poll_deadline(f->time.tv_sec, f->time.tv_nsec, &f->deadline);
		if (f->result)
			ASYNC_RETURN(f->result);
	}
	if (f->sigmask) {
		if (f->sigsetsize != sizeof(u64))
			ASYNC_RETURN(-EINVAL);
		AWAIT(copy_in, .to = &f->mask, .from = f->sigmask, .n = sizeof(f->mask));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->count > limit_get(RLIMIT_NOFILE))
		ASYNC_RETURN(-EINVAL);
	if (f->count <= PPOLL_INLINE) {
		f->user = f->inline_user;
		f->items = f->inline_items;
	} else {
		f->user = kmalloc(f->count * sizeof(f->user[0]));
		f->items = kmalloc(f->count * sizeof(f->items[0]));
	}
	f->result = f->user && f->items ? 0 : -ENOMEM;
	if (!f->result) {
		AWAIT(copy_in, .to = f->user, .from = f->fds, .n = f->count * sizeof(f->user[0]));
		f->result = RESULT;
	}
	if (!f->result) {
		for (u32 i = 0; i < f->count; i++)
			f->items[i] = (struct poll_item){
				.fd = f->user[i].fd, .events = (u16)f->user[i].events};
		if (f->sigmask)
			signal_mask_temporary(thread_of(self), f->mask);
		AWAIT(poll_wait, .items = f->items, .count = f->count, .deadline = f->deadline);
		f->result = RESULT;
		if (f->sigmask)
			signal_mask_end(thread_of(self), f->result == -ERESTARTNOHAND);
	}
	if (f->result >= 0) {
		for (u32 i = 0; i < f->count; i++)
			f->user[i].revents = (s16)f->items[i].revents;
		AWAIT(copy_out, .to = f->fds, .from = f->user, .n = f->count * sizeof(f->user[0]));
		if (RESULT < 0)
			f->result = RESULT;
	}
	if (f->user != f->inline_user) {
		kfree(f->user);
		kfree(f->items);
	}
	if (f->timeout && f->deadline > 1) {
		f->time = poll_remaining(f->deadline);
		AWAIT(copy_out, .to = f->timeout, .from = &f->time, .n = sizeof(f->time));
		/* A timeout in read-only memory is no error (Linux). */
	}
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

#define SELECT_IN  (EPOLLRDNORM | EPOLLRDBAND | EPOLLIN | EPOLLHUP | EPOLLERR)
#define SELECT_OUT (EPOLLWRBAND | EPOLLWRNORM | EPOLLOUT | EPOLLERR)
#define SELECT_EX  EPOLLPRI

/* The three bit sets of a select, in and then out: words of 64 descriptors. */
struct select_sets {
	u64 *in[3];  /* what is asked; NULL: not given */
	u64 *out[3]; /* what is ready */
	u32 words;
};

static u32 select_collect(const struct select_sets *sets, u32 n, struct poll_item *items)
{
	static const u32 wants[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};
	u32 count = 0;

	for (u32 fd = 0; fd < n; fd++) {
		u32 events = 0;

		for (int k = 0; k < 3; k++) {
			if (sets->in[k] && (sets->in[k][fd / 64] & BIT(fd % 64)))
				events |= wants[k];
		}
		if (!events)
			continue;
		if (items)
			items[count] = (struct poll_item){.fd = (int)fd, .events = events};
		count++;
	}
	return count;
}

/* Bits set in all, or -EBADF. */
static long select_report(struct select_sets *sets, const struct poll_item *items, u32 count)
{
	static const u32 wants[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};
	long bits = 0;

	for (u32 i = 0; i < count; i++) {
		u32 fd = (u32)items[i].fd;

		if (items[i].revents & EPOLLNVAL)
			return -EBADF;
		for (int k = 0; k < 3; k++) {
			if (!sets->in[k] || !(sets->in[k][fd / 64] & BIT(fd % 64)) ||
				!(items[i].revents & wants[k]))
				continue;
			sets->out[k][fd / 64] |= BIT(fd % 64);
			bits++;
		}
	}
	return bits;
}

SYSCALL_ASYNC(pselect6, 6, SYS_ARG(int, n) SYS_ARG(u64 __user *, readable) SYS_ARG(u64 __user *, writable)
	SYS_ARG(u64 __user *, exceptional) SYS_ARG(struct __kernel_timespec __user *, timeout)
	SYS_ARG(const void __user *, sigmask) struct __kernel_timespec time; nsec_t deadline;
	struct { const u64 __user *mask; u64 bytes; } sig; u64 mask; u64 __user *user[3]; u64 *memory;
	struct select_sets sets; struct poll_item *items; u32 count; int k; long result;)
{
	ASYNC_BEGIN;
	if (f->timeout) {
		AWAIT(copy_in, .to = &f->time, .from = f->timeout, .n = sizeof(f->time));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->result = poll_deadline(f->time.tv_sec, f->time.tv_nsec, &f->deadline);
		if (f->result)
			ASYNC_RETURN(f->result);
	}
	if (f->sigmask) {
		AWAIT(copy_in, .to = &f->sig, .from = f->sigmask, .n = sizeof(f->sig));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->sig.mask) {
		if (f->sig.bytes != sizeof(u64))
			ASYNC_RETURN(-EINVAL);
		AWAIT(copy_in, .to = &f->mask, .from = f->sig.mask, .n = sizeof(f->mask));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->n < 0)
		ASYNC_RETURN(-EINVAL);
	f->n = (int)min_t(u64, (u64)f->n, limit_get(RLIMIT_NOFILE));
	f->user[0] = f->readable;
	f->user[1] = f->writable;
	f->user[2] = f->exceptional;
	f->sets.words = div_round_up((u32)f->n, 64u);
	f->memory = kzalloc(6 * 8 * (f->sets.words + 1));
	if (!f->memory)
		ASYNC_RETURN(-ENOMEM);
	f->result = 0;
	for (f->k = 0; f->k < 3; f->k++) {
		f->sets.out[f->k] = f->memory + (3 + f->k) * f->sets.words;
		if (!f->user[f->k])
			continue;
		f->sets.in[f->k] = f->memory + f->k * f->sets.words;
		AWAIT(copy_in, .to = f->sets.in[f->k], .from = f->user[f->k], .n = f->sets.words * 8ul);
		if (RESULT < 0)
			f->result = RESULT;
	}
	f->count = select_collect(&f->sets, (u32)f->n, NULL);
	f->items = kmalloc((f->count + 1) * sizeof(f->items[0]));
	if (!f->items)
		f->result = -ENOMEM;
	if (!f->result) {
		select_collect(&f->sets, (u32)f->n, f->items);
		if (f->sig.mask)
			signal_mask_temporary(thread_of(self), f->mask);
		AWAIT(poll_wait, .items = f->items, .count = f->count, .deadline = f->deadline);
		f->result = RESULT;
		if (f->sig.mask)
			signal_mask_end(thread_of(self), f->result == -ERESTARTNOHAND);
	}
	if (f->result >= 0)
		f->result = select_report(&f->sets, f->items, f->count);
	for (f->k = 0; f->k < 3 && f->result >= 0; f->k++) {
		if (!f->user[f->k])
			continue;
		AWAIT(copy_out, .to = f->user[f->k], .from = f->sets.out[f->k], .n = f->sets.words * 8ul);
		if (RESULT < 0)
			f->result = RESULT;
	}
	kfree(f->items);
	kfree(f->memory);
	if (f->timeout && f->deadline > 1) {
		f->time = poll_remaining(f->deadline);
		AWAIT(copy_out, .to = f->timeout, .from = &f->time, .n = sizeof(f->time));
	}
	ASYNC_RETURN(f->result);
	ASYNC_END;
}
