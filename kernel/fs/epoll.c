// SPDX-License-Identifier: MIT
/*
 * epoll: a set of interests in files, and the list of those that may be ready.
 *
 *     file's wait queue --hook--> item --(ready list)--> epoll_wait asks the file again and reports
 *
 * An item does not keep its file open: when the file's last reference goes, epoll_file_released() takes the item out. So
 * all links between files and items are guarded by one spinlock (epoll_links); the ready list of an instance, which
 * interrupts append to, by its own.
 */
#include <lichen/poll.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/syscall.h>
#include <lichen/timer.h>
#include <linux/eventpoll.h>
#include <linux/time_types.h>

#define EPOLL_CONTROL (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)
#define EPOLL_DEPTH   5 /* of epolls in epolls, as Linux */
#define EPOLL_BATCH   16

struct epoll_item;

struct epoll_hook {
	struct waiter waiter;
	struct epoll_item *item;
	struct epoll_hook *next;
};

struct epoll_item {
	struct rb_node node;	/* in epoll->items; epoll_links */
	struct list file_node;	/* in file->epoll; epoll_links */
	struct list ready_node; /* in epoll->ready or a scan; epoll->lock */
	struct epoll *epoll;
	struct file *file; /* not counted */
	int fd;
	u32 events; /* 0 beside control bits: disabled by ONESHOT */
	u64 data;
	struct epoll_hook *hooks;
	u32 users; /* scans that look at it just now; epoll_links */
	bool removed;
};

struct epoll {
	spinlock_t lock; /* guards ready; interrupts masked */
	struct list ready;
	struct wait_queue queue;   /* epoll_wait */
	struct wait_queue watched; /* those who poll this epoll */
	struct rb_tree items;	   /* by (file, fd) */
};

static spinlock_t epoll_links = SPINLOCK_INIT;

static const struct file_ops epoll_ops;

/* Under the file's queue lock, in any context. */
static void epoll_hook_wake(struct waiter *waiter, u64 key)
{
	struct epoll_item *item = container_of(waiter, struct epoll_hook, waiter)->item;
	struct epoll *epoll = item->epoll;
	unsigned long flags;

	if (key && !(key & (item->events | EPOLLERR | EPOLLHUP)))
		return;
	if (!(item->events & ~EPOLL_CONTROL))
		return;
	flags = spin_lock_irqsave(&epoll->lock);
	if (list_empty(&item->ready_node))
		list_add_tail(&epoll->ready, &item->ready_node);
	spin_unlock_irqrestore(&epoll->lock, flags);
	wait_wake(&epoll->queue, 1);
	wait_wake_poll(&epoll->watched, EPOLLIN | EPOLLRDNORM);
}

struct epoll_table {
	struct poll_table table;
	struct epoll_item *item;
};

static void epoll_add_hook(struct poll_table *table, struct wait_queue *queue)
{
	struct epoll_item *item = container_of(table, struct epoll_table, table)->item;
	struct epoll_hook *hook = kzalloc(sizeof(*hook));

	if (!hook) {
		table->error = -ENOMEM;
		return;
	}
	hook->item = item;
	hook->waiter.wake = epoll_hook_wake;
	list_init(&hook->waiter.node);
	hook->next = item->hooks;
	item->hooks = hook;
	wait_insert(queue, &hook->waiter);
}

static int epoll_compare(const struct epoll_item *item, const struct file *file, int fd)
{
	if (item->file != file)
		return (u64)item->file < (u64)file ? -1 : 1;
	return item->fd < fd ? -1 : item->fd > fd;
}

static struct epoll_item *epoll_find(struct epoll *epoll, struct file *file, int fd) REQUIRES(epoll_links)
{
	struct rb_node *node = epoll->items.root;

	while (node) {
		struct epoll_item *item = rb_entry(node, struct epoll_item, node);
		int order = epoll_compare(item, file, fd);

		if (!order)
			return item;
		node = order < 0 ? node->right : node->left;
	}
	return NULL;
}

