// SPDX-License-Identifier: MIT
/*
 * Pipes and FIFOs: a ring of page-sized buffers between writers and readers.
 *
 * pipe->mutex (async) serialises those who move bytes: it may be held over a page fault of the user's buffer, never over
 * a wait for the other end. The counts of readers and writers change under pipe->lock. Writes of up to PIPE_BUF bytes
 * are never interleaved (POSIX).
 */
#include <lichen/pipe.h>
#include <lichen/poll.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <asm/ioctls.h>

#define PIPE_DEFAULT_PAGES 16u
#define PIPE_MAX_PAGES	   256u /* 1 MiB: the limit for the unprivileged */

struct pipe_buffer {
	struct page *page;
	u32 offset, bytes;
	bool packet; /* O_DIRECT: a read takes at most this one, and discards its rest */
};

struct pipe {
	struct mutex mutex; /* guards the ring */
	struct wait_queue readable, writable;
	spinlock_t lock; /* guards the counts of ends */
	u32 readers, writers;
	u32 reader_opens, writer_opens; /* ever: a FIFO's open waits for a change */
	u32 references;			/* open files */
	u32 slots;			/* of the ring, a power of two */
	u32 head, count;
	bool polled; /* somebody polls: wake at every change, not at the edges alone */
	struct pipe_buffer *ring; /* NULL until something is written */
	struct page *spare;	  /* the last emptied page: a ping-pong allocates nothing */
	struct inode *inode;	  /* whose inode->pipe this is */
};

static struct slab_cache *pipe_cache;

static void pipe_cache_init(void)
{
	pipe_cache = slab_cache_create("pipe", sizeof(struct pipe), 0);
}
INITCALL(INIT_CORE, pipe_cache_init);

static struct pipe *pipe_create(void)
{
	struct pipe *pipe;

	pipe = slab_zalloc(pipe_cache);
	if (!pipe)
		return NULL;
	mutex_init(&pipe->mutex);
	spin_init(&pipe->lock);
	wait_queue_init(&pipe->readable);
	wait_queue_init(&pipe->writable);
	pipe->slots = PIPE_DEFAULT_PAGES;
	return pipe;
}

static void pipe_free(struct pipe *pipe)
{
	for (u32 i = 0; i < pipe->count; i++)
		page_put(pipe->ring[(pipe->head + i) & (pipe->slots - 1)].page);
	if (pipe->spare)
		page_put(pipe->spare);
	kfree(pipe->ring);
	slab_free(pipe_cache, pipe);
}

static struct pipe *pipe_of(struct file *file)
{
	return file->private;
}

static struct pipe_buffer *pipe_slot(struct pipe *pipe, u32 i)
{
	return &pipe->ring[(pipe->head + i) & (pipe->slots - 1)];
}

/* The oldest buffer is empty. */
static void pipe_drop_first(struct pipe *pipe)
{
	struct page *page = pipe_slot(pipe, 0)->page;

	if (pipe->spare)
		page_put(page);
	else
		pipe->spare = page;
	pipe->head = (pipe->head + 1) & (pipe->slots - 1);
	pipe->count--;
}

/* A new, empty buffer at the end of the ring, which has room. 0 or -ENOMEM. */
static long pipe_extend(struct pipe *pipe, bool packet)
{
	struct page *page = pipe->spare;

	if (!pipe->ring) {
		pipe->ring = kzalloc(pipe->slots * sizeof(pipe->ring[0]));
		if (!pipe->ring)
			return -ENOMEM;
	}
	if (!page)
		page = page_alloc(0, 0);
	if (!page)
		return -ENOMEM;
	pipe->spare = NULL;
	*pipe_slot(pipe, pipe->count) = (struct pipe_buffer){.page = page, .packet = packet};
	pipe->count++;
	return 0;
}

