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

static void set_owner(struct tty *tty, pid_t session, pid_t group)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);

	tty->session = session;
	tty->group = group;
	spin_unlock_irqrestore(&tty->lock, flags);
}

long tty_attach(struct tty *tty, struct process *process)
{
	long error = session_set_tty(process, tty);

	if (!error)
		set_owner(tty, process_session_id(process), process_group_id(process));
	return error;
}

void tty_detach(struct tty *tty)
{
	session_clear_tty(tty);
	set_owner(tty, 0, 0);
}

void tty_session_ended(struct tty *tty, pid_t session)
{
	pid_t group = tty->group;

	if (tty->session != session)
		return;
	tty_detach(tty);
	if (group) {
		signal_send_group(group, SIGHUP, NULL);
		signal_send_group(group, SIGCONT, NULL);
	}
}
