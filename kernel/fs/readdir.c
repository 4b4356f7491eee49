// SPDX-License-Identifier: MIT
/* Reading directories: getdents64(2). */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fs.h>

bool dir_emit_dots(struct file *file, struct dir_emit *to)
{
	struct dentry *dentry = file->path.dentry;
	ino_t parent;

	if (to->pos == 0) {
		if (!to->emit(to, ".", 1, file->inode->number, 1, dir_type(S_IFDIR)))
			return false;
		to->pos = 1;
	}
	if (to->pos == 1) {
		spin_lock(&dcache_lock);
		parent = dentry->parent->inode->number;
		spin_unlock(&dcache_lock);
		if (!to->emit(to, "..", 2, parent, 2, dir_type(S_IFDIR)))
			return false;
		to->pos = 2;
	}
	return true;
}

/* struct linux_dirent64, which the uapi headers leave out: getdents(2). */
struct dirent64 {
	u64 d_ino;
	s64 d_off;
	u16 d_reclen;
	u8 d_type;
	char d_name[];
};

struct getdents {
	struct dir_emit emit;
	char __user *at; /* where the next one goes */
	size_t left;
	size_t wanted; /* of the entry that did not fit */
	bool fault;    /* it did fit, but memory was not there */
};

static bool getdents_emit(struct dir_emit *to, const char *name, u32 length, ino_t ino, u64 next_pos, u8 type)
{
	struct getdents *g = container_of(to, struct getdents, emit);
	u32 bytes = align_up(offsetof(struct dirent64, d_name) + length + 1, 8);
	struct dirent64 head = {.d_ino = ino, .d_off = (s64)next_pos, .d_reclen = (u16)bytes, .d_type = type};
	char __user *text = g->at + offsetof(struct dirent64, d_name);
	size_t room = bytes - offsetof(struct dirent64, d_name);
	char padded[8] = "";
	u32 whole = length & ~7u;

	g->wanted = bytes;
	if (bytes > g->left)
		return false;
	/* The name in words, its tail filled with zeroes. */
	memcpy(padded, name + whole, length - whole);
	if (copy_to_user(g->at, &head, offsetof(struct dirent64, d_name)) || (whole && copy_to_user(text, name, whole)) ||
		copy_to_user(text + whole, padded, min(sizeof(padded), room - whole))) {
		g->fault = true;
		return false;
	}
	g->at += bytes;
	g->left -= bytes;
	return true;
}

SYSCALL_ASYNC(getdents64, 3, SYS_ARG(int, number) SYS_ARG(char __user *, buf) SYS_ARG(u32, bytes) struct fd_use fd; struct getdents to; long error;)
{
	struct file *file = f->fd.file;

	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	file = f->fd.file;
	f->error = 0;
	if (!file->ops->readdir)
		f->error = -ENOTDIR;
	else if (!user_range_ok(f->buf, f->bytes))
		f->error = -EFAULT;
	if (f->error)
		goto out;
	f->to.emit.emit = getdents_emit;
	f->to.at = f->buf;
	f->to.left = f->bytes;
	if (!mutex_trylock(&file->pos_lock, self))
		AWAIT(mutex_lock, .mutex = &f->fd.file->pos_lock);
	for (;;) {
		file = f->fd.file;
		INODE_LOCK_READ(file->inode);
		f->to.emit.pos = f->fd.file->pos;
		f->to.fault = false;
		if (f->fd.file->inode->nlink)
			AWAIT_OP(f->fd.file->ops->readdir, file_readdir, .file = f->fd.file, .to = &f->to.emit);
		else
			RESULT = -ENOENT; /* was removed */
		f->error = RESULT;
		f->fd.file->pos = f->to.emit.pos;
		INODE_UNLOCK_READ(f->fd.file->inode);
		if (!f->to.fault || f->to.at != f->buf)
			break;
		AWAIT(fault_in, .address = f->buf, .n = min(f->bytes, 2 * PAGE_SIZE), .write = true);
		if (RESULT < 0) {
			f->error = RESULT;
			break;
		}
	}
	file = f->fd.file;
	mutex_unlock(&file->pos_lock);
	file_accessed(file);
	if (f->to.at != f->buf)
		f->error = f->to.at - f->buf;
	else if (!f->error && f->to.wanted > f->bytes)
		f->error = -EINVAL;
out:
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
