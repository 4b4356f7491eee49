// SPDX-License-Identifier: MIT
#include "job_control.h"
#include <lichen/process.h>
#include <lichen/syscall.h>

long tty_job_control(struct tty *tty, int signal)
{
	struct thread *thread = current_thread();
	pid_t group = process_group_id(thread->process), foreground = tty->group;

	if (session_tty(thread->process) != tty || !foreground || group == foreground)
		return 0;
	if (signal_is_ignored(signal))
		return signal == SIGTTIN ? -EIO : 0;
	if (group_is_orphaned(group))
		return -EIO;
	signal_send_group(group, signal, NULL);
	return -ERESTARTSYS;
}
