// SPDX-License-Identifier: MIT
/*
 * Moving bytes from file to file in the kernel: sendfile(2), copy_file_range(2), splice(2). They go through a buffer: the point
 * of these calls here is that programs need no memory and no crossings for it.
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fs.h>

#define CHUNK (16 * PAGE_SIZE)
#define MOVE_MAX 0x7ffff000ul
#define SPLICE_F_MOVE_     1u /* of splice(2); the uapi headers have them not */
#define SPLICE_F_NONBLOCK_ 2u
#define SPLICE_F_ALL_	   15u

/*
 * Up to n bytes. Positions: NULL for streams. Bytes moved, or -errno if none. At a short write the source's position counts only
 * what was written; bytes taken out of a stream have nowhere to go back to, so streams are read only as far as can be written at once.
 */
ASYNC(move_bytes, struct file *from; u64 *from_pos; struct file *to; u64 *to_pos; size_t n; u32 flags; char *buffer; size_t done; size_t have; size_t written; long error; struct kiov iov;)
{
	ASYNC_BEGIN;
	f->buffer = kmalloc(CHUNK);
	if (!f->buffer)
		ASYNC_RETURN(-ENOMEM);
	while (f->done < f->n) {
		kiov_init_kernel(&f->iov, f->buffer, min(f->n - f->done, CHUNK));
		/* Having moved something is reason enough not to wait for more. */
		AWAIT_OP(f->from->ops->read, file_read, .file = f->from, .to = &f->iov, .pos = f->from_pos ? *f->from_pos : 0,
			.flags = f->flags | (f->done && !f->from_pos ? RWF_NOWAIT : 0));
		f->error = RESULT;
		if (f->error <= 0)
			break;
		f->have = (size_t)f->error;
		f->written = 0;
		while (f->written < f->have) {
			kiov_init_kernel(&f->iov, f->buffer + f->written, f->have - f->written);
			AWAIT_OP(f->to->ops->write, file_write, .file = f->to, .from = &f->iov, .pos = f->to_pos ? *f->to_pos : 0);
			f->error = RESULT;
			if (f->error <= 0)
				break;
			f->written += (size_t)f->error;
			if (f->to_pos)
				*f->to_pos += (u64)f->error;
		}
		if (f->from_pos)
			*f->from_pos += f->written;
		f->done += f->written;
		if (f->written < f->have)
			break;
		if (task_should_yield(self)) {
			if (task_signalled(self))
				break;
			AWAIT(task_yield);
		}
	}
	kfree(f->buffer);
	if (f->done)
		NOTIFY_FILE(f->to, IN_MODIFY);
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}

static long check_ends(const struct file *from, const struct file *to)
{
	if (!(from->mode & FILE_READ) || !(to->mode & FILE_WRITE))
		return -EBADF;
	if (S_ISDIR(from->inode->mode) || S_ISDIR(to->inode->mode))
		return -EINVAL;
	if (!from->ops->read || !to->ops->write)
		return -EINVAL;
	return 0;
}

