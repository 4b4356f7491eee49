/* SPDX-License-Identifier: MIT */
/* The calls that a VFS makes of ext4, each as one async function: for tests and the fuzzer. */
#ifndef EXT4_CALLS_H
#define EXT4_CALLS_H

#include "shim/shim.h"
#include "shim/fs.h"
#include "../../kernel/fs/ext4/ext4.h"
#include <lichen/irq.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/falloc.h>
#include <linux/fs.h>

/* EXT4_TRACE=1: what is done to files, on standard error. */
#define TELL(...) (getenv("EXT4_TRACE") ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)

extern const struct initcall shim_initcalls_start[] __asm__("__start_initcalls"), shim_initcalls_end[] __asm__("__stop_initcalls");

ASYNC(do_lookup, struct inode *dir; const struct name *name;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->dir->ops->lookup, inode_lookup, .dir = f->dir, .name = f->name);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_create, struct inode *dir; const struct name *name; mode_t mode; const char *target;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->dir->ops->create, inode_create, .dir = f->dir, .name = f->name, .mode = f->mode, .target = f->target, .rdev = MAKE_DEV(8, 3));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_link, struct inode *dir; const struct name *name; struct inode *inode;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->dir->ops->link, inode_link, .dir = f->dir, .name = f->name, .inode = f->inode);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_unlink, struct inode *dir; const struct name *name; struct inode *inode;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->dir->ops->unlink, inode_unlink, .dir = f->dir, .name = f->name, .inode = f->inode);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_rename, struct inode *from_dir; const struct name *from; struct inode *inode; struct inode *to_dir; const struct name *to; struct inode *over; u32 flags;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->from_dir->ops->rename, inode_rename, .from_dir = f->from_dir, .from = f->from, .inode = f->inode, .to_dir = f->to_dir, .to = f->to,
		.over = f->over, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_readlink, struct inode *inode; char *buf; size_t bytes;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->inode->ops->readlink, inode_readlink, .inode = f->inode, .buf = f->buf, .bytes = f->bytes);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_size, struct inode *inode; u64 size; struct attributes attributes;)
{
	ASYNC_BEGIN;
	f->attributes = (struct attributes){.valid = ATTR_SIZE, .size = f->size};
	AWAIT_OP(f->inode->ops->setattr, inode_setattr, .inode = f->inode, .attributes = &f->attributes);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static struct mount mount = {.flags = MS_NOATIME};

ASYNC(do_io, struct inode *inode; bool write; u32 flags; void *buf; size_t n; u64 pos; struct file file; struct kiov iov; size_t done;)
{
	ASYNC_BEGIN;
	f->file = (struct file){.ops = f->inode->file_ops, .inode = f->inode, .flags = f->flags, .path.mount = &mount};
	while (f->done < f->n) {
		kiov_init_kernel(&f->iov, (char *)f->buf + f->done, f->n - f->done);
		if (f->write) {
			AWAIT_OP(f->file.ops->write, file_write, .file = &f->file, .from = &f->iov, .pos = f->pos + f->done);
		} else {
			AWAIT_OP(f->file.ops->read, file_read, .file = &f->file, .to = &f->iov, .pos = f->pos + f->done);
		}
		if (RESULT < 0 && f->done)
			TELL("%s error %ld after %zu\n", f->write ? "write" : "read", RESULT, f->done);
		if (RESULT <= 0)
			ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		f->done += (size_t)RESULT;
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}
ASYNC(do_fsync, struct inode *inode; bool data; struct file file;)
{
	ASYNC_BEGIN;
	f->file = (struct file){.ops = f->inode->file_ops, .inode = f->inode};
	AWAIT_OP(f->file.ops->fsync, file_fsync, .file = &f->file, .start = 0, .end = ~0ull, .data_only = f->data);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_fallocate, struct inode *inode; u32 mode; u64 pos; u64 n; struct file file;)
{
	ASYNC_BEGIN;
	f->file = (struct file){.ops = f->inode->file_ops, .inode = f->inode};
	AWAIT_OP(f->file.ops->fallocate, file_fallocate, .file = &f->file, .mode = f->mode, .pos = f->pos, .n = f->n);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_readdir, struct inode *inode; struct dir_emit *to; struct file file;)
{
	ASYNC_BEGIN;
	f->file = (struct file){.ops = f->inode->file_ops, .inode = f->inode};
	AWAIT_OP(f->file.ops->readdir, file_readdir, .file = &f->file, .to = f->to);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_getxattr, struct inode *inode; const char *key; void *buf; size_t bytes;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->inode->ops->getxattr, inode_getxattr, .inode = f->inode, .key = f->key, .buf = f->buf, .bytes = f->bytes);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_put, struct inode *inode;)
{
	ASYNC_BEGIN;
	AWAIT(inode_put, .inode = f->inode);
	ASYNC_END;
}
ASYNC(do_sync, struct superblock *sb;)
{
	ASYNC_BEGIN;
	AWAIT(inode_sync_all, .sb = f->sb);
	AWAIT_OP(f->sb->fs->sync, fs_sb, .sb = f->sb);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
ASYNC(do_evict, struct superblock *sb;)
{
	ASYNC_BEGIN;
	AWAIT(fs_shrink, .n = 20);
	ASYNC_END;
}
ASYNC(do_idle, u32 n;)
{
	ASYNC_BEGIN;
	for (; f->n; f->n--)
		AWAIT(task_yield);
	ASYNC_END;
}

#endif
