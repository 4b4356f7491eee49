/* SPDX-License-Identifier: MIT */
/* Record locks, for fcntl(2). */
#ifndef FS_LOCKS_H
#define FS_LOCKS_H

#include "internal.h"

struct lock_wish {
	const void *owner; /* struct files; of OFD locks struct file */
	u64 start, end;	   /* end is the last byte */
	pid_t pid;
	bool ofd, write, unlock, wait;
};

/* 0, -EAGAIN (held by another, and not to wait), -EDEADLK, -ENOLCK, -ERESTARTSYS. */
ASYNC_DECLARE(lock_set, struct inode *inode; const struct lock_wish *wish;);
/* Whether another's lock is in the way: then *wish becomes that one. */
bool lock_test(struct inode *inode, struct lock_wish *wish);

#endif
