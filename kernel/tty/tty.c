// SPDX-License-Identifier: MIT
/*
 * Open terminals: read, write, poll, and the life of struct tty. A read or write that waits holds tty->read_lock or
 * write_lock, which only other readers or writers of the same terminal want.
 */
#include <lichen/poll.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <lichen/tty.h>
#include "console.h"
#include "job_control.h"
#include "ioctl.h"

#define TTY_CHUNK 256u /* bytes on their way between user and ring */

static struct tty *console_tty;

/* What stty calls sane, as Linux sets it for a new terminal. */
static const struct termios2 initial_termios = {
	.c_iflag = ICRNL | IXON | IUTF8,
	.c_oflag = OPOST | ONLCR,
	.c_cflag = B38400 | CS8 | CREAD | HUPCL,
	.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.c_cc = {[VINTR] = 3, [VQUIT] = 28, [VERASE] = 127, [VKILL] = 21, [VEOF] = 4, [VMIN] = 1,
		[VSTART] = 17, [VSTOP] = 19, [VSUSP] = 26, [VREPRINT] = 18, [VDISCARD] = 15,
		[VWERASE] = 23, [VLNEXT] = 22},
	.c_ispeed = 38400,
	.c_ospeed = 38400,
};

static struct tty *tty_of(struct file *file)
{
	return file->private;
}

/* --- reading --- */

/* How a read waits, from termios (POSIX 11.1.7): for how many bytes, and how long. */
struct read_rule {
	bool canonical;
	u32 minimum;	  /* bytes; 0: whatever there is */
	nsec_t total;	  /* deadline from the start, 0 none */
	nsec_t interbyte; /* time between bytes, 0 none */
};

static struct read_rule read_rule(const struct tty *tty, size_t want)
{
	nsec_t time = tty->termios.c_cc[VTIME] * 100000000ull;
	u32 min = tty->termios.c_cc[VMIN];
	struct read_rule rule = {.canonical = tty->termios.c_lflag & ICANON};

	if (rule.canonical) {
		rule.minimum = 1;
	} else if (min) {
		rule.minimum = (u32)min_t(size_t, min, want);
		rule.interbyte = time;
	} else if (time) {
		rule.minimum = 1;
		rule.total = time_monotonic() + time;
	}
	return rule;
}

/* Takes a chunk for the reader; true if the read is complete with it (a line ended, or all that was wanted). */
static bool tty_take(struct tty *tty, u8 *chunk, size_t want, u32 *taken)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool end, resume;

	*taken = (u32)tty_input_take(tty, chunk, min_t(size_t, want, TTY_CHUNK), &end);
	resume = tty->held_back && tty_receive_room(tty) > TTY_RING / 2;
	if (resume)
		tty->held_back = false;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (resume)
		tty->ops->resume(tty);
	return end;
}

/* The body of tty_read, under read_lock. Bytes, or -errno if there are none. */
ASYNC(tty_read_locked, FILE_READ_ARGS struct tty *tty; struct read_rule rule; size_t done; u32 ticket; u32 taken; u32 given;
	nsec_t deadline; bool end; u8 chunk[TTY_CHUNK];)
{
	ASYNC_BEGIN;
	f->tty = tty_of(f->file);
	f->rule = read_rule(f->tty, f->to->left);
	f->deadline = f->rule.total;
	for (;;) {
		f->ticket = wait_ticket(&f->tty->readable);
		f->end = tty_take(f->tty, f->chunk, f->to->left, &f->taken);
		for (f->given = 0; f->given < f->taken;) {
			f->given += (u32)kiov_write(f->to, f->chunk + f->given, f->taken - f->given);
			if (f->given == f->taken)
				break;
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		f->done += f->taken;
		if (f->end || !f->to->left)
			ASYNC_RETURN(f->done);
		if (f->taken == TTY_CHUNK)
			continue;
		if (f->taken && f->rule.canonical)
			continue; /* more of the line is in the ring */
		if (f->done >= f->rule.minimum)
			ASYNC_RETURN(f->done);
		if (f->tty->hung_up)
			ASYNC_RETURN(f->done);
		if (f->file->flags & O_NONBLOCK)
			ASYNC_RETURN(f->done ? (long)f->done : -EAGAIN);
		if (f->rule.interbyte && f->done)
			f->deadline = time_monotonic() + f->rule.interbyte;
		AWAIT(wait_on, .queue = &f->tty->readable, .ticket = f->ticket, .deadline = f->deadline);
		if (RESULT == -ETIMEDOUT)
			ASYNC_RETURN(f->done);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : -ERESTARTSYS);
		/* A foreground group may have become a background one while it slept. */
		RESULT = tty_job_control(f->tty, SIGTTIN);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : RESULT);
	}
	ASYNC_END;
}