/* Moves what is there; stops at a fault. Returns the bytes moved; *faulted tells why it stopped. */
static size_t pipe_take(struct pipe *pipe, struct kiov *to, bool *faulted)
{
	size_t done = 0;

	*faulted = false;
	while (pipe->count && to->left) {
		struct pipe_buffer *buffer = pipe_slot(pipe, 0);
		u32 want = (u32)min_t(size_t, buffer->bytes, to->left);
		u32 n = (u32)kiov_write(to, (char *)page_address(buffer->page) + buffer->offset, want);
		bool packet = buffer->packet;

		buffer->offset += n;
		buffer->bytes -= n;
		done += n;
		if (n < want) {
			*faulted = true;
			break;
		}
		if (!buffer->bytes || packet)
			pipe_drop_first(pipe);
		if (packet)
			break;
	}
	return done;
}

ASYNC(pipe_read, FILE_READ_ARGS struct pipe *pipe; size_t done; u32 ticket; bool faulted; bool was_full;)
{
	ASYNC_BEGIN;
	f->pipe = pipe_of(f->file);
	if (!f->to->left)
		ASYNC_RETURN(0);
	for (;;) {
		f->ticket = wait_ticket(&f->pipe->readable);
		if (!mutex_trylock(&f->pipe->mutex, self))
			AWAIT(mutex_lock, .mutex = &f->pipe->mutex);
		f->was_full = f->pipe->count == f->pipe->slots || f->pipe->polled;
		for (;;) {
			f->done += pipe_take(f->pipe, f->to, &f->faulted);
			if (!f->faulted)
				break;
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				break;
			f->faulted = false;
		}
		mutex_unlock(&f->pipe->mutex);
		if (f->done && f->was_full)
			wait_wake_poll(&f->pipe->writable, EPOLLOUT | EPOLLWRNORM);
		if (f->done)
			ASYNC_RETURN(f->done);
		if (f->faulted)
			ASYNC_RETURN(-EFAULT);
		if (!f->pipe->writers)
			ASYNC_RETURN(0);
		if ((f->file->flags & O_NONBLOCK) || (f->flags & RWF_NOWAIT))
			ASYNC_RETURN(-EAGAIN);
		AWAIT(wait_on, .queue = &f->pipe->readable, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	ASYNC_END;
}

/*
 * Puts in what fits. The odd bytes of the write join the last buffer if they fit there whole, all else begins pages of
 * its own: so a write of at most a page is never split. Returns bytes moved; *why: 0, -EAGAIN (full), -EFAULT, -ENOMEM.
 */
static size_t pipe_give(struct pipe *pipe, struct kiov *from, bool packet, long *why)
{
	size_t done = 0;

	*why = 0;
	while (from->left) {
		struct pipe_buffer *last = pipe->count ? pipe_slot(pipe, pipe->count - 1) : NULL;
		u32 odd = from->left & (PAGE_SIZE - 1);
		u32 want, n, at;

		if (last && odd && !packet && !last->packet &&
			last->offset + last->bytes + odd <= PAGE_SIZE) {
			want = odd;
		} else if (last && !last->bytes && !done) {
			want = (u32)min_t(size_t, from->left, PAGE_SIZE); /* left by a fault */
		} else {
			if (pipe->count == pipe->slots) {
				*why = -EAGAIN;
				break;
			}
			*why = pipe_extend(pipe, packet);
			if (*why)
				break;
			last = pipe_slot(pipe, pipe->count - 1);
			want = (u32)min_t(size_t, from->left, PAGE_SIZE);
		}
		at = last->offset + last->bytes;
		n = (u32)kiov_read(from, (char *)page_address(last->page) + at, want);
		last->bytes += n;
		done += n;
		if (n < want) {
			*why = -EFAULT;
			break;
		}
	}
	return done;
}

/* A fault may leave an empty last buffer, which readers must not see. */
static void pipe_trim(struct pipe *pipe)
{
	if (pipe->count && !pipe_slot(pipe, pipe->count - 1)->bytes) {
		struct page *page = pipe_slot(pipe, pipe->count - 1)->page;

		pipe->count--;
		if (pipe->spare)
			page_put(page);
		else
			pipe->spare = page;
	}
}

ASYNC(pipe_write, FILE_WRITE_ARGS struct pipe *pipe; size_t done; long why; u32 ticket; bool was_empty;)
{
	ASYNC_BEGIN;
	f->pipe = pipe_of(f->file);
	if (!f->from->left)
		ASYNC_RETURN(0);
	for (;;) {
		f->ticket = wait_ticket(&f->pipe->writable);
		if (!mutex_trylock(&f->pipe->mutex, self))
			AWAIT(mutex_lock, .mutex = &f->pipe->mutex);
		if (!f->pipe->readers) {
			mutex_unlock(&f->pipe->mutex);
			if (f->done)
				ASYNC_RETURN(f->done);
			if (!(f->flags & RWF_NOSIGNAL_))
				signal_send_thread(thread_of(self), SIGPIPE, NULL);
			ASYNC_RETURN(-EPIPE);
		}
		f->was_empty = !f->pipe->count || f->pipe->polled;
		for (;;) {
			f->done += pipe_give(f->pipe, f->from, f->file->flags & O_DIRECT, &f->why);
			pipe_trim(f->pipe);
			if (f->why != -EFAULT)
				break;
			AWAIT(kiov_fault_in, .iov = f->from, .write = false);
			if (RESULT < 0)
				break;
		}
		mutex_unlock(&f->pipe->mutex);
		if (f->was_empty && f->pipe->count)
			wait_wake_poll(&f->pipe->readable, EPOLLIN | EPOLLRDNORM);
		if (f->why != -EAGAIN)
			ASYNC_RETURN(f->done ? (long)f->done : f->why);
		if ((f->file->flags & O_NONBLOCK) || (f->flags & RWF_NOWAIT))
			ASYNC_RETURN(f->done ? (long)f->done : -EAGAIN);
		AWAIT(wait_on, .queue = &f->pipe->writable, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : -ERESTARTSYS);
	}
	ASYNC_END;
}

static u32 pipe_poll(struct file *file, struct poll_table *table)
{
	struct pipe *pipe = pipe_of(file);
	u32 mask = 0;

	if (table)
		pipe->polled = true;
	if (file->mode & FILE_READ) {
		poll_register(table, &pipe->readable);
		if (pipe->count)
			mask |= EPOLLIN | EPOLLRDNORM;
		if (!pipe->writers && (!pipe->inode || pipe->writer_opens))
			mask |= EPOLLHUP;
	}
	if (file->mode & FILE_WRITE) {
		poll_register(table, &pipe->writable);
		if (pipe->count < pipe->slots)
			mask |= EPOLLOUT | EPOLLWRNORM;
		if (!pipe->readers)
			mask |= EPOLLERR;
	}
	return mask;
}

static size_t pipe_bytes(struct pipe *pipe)
{
	size_t n = 0;

	for (u32 i = 0; i < pipe->count; i++)
		n += pipe_slot(pipe, i)->bytes;
	return n;
}

ASYNC(pipe_ioctl, FILE_IOCTL_ARGS int bytes; struct pipe *pipe;)
{
	ASYNC_BEGIN;
	f->pipe = pipe_of(f->file);
	if (f->command != FIONREAD)
		ASYNC_RETURN(-ENOTTY);
	AWAIT(mutex_lock, .mutex = &f->pipe->mutex);
	f->bytes = (int)pipe_bytes(f->pipe);
	mutex_unlock(&f->pipe->mutex);
	AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->bytes, .n = sizeof(f->bytes));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Counts an end in or out. When the last end of a kind goes, the other side must notice. */
static void pipe_count_end(struct pipe *pipe, u32 file_mode, int change)
{
	spin_lock(&pipe->lock);
	if (file_mode & FILE_READ) {
		pipe->readers += change;
		pipe->reader_opens += change > 0;
	}
	if (file_mode & FILE_WRITE) {
		pipe->writers += change;
		pipe->writer_opens += change > 0;
	}
	pipe->references += change;
	spin_unlock(&pipe->lock);
	wait_wake_poll(&pipe->readable, EPOLLIN | EPOLLHUP);
	wait_wake_poll(&pipe->writable, EPOLLOUT | EPOLLERR);
}

static spinlock_t fifo_lock = SPINLOCK_INIT; /* guards inode->pipe of all FIFOs, and the last reference of a pipe */

static void pipe_close_end(struct pipe *pipe, u32 file_mode)
{
	bool last;

	/* All under the lock: once it is dropped, the one who closes the other end may free the pipe. */
	spin_lock(&fifo_lock);
	last = pipe->references == 1;
	if (last && pipe->inode)
		pipe->inode->pipe = NULL;
	if (!last)
		pipe_count_end(pipe, file_mode, -1);
	spin_unlock(&fifo_lock);
	if (last)
		pipe_free(pipe);
}

ASYNC(pipe_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	if (pipe_of(f->file))
		pipe_close_end(pipe_of(f->file), f->file->mode);
	ASYNC_END;
}

static const struct file_ops pipe_ops = {
	.read = &pipe_read_fn,
	.write = &pipe_write_fn,
	.poll = pipe_poll,
	.ioctl = &pipe_ioctl_fn,
	.release = &pipe_release_fn,
};

/* The pipe of a FIFO's inode, one reference for this opener counted in. NULL without memory. */
static struct pipe *fifo_pipe(struct inode *inode, u32 file_mode)
{
	struct pipe *fresh = pipe_create(), *pipe;

	spin_lock(&fifo_lock);
	if (!inode->pipe && fresh) {
		fresh->inode = inode;
		inode->pipe = fresh;
		fresh = NULL;
	}
	pipe = inode->pipe;
	if (pipe)
		pipe_count_end(pipe, file_mode, 1);
	spin_unlock(&fifo_lock);
	if (fresh)
		pipe_free(fresh);
	return pipe;
}

/*
 * open(2) of a FIFO: readers wait for a writer and the other way round. O_NONBLOCK: a reader goes on, a writer gets
 * ENXIO while nobody reads. A partner that came and went meanwhile counts.
 */
ASYNC(fifo_open, FILE_OPEN_ARGS struct pipe *pipe; u32 ticket; u32 opens;)
{
	ASYNC_BEGIN;
	if ((f->file->mode & (FILE_READ | FILE_WRITE)) == FILE_WRITE &&
		(f->file->flags & O_NONBLOCK) && !(f->inode->pipe && f->inode->pipe->readers) && !(f->inode->state & INODE_ANONYMOUS))
		ASYNC_RETURN(-ENXIO);
	f->pipe = fifo_pipe(f->inode, f->file->mode);
	if (!f->pipe)
		ASYNC_RETURN(-ENOMEM);
	f->file->private = f->pipe;
	f->file->mode &= ~FILE_SEEK;
	if ((f->file->mode & (FILE_READ | FILE_WRITE)) == (FILE_READ | FILE_WRITE) ||
		(f->file->flags & O_NONBLOCK) || (f->inode->state & INODE_ANONYMOUS))
		ASYNC_RETURN(0); /* a plain pipe, through /proc/self/fd, waits for nobody */
	if (f->file->mode & FILE_READ) {
		f->opens = f->pipe->writer_opens;
		for (;;) {
			f->ticket = wait_ticket(&f->pipe->readable);
			if (f->pipe->writers || f->pipe->writer_opens != f->opens)
				ASYNC_RETURN(0);
			AWAIT(wait_on, .queue = &f->pipe->readable, .ticket = f->ticket);
			if (RESULT < 0)
				break;
		}
	} else {
		f->opens = f->pipe->reader_opens;
		for (;;) {
			f->ticket = wait_ticket(&f->pipe->writable);
			if (f->pipe->readers || f->pipe->reader_opens != f->opens)
				ASYNC_RETURN(0);
			AWAIT(wait_on, .queue = &f->pipe->writable, .ticket = f->ticket);
			if (RESULT < 0)
				break;
		}
	}
	pipe_close_end(f->pipe, f->file->mode);
	f->file->private = NULL;
	ASYNC_RETURN(-ERESTARTSYS);
	ASYNC_END;
}

const struct file_ops fifo_ops = {
	.open = &fifo_open_fn,
	.read = &pipe_read_fn,
	.write = &pipe_write_fn,
	.poll = pipe_poll,
	.ioctl = &pipe_ioctl_fn,
	.release = &pipe_release_fn,
};

static bool is_pipe(struct file *file)
{
	return file->ops == &pipe_ops || file->ops == &fifo_ops;
}

long pipe_get_size(struct file *file)
{
	return is_pipe(file) ? (long)(pipe_of(file)->slots * PAGE_SIZE) : -EBADF;
}

long pipe_set_size(struct file *file, u64 bytes)
{
	struct pipe *pipe = pipe_of(file);
	struct pipe_buffer *ring;
	u32 slots = 1;

	if (!is_pipe(file))
		return -EBADF;
	if (bytes > 1ull << 31)
		return -EINVAL;
	while (slots * PAGE_SIZE < bytes)
		slots *= 2;
	if (slots > PIPE_MAX_PAGES && !capable(CAP_SYS_RESOURCE))
		return -EPERM;
	ring = kzalloc(slots * sizeof(ring[0]));
	if (!ring)
		return -ENOMEM;
	/* Somebody who moves bytes just now makes it busy: Linux would wait, and programs retry. */
	if (!mutex_trylock(&pipe->mutex, &current_thread()->task)) {
		kfree(ring);
		return -EBUSY;
	}
	if (pipe->count > slots) {
		mutex_unlock(&pipe->mutex);
		kfree(ring);
		return -EBUSY;
	}
	for (u32 i = 0; i < pipe->count; i++)
		ring[i] = *pipe_slot(pipe, i);
	kfree(pipe->ring);
	pipe->ring = ring;
	pipe->head = 0;
	pipe->slots = slots;
	mutex_unlock(&pipe->mutex);
	wait_wake_poll(&pipe->writable, EPOLLOUT | EPOLLWRNORM);
	return slots * PAGE_SIZE;
}

/* One end as an open file, counted, on the inode of the other if there is one. NULL without memory. */
static struct file *pipe_file(struct pipe *pipe, struct file *other, u32 flags)
{
	struct file *file = other ? file_anonymous_on(other, &pipe_ops, pipe, flags) : file_anonymous("pipe", &pipe_ops, pipe, flags);

	if (!file)
		return NULL;
	/* Through /proc/self/fd it can be opened again, as a FIFO. */
	pipe->inode = file->inode;
	file->inode->pipe = pipe;
	pipe_count_end(pipe, file->mode, 1);
	return file;
}

SYSCALL_ASYNC(pipe2, 2, SYS_ARG(int __user *, fds) SYS_ARG(u32, flags) struct pipe *pipe; struct file *in; struct file *out; int fd[2]; long error;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		ASYNC_RETURN(-EINVAL);
	f->pipe = pipe_create();
	if (!f->pipe)
		ASYNC_RETURN(-ENOMEM);
	f->fd[0] = f->fd[1] = -1;
	f->in = pipe_file(f->pipe, NULL, O_RDONLY | (f->flags & (O_NONBLOCK | O_DIRECT)));
	if (!f->in) {
		pipe_free(f->pipe);
		ASYNC_RETURN(-ENFILE);
	}
	f->out = pipe_file(f->pipe, f->in, O_WRONLY | (f->flags & (O_NONBLOCK | O_DIRECT)));
	f->error = f->out ? 0 : -ENFILE;
	if (!f->error) {
		f->fd[0] = fd_install(f->in, f->flags & O_CLOEXEC);
		f->error = f->fd[0] < 0 ? f->fd[0] : 0;
	}
	if (!f->error) {
		f->fd[1] = fd_install(f->out, f->flags & O_CLOEXEC);
		f->error = f->fd[1] < 0 ? f->fd[1] : 0;
	}
	if (!f->error) {
		AWAIT(copy_out, .to = f->fds, .from = f->fd, .n = sizeof(f->fd));
		f->error = RESULT;
		if (!f->error)
			ASYNC_RETURN(0);
	}
	/* What was installed goes by its descriptor, what was not by its reference. */
	if (f->fd[1] >= 0)
		AWAIT(fd_close, .fd = f->fd[1]);
	else if (f->out)
		AWAIT(file_put, .file = f->out);
	if (f->fd[0] >= 0)
		AWAIT(fd_close, .fd = f->fd[0]);
	else
		AWAIT(file_put, .file = f->in);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
