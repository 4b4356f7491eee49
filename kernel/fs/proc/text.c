// SPDX-License-Identifier: MIT
/* Text as nodes of procfs write it, and the files that show it: it is made when the file is read from its beginning. */
#include "proc.h"
#include <linux/fs.h>

#define TEXT_MAX  (4u << 20)
#define STORE_MAX 4095u

char *text_room(struct proc_text *text, size_t n)
{
	size_t room = text->room ? text->room : 1024;
	char *data;

	while (room - text->used < n)
		room *= 2;
	if (room > TEXT_MAX)
		text->failed = true;
	if (text->failed)
		return NULL;
	if (room > text->room) {
		data = kmalloc(room);
		if (!data) {
			text->failed = true;
			return NULL;
		}
		if (text->used)
			memcpy(data, text->data, text->used);
		kfree(text->data);
		text->data = data;
		text->room = room;
	}
	return text->data + text->used;
}

void text_append(struct proc_text *text, const char *data, size_t n)
{
	char *to = text_room(text, n);

	if (to) {
		memcpy(to, data, n);
		text->used += n;
	}
}

void text_printf(struct proc_text *text, const char *format, ...)
{
	va_list args;
	char *to;
	int n;

	for (size_t want = 256;; want = (size_t)n + 1) {
		to = text_room(text, want);
		if (!to)
			return;
		va_start(args, format);
		n = vsnprintf(to, text->room - text->used, format, args);
		va_end(args);
		if ((size_t)n < text->room - text->used)
			break;
	}
	text->used += (size_t)n;
}

void text_decimal(struct proc_text *text, s64 value)
{
	char digits[24], *p = digits + sizeof(digits);
	u64 v = value < 0 ? -(u64)value : (u64)value;

	*--p = ' ';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	if (value < 0)
		*--p = '-';
	text_append(text, p, (size_t)(digits + sizeof(digits) - p));
}

/* --- files --- */
struct open_text {
	struct mutex lock; /* one reader makes the text at a time */
	struct proc_text text;
};

ASYNC(text_open, FILE_OPEN_ARGS)
{
	struct open_text *open;

	ASYNC_BEGIN;
	open = kzalloc(sizeof(*open));
	if (!open)
		ASYNC_RETURN(-ENOMEM);
	mutex_init(&open->lock);
	f->file->private = open;
	ASYNC_END;
}

ASYNC(text_release, FILE_RELEASE_ARGS)
{
	struct open_text *open = f->file->private;

	ASYNC_BEGIN;
	kfree(open->text.data);
	kfree(open);
	ASYNC_END;
}

ASYNC(text_make, struct inode *inode; struct proc_text *text;)
{
	const struct proc_target *target = proc_target_of(f->inode);
	const struct proc_node *node = proc_node_of(f->inode);

	ASYNC_BEGIN;
	f->text->used = 0;
	f->text->failed = false;
	if (target_gone(target))
		ASYNC_RETURN(-ESRCH);
	RESULT = 0;
	if (node->fill)
		AWAIT_OP(node->fill, proc_fill, .text = f->text, .target = target);
	else if (node->show)
		node->show(f->text, target);
	else
		RESULT = -EINVAL;
	ASYNC_RETURN(RESULT ? RESULT : f->text->failed ? -ENOMEM : 0);
	ASYNC_END;
}

ASYNC(text_read, FILE_READ_ARGS struct open_text *open; u64 at; long error;)
{
	struct open_text *open = f->file->private;

	ASYNC_BEGIN;
	AWAIT(mutex_lock, .mutex = &open->lock);
	f->at = f->pos;
	if (!f->pos || !open->text.data) {
		AWAIT(text_make, .inode = f->file->inode, .text = &open->text);
		f->error = RESULT;
	}
	while (!f->error && f->at < open->text.used && f->to->left) {
		f->at += kiov_write(f->to, open->text.data + f->at, min(f->to->left, open->text.used - f->at));
		if (f->at < open->text.used && f->to->left) {
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			f->error = RESULT;
		}
	}
	mutex_unlock(&open->lock);
	ASYNC_RETURN(f->at > f->pos ? (long)(f->at - f->pos) : f->error);
	ASYNC_END;
}

ASYNC(text_write, FILE_WRITE_ARGS char *buffer; size_t n; size_t done; long error;)
{
	const struct proc_target *target = proc_target_of(f->file->inode);
	const struct proc_node *node = proc_node_of(f->file->inode);

	ASYNC_BEGIN;
	if (!node->store)
		ASYNC_RETURN(-EIO);
	f->n = min(f->from->left, (size_t)STORE_MAX);
	f->buffer = kmalloc(f->n + 1);
	if (!f->buffer)
		ASYNC_RETURN(-ENOMEM);
	for (;;) {
		f->done += kiov_read(f->from, f->buffer + f->done, f->n - f->done);
		if (f->done == f->n)
			break;
		AWAIT(kiov_fault_in, .iov = f->from);
		f->error = RESULT;
		if (f->error)
			break;
	}
	if (!f->error && target_gone(target))
		f->error = -ESRCH;
	if (!f->error) {
		f->buffer[f->n] = 0;
		if (f->n && f->buffer[f->n - 1] == '\n' && !node->keep_newline)
			f->buffer[f->n - 1] = 0;
		f->error = node->store(target, f->buffer, strlen(f->buffer));
	}
	kfree(f->buffer);
	ASYNC_RETURN(f->error ? f->error : (long)f->n);
	ASYNC_END;
}

/* Sizes are 0 until the text is made: only the present end is known, and nobody seeks from it. */
static s64 text_seek(struct file *file, s64 offset, int whence)
{
	struct open_text *open = file->private;

	if (whence == SEEK_CUR)
		offset += (s64)file->pos;
	else if (whence == SEEK_END)
		offset += (s64)open->text.used;
	else if (whence != SEEK_SET)
		return -EINVAL;
	return offset < 0 ? -EINVAL : offset;
}

const struct file_ops proc_text_ops = {
	.open = &text_open_fn,
	.release = &text_release_fn,
	.read = &text_read_fn,
	.write = &text_write_fn,
	.seek = text_seek,
};
