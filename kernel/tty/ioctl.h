/* SPDX-License-Identifier: MIT */
/* ioctl(2) of terminals: ioctl_tty(2) says what they mean. */
#ifndef TTY_IOCTL_H
#define TTY_IOCTL_H

#include <lichen/tty.h>

ASYNC_DECLARE(tty_ioctl, FILE_IOCTL_ARGS struct tty *tty; u32 ticket; union {
	struct termios2 termios;
	struct winsize winsize;
	int number;
	u8 byte;
} arg; long result;);

#endif
