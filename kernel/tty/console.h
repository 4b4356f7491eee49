/* SPDX-License-Identifier: MIT */
#ifndef TTY_CONSOLE_H
#define TTY_CONSOLE_H

#include <lichen/vfs.h>

/* Operations of a /dev/console that was opened before there was a terminal. */
extern const struct file_ops console_log_ops;

#endif
