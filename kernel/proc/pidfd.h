/* SPDX-License-Identifier: MIT */
/* Descriptors that stand for processes: pidfd_open(2). */
#ifndef PIDFD_H
#define PIDFD_H

#include <lichen/process.h>

/* A file for it (takes its own reference), or NULL without memory. */
struct file *pidfd_create(struct process *process, u32 flags);
/* The process of a descriptor, with a reference; -EBADF. */
struct process *pidfd_process(int fd);
/* Its pid for waitid: -EBADF. */
long pidfd_pid(int fd);

#endif
