// SPDX-License-Identifier: MIT
/*
 * The line discipline, upwards: bytes from the device become lines for programs, with echo, editing and signals (POSIX
 * general terminal interface, chapter 11; where that is silent, as Linux does).
 *
 *        tail           line_start         head
 *     ----|--- readable ----|--- edited ----|------     indexes grow without bound; ring[i % TTY_RING]
 *
 * In non-canonical mode everything is readable at once: line_start follows head.
 */
#include <lichen/printk.h>
#include <lichen/poll.h>
#include <lichen/process.h>
#include <lichen/string.h>
#include <lichen/tty.h>

#define CHAR(tty, name) ((tty)->termios.c_cc[name])
#define DISABLED	0 /* _POSIX_VDISABLE on Linux */

static bool iflag(const struct tty *tty, u32 flag)
{
	return tty->termios.c_iflag & flag;
}

static bool lflag(const struct tty *tty, u32 flag)
{
	return tty->termios.c_lflag & flag;
}

static bool is_char(const struct tty *tty, u8 c, int which)
{
	return CHAR(tty, which) != DISABLED && c == CHAR(tty, which);
}

static u8 *in_at(struct tty *tty, u32 i)
{
	return &tty->in.ring[i % TTY_RING];
}

static bool is_delimiter(const struct tty *tty, u32 i)
{
	return tty->in.delimiter[i % TTY_RING / 64] & BIT(i % 64);
}

static void set_delimiter(struct tty *tty, u32 i, bool on)
{
	u64 *word = &tty->in.delimiter[i % TTY_RING / 64];

	*word = on ? *word | BIT(i % 64) : *word & ~BIT(i % 64);
}

u32 tty_input_count(struct tty *tty)
{
	u32 n = tty->in.line_start - tty->in.tail;

	/* An end-of-file mark is no byte. */
	if (lflag(tty, ICANON)) {
		for (u32 i = tty->in.tail; i != tty->in.line_start; i++)
			n -= is_delimiter(tty, i) && *in_at(tty, i) == DISABLED;
	}
	return n;
}

bool tty_input_ready(struct tty *tty)
{
	if (lflag(tty, ICANON))
		return tty->in.tail != tty->in.line_start;
	return tty->in.line_start - tty->in.tail >=
	       (CHAR(tty, VTIME) ? 1u : max_t(u32, 1, CHAR(tty, VMIN)));
}

void tty_input_flush(struct tty *tty)
{
	tty->in.tail = tty->in.line_start = tty->in.head;
	tty->in.literal = false;
	memset(tty->in.delimiter, 0, sizeof(tty->in.delimiter));
}

void tty_input_mode_changed(struct tty *tty, bool was_canonical)
{
	tty->in.literal = false;
	if (was_canonical && !lflag(tty, ICANON)) {
		memset(tty->in.delimiter, 0, sizeof(tty->in.delimiter));
		tty->in.line_start = tty->in.head;
	} else if (!was_canonical && lflag(tty, ICANON) && tty->in.tail != tty->in.head) {
		/* What was typed ahead counts as a line without an end. */
		tty->in.line_start = tty->in.head;
		set_delimiter(tty, tty->in.head - 1, true);
	}
}

size_t tty_receive_room(struct tty *tty)
{
	/* Nobody can read before the line ends: what is too much of it is dropped. */
	if (lflag(tty, ICANON) && tty->in.tail == tty->in.line_start)
		return TTY_RING;
	return TTY_RING - 1 - (tty->in.head - tty->in.tail);
}

bool tty_hold_back(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&tty->lock);
	bool full = !tty_receive_room(tty);

	tty->held_back |= full;
	spin_unlock_irqrestore(&tty->lock, flags);
	return full;
}

size_t tty_input_take(struct tty *tty, u8 *to, size_t n, bool *line_end)
{
	size_t done = 0;

	*line_end = false;
	while (done < n && tty->in.tail != tty->in.line_start) {
		u32 i = tty->in.tail++;
		bool end = lflag(tty, ICANON) && is_delimiter(tty, i);

		if (is_delimiter(tty, i))
			set_delimiter(tty, i, false);
		if (!end || *in_at(tty, i) != DISABLED)
			to[done++] = *in_at(tty, i);
		if (end) {
			*line_end = true;
			break;
		}
	}
	/* A line that just filled the buffer, with an end-of-file mark behind: the mark belongs to this read. */
	if (done == n && !*line_end && lflag(tty, ICANON) && tty->in.tail != tty->in.line_start &&
		is_delimiter(tty, tty->in.tail) && *in_at(tty, tty->in.tail) == DISABLED) {
		set_delimiter(tty, tty->in.tail++, false);
		*line_end = true;
	}
	return done;
}

