/* SPDX-License-Identifier: MIT */
/* timerfd: an alarm that is read. Reference: timerfd_create(2). */
#include "alarm.h"
#include "proc.h"
#include <lichen/poll.h>
#include <asm/fcntl.h>
#include <linux/time.h>
#include <linux/timerfd.h>

struct timerfd {
	spinlock_t lock; /* interrupts masked; guards the alarm too */
	struct alarm alarm;
	u64 expirations; /* not yet read; a periodic alarm that has rung goes on when they are counted */
	bool cancel_on_set, canceled;
	struct wait_queue queue;
	struct waiter clock_set; /* in clock_set_queue, with cancel_on_set */
};

static void timerfd_ring(struct alarm *alarm)
{
	struct timerfd *t = container_of(alarm, struct timerfd, alarm);
	unsigned long flags = spin_lock_irqsave(&t->lock);
	bool due = alarm_due(alarm);

	if (due)
		t->expirations++;
	spin_unlock_irqrestore(&t->lock, flags);
	if (due)
		wait_wake_poll(&t->queue, EPOLLIN | EPOLLRDNORM);
}

/* A periodic alarm rings once; what passed since is counted when somebody asks. */
static void timerfd_catch_up(struct timerfd *t)
{
	if (t->expirations && t->alarm.interval)
		t->expirations += alarm_forward(&t->alarm) - 1;
}

static void timerfd_clock_set(struct waiter *waiter, u64 key)
{
	struct timerfd *t = container_of(waiter, struct timerfd, clock_set);

	t->canceled = true;
	wait_wake_poll(&t->queue, EPOLLIN | EPOLLRDNORM);
}

/* What there is to read: a count, 0: nothing, -ECANCELED. */
static s64 timerfd_take(struct timerfd *t)
{
	unsigned long flags = spin_lock_irqsave(&t->lock);
	s64 count;

	if (t->canceled) {
		t->canceled = false;
		count = -ECANCELED;
	} else {
		timerfd_catch_up(t);
		count = t->expirations;
	}
	t->expirations = 0;
	spin_unlock_irqrestore(&t->lock, flags);
	return count;
}