ASYNC(tty_read, FILE_READ_ARGS struct tty *tty; long result;)
{
	ASYNC_BEGIN;
	f->tty = tty_of(f->file);
	if (f->tty->hung_up)
		ASYNC_RETURN(0);
	RESULT = tty_job_control(f->tty, SIGTTIN);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (!f->to->left)
		ASYNC_RETURN(0);
	if (f->file->flags & O_NONBLOCK) {
		if (!mutex_trylock(&f->tty->read_lock, self))
			ASYNC_RETURN(-EAGAIN);
	} else {
		AWAIT(mutex_lock, .mutex = &f->tty->read_lock, .interruptible = true);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	AWAIT(tty_read_locked, .file = f->file, .to = f->to);
	f->result = RESULT;
	mutex_unlock(&f->tty->read_lock);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* --- writing --- */

static u32 tty_put(struct tty *tty, const u8 *chunk, u32 n)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	u32 done = (u32)tty_output(tty, chunk, n);

	tty_push(tty);
	spin_unlock_irqrestore(&tty->lock, flags);
	return done;
}

ASYNC(tty_write_locked, FILE_WRITE_ARGS struct tty *tty; size_t done; u32 ticket; u32 bytes; u32 put; u8 chunk[TTY_CHUNK];)
{
	ASYNC_BEGIN;
	f->tty = tty_of(f->file);
	while (f->from->left) {
		f->bytes = (u32)kiov_read(f->from, f->chunk, min_t(size_t, f->from->left, TTY_CHUNK));
		if (!f->bytes) {
			AWAIT(kiov_fault_in, .iov = f->from, .write = false);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
			continue;
		}
		for (f->put = 0;;) {
			f->ticket = wait_ticket(&f->tty->writable);
			if (f->tty->hung_up)
				ASYNC_RETURN(f->done ? (long)f->done : -EIO);
			f->put += tty_put(f->tty, f->chunk + f->put, f->bytes - f->put);
			if (f->put == f->bytes)
				break;
			if (f->file->flags & O_NONBLOCK)
				ASYNC_RETURN(f->done + f->put ? (long)(f->done + f->put) : -EAGAIN);
			AWAIT(wait_on, .queue = &f->tty->writable, .ticket = f->ticket);
			if (RESULT < 0)
				ASYNC_RETURN(f->done + f->put ? (long)(f->done + f->put) : -ERESTARTSYS);
		}
		f->done += f->bytes;
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(tty_write, FILE_WRITE_ARGS struct tty *tty; long result;)
{
	ASYNC_BEGIN;
	f->tty = tty_of(f->file);
	if (f->tty->hung_up)
		ASYNC_RETURN(-EIO);
	if (f->tty->termios.c_lflag & TOSTOP) {
		RESULT = tty_job_control(f->tty, SIGTTOU);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	AWAIT(mutex_lock, .mutex = &f->tty->write_lock, .interruptible = true);
	if (RESULT < 0)
		ASYNC_RETURN(-ERESTARTSYS);
	AWAIT(tty_write_locked, .file = f->file, .from = f->from);
	f->result = RESULT;
	mutex_unlock(&f->tty->write_lock);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

static u32 tty_poll(struct file *file, struct poll_table *table)
{
	struct tty *tty = tty_of(file);
	unsigned long flags;
	u32 mask = 0;

	poll_register(table, &tty->readable);
	poll_register(table, &tty->writable);
	flags = spin_lock_irqsave(&tty->lock);
	if (tty_input_ready(tty))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (tty_output_pending(tty) < TTY_RING * 3 / 4)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (tty->hung_up)
		mask |= EPOLLHUP | EPOLLIN | EPOLLRDNORM;
	spin_unlock_irqrestore(&tty->lock, flags);
	return mask;
}

/* --- life --- */

static long tty_open_count(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool busy = tty->exclusive && tty->openers && !capable(CAP_SYS_ADMIN);
	bool first = !busy && tty->openers++ == 0;

	if (first)
		tty->hung_up = false;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (first && tty->ops->open)
		tty->ops->open(tty);
	return busy ? -EBUSY : 0;
}

/* /dev/NAME, /dev/console and /dev/tty: the last two name a terminal that is known at open only. */
ASYNC(tty_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	struct tty *tty = f->file->private;
	dev_t dev = f->inode->rdev;
	struct process *process = thread_of(self)->process;
	long error;

	if (dev == TTY_DEV_CURRENT)
		tty = session_tty(process);
	else if (dev == TTY_DEV_CONSOLE)
		tty = console_tty;
	if (!tty && dev == TTY_DEV_CONSOLE) {
		f->file->ops = &console_log_ops;
		ASYNC_RETURN(0);
	}
	if (!tty) {
		f->file->private = NULL;
		ASYNC_RETURN(-ENXIO);
	}
	error = tty_open_count(tty);
	if (error)
		ASYNC_RETURN(error);
	f->file->private = tty;
	f->file->mode &= ~(u32)FILE_SEEK;
	if (dev == tty->dev && !(f->file->flags & O_NOCTTY) && !tty->session)
		tty_attach(tty, process); /* refused unless a leader without a terminal: no error of open */
	ASYNC_END;
}

ASYNC(tty_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	struct tty *tty = tty_of(f->file);
	unsigned long flags;
	bool last;

	if (!tty)
		ASYNC_RETURN(0);
	flags = spin_lock_irqsave(&tty->lock);
	last = --tty->openers == 0;
	if (last)
		tty->exclusive = false;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (last && tty->ops->close)
		tty->ops->close(tty);
	ASYNC_END;
}

const struct file_ops tty_file_ops = {
	.open = &tty_open_fn,
	.release = &tty_release_fn,
	.read = &tty_read_fn,
	.write = &tty_write_fn,
	.poll = tty_poll,
	.ioctl = &tty_ioctl_fn,
};

struct tty *tty_create(const char *name, dev_t dev, const struct tty_ops *ops, void *driver)
{
	struct tty *tty = kzalloc(sizeof(*tty));
	long error;

	if (!tty)
		return NULL;
	spin_init(&tty->lock);
	wait_queue_init(&tty->readable);
	wait_queue_init(&tty->writable);
	mutex_init(&tty->read_lock);
	mutex_init(&tty->write_lock);
	string_copy(tty->name, sizeof(tty->name), name);
	tty->dev = dev;
	tty->ops = ops;
	tty->driver = driver;
	tty->termios = initial_termios;
	tty->refcount = 1;
	error = device_register(name, S_IFCHR | 0620, dev, &tty_file_ops, tty);
	if (error) {
		log_err("tty: %s: can't make its device: error %ld", name, -error);
		kfree(tty);
		return NULL;
	}
	return tty;
}

void tty_set_console(struct tty *tty)
{
	if (!console_tty)
		console_tty = tty;
}

void tty_set_size(struct tty *tty, u32 rows, u32 columns)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool changed = tty->winsize.ws_row != rows || tty->winsize.ws_col != columns;
	pid_t group = tty->group;

	tty->winsize.ws_row = (u16)rows;
	tty->winsize.ws_col = (u16)columns;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (changed && group)
		signal_send_group(group, SIGWINCH, NULL);
}

void tty_hangup(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	pid_t group = tty->group, leader = tty->session;

	tty->hung_up = true;
	tty_input_flush(tty);
	spin_unlock_irqrestore(&tty->lock, flags);
	if (leader) {
		struct process *process = process_find(leader);

		if (process) {
			signal_send_process(process, SIGHUP, NULL);
			signal_send_process(process, SIGCONT, NULL);
			process_put(process);
		}
	}
	if (group) {
		signal_send_group(group, SIGHUP, NULL);
		signal_send_group(group, SIGCONT, NULL);
	}
	tty_detach(tty);
	wait_wake_poll(&tty->readable, EPOLLIN | EPOLLHUP);
	wait_wake_poll(&tty->writable, EPOLLOUT | EPOLLHUP);
}

static void tty_init(void)
{
	long error = device_register("tty", S_IFCHR | 0666, TTY_DEV_CURRENT, &tty_file_ops, NULL);

	if (!error)
		error = device_register("console", S_IFCHR | 0600, TTY_DEV_CONSOLE, &tty_file_ops, NULL);
	if (error)
		panic("tty: can't make /dev/tty and /dev/console: error %ld", -error);
}
INITCALL(INIT_FS, tty_init);