/* --- echo --- */

static bool echoes_as_caret(const struct tty *tty, u8 c)
{
	return lflag(tty, ECHOCTL) && (c < 32 || c == 127) && c != '\t' && c != '\n';
}

static void echo(struct tty *tty, u8 c) REQUIRES(tty->lock)
{
	u8 pair[2] = {'^', c ^ 0x40};

	if (echoes_as_caret(tty, c))
		tty_output(tty, pair, 2);
	else
		tty_output(tty, &c, 1);
}

static bool is_continuation(const struct tty *tty, u8 c)
{
	return iflag(tty, IUTF8) && (c & 0xc0) == 0x80;
}

/* Columns that the byte at i takes on the screen, when the cursor stands at `column`. */
static u32 echoed_columns(struct tty *tty, u32 i, u32 column)
{
	u8 c = *in_at(tty, i);

	if (c == '\t')
		return 8 - column % 8;
	if (echoes_as_caret(tty, c))
		return 2;
	return c < 32 || is_continuation(tty, c) ? 0 : 1;
}

static void rub_out(struct tty *tty, u32 columns) REQUIRES(tty->lock)
{
	static const u8 wipe[3] = {'\b', ' ', '\b'};

	while (columns--)
		tty_output(tty, wipe, 3);
}

/* Erases the last character of the line being edited: on the screen too. False at its start. */
static bool erase_one(struct tty *tty) REQUIRES(tty->lock)
{
	struct tty_input *in = &tty->in;
	u32 column = in->line_column, columns, from = in->head;

	if (in->head == in->line_start)
		return false;
	do {
		from--;
	} while (from != in->line_start && is_continuation(tty, *in_at(tty, from)));
	for (u32 i = in->line_start; i != from; i++)
		column += echoed_columns(tty, i, column);
	columns = echoed_columns(tty, from, column);
	in->head = from;
	if (lflag(tty, ECHO) && lflag(tty, ECHOE))
		rub_out(tty, columns);
	else if (lflag(tty, ECHO))
		echo(tty, CHAR(tty, VERASE));
	return true;
}

static bool is_word_byte(u8 c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c >= 128;
}

static void erase_word(struct tty *tty) REQUIRES(tty->lock)
{
	bool in_word = false;

	while (tty->in.head != tty->in.line_start) {
		bool word = is_word_byte(*in_at(tty, tty->in.head - 1));

		if (in_word && !word)
			break;
		in_word |= word;
		erase_one(tty);
	}
}

static void kill_line(struct tty *tty) REQUIRES(tty->lock)
{
	if (lflag(tty, ECHO) && lflag(tty, ECHOK) && !lflag(tty, ECHOKE)) {
		echo(tty, CHAR(tty, VKILL));
		echo(tty, '\n');
		tty->in.head = tty->in.line_start;
		return;
	}
	while (erase_one(tty))
		;
}

static void reprint(struct tty *tty) REQUIRES(tty->lock)
{
	echo(tty, CHAR(tty, VREPRINT));
	tty_output(tty, (const u8 *)"\n", 1);
	tty->in.line_column = 0;
	for (u32 i = tty->in.line_start; i != tty->in.head; i++)
		echo(tty, *in_at(tty, i));
}

/* --- input --- */

static void store(struct tty *tty, u8 c) REQUIRES(tty->lock)
{
	struct tty_input *in = &tty->in;
	/* In canonical mode the last place is kept for the end of the line. */
	u32 room = TTY_RING - (in->head - in->tail);

	if (room <= (lflag(tty, ICANON) ? 1u : 0u)) {
		if (iflag(tty, IMAXBEL))
			tty_echo_raw(tty, '\a');
		return;
	}
	if (in->head == in->line_start)
		in->line_column = tty->column;
	set_delimiter(tty, in->head, false);
	*in_at(tty, in->head++) = c;
	if (!lflag(tty, ICANON))
		in->line_start = in->head;
	if (lflag(tty, ECHO))
		echo(tty, c);
}

