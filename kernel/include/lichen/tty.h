/* SPDX-License-Identifier: MIT */
/*
 * Terminals: a driver below (virtio console port, pseudo terminal), programs above, the line discipline between.
 *
 *     driver --tty_receive()--> input ring (echo, editing, signals) --read(2)--> program
 *     driver <--ops->write()--- output ring (ONLCR, tabs)           <--write(2)-- program
 *
 * tty->lock (spinlock, interrupts masked) guards all of it. Bytes are copied to and from users outside the lock, through
 * small buffers in the frames.
 */
#ifndef LICHEN_TTY_H
#define LICHEN_TTY_H

#include <lichen/vfs.h>
#include <asm/termbits.h>
#include <asm/termios.h>

#define TTY_RING 4096u /* bytes; a line of input has at most TTY_RING - 1 */

struct tty;

struct tty_ops {
	/* Takes what it has room for and returns how much; called under tty->lock. tty_write_wakeup() when there is room again. */
	size_t (*write)(struct tty *tty, const u8 *bytes, size_t n);
	/* Both may be NULL: first open, last close. */
	void (*open)(struct tty *tty);
	void (*close)(struct tty *tty);
	/* The window size changed from above (TIOCSWINSZ), or NULL. */
	void (*resized)(struct tty *tty);
	/* There is room for input again after tty_hold_back(). Without tty->lock. Or NULL. */
	void (*resume)(struct tty *tty);
};

struct tty_input {
	u8 ring[TTY_RING];
	u64 delimiter[TTY_RING / 64]; /* bit i: ring[i] ends a line (canonical mode) */
	u32 head;	/* next byte in */
	u32 line_start; /* where the line being edited begins: before it, all is readable */
	u32 tail;	/* next byte out */
	bool literal;	/* VLNEXT was typed */
	bool erasing;	/* ECHOPRT is not supported; for kill */
	u32 line_column; /* where the line being edited began on the screen */
};

struct tty {
	spinlock_t lock;
	char name[16];
	dev_t dev;
	const struct tty_ops *ops;
	void *driver;
	_Atomic u32 refcount;
	u32 openers;
	struct termios2 termios;
	struct winsize winsize;
	struct tty_input in;
	u8 out[TTY_RING];
	u32 out_head, out_tail;
	u32 column; /* of the cursor, for tabs and erasing */
	bool stopped;	/* ^S */
	bool held_back; /* the driver keeps input: ops->resume */
	bool hung_up;
	bool exclusive;
	bool packet, master; /* pseudo terminals */
	struct tty *peer;
	pid_t session, group; /* foreground group */
	struct wait_queue readable, writable;
	struct mutex read_lock; /* one reader at a time takes a line */
	struct mutex write_lock; /* a write's bytes stay together */
};

/* A terminal with Linux's initial settings, known as /dev/NAME. NULL without memory. */
struct tty *tty_create(const char *name, dev_t dev, const struct tty_ops *ops, void *driver);
/* Bytes from the device, in any context. What does not fit is dropped with a bell (IMAXBEL), as on any terminal. */
void tty_receive(struct tty *tty, const u8 *bytes, size_t n);
/* Room for input, so that a driver can hold back instead of losing it. A line too long for the ring is never held back, but cut. */
size_t tty_receive_room(struct tty *tty);
/* No room: true, and ops->resume will be called when there is. False: there is room now. Any context but under tty->lock. */
bool tty_hold_back(struct tty *tty);
/* The driver has room again, in any context but under tty->lock. */
void tty_write_wakeup(struct tty *tty);
/* From below: SIGWINCH to the foreground group if it changed. */
void tty_set_size(struct tty *tty, u32 rows, u32 columns);
/* The line is gone: readers get 0, writers EIO, the session SIGHUP. */
void tty_hangup(struct tty *tty);
/* What /dev/console is: the first terminal that says so. */
void tty_set_console(struct tty *tty);

/* --- between tty.c, input.c and output.c --- */
/* Appends output after processing (OPOST): bytes of `bytes` consumed. tty->lock held. */
size_t tty_output(struct tty *tty, const u8 *bytes, size_t n) REQUIRES(tty->lock);
/* Hands the output ring to the driver. */
void tty_push(struct tty *tty) REQUIRES(tty->lock);
u32 tty_output_pending(const struct tty *tty);
/* One byte, unprocessed; dropped if the ring is full (echo). */
void tty_echo_raw(struct tty *tty, u8 byte) REQUIRES(tty->lock);
/* Takes up to n readable bytes; canonical: to the end of one line. *eof: an end of file was taken instead. */
size_t tty_input_take(struct tty *tty, u8 *to, size_t n, bool *line_end) REQUIRES(tty->lock);
bool tty_input_ready(struct tty *tty) REQUIRES(tty->lock);
u32 tty_input_count(struct tty *tty) REQUIRES(tty->lock);
void tty_input_flush(struct tty *tty) REQUIRES(tty->lock);
/* termios changed between canonical and not: what was typed becomes readable, or a line again. */
void tty_input_mode_changed(struct tty *tty, bool was_canonical) REQUIRES(tty->lock);

#endif