SYSCALL_ASYNC(sendfile, 4, SYS_ARG(int, to_fd) SYS_ARG(int, from_fd) SYS_ARG(s64 __user *, offset) SYS_ARG(size_t, count)
	struct fd_use from; struct fd_use to; u64 pos; u64 to_pos; long n;)
{
	ASYNC_BEGIN;
	if (f->offset) {
		AWAIT(copy_in, .to = &f->pos, .from = f->offset, .n = sizeof(f->pos));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if ((s64)f->pos < 0)
			ASYNC_RETURN(-EINVAL);
	}
	f->from = fd_begin(self, f->from_fd);
	if (!f->from.file)
		ASYNC_RETURN(-EBADF);
	f->to = fd_begin(self, f->to_fd);
	f->n = -EBADF;
	if (!f->to.file)
		goto out_from;
	f->n = check_ends(f->from.file, f->to.file);
	if (!f->n && f->offset && !(f->from.file->mode & FILE_SEEK))
		f->n = -ESPIPE;
	if (!f->n && (f->to.file->flags & O_APPEND))
		f->n = -EINVAL;
	if (f->n)
		goto out_to;
	if (!f->offset)
		f->pos = f->from.file->pos;
	f->to_pos = f->to.file->pos;
	AWAIT(move_bytes, .from = f->from.file, .from_pos = f->from.file->mode & FILE_SEEK ? &f->pos : NULL, .to = f->to.file,
		.to_pos = f->to.file->mode & FILE_SEEK ? &f->to_pos : NULL, .n = min(f->count, MOVE_MAX));
	f->n = RESULT;
	if (f->n > 0) {
		if (f->to.file->mode & FILE_SEEK)
			f->to.file->pos = f->to_pos;
		if (!f->offset)
			f->from.file->pos = f->pos;
	}
out_to:
	FD_END(f->to);
out_from:
	FD_END(f->from);
	if (f->n >= 0 && f->offset) {
		AWAIT(copy_out, .to = f->offset, .from = &f->pos, .n = sizeof(f->pos));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

/* The offsets that a program gave (NULL: none) take the place of the files' positions; 0 or -EFAULT. */
ASYNC(positions_in, const s64 __user *from_offset; const s64 __user *to_offset; u64 *from_pos; u64 *to_pos;)
{
	ASYNC_BEGIN;
	if (f->from_offset) {
		AWAIT(copy_in, .to = f->from_pos, .from = f->from_offset, .n = sizeof(u64));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->to_offset) {
		AWAIT(copy_in, .to = f->to_pos, .from = f->to_offset, .n = sizeof(u64));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

/* And back, moved. */
ASYNC(positions_out, s64 __user *from_offset; s64 __user *to_offset; const u64 *from_pos; const u64 *to_pos;)
{
	ASYNC_BEGIN;
	if (f->from_offset) {
		AWAIT(copy_out, .to = f->from_offset, .from = f->from_pos, .n = sizeof(u64));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->to_offset) {
		AWAIT(copy_out, .to = f->to_offset, .from = f->to_pos, .n = sizeof(u64));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

/* 0, or why bytes can't be copied so. */
static long check_copy(const struct file *from, const struct file *to, u64 from_pos, u64 to_pos, size_t *n)
{
	struct inode *in = from->inode, *out = to->inode;

	if (!(from->mode & FILE_READ) || !(to->mode & FILE_WRITE) || (to->flags & O_APPEND))
		return -EBADF;
	if (S_ISDIR(in->mode) || S_ISDIR(out->mode))
		return -EISDIR;
	if (!S_ISREG(in->mode) || !S_ISREG(out->mode))
		return -EINVAL;
	if (in->sb->fs != out->sb->fs)
		return -EXDEV;
	if (from_pos + *n < from_pos || to_pos + *n < to_pos)
		return -EOVERFLOW;
	*n = from_pos >= in->size ? 0 : min(*n, in->size - from_pos);
	if (in == out && to_pos + *n > from_pos && to_pos < from_pos + *n)
		return -EINVAL;
	return 0;
}

SYSCALL_ASYNC(copy_file_range, 6, SYS_ARG(int, from_fd) SYS_ARG(s64 __user *, from_offset) SYS_ARG(int, to_fd) SYS_ARG(s64 __user *, to_offset)
	SYS_ARG(size_t, count) SYS_ARG(u32, flags) struct fd_use from; struct fd_use to; u64 from_pos; u64 to_pos; long n;)
{
	ASYNC_BEGIN;
	if (f->flags)
		ASYNC_RETURN(-EINVAL);
	f->from = fd_begin(self, f->from_fd);
	if (!f->from.file)
		ASYNC_RETURN(-EBADF);
	f->to = fd_begin(self, f->to_fd);
	f->n = -EBADF;
	if (!f->to.file)
		goto out_from;
	f->from_pos = f->from.file->pos;
	f->to_pos = f->to.file->pos;
	AWAIT(positions_in, .from_offset = f->from_offset, .to_offset = f->to_offset, .from_pos = &f->from_pos, .to_pos = &f->to_pos);
	f->n = RESULT;
	f->count = min(f->count, MOVE_MAX);
	if (!f->n)
		f->n = check_copy(f->from.file, f->to.file, f->from_pos, f->to_pos, &f->count);
	if (!f->n && f->count) {
		AWAIT(move_bytes, .from = f->from.file, .from_pos = &f->from_pos, .to = f->to.file, .to_pos = &f->to_pos, .n = f->count);
		f->n = RESULT;
	}
	if (f->n > 0 && !f->from_offset)
		f->from.file->pos = f->from_pos;
	if (f->n > 0 && !f->to_offset)
		f->to.file->pos = f->to_pos;
	if (f->n > 0) {
		AWAIT(positions_out, .from_offset = f->from_offset, .to_offset = f->to_offset, .from_pos = &f->from_pos, .to_pos = &f->to_pos);
		if (RESULT < 0)
			f->n = RESULT;
	}
	FD_END(f->to);
out_from:
	FD_END(f->from);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

SYSCALL_ASYNC(splice, 6, SYS_ARG(int, from_fd) SYS_ARG(s64 __user *, from_offset) SYS_ARG(int, to_fd) SYS_ARG(s64 __user *, to_offset)
	SYS_ARG(size_t, count) SYS_ARG(u32, flags) struct fd_use from; struct fd_use to; u64 from_pos; u64 to_pos; long n;)
{
	ASYNC_BEGIN;
	if (f->flags & ~SPLICE_F_ALL_)
		ASYNC_RETURN(-EINVAL);
	if (!f->count)
		ASYNC_RETURN(0);
	f->from = fd_begin(self, f->from_fd);
	if (!f->from.file)
		ASYNC_RETURN(-EBADF);
	f->to = fd_begin(self, f->to_fd);
	f->n = -EBADF;
	if (!f->to.file)
		goto out_from;
	f->n = check_ends(f->from.file, f->to.file);
	if (f->n)
		;
	else if (!S_ISFIFO(f->from.file->inode->mode) && !S_ISFIFO(f->to.file->inode->mode))
		f->n = -EINVAL;
	else if ((f->from_offset && !(f->from.file->mode & FILE_SEEK)) || (f->to_offset && !(f->to.file->mode & FILE_SEEK)))
		f->n = -ESPIPE;
	else if (f->to.file->flags & O_APPEND)
		f->n = -EINVAL;
	f->from_pos = f->from.file->pos;
	f->to_pos = f->to.file->pos;
	if (!f->n) {
		AWAIT(positions_in, .from_offset = f->from_offset, .to_offset = f->to_offset, .from_pos = &f->from_pos, .to_pos = &f->to_pos);
		f->n = RESULT;
	}
	if (!f->n) {
		AWAIT(move_bytes, .from = f->from.file, .from_pos = f->from.file->mode & FILE_SEEK ? &f->from_pos : NULL, .to = f->to.file,
			.to_pos = f->to.file->mode & FILE_SEEK ? &f->to_pos : NULL, .n = min(f->count, CHUNK), .flags = f->flags & SPLICE_F_NONBLOCK_ ? RWF_NOWAIT : 0);
		f->n = RESULT;
		if (f->n > 0 && !f->from_offset && (f->from.file->mode & FILE_SEEK))
			f->from.file->pos = f->from_pos;
		if (f->n > 0 && !f->to_offset && (f->to.file->mode & FILE_SEEK))
			f->to.file->pos = f->to_pos;
	}
	if (f->n > 0) {
		AWAIT(positions_out, .from_offset = f->from_offset, .to_offset = f->to_offset, .from_pos = &f->from_pos, .to_pos = &f->to_pos);
		if (RESULT < 0)
			f->n = RESULT;
	}
	FD_END(f->to);
out_from:
	FD_END(f->from);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}
