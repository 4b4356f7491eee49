/* SPDX-License-Identifier: MIT */
/* signalfd: pending signals of whoever reads, taken by reading. Reference: signalfd(2). */
#include "proc.h"
#include <lichen/poll.h>
#include <asm/fcntl.h>
#include <linux/signalfd.h>

struct signalfd {
	_Atomic u64 mask;
};

static void fill(struct signalfd_siginfo *out, const siginfo_t *in)
{
	memset(out, 0, sizeof(*out));
	out->ssi_signo = in->si_signo;
	out->ssi_errno = in->si_errno;
	out->ssi_code = in->si_code;
	if (in->si_code == SI_TIMER) {
		out->ssi_tid = in->si_tid;
		out->ssi_overrun = in->si_overrun;
		out->ssi_ptr = (u64)in->si_ptr;
		out->ssi_int = in->si_int;
	} else if (in->si_signo == SIGCHLD && in->si_code > 0) {
		out->ssi_pid = in->si_pid;
		out->ssi_uid = in->si_uid;
		out->ssi_status = in->si_status;
		out->ssi_utime = in->si_utime;
		out->ssi_stime = in->si_stime;
	} else if (in->si_code > 0 && in->si_code != SI_KERNEL) {
		out->ssi_addr = (u64)in->si_addr;
		out->ssi_addr_lsb = in->si_addr_lsb;
	} else {
		out->ssi_pid = in->si_pid;
		out->ssi_uid = in->si_uid;
		if (in->si_code != SI_USER && in->si_code != SI_TKILL && in->si_code != SI_KERNEL) {
			out->ssi_ptr = (u64)in->si_ptr;
			out->ssi_int = in->si_int;
		}
	}
}

ASYNC(signalfd_read, FILE_READ_ARGS struct signalfd_siginfo out; u32 ticket; size_t done; size_t total;)
{
	struct thread *thread = thread_of(self);
	struct signalfd *s = f->file->private;
	unsigned long flags;
	siginfo_t info;
	int signal;

	ASYNC_BEGIN;
	if (f->to->left < sizeof(f->out))
		ASYNC_RETURN(-EINVAL);
	while (f->to->left >= sizeof(f->out)) {
		f->ticket = wait_ticket(&thread->process->signalled);
		flags = spin_lock_irqsave(&process_lock);
		signal = signal_dequeue(thread, atomic_load(&s->mask), &info);
		spin_unlock_irqrestore(&process_lock, flags);
		if (!signal) {
			if (f->total)
				break;
			if (f->file->flags & O_NONBLOCK)
				ASYNC_RETURN(-EAGAIN);
			AWAIT(wait_on, .queue = &thread->process->signalled, .ticket = f->ticket);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
			continue;
		}
		fill(&f->out, &info);
		for (f->done = 0;;) {
			f->done += kiov_write(f->to, (char *)&f->out + f->done, sizeof(f->out) - f->done);
			if (f->done == sizeof(f->out))
				break;
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->total ? f->total : RESULT);
		}
		f->total += sizeof(f->out);
	}
	ASYNC_RETURN(f->total);
	ASYNC_END;
}

static u32 signalfd_poll(struct file *file, struct poll_table *table)
{
	struct signalfd *s = file->private;
	struct thread *thread = current_thread();

	if (table)
		poll_register(table, &thread->process->signalled);
	return (thread->pending.bits | thread->process->pending.bits) & atomic_load(&s->mask) ? EPOLLIN | EPOLLRDNORM : 0;
}

ASYNC(signalfd_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	kfree(f->file->private);
	ASYNC_END;
}

static void signalfd_show(struct file *file, char *buf, size_t bytes)
{
	struct signalfd *s = file->private;

	snprintf(buf, bytes, "sigmask:\t%016llx\n", (unsigned long long)atomic_load(&s->mask));
}

static const struct file_ops signalfd_ops = {
	.read = &signalfd_read_fn,
	.release = &signalfd_release_fn,
	.poll = signalfd_poll,
	.show = signalfd_show,
};

static long signalfd_new(u64 mask, int flags)
{
	struct signalfd *s = kmalloc(sizeof(*s));
	struct file *file;
	int fd;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->mask, mask);
	file = file_anonymous("[signalfd]", &signalfd_ops, s, O_RDWR | (flags & SFD_NONBLOCK));
	if (!file) {
		kfree(s);
		return -ENOMEM;
	}
	fd = fd_install(file, flags & SFD_CLOEXEC);
	if (fd < 0)
		file_put_later(file);
	return fd;
}

SYSCALL_ASYNC(signalfd4, 4, SYS_ARG(int, fd) SYS_ARG(const u64 __user *, umask) SYS_ARG(size_t, size) SYS_ARG(int, flags) u64 mask;)
{
	struct file *file;

	ASYNC_BEGIN;
	if (f->size != sizeof(u64) || (f->flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)))
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->mask, f->umask);
	f->mask &= ~SIGNALS_UNBLOCKABLE;
	if (f->fd == -1)
		ASYNC_RETURN(signalfd_new(f->mask, f->flags));
	file = fd_get(f->fd);
	if (!file)
		ASYNC_RETURN(-EBADF);
	if (file->ops != &signalfd_ops) {
		file_put_later(file);
		ASYNC_RETURN(-EINVAL);
	}
	atomic_store(&((struct signalfd *)file->private)->mask, f->mask);
	/* Who waits with the old mask looks again. */
	wait_wake_all(&thread_of(self)->process->signalled);
	file_put_later(file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}
