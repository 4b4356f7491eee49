/* SPDX-License-Identifier: MIT */
/* Who may use a terminal: sessions, foreground and background groups (POSIX 11.1.4). */
#ifndef TTY_JOB_CONTROL_H
#define TTY_JOB_CONTROL_H

#include <lichen/irq.h>
#include <lichen/tty.h>
#include <linux/capability.h>

struct process;

#define TTY_DEV_CURRENT MAKE_DEV(5, 0) /* /dev/tty */
#define TTY_DEV_CONSOLE MAKE_DEV(5, 1) /* /dev/console */

/*
 * May the running thread use its controlling terminal for what `signal` (SIGTTIN, SIGTTOU) guards? 0; -ERESTARTSYS: a
 * background group, which was sent the signal; -EIO: it can't be stopped (orphaned, or SIGTTIN ignored or blocked).
 */
long tty_job_control(struct tty *tty, int signal);

/* Becomes the controlling terminal of the process's session, its group the foreground: 0, or -EPERM unless it leads a session without one. */
long tty_attach(struct tty *tty, struct process *process);
/* Is nobody's controlling terminal any more. */
void tty_detach(struct tty *tty);

#endif
