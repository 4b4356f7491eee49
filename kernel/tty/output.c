// SPDX-License-Identifier: MIT
/* The line discipline, downwards: bytes of programs, and echo, become bytes for the device. */
#include <lichen/poll.h>
#include <lichen/process.h>
#include <lichen/tty.h>

static bool oflag(const struct tty *tty, u32 flag)
{
	return (tty->termios.c_oflag & OPOST) && (tty->termios.c_oflag & flag);
}

static u32 out_room(const struct tty *tty)
{
	return TTY_RING - (tty->out_head - tty->out_tail);
}

u32 tty_output_pending(const struct tty *tty)
{
	return tty->out_head - tty->out_tail;
}

static void out_put(struct tty *tty, u8 c)
{
	tty->out[tty->out_head++ % TTY_RING] = c;
}

void tty_echo_raw(struct tty *tty, u8 byte)
{
	if (out_room(tty))
		out_put(tty, byte);
}

void tty_push(struct tty *tty)
{
	while (!tty->stopped && tty_output_pending(tty)) {
		u32 at = tty->out_tail % TTY_RING;
		u32 n = min(tty_output_pending(tty), TTY_RING - at);
		size_t taken = tty->ops->write(tty, tty->out + at, n);

		tty->out_tail += (u32)taken;
		if (taken < n)
			break;
	}
}

/* One byte with its processing; false if there is no room for all that it becomes. */
static bool output_byte(struct tty *tty, u8 c)
{
	if (out_room(tty) < 8)
		return false;
	switch (c) {
	case '\n':
		if (oflag(tty, ONLCR)) {
			out_put(tty, '\r');
			tty->column = 0;
		} else if (oflag(tty, ONLRET)) {
			tty->column = 0;
		}
		break;
	case '\r':
		if (oflag(tty, ONOCR) && !tty->column)
			return true;
		if (oflag(tty, OCRNL))
			c = '\n';
		if (c == '\r' || oflag(tty, ONLRET))
			tty->column = 0;
		break;
	case '\t': {
		u32 spaces = 8 - tty->column % 8;

		tty->column += spaces;
		if (oflag(tty, TABDLY) && (tty->termios.c_oflag & TABDLY) == XTABS) {
			while (spaces--)
				out_put(tty, ' ');
			return true;
		}
		break;
	}
	case '\b':
		if (tty->column)
			tty->column--;
		break;
	default:
		if (oflag(tty, OLCUC) && c >= 'a' && c <= 'z')
			c -= 32;
		if (c >= 32 && c != 127 &&
			!((tty->termios.c_iflag & IUTF8) && (c & 0xc0) == 0x80))
			tty->column++;
	}
	out_put(tty, c);
	return true;
}

size_t tty_output(struct tty *tty, const u8 *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && output_byte(tty, bytes[done]))
		done++;
	return done;
}

void tty_write_wakeup(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool room;

	tty_push(tty);
	room = out_room(tty) > TTY_RING / 4;
	spin_unlock_irqrestore(&tty->lock, flags);
	if (room)
		wait_wake_poll(&tty->writable, EPOLLOUT | EPOLLWRNORM);
}