/* Ends the line with c (DISABLED: an end of file) and gives it to readers. */
static void end_line(struct tty *tty, u8 c, bool show) REQUIRES(tty->lock)
{
	struct tty_input *in = &tty->in;

	if (in->head - in->tail >= TTY_RING)
		return;
	if (show)
		echo(tty, c);
	*in_at(tty, in->head) = c;
	set_delimiter(tty, in->head, true);
	in->line_start = ++in->head;
	in->line_column = tty->column;
}

/* True if c was a signal character: *signal is to be sent to the foreground group. */
static bool signal_char(struct tty *tty, u8 c, int *signal) REQUIRES(tty->lock)
{
	if (!lflag(tty, ISIG))
		return false;
	if (is_char(tty, c, VINTR))
		*signal = SIGINT;
	else if (is_char(tty, c, VQUIT))
		*signal = SIGQUIT;
	else if (is_char(tty, c, VSUSP))
		*signal = SIGTSTP;
	else
		return false;
	if (!lflag(tty, NOFLSH)) {
		tty_input_flush(tty);
		tty->out_tail = tty->out_head;
	}
	if (lflag(tty, ECHO))
		echo(tty, c);
	return true;
}

/* True if c was an editing character of canonical mode. */
static bool edit_char(struct tty *tty, u8 c) REQUIRES(tty->lock)
{
	if (is_char(tty, c, VERASE))
		erase_one(tty);
	else if (is_char(tty, c, VKILL))
		kill_line(tty);
	else if (lflag(tty, IEXTEN) && is_char(tty, c, VWERASE))
		erase_word(tty);
	else if (lflag(tty, IEXTEN) && lflag(tty, ECHO) && is_char(tty, c, VREPRINT))
		reprint(tty);
	else
		return false;
	return true;
}

/* True if c ended a line. */
static bool line_char(struct tty *tty, u8 c) REQUIRES(tty->lock)
{
	if (c == '\n')
		end_line(tty, c, lflag(tty, ECHO) || lflag(tty, ECHONL));
	else if (is_char(tty, c, VEOF))
		end_line(tty, DISABLED, false);
	else if (is_char(tty, c, VEOL) || (lflag(tty, IEXTEN) && is_char(tty, c, VEOL2)))
		end_line(tty, c, lflag(tty, ECHO));
	else
		return false;
	return true;
}

/* One byte in; *signal is set if the foreground group must get one. */
static void receive(struct tty *tty, u8 c, int *signal) REQUIRES(tty->lock)
{
	if (iflag(tty, ISTRIP))
		c &= 0x7f;
	if (tty->in.literal) {
		tty->in.literal = false;
		store(tty, c);
		return;
	}
	if (iflag(tty, IXON)) {
		if (is_char(tty, c, VSTOP)) {
			tty->stopped = true;
			return;
		}
		if (is_char(tty, c, VSTART) || (tty->stopped && iflag(tty, IXANY))) {
			tty->stopped = false;
			if (is_char(tty, c, VSTART))
				return;
		}
	}
	if (signal_char(tty, c, signal))
		return;
	if (c == '\r') {
		if (iflag(tty, IGNCR))
			return;
		if (iflag(tty, ICRNL))
			c = '\n';
	} else if (c == '\n' && iflag(tty, INLCR)) {
		c = '\r';
	}
	if (iflag(tty, IUCLC) && lflag(tty, IEXTEN) && c >= 'A' && c <= 'Z')
		c += 32;
	if (lflag(tty, ICANON)) {
		if (edit_char(tty, c))
			return;
		if (lflag(tty, IEXTEN) && is_char(tty, c, VLNEXT)) {
			tty->in.literal = true;
			if (lflag(tty, ECHO) && lflag(tty, ECHOCTL)) {
				tty_echo_raw(tty, '^');
				tty_echo_raw(tty, '\b');
			}
			return;
		}
		if (line_char(tty, c))
			return;
	}
	store(tty, c);
}

void tty_receive(struct tty *tty, const u8 *bytes, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned long flags = spin_lock_irqsave(&tty->lock);
		pid_t group = tty->group;
		int signal = 0;
		bool ready;

		while (i < n && !signal)
			receive(tty, bytes[i++], &signal);
		tty_push(tty);
		ready = tty->in.tail != tty->in.line_start;
		spin_unlock_irqrestore(&tty->lock, flags);
		if (signal && group)
			signal_send_group(group, signal, NULL);
		if (signal)
			wait_wake_poll(&tty->writable, EPOLLOUT | EPOLLWRNORM);
		if (ready)
			wait_wake_poll(&tty->readable, EPOLLIN | EPOLLRDNORM);
	}
}
