// SPDX-License-Identifier: MIT
#include "ioctl.h"
#include "job_control.h"
#include <lichen/poll.h>
#include <lichen/process.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <asm/ioctls.h>

static const u32 baud_rates[] = {0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
static const u32 more_baud_rates[] = {57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000,
	1500000, 2000000, 2500000, 3000000, 3500000, 4000000};

/* The speed that c_cflag's Bnnn names; 0 keeps what is there (BOTHER). */
static u32 baud_of(u32 cflag)
{
	u32 code = cflag & CBAUD;

	if (code < ARRAY_SIZE(baud_rates))
		return baud_rates[code];
	code -= CBAUDEX + 1;
	return code < ARRAY_SIZE(more_baud_rates) ? more_baud_rates[code] : 0;
}

static void tty_get_termios(struct tty *tty, struct termios2 *to)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);

	*to = tty->termios;
	spin_unlock_irqrestore(&tty->lock, flags);
}

static void tty_set_termios(struct tty *tty, const struct termios2 *from, bool has_speeds, bool flush_input)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool canonical = tty->termios.c_lflag & ICANON;
	struct termios2 new_termios = *from;

	if (!has_speeds || (from->c_cflag & CBAUD) != BOTHER)
		new_termios.c_ispeed = new_termios.c_ospeed = baud_of(from->c_cflag);
	if (flush_input)
		tty_input_flush(tty);
	tty->termios = new_termios;
	if (canonical != !!(new_termios.c_lflag & ICANON))
		tty_input_mode_changed(tty, canonical);
	if (!(new_termios.c_iflag & IXON) && tty->stopped) {
		tty->stopped = false;
		tty_push(tty);
	}
	spin_unlock_irqrestore(&tty->lock, flags);
	wait_wake_poll(&tty->readable, EPOLLIN | EPOLLRDNORM);
}

static void tty_flush(struct tty *tty, bool input, bool output)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);

	if (input)
		tty_input_flush(tty);
	if (output)
		tty->out_tail = tty->out_head;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (output)
		wait_wake_poll(&tty->writable, EPOLLOUT | EPOLLWRNORM);
}

static void tty_flow(struct tty *tty, bool stop)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);

	tty->stopped = stop;
	tty_push(tty);
	spin_unlock_irqrestore(&tty->lock, flags);
	wait_wake_poll(&tty->writable, EPOLLOUT | EPOLLWRNORM);
}

static int tty_count_input(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	int n = (int)tty_input_count(tty);

	spin_unlock_irqrestore(&tty->lock, flags);
	return n;
}

/* TIOCSCTTY: `steal` takes the terminal from another session, which root may. */
static long tty_make_controlling(struct tty *tty, struct process *process, bool steal)
{
	if (session_tty(process) == tty)
		return 0;
	if (tty->session) {
		if (!steal || !capable(CAP_SYS_ADMIN))
			return -EPERM;
		tty_detach(tty);
	}
	return tty_attach(tty, process);
}

static bool group_exists(pid_t group)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	bool found = group_find_locked(group);

	spin_unlock_irqrestore(&process_lock, flags);
	return found;
}

static long tty_set_group(struct tty *tty, struct process *process, pid_t group)
{
	if (session_tty(process) != tty || tty->session != process_session_id(process))
		return -ENOTTY;
	if (group < 0)
		return -EINVAL;
	if (!group_exists(group))
		return -ESRCH;
	if (!group_in_session(group, tty->session))
		return -EPERM;
	tty->group = group;
	return 0;
}

/* TIOCNOTTY: the leader takes the terminal from its whole session. */
static long tty_give_up(struct tty *tty, struct process *process)
{
	if (session_tty(process) != tty)
		return -ENOTTY;
	if (process_session_id(process) == process->pid)
		tty_session_ended(tty, process->pid);
	return 0;
}

/* Those that change a terminal a background group may not use unasked (POSIX 11.1.4). */
static bool changes_terminal(u32 command)
{
	return command == TCSETS || command == TCSETSW || command == TCSETSF || command == TCSETS2 ||
	       command == TCSETSW2 || command == TCSETSF2 || command == TIOCSPGRP ||
	       command == TCSBRK || command == TCSBRKP || command == TCXONC || command == TCFLSH;
}

static bool waits_for_output(u32 command)
{
	return command == TCSETSW || command == TCSETSF || command == TCSETSW2 ||
	       command == TCSETSF2 || command == TCSBRK || command == TCSBRKP;
}

/* Bytes of user memory that a command reads before it acts. */
static size_t argument_in(u32 command)
{
	switch (command) {
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		return sizeof(struct termios);
	case TCSETS2:
	case TCSETSW2:
	case TCSETSF2:
		return sizeof(struct termios2);
	case TIOCSWINSZ:
		return sizeof(struct winsize);
	case TIOCSPGRP:
	case TIOCSETD:
		return sizeof(int);
	case TIOCSTI:
		return 1;
	default:
		return 0;
	}
}