static void epoll_link(struct epoll *epoll, struct epoll_item *item) REQUIRES(epoll_links)
{
	struct rb_node **link = &epoll->items.root, *parent = NULL;

	while (*link) {
		parent = *link;
		if (epoll_compare(rb_entry(parent, struct epoll_item, node), item->file, item->fd) < 0)
			link = &parent->right;
		else
			link = &parent->left;
	}
	rb_insert(&epoll->items, &item->node, parent, link);
	list_add_tail(&item->file->epoll, &item->file_node);
}

static void epoll_item_unready(struct epoll_item *item)
{
	unsigned long flags = spin_lock_irqsave(&item->epoll->lock);

	list_remove(&item->ready_node);
	spin_unlock_irqrestore(&item->epoll->lock, flags);
}

/* Takes an item out of everything; frees it unless a scan still looks at it, which then does. */
static void epoll_remove(struct epoll_item *item) REQUIRES(epoll_links)
{
	for (struct epoll_hook *hook = item->hooks, *next; hook; hook = next) {
		next = hook->next;
		wait_remove(&hook->waiter);
		kfree(hook);
	}
	item->hooks = NULL;
	epoll_item_unready(item);
	rb_erase(&item->epoll->items, &item->node);
	list_remove(&item->file_node);
	item->removed = true;
	if (!item->users)
		kfree(item);
}

void epoll_file_released(struct file *file)
{
	if (list_empty(&file->epoll))
		return;
	spin_lock(&epoll_links);
	while (!list_empty(&file->epoll))
		epoll_remove(list_first(&file->epoll, struct epoll_item, file_node));
	spin_unlock(&epoll_links);
}

ASYNC(epoll_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	struct epoll *epoll = f->file->private;
	struct rb_node *node;

	spin_lock(&epoll_links);
	while ((node = rb_first(&epoll->items)))
		epoll_remove(rb_entry(node, struct epoll_item, node));
	spin_unlock(&epoll_links);
	kfree(epoll);
	ASYNC_END;
}

/* What an item's file says now, masked by the interest. The file is held open meanwhile: *held, to be put by the caller. */
static u32 epoll_item_mask(struct epoll_item *item, struct file **held)
{
	struct file *file = NULL;

	spin_lock(&epoll_links);
	if (!item->removed && file_get_live(item->file))
		file = item->file;
	spin_unlock(&epoll_links);
	*held = file;
	return file ? file_poll(file, NULL) & (item->events | EPOLLERR | EPOLLHUP) : 0;
}

static u32 epoll_poll(struct file *file, struct poll_table *table)
{
	struct epoll *epoll = file->private;

	poll_register(table, &epoll->watched);
	/* An item on the list may have become unready since; epoll_wait then finds nothing, which poll allows. */
	return list_empty(&epoll->ready) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static const struct file_ops epoll_ops = {
	.poll = epoll_poll,
	.release = &epoll_release_fn,
};

SYSCALL_ASYNC(epoll_create1, 1, SYS_ARG(u32, flags) struct epoll *epoll; struct file *file; int fd;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)EPOLL_CLOEXEC)
		ASYNC_RETURN(-EINVAL);
	f->epoll = kzalloc(sizeof(*f->epoll));
	if (!f->epoll)
		ASYNC_RETURN(-ENOMEM);
	spin_init(&f->epoll->lock);
	list_init(&f->epoll->ready);
	wait_queue_init(&f->epoll->queue);
	wait_queue_init(&f->epoll->watched);
	f->file = file_anonymous("[eventpoll]", &epoll_ops, f->epoll, O_RDWR);
	if (!f->file) {
		kfree(f->epoll);
		ASYNC_RETURN(-ENOMEM);
	}
	f->fd = fd_install(f->file, f->flags & EPOLL_CLOEXEC);
	if (f->fd < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}

