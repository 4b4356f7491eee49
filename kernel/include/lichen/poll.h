/* SPDX-License-Identifier: MIT */
/*
 * Readiness: how poll, select and epoll hear of changes. A file's poll operation names the wait queues that will be woken
 * (poll_register in vfs.h); the table decides what is hung into them.
 */
#ifndef LICHEN_POLL_H
#define LICHEN_POLL_H

#include <lichen/vfs.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/types.h>

struct poll_table {
	/* Hangs a waiter into the queue; on failure sets `error`. */
	void (*add)(struct poll_table *table, struct wait_queue *queue);
	long error;
};

/* The mask of a file now; registers if table is not NULL. A file without a poll operation is always ready. */
u32 file_poll(struct file *file, struct poll_table *table);
/* Takes a file out of every epoll that watches it: file.c, when the last reference goes, before its release operation. */
void epoll_file_released(struct file *file);

/* Internal read/write flag beside RWF_*: EPIPE without SIGPIPE (sockets' MSG_NOSIGNAL, io in kernel tasks). */
#define RWF_NOSIGNAL_ 0x80000000u

/* The deadline of a relative timespec: 0 or -EINVAL; a NULL timeout is no deadline (0). A zero timeout becomes 1, always past. */
struct timespec64_;
long poll_deadline(s64 sec, s64 nsec, nsec_t *deadline);

#endif
