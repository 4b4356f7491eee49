// SPDX-License-Identifier: MIT
/* eventfd(2): a 64-bit counter that can be waited for. */
#include <lichen/poll.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/syscall.h>
#include <asm/fcntl.h>

/* linux/eventfd.h is newer than the headers of Debian 12. */
#define EFD_SEMAPHORE 1
#define EFD_CLOEXEC   O_CLOEXEC
#define EFD_NONBLOCK  O_NONBLOCK

struct eventfd {
	spinlock_t lock;
	u64 count;
	bool semaphore;
	struct wait_queue queue;
};

/* Takes the count (or 1): 0 if there is none. */
static u64 eventfd_take(struct eventfd *event)
{
	u64 taken = 0;

	spin_lock(&event->lock);
	if (event->count) {
		taken = event->semaphore ? 1 : event->count;
		event->count -= taken;
	}
	spin_unlock(&event->lock);
	return taken;
}

/* Adds unless it would pass the maximum. */
static bool eventfd_add(struct eventfd *event, u64 n)
{
	bool fits;

	spin_lock(&event->lock);
	fits = n < ~0ull - event->count;
	if (fits)
		event->count += n;
	spin_unlock(&event->lock);
	return fits;
}

ASYNC(eventfd_read, FILE_READ_ARGS struct eventfd *event; u64 value; u32 ticket; size_t done;)
{
	ASYNC_BEGIN;
	f->event = f->file->private;
	if (f->to->left < sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	for (;;) {
		f->ticket = wait_ticket(&f->event->queue);
		f->value = eventfd_take(f->event);
		if (f->value)
			break;
		if (f->file->flags & O_NONBLOCK)
			ASYNC_RETURN(-EAGAIN);
		AWAIT(wait_on, .queue = &f->event->queue, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	wait_wake_poll(&f->event->queue, EPOLLOUT);
	for (;;) {
		f->done += kiov_write(f->to, (char *)&f->value + f->done, sizeof(u64) - f->done);
		if (f->done == sizeof(u64))
			ASYNC_RETURN(f->done);
		AWAIT(kiov_fault_in, .iov = f->to, .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

ASYNC(eventfd_write, FILE_WRITE_ARGS struct eventfd *event; u64 value; u32 ticket; size_t done;)
{
	ASYNC_BEGIN;
	f->event = f->file->private;
	if (f->from->left < sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	while (f->done < sizeof(u64)) {
		f->done += kiov_read(f->from, (char *)&f->value + f->done, sizeof(u64) - f->done);
		if (f->done == sizeof(u64))
			break;
		AWAIT(kiov_fault_in, .iov = f->from, .write = false);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->value == ~0ull)
		ASYNC_RETURN(-EINVAL);
	for (;;) {
		f->ticket = wait_ticket(&f->event->queue);
		if (eventfd_add(f->event, f->value))
			break;
		if (f->file->flags & O_NONBLOCK)
			ASYNC_RETURN(-EAGAIN);
		AWAIT(wait_on, .queue = &f->event->queue, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	wait_wake_poll(&f->event->queue, EPOLLIN);
	ASYNC_RETURN(sizeof(u64));
	ASYNC_END;
}

static u32 eventfd_poll(struct file *file, struct poll_table *table)
{
	struct eventfd *event = file->private;
	u64 count;

	poll_register(table, &event->queue);
	count = __atomic_load_n(&event->count, __ATOMIC_RELAXED);
	return (count ? EPOLLIN : 0) | (count < ~0ull - 1 ? EPOLLOUT : 0) | (count == ~0ull ? EPOLLERR : 0);
}

ASYNC(eventfd_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	kfree(f->file->private);
	ASYNC_END;
}

static void eventfd_show(struct file *file, char *buf, size_t bytes)
{
	struct eventfd *event = file->private;

	snprintf(buf, bytes, "eventfd-count: %16lx\n", (unsigned long)event->count);
}

static const struct file_ops eventfd_ops = {
	.read = &eventfd_read_fn,
	.write = &eventfd_write_fn,
	.poll = eventfd_poll,
	.release = &eventfd_release_fn,
	.show = eventfd_show,
};

SYSCALL_ASYNC(eventfd2, 2, SYS_ARG(u32, count) SYS_ARG(u32, flags) struct eventfd *event; struct file *file; int fd;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK))
		ASYNC_RETURN(-EINVAL);
	f->event = kzalloc(sizeof(*f->event));
	if (!f->event)
		ASYNC_RETURN(-ENOMEM);
	spin_init(&f->event->lock);
	wait_queue_init(&f->event->queue);
	f->event->count = f->count;
	f->event->semaphore = f->flags & EFD_SEMAPHORE;
	f->file = file_anonymous("[eventfd]", &eventfd_ops, f->event, O_RDWR | (f->flags & EFD_NONBLOCK));
	if (!f->file) {
		kfree(f->event);
		ASYNC_RETURN(-ENOMEM);
	}
	f->fd = fd_install(f->file, f->flags & EFD_CLOEXEC);
	if (f->fd < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}