/* Would watching `file` from `epoll` close a loop, or nest too deep? Depth of `file` as an epoll, or -ELOOP. */
static long epoll_depth(struct file *file, struct epoll *epoll, int depth) REQUIRES(epoll_links)
{
	struct epoll *inner = file->private;
	long deepest = 0;

	if (file->ops != &epoll_ops)
		return 0;
	if (inner == epoll || depth > EPOLL_DEPTH)
		return -ELOOP;
	for (struct rb_node *node = rb_first(&inner->items); node; node = rb_next(node)) {
		long below =
			epoll_depth(rb_entry(node, struct epoll_item, node)->file, epoll, depth + 1);

		if (below < 0)
			return below;
		deepest = max(deepest, below);
	}
	return deepest + 1;
}

/* The item says whether it is ready already: then it joins the list. */
static void epoll_check_ready(struct epoll_item *item, u32 mask)
{
	if (mask & (item->events | EPOLLERR | EPOLLHUP) && item->events & ~EPOLL_CONTROL) {
		unsigned long flags = spin_lock_irqsave(&item->epoll->lock);

		if (list_empty(&item->ready_node))
			list_add_tail(&item->epoll->ready, &item->ready_node);
		spin_unlock_irqrestore(&item->epoll->lock, flags);
		wait_wake(&item->epoll->queue, 1);
		wait_wake_poll(&item->epoll->watched, EPOLLIN | EPOLLRDNORM);
	}
}

static long epoll_add(struct epoll *epoll, struct file *file, int fd, const struct epoll_event *event)
{
	struct epoll_item *item = kzalloc(sizeof(*item));
	struct epoll_table table = {.table.add = epoll_add_hook, .item = item};
	long error = 0;
	u32 mask;

	if (!item)
		return -ENOMEM;
	item->epoll = epoll;
	item->file = file;
	item->fd = fd;
	item->events = event->events | EPOLLERR | EPOLLHUP;
	item->data = event->data;
	list_init(&item->ready_node);
	list_init(&item->file_node);
	spin_lock(&epoll_links);
	if (epoll_find(epoll, file, fd))
		error = -EEXIST;
	else if (epoll_depth(file, epoll, 1) < 0)
		error = -ELOOP;
	else
		epoll_link(epoll, item);
	if (error) {
		spin_unlock(&epoll_links);
		kfree(item);
		return error;
	}
	/* Registering only hangs waiters in; it never waits, so it may happen under the lock. */
	mask = file_poll(file, &table.table);
	if (table.table.error) {
		epoll_remove(item);
		spin_unlock(&epoll_links);
		return table.table.error;
	}
	epoll_check_ready(item, mask);
	spin_unlock(&epoll_links);
	return 0;
}

static long epoll_change(struct epoll *epoll, struct file *file, int fd, const struct epoll_event *event)
{
	struct epoll_item *item;

	spin_lock(&epoll_links);
	item = epoll_find(epoll, file, fd);
	if (item) {
		item->events = event->events | EPOLLERR | EPOLLHUP;
		item->data = event->data;
		epoll_check_ready(item, file_poll(file, NULL));
	}
	spin_unlock(&epoll_links);
	return item ? 0 : -ENOENT;
}

static long epoll_delete(struct epoll *epoll, struct file *file, int fd)
{
	struct epoll_item *item;

	spin_lock(&epoll_links);
	item = epoll_find(epoll, file, fd);
	if (item)
		epoll_remove(item);
	spin_unlock(&epoll_links);
	return item ? 0 : -ENOENT;
}

