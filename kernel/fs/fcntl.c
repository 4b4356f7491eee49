// SPDX-License-Identifier: MIT
/* fcntl(2) and ioctl(2): what is the same for all files. */
#include "locks.h"
#include <lichen/pipe.h>
#include <lichen/syscall.h>
#include <linux/fs.h>
#include <asm/ioctls.h>

/* What F_SETFL may change. */
#define SETTABLE (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | FASYNC)

/* --- locks --- */
/* What struct flock says, as bytes from the file's beginning: 0, -EINVAL or -EOVERFLOW. */
static long wish_of(struct file *file, const struct flock *lock, struct lock_wish *wish)
{
	s64 start = lock->l_start, base = 0, end;

	if (lock->l_whence == SEEK_CUR)
		base = (s64)file->pos;
	else if (lock->l_whence == SEEK_END)
		base = (s64)file->inode->size;
	else if (lock->l_whence != SEEK_SET)
		return -EINVAL;
	if (__builtin_add_overflow(base, start, &start))
		return -EOVERFLOW;
	if (start < 0)
		return -EINVAL;
	if (lock->l_len > 0) {
		if (__builtin_add_overflow(start, lock->l_len - 1, &end))
			return -EOVERFLOW;
	} else if (lock->l_len < 0) {
		if (start + lock->l_len < 0)
			return -EINVAL;
		end = start - 1;
		start += lock->l_len;
	} else {
		end = INT64_MAX;
	}
	wish->start = (u64)start;
	wish->end = (u64)end;
	if (lock->l_type == F_UNLCK)
		wish->unlock = true;
	else if (lock->l_type == F_WRLCK)
		wish->write = true;
	else if (lock->l_type != F_RDLCK)
		return -EINVAL;
	return 0;
}