/* And that it gives back. */
static size_t argument_out(u32 command)
{
	switch (command) {
	case TCGETS:
		return sizeof(struct termios);
	case TCGETS2:
		return sizeof(struct termios2);
	case TIOCGWINSZ:
		return sizeof(struct winsize);
	case TIOCGPGRP:
	case TIOCGSID:
	case TIOCINQ:
	case TIOCOUTQ:
	case TIOCGETD:
	case TIOCGEXCL:
	case TIOCGSOFTCAR:
		return sizeof(int);
	default:
		return 0;
	}
}

static long tty_command(struct tty_ioctl_frame *f, struct process *process)
{
	struct tty *tty = f->tty;

	switch (f->command) {
	case TCGETS:
	case TCGETS2:
		tty_get_termios(tty, &f->arg.termios);
		return 0;
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		tty_set_termios(tty, &f->arg.termios, false, f->command == TCSETSF);
		return 0;
	case TCSETS2:
	case TCSETSW2:
	case TCSETSF2:
		tty_set_termios(tty, &f->arg.termios, true, f->command == TCSETSF2);
		return 0;
	case TIOCGWINSZ:
		f->arg.winsize = tty->winsize;
		return 0;
	case TIOCSWINSZ:
		tty->winsize.ws_xpixel = f->arg.winsize.ws_xpixel;
		tty->winsize.ws_ypixel = f->arg.winsize.ws_ypixel;
		tty_set_size(tty, f->arg.winsize.ws_row, f->arg.winsize.ws_col);
		if (tty->ops->resized)
			tty->ops->resized(tty);
		return 0;
	case TIOCGPGRP:
		if (session_tty(process) != tty)
			return -ENOTTY;
		f->arg.number = tty->group;
		return 0;
	case TIOCSPGRP:
		return tty_set_group(tty, process, f->arg.number);
	case TIOCGSID:
		if (session_tty(process) != tty)
			return -ENOTTY;
		f->arg.number = tty->session;
		return 0;
	case TIOCSCTTY:
		return tty_make_controlling(tty, process, f->argument == 1);
	case TIOCNOTTY:
		return tty_give_up(tty, process);
	case TIOCINQ:
		f->arg.number = tty_count_input(tty);
		return 0;
	case TIOCOUTQ:
		f->arg.number = (int)tty_output_pending(tty);
		return 0;
	case TCFLSH:
		if (f->argument > TCIOFLUSH)
			return -EINVAL;
		tty_flush(tty, f->argument != TCOFLUSH, f->argument != TCIFLUSH);
		return 0;
	case TCXONC:
		if (f->argument == TCOOFF || f->argument == TCOON) {
			tty_flow(tty, f->argument == TCOOFF);
			return 0;
		}
		return f->argument <= TCION ? 0 : -EINVAL;
	case TCSBRK:
	case TCSBRKP:
		return 0; /* drained; no line on which to send a break */
	case TIOCSTI:
		if (session_tty(process) != tty && !capable(CAP_SYS_ADMIN))
			return -EPERM;
		tty_receive(tty, &f->arg.byte, 1);
		return 0;
	case TIOCGETD:
		f->arg.number = 0; /* N_TTY */
		return 0;
	case TIOCSETD:
		return f->arg.number == 0 ? 0 : -EINVAL;
	case TIOCEXCL:
		tty->exclusive = true;
		return 0;
	case TIOCNXCL:
		tty->exclusive = false;
		return 0;
	case TIOCGEXCL:
		f->arg.number = tty->exclusive;
		return 0;
	case TIOCGSOFTCAR:
		f->arg.number = !!(tty->termios.c_cflag & CLOCAL);
		return 0;
	case TIOCVHANGUP:
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		tty_hangup(tty);
		return 0;
	default:
		return -ENOTTY;
	}
}

ASYNC_DEFINE(tty_ioctl)
{
	ASYNC_BEGIN;
	f->tty = f->file->private;
	if (f->tty->hung_up)
		ASYNC_RETURN(-EIO);
	if (changes_terminal(f->command)) {
		RESULT = tty_job_control(f->tty, SIGTTOU);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (argument_in(f->command)) {
		AWAIT(copy_in, .to = &f->arg, .from = (const void __user *)f->argument, .n = argument_in(f->command));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	while (waits_for_output(f->command)) {
		f->ticket = wait_ticket(&f->tty->writable);
		if (!tty_output_pending(f->tty) || f->tty->hung_up)
			break;
		AWAIT(wait_on, .queue = &f->tty->writable, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	f->result = tty_command(f, thread_of(self)->process);
	if (f->result || !argument_out(f->command))
		ASYNC_RETURN(f->result);
	AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->arg, .n = argument_out(f->command));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