SYSCALL_ASYNC(epoll_ctl, 4, SYS_ARG(int, epfd) SYS_ARG(int, op) SYS_ARG(int, fd)
	SYS_ARG(struct epoll_event __user *, event) struct epoll_event kevent; struct file *file; struct file *target; long result;)
{
	ASYNC_BEGIN;
	if (f->op != EPOLL_CTL_DEL) {
		AWAIT(copy_in, .to = &f->kevent, .from = f->event, .n = sizeof(f->kevent));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	f->file = fd_get(f->epfd);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	f->target = fd_get(f->fd);
	if (!f->target)
		f->result = -EBADF;
	else if (!f->target->ops->poll)
		f->result = -EPERM; /* always ready: regular files and directories (Linux) */
	else if (f->target == f->file || f->file->ops != &epoll_ops)
		f->result = -EINVAL;
	else if (f->op == EPOLL_CTL_ADD)
		f->result = epoll_add(f->file->private, f->target, f->fd, &f->kevent);
	else if (f->op == EPOLL_CTL_MOD)
		f->result = f->kevent.events & EPOLLEXCLUSIVE ?
				    -EINVAL :
				    epoll_change(f->file->private, f->target, f->fd, &f->kevent);
	else if (f->op == EPOLL_CTL_DEL)
		f->result = epoll_delete(f->file->private, f->target, f->fd);
	else
		f->result = -EINVAL;
	if (f->target)
		AWAIT(file_put, .file = f->target);
	AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* Takes the next item off a scan list, marked as looked at; NULL at its end. */
static struct epoll_item *epoll_scan_next(struct epoll *epoll, struct list *scan)
{
	struct epoll_item *item = NULL;
	unsigned long flags;

	spin_lock(&epoll_links);
	flags = spin_lock_irqsave(&epoll->lock);
	if (!list_empty(scan)) {
		item = list_first(scan, struct epoll_item, ready_node);
		list_remove(&item->ready_node);
		item->users++;
	}
	spin_unlock_irqrestore(&epoll->lock, flags);
	spin_unlock(&epoll_links);
	return item;
}

/* After the look: level-triggered items stay on the list, one-shot ones are disabled. */
static void epoll_scan_done(struct epoll *epoll, struct epoll_item *item, u32 mask)
{
	bool gone;

	spin_lock(&epoll_links);
	gone = item->removed && !--item->users;
	if (!item->removed) {
		item->users--;
		if (mask && item->events & EPOLLONESHOT) {
			item->events &= EPOLL_CONTROL;
		} else if (mask && !(item->events & EPOLLET)) {
			unsigned long flags = spin_lock_irqsave(&epoll->lock);

			if (list_empty(&item->ready_node))
				list_add_tail(&epoll->ready, &item->ready_node);
			spin_unlock_irqrestore(&epoll->lock, flags);
		}
	}
	spin_unlock(&epoll_links);
	if (gone)
		kfree(item);
}

static void epoll_splice(struct epoll *epoll, struct list *to, struct list *from)
{
	unsigned long flags = spin_lock_irqsave(&epoll->lock);

	list_splice_tail(to, from);
	spin_unlock_irqrestore(&epoll->lock, flags);
}

/* Puts what a scan did not reach back, in front of what came meanwhile. */
static void epoll_unscan(struct epoll *epoll, struct list *scan)
{
	unsigned long flags = spin_lock_irqsave(&epoll->lock);

	list_splice_tail(scan, &epoll->ready);
	list_splice_tail(&epoll->ready, scan);
	spin_unlock_irqrestore(&epoll->lock, flags);
}

/* Reports what is ready to the user, up to `max` events: their number, or -EFAULT. */
ASYNC(epoll_collect, struct epoll *epoll; struct epoll_event __user *to; int max; int done; struct list scan;
	struct epoll_item *item; struct file *held; u32 mask; struct epoll_event event; long error;)
{
	ASYNC_BEGIN;
	list_init(&f->scan);
	epoll_splice(f->epoll, &f->scan, &f->epoll->ready);
	while (f->done < f->max && !f->error) {
		f->item = epoll_scan_next(f->epoll, &f->scan);
		if (!f->item)
			break;
		f->mask = epoll_item_mask(f->item, &f->held);
		if (f->mask) {
			f->event = (struct epoll_event){.events = f->mask, .data = f->item->data};
			AWAIT(copy_out, .to = f->to + f->done, .from = &f->event, .n = sizeof(f->event));
			f->error = RESULT;
			f->done += !f->error;
		}
		epoll_scan_done(f->epoll, f->item, f->mask);
		if (f->held)
			AWAIT(file_put, .file = f->held);
	}
	epoll_unscan(f->epoll, &f->scan);
	ASYNC_RETURN(f->done ? f->done : f->error);
	ASYNC_END;
}

ASYNC(epoll_wait, int epfd; struct epoll_event __user *events; int max; nsec_t deadline; struct file *file; struct epoll *epoll;
	u32 ticket; long result;)
{
	ASYNC_BEGIN;
	if (f->max <= 0 || f->max > INT32_MAX / (int)sizeof(struct epoll_event))
		ASYNC_RETURN(-EINVAL);
	if (!user_range_ok(f->events, f->max * sizeof(struct epoll_event)))
		ASYNC_RETURN(-EFAULT);
	f->file = fd_get(f->epfd);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	f->result = f->file->ops == &epoll_ops ? 0 : -EINVAL;
	f->epoll = f->file->private;
	while (!f->result) {
		f->ticket = wait_ticket(&f->epoll->queue);
		AWAIT(epoll_collect, .epoll = f->epoll, .to = f->events, .max = f->max);
		f->result = RESULT;
		if (f->result || f->deadline == 1)
			break;
		AWAIT(wait_on, .queue = &f->epoll->queue, .ticket = f->ticket, .deadline = f->deadline);
		if (RESULT == -EINTR)
			f->result = -EINTR;
		else if (RESULT == -ETIMEDOUT)
			f->deadline = 1;
	}
	AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* The shared part of epoll_pwait and epoll_pwait2: the signal mask around the wait. */
ASYNC(epoll_wait_masked, int epfd; struct epoll_event __user *events; int max; nsec_t deadline; const u64 __user *sigmask;
	size_t sigsetsize; u64 mask; long result;)
{
	ASYNC_BEGIN;
	if (f->sigmask) {
		if (f->sigsetsize != sizeof(u64))
			ASYNC_RETURN(-EINVAL);
		AWAIT(copy_in, .to = &f->mask, .from = f->sigmask, .n = sizeof(f->mask));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		signal_mask_temporary(thread_of(self), f->mask);
	}
	AWAIT(epoll_wait, .epfd = f->epfd, .events = f->events, .max = f->max, .deadline = f->deadline);
	f->result = RESULT;
	if (f->sigmask)
		signal_mask_end(thread_of(self), f->result == -EINTR);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

SYSCALL_ASYNC(epoll_pwait, 6, SYS_ARG(int, epfd) SYS_ARG(struct epoll_event __user *, events) SYS_ARG(int, max)
	SYS_ARG(int, timeout_ms) SYS_ARG(const u64 __user *, sigmask) SYS_ARG(size_t, sigsetsize) nsec_t deadline;)
{
	ASYNC_BEGIN;
	if (f->timeout_ms == 0)
		f->deadline = 1;
	else if (f->timeout_ms > 0)
		f->deadline = time_monotonic() + (u64)f->timeout_ms * 1000000;
	AWAIT(epoll_wait_masked, .epfd = f->epfd, .events = f->events, .max = f->max, .deadline = f->deadline, .sigmask = f->sigmask, .sigsetsize = f->sigsetsize);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(epoll_pwait2, 6, SYS_ARG(int, epfd) SYS_ARG(struct epoll_event __user *, events) SYS_ARG(int, max)
	SYS_ARG(const struct __kernel_timespec __user *, timeout) SYS_ARG(const u64 __user *, sigmask)
	SYS_ARG(size_t, sigsetsize) nsec_t deadline; struct __kernel_timespec time; long error;)
{
	ASYNC_BEGIN;
	if (f->timeout) {
		AWAIT(copy_in, .to = &f->time, .from = f->timeout, .n = sizeof(f->time));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->error = poll_deadline(f->time.tv_sec, f->time.tv_nsec, &f->deadline);
		if (f->error)
			ASYNC_RETURN(f->error);
	}
	AWAIT(epoll_wait_masked, .epfd = f->epfd, .events = f->events, .max = f->max, .deadline = f->deadline, .sigmask = f->sigmask, .sigsetsize = f->sigsetsize);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