ASYNC(fcntl_lock, struct file *file; u32 command; struct flock __user *argument; struct flock lock; struct lock_wish wish;)
{
	struct thread *thread = thread_of(self);
	bool get;
	long error;

	ASYNC_BEGIN;
	AWAIT(copy_in, .to = &f->lock, .from = f->argument, .n = sizeof(f->lock));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	error = wish_of(f->file, &f->lock, &f->wish);
	if (error)
		ASYNC_RETURN(error);
	f->wish.ofd = f->command >= F_OFD_GETLK;
	if (f->wish.ofd && f->lock.l_pid)
		ASYNC_RETURN(-EINVAL);
	f->wish.owner = f->wish.ofd ? (const void *)f->file : (const void *)thread->files;
	f->wish.pid = thread->process->pid;
	f->wish.wait = f->command == F_SETLKW || f->command == F_OFD_SETLKW;
	get = f->command == F_GETLK || f->command == F_OFD_GETLK;
	if (!get) {
		/* The kind of lock must fit how the file is open. */
		if (!f->wish.unlock && !(f->file->mode & (f->wish.write ? FILE_WRITE : FILE_READ)))
			ASYNC_RETURN(-EBADF);
		AWAIT(lock_set, .inode = f->file->inode, .wish = &f->wish);
		ASYNC_RETURN(RESULT);
	}
	if (f->wish.unlock && !f->wish.ofd)
		ASYNC_RETURN(-EINVAL);
	if (!f->wish.unlock && lock_test(f->file->inode, &f->wish)) {
		f->lock.l_type = f->wish.write ? F_WRLCK : F_RDLCK;
		f->lock.l_whence = SEEK_SET;
		f->lock.l_start = (s64)f->wish.start;
		f->lock.l_len = f->wish.end == INT64_MAX ? 0 : (s64)(f->wish.end - f->wish.start + 1);
		f->lock.l_pid = f->wish.pid;
	} else {
		f->lock.l_type = F_UNLCK;
	}
	AWAIT(copy_out, .to = f->argument, .from = &f->lock, .n = sizeof(f->lock));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- flags and owners --- */
static long set_flags(struct file *file, u32 flags)
{
	if (((flags ^ file->flags) & O_NOATIME) && (flags & O_NOATIME) && !inode_owned(file->inode))
		return -EPERM;
	if ((flags & O_DIRECT) && !(file->flags & O_DIRECT) && !S_ISREG(file->inode->mode) && !S_ISBLK(file->inode->mode) && !S_ISFIFO(file->inode->mode))
		return -EINVAL;
	file->flags = (file->flags & ~(u32)SETTABLE) | (flags & SETTABLE);
	return 0;
}

static long set_owner(struct file *file, s64 id)
{
	if (id > 0) {
		struct process *process = process_find((pid_t)id);

		if (!process)
			return -ESRCH;
		process_put(process);
	} else if (id < -INT32_MAX) {
		return -EINVAL;
	}
	file->owner = (pid_t)id;
	return 0;
}

ASYNC(owner_ex, struct file *file; u32 command; struct f_owner_ex __user *argument; struct f_owner_ex owner;)
{
	ASYNC_BEGIN;
	if (f->command == F_GETOWN_EX) {
		f->owner.type = f->file->owner < 0 ? F_OWNER_PGRP : F_OWNER_PID;
		f->owner.pid = f->file->owner < 0 ? -f->file->owner : f->file->owner;
		AWAIT(copy_out, .to = f->argument, .from = &f->owner, .n = sizeof(f->owner));
		ASYNC_RETURN(RESULT);
	}
	AWAIT(copy_in, .to = &f->owner, .from = f->argument, .n = sizeof(f->owner));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if ((u32)f->owner.type > F_OWNER_PGRP)
		ASYNC_RETURN(-EINVAL);
	ASYNC_RETURN(set_owner(f->file, f->owner.type == F_OWNER_PGRP ? -f->owner.pid : f->owner.pid));
	ASYNC_END;
}

/* F_GET_RW_HINT and its like: remembered by nobody, as for file systems that ignore it. */
ASYNC(rw_hint, u64 __user *argument; bool get; u64 hint;)
{
	ASYNC_BEGIN;
	if (f->get) {
		AWAIT(copy_out, .to = f->argument, .from = &f->hint, .n = sizeof(f->hint));
		ASYNC_RETURN(RESULT);
	}
	AWAIT(copy_in, .to = &f->hint, .from = f->argument, .n = sizeof(f->hint));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	ASYNC_RETURN(f->hint > RWH_WRITE_LIFE_EXTREME ? -EINVAL : 0);
	ASYNC_END;
}

/* The commands that never wait; -ENOTTY: it is none of them. */
static long simple_command(struct file *file, int fd, u32 command, u64 argument)
{
	switch (command) {
	case F_GETFD:
		return fd_flags_get(fd);
	case F_SETFD:
		fd_flags_set(fd, argument & FD_CLOEXEC);
		return 0;
	case F_GETFL:
		return file->flags;
	}
	if (file->mode & FILE_PATH)
		return -EBADF;
	switch (command) {
	case F_SETFL:
		return set_flags(file, (u32)argument);
	case F_GETOWN:
		return file->owner;
	case F_SETOWN:
		return set_owner(file, (s32)argument);
	case F_GETSIG:
		return file->owner_signal;
	case F_SETSIG:
		if (argument > 64)
			return -EINVAL;
		file->owner_signal = (u32)argument;
		return 0;
	case F_GETLEASE:
		return F_UNLCK;
	case F_SETLEASE:
		return argument == F_UNLCK ? -EAGAIN : -EINVAL;
	case F_NOTIFY:
		return S_ISDIR(file->inode->mode) ? (argument ? -EINVAL : 0) : -ENOTDIR;
	case F_GETPIPE_SZ:
		return pipe_get_size(file);
	case F_SETPIPE_SZ:
		return pipe_set_size(file, argument);
	case F_ADD_SEALS:
		return memfd_add_seals(file, (u32)argument);
	case F_GET_SEALS:
		return memfd_get_seals(file);
	}
	return -ENOTTY;
}

static bool is_lock_command(u32 command)
{
	return command == F_GETLK || command == F_SETLK || command == F_SETLKW || command == F_OFD_GETLK ||
		command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

SYSCALL_ASYNC(fcntl, 3, SYS_ARG(int, number) SYS_ARG(u32, command) SYS_ARG(u64, argument) struct fd_use fd; long result;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin_any(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	if (f->command == F_DUPFD || f->command == F_DUPFD_CLOEXEC) {
		if (f->argument >= limit_get(RLIMIT_NOFILE)) {
			f->result = -EINVAL;
		} else {
			AWAIT(fd_duplicate, .fd = f->number, .minimum = (int)f->argument, .cloexec = f->command == F_DUPFD_CLOEXEC);
			f->result = RESULT;
		}
		goto out;
	}
	f->result = simple_command(f->fd.file, f->number, f->command, f->argument);
	if (f->result != -ENOTTY)
		goto out;
	f->result = -EINVAL;
	if (is_lock_command(f->command))
		AWAIT(fcntl_lock, .file = f->fd.file, .command = f->command, .argument = (struct flock __user *)f->argument);
	else if (f->command == F_GETOWN_EX || f->command == F_SETOWN_EX)
		AWAIT(owner_ex, .file = f->fd.file, .command = f->command, .argument = (struct f_owner_ex __user *)f->argument);
	else if (f->command >= F_GET_RW_HINT && f->command <= F_SET_FILE_RW_HINT)
		AWAIT(rw_hint, .argument = (u64 __user *)f->argument, .get = f->command == F_GET_RW_HINT || f->command == F_GET_FILE_RW_HINT);
	else
		goto out;
	f->result = RESULT;
out:
	FD_END(f->fd);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* --- ioctl --- */
/* What every file has. -ENOTTY: not one of these. */
ASYNC(generic_ioctl, struct file *file; int fd; u32 command; u64 argument; int value; long available;)
{
	ASYNC_BEGIN;
	if (f->command == FIOCLEX || f->command == FIONCLEX) {
		fd_flags_set(f->fd, f->command == FIOCLEX);
		ASYNC_RETURN(0);
	}
	if (f->command == FIONBIO || f->command == FIOASYNC) {
		AWAIT(copy_in, .to = &f->value, .from = (const void __user *)f->argument, .n = sizeof(f->value));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if (f->command == FIONBIO)
			f->file->flags = (f->file->flags & ~(u32)O_NONBLOCK) | (f->value ? O_NONBLOCK : 0);
		else if (f->value)
			ASYNC_RETURN(-ENOTTY); /* no file here sends SIGIO */
		ASYNC_RETURN(0);
	}
	if (f->command == FIOQSIZE && (S_ISREG(f->file->inode->mode) || S_ISDIR(f->file->inode->mode) || S_ISLNK(f->file->inode->mode))) {
		f->available = (long)f->file->inode->size;
		AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->available, .n = sizeof(f->available));
		ASYNC_RETURN(RESULT);
	}
	if (f->command == FIONREAD && S_ISREG(f->file->inode->mode)) {
		f->value = (int)(f->file->inode->size - f->file->pos);
		AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->value, .n = sizeof(f->value));
		ASYNC_RETURN(RESULT);
	}
	if (f->command == FIGETBSZ && !(f->file->inode->state & INODE_ANONYMOUS)) {
		f->value = (int)f->file->inode->sb->block_size;
		AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->value, .n = sizeof(f->value));
		ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(-ENOTTY);
	ASYNC_END;
}

SYSCALL_ASYNC(ioctl, 3, SYS_ARG(int, number) SYS_ARG(u32, command) SYS_ARG(u64, argument) struct fd_use fd; long result;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->result = -ENOTTY;
	/* 'T' and 'f' numbers: those of terminals are not ours. */
	AWAIT(generic_ioctl, .file = f->fd.file, .fd = f->number, .command = f->command, .argument = f->argument);
	f->result = RESULT;
	if (f->result == -ENOTTY && f->fd.file->ops->ioctl) {
		AWAIT_OP(f->fd.file->ops->ioctl, file_ioctl, .file = f->fd.file, .command = f->command, .argument = f->argument);
		f->result = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}
