/* SPDX-License-Identifier: MIT */
/* Pipes and FIFOs, as far as others need to know them. */
#ifndef LICHEN_PIPE_H
#define LICHEN_PIPE_H

#include <lichen/vfs.h>

struct pipe;

/* The operations of an open FIFO, for the file systems: inode->file_ops of an S_IFIFO inode. */
extern const struct file_ops fifo_ops;
/* fcntl F_GETPIPE_SZ and F_SETPIPE_SZ: bytes, or -EBADF (no pipe), -EBUSY, -EINVAL, -EPERM, -ENOMEM. Never blocks. */
long pipe_get_size(struct file *file);
long pipe_set_size(struct file *file, u64 bytes);

#endif