ASYNC(timerfd_read, FILE_READ_ARGS struct timerfd *t; s64 count; u32 ticket; size_t done;)
{
	ASYNC_BEGIN;
	f->t = f->file->private;
	if (f->to->left < sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	for (;;) {
		f->ticket = wait_ticket(&f->t->queue);
		f->count = timerfd_take(f->t);
		if (f->count)
			break;
		if (f->file->flags & O_NONBLOCK)
			ASYNC_RETURN(-EAGAIN);
		AWAIT(wait_on, .queue = &f->t->queue, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->count < 0)
		ASYNC_RETURN(f->count);
	while (f->done < sizeof(u64)) {
		f->done += kiov_write(f->to, (char *)&f->count + f->done, sizeof(u64) - f->done);
		if (f->done == sizeof(u64))
			break;
		AWAIT(kiov_fault_in, .iov = f->to, .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(sizeof(u64));
	ASYNC_END;
}

static u32 timerfd_poll(struct file *file, struct poll_table *table)
{
	struct timerfd *t = file->private;

	if (table)
		poll_register(table, &t->queue);
	return t->expirations || t->canceled ? EPOLLIN | EPOLLRDNORM : 0;
}

ASYNC(timerfd_release, FILE_RELEASE_ARGS)
{
	struct timerfd *t;

	ASYNC_BEGIN;
	t = f->file->private;
	wait_remove(&t->clock_set);
	alarm_cancel(&t->alarm);
	kfree(t);
	ASYNC_END;
}

static void timerfd_show(struct file *file, char *buf, size_t bytes)
{
	struct timerfd *t = file->private;
	unsigned long flags = spin_lock_irqsave(&t->lock);
	nsec_t left = alarm_left(&t->alarm), interval = t->alarm.interval;
	u64 ticks = t->expirations;
	int clock = t->alarm.clock;

	spin_unlock_irqrestore(&t->lock, flags);
	snprintf(buf, bytes, "clockid: %d\nticks: %llu\nsettime flags: 0%o\nit_value: (%llu, %llu)\nit_interval: (%llu, %llu)\n",
		clock, (unsigned long long)ticks, t->cancel_on_set ? TFD_TIMER_CANCEL_ON_SET : 0,
		(unsigned long long)(left / NSEC_PER_SEC), (unsigned long long)(left % NSEC_PER_SEC),
		(unsigned long long)(interval / NSEC_PER_SEC), (unsigned long long)(interval % NSEC_PER_SEC));
}

static const struct file_ops timerfd_ops = {
	.read = &timerfd_read_fn,
	.release = &timerfd_release_fn,
	.poll = timerfd_poll,
	.show = timerfd_show,
};

SYSCALL(timerfd_create, int, clock, int, flags)
{
	struct timerfd *t;
	struct file *file;
	int fd;

	if ((flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) || !(clock_has_timers(clock) || clock_is_alarm(clock)) ||
		clock == CLOCK_TAI)
		return -EINVAL;
	if (clock_is_alarm(clock) && !capable(CAP_WAKE_ALARM))
		return -EPERM;
	t = kzalloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	spin_init(&t->lock);
	wait_queue_init(&t->queue);
	alarm_init(&t->alarm, clock, timerfd_ring);
	list_init(&t->clock_set.node);
	t->clock_set.wake = timerfd_clock_set;
	file = file_anonymous("[timerfd]", &timerfd_ops, t, O_RDWR | (flags & TFD_NONBLOCK));
	if (!file) {
		kfree(t);
		return -ENOMEM;
	}
	fd = fd_install(file, flags & TFD_CLOEXEC);
	if (fd < 0)
		file_put_later(file);
	return fd;
}

static void timerfd_get(struct timerfd *t, struct __kernel_itimerspec *v)
{
	timerfd_catch_up(t);
	v->it_interval = ns_to_timespec(t->alarm.interval);
	v->it_value = ns_to_timespec(alarm_left(&t->alarm));
}

/* The file, if it is one; -EBADF, -EINVAL. */
static struct file *timerfd_file(int fd)
{
	struct file *file = fd_get(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->ops != &timerfd_ops) {
		file_put_later(file);
		return ERR_PTR(-EINVAL);
	}
	return file;
}

static void timerfd_set(struct timerfd *t, int how, const struct __kernel_itimerspec *new, struct __kernel_itimerspec *old)
{
	bool cancel = (how & TFD_TIMER_CANCEL_ON_SET) && (how & TFD_TIMER_ABSTIME) && clock_is_realtime(t->alarm.clock);
	unsigned long flags;

	wait_remove(&t->clock_set);
	flags = spin_lock_irqsave(&t->lock);
	timerfd_get(t, old);
	t->expirations = 0;
	t->canceled = false;
	t->cancel_on_set = cancel;
	alarm_set(&t->alarm, timespec_to_ns(&new->it_value), timespec_to_ns(&new->it_interval), how & TFD_TIMER_ABSTIME);
	spin_unlock_irqrestore(&t->lock, flags);
	if (cancel)
		wait_insert(&clock_set_queue, &t->clock_set);
}

SYSCALL_ASYNC(timerfd_settime, 4, SYS_ARG(int, fd) SYS_ARG(int, flags) SYS_ARG(const struct __kernel_itimerspec __user *, new)
	SYS_ARG(struct __kernel_itimerspec __user *, old) struct __kernel_itimerspec in; struct __kernel_itimerspec out; struct file *file;)
{
	ASYNC_BEGIN;
	COPY_IN(f->in, f->new);
	if ((f->flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !timespec_valid(&f->in.it_value) ||
		!timespec_valid(&f->in.it_interval))
		ASYNC_RETURN(-EINVAL);
	f->file = timerfd_file(f->fd);
	if (IS_ERR(f->file))
		ASYNC_RETURN(PTR_ERR(f->file));
	timerfd_set(f->file->private, f->flags, &f->in, &f->out);
	AWAIT(file_put, .file = f->file);
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL_ASYNC(timerfd_gettime, 2, SYS_ARG(int, fd) SYS_ARG(struct __kernel_itimerspec __user *, out) struct __kernel_itimerspec v;
	struct file *file;)
{
	struct timerfd *t;
	unsigned long flags;

	ASYNC_BEGIN;
	f->file = timerfd_file(f->fd);
	if (IS_ERR(f->file))
		ASYNC_RETURN(PTR_ERR(f->file));
	t = f->file->private;
	flags = spin_lock_irqsave(&t->lock);
	timerfd_get(t, &f->v);
	spin_unlock_irqrestore(&t->lock, flags);
	AWAIT(file_put, .file = f->file);
	COPY_OUT(f->out, f->v);
	ASYNC_END;
}
