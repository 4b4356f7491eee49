// SPDX-License-Identifier: MIT
/* The devices that are only software: null, zero, full, random, urandom, kmsg. */
#include "internal.h"
#include <lichen/irq.h>
#include <linux/major.h>
#include <linux/fs.h>
#include <linux/random.h>

ASYNC(null_read, FILE_READ_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_END;
}

ASYNC(null_write, FILE_WRITE_ARGS size_t n;)
{
	ASYNC_BEGIN;
	f->n = f->from->left;
	kiov_skip(f->from, f->n);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

ASYNC(full_write, FILE_WRITE_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(f->from->left ? -ENOSPC : 0);
	ASYNC_END;
}

ASYNC(zero_read, FILE_READ_ARGS size_t done; size_t n;)
{
	ASYNC_BEGIN;
	while (f->to->left) {
		f->n = kiov_zero(f->to, min(f->to->left, PAGE_SIZE));
		f->done += f->n;
		if (f->n < PAGE_SIZE && f->to->left) {
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		if (task_should_yield(self)) {
			if (task_signalled(self))
				break;
			AWAIT(task_yield);
		}
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(random_read, FILE_READ_ARGS size_t done; u32 at; u32 have; u8 bytes[128];)
{
	u32 n;

	ASYNC_BEGIN;
	while (f->to->left) {
		if (f->at == f->have) {
			f->have = (u32)min(f->to->left, sizeof(f->bytes));
			f->at = 0;
			random_bytes(f->bytes, f->have);
		}
		n = (u32)kiov_write(f->to, f->bytes + f->at, f->have - f->at);
		f->at += n;
		f->done += n;
		if (f->at < f->have) {
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		if (task_should_yield(self)) {
			if (task_signalled(self))
				break;
			AWAIT(task_yield);
		}
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(random_write, FILE_WRITE_ARGS size_t done; u8 bytes[128];)
{
	size_t want, n;

	ASYNC_BEGIN;
	while (f->from->left) {
		want = min(f->from->left, sizeof(f->bytes));
		n = kiov_read(f->from, f->bytes, want);
		random_add(f->bytes, n, 0);
		f->done += n;
		if (n < want) {
			AWAIT(kiov_fault_in, .iov = f->from);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		if (task_should_yield(self)) {
			if (task_signalled(self))
				break;
			AWAIT(task_yield);
		}
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(random_ioctl, FILE_IOCTL_ARGS int bits;)
{
	ASYNC_BEGIN;
	if (f->command != RNDGETENTCNT)
		ASYNC_RETURN(f->command == RNDADDTOENTCNT || f->command == RNDADDENTROPY ? -EPERM : -ENOTTY);
	f->bits = 256;
	AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->bits, .n = sizeof(f->bits));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Any position is as good as another. */
static s64 null_seek(struct file *file, s64 offset, int whence)
{
	return 0;
}

ASYNC(memory_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	f->file->mode |= FILE_SEEK;
	ASYNC_END;
}

/* --- kmsg: each read gives a record "priority,sequence,microseconds,-;text\n" --- */
struct kmsg {
	u64 pos, sequence;
};

ASYNC(kmsg_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	f->file->private = kzalloc(sizeof(struct kmsg));
	ASYNC_RETURN(f->file->private ? 0 : -ENOMEM);
	ASYNC_END;
}

ASYNC(kmsg_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	kfree(f->file->private);
	ASYNC_END;
}

/* "<6>[   12.345678] text": the priority, the microseconds, and where the text begins. */
static u64 kmsg_parse(const char *line, u32 *priority, const char **text)
{
	u64 value = 0;
	const char *p = line;

	*text = line;
	*priority = LOG_INFO;
	if (p[0] == '<' && p[1] >= '0' && p[1] <= '7' && p[2] == '>') {
		*priority = (u32)(p[1] - '0');
		p += 3;
		*text = p;
	}
	if (*p++ != '[')
		return 0;
	for (; *p == ' ' || *p == '.' || (*p >= '0' && *p <= '9'); p++)
		if (*p >= '0' && *p <= '9')
			value = value * 10 + (u64)(*p - '0');
	if (*p++ != ']')
		return 0;
	*text = *p == ' ' ? p + 1 : p;
	return value;
}

#define KMSG_LOOK_AGAIN (100 * 1000000ull) /* ns: the log wakes nobody, it is written in any context */

ASYNC(kmsg_read, FILE_READ_ARGS char *line; char *record; size_t n; size_t done;)
{
	struct kmsg *kmsg = f->file->private;
	const char *text;
	char *end;
	u64 pos, time;
	u32 priority;

	ASYNC_BEGIN;
	f->line = kmalloc(2048);
	if (!f->line)
		ASYNC_RETURN(-ENOMEM);
	f->record = f->line + 1024;
	for (;;) {
		pos = kmsg->pos;
		f->n = log_read(&pos, f->line, 1000);
		if (f->n)
			break;
		RESULT = -EAGAIN;
		if (!(f->file->flags & O_NONBLOCK))
			AWAIT(sleep_until, .deadline = time_monotonic() + KMSG_LOOK_AGAIN);
		if (RESULT) {
			kfree(f->line);
			ASYNC_RETURN(RESULT);
		}
	}
	end = memchr(f->line, '\n', f->n);
	if (!end)
		end = f->line + f->n;
	*end = 0;
	kmsg->pos = pos - f->n + min(f->n, (size_t)(end - f->line) + 1);
	time = kmsg_parse(f->line, &priority, &text);
	f->n = (size_t)snprintf(f->record, 1024, "%u,%llu,%llu,-;%s\n", priority, (unsigned long long)kmsg->sequence++, (unsigned long long)time, text);
	if (f->n > f->to->left) {
		kfree(f->line);
		ASYNC_RETURN(-EINVAL);
	}
	for (;;) {
		f->done += kiov_write(f->to, f->record + f->done, f->n - f->done);
		if (f->done == f->n)
			break;
		AWAIT(kiov_fault_in, .iov = f->to, .write = true);
		if (RESULT < 0)
			break;
	}
	kfree(f->line);
	ASYNC_RETURN(f->done == f->n ? (long)f->n : -EFAULT);
	ASYNC_END;
}

ASYNC(kmsg_write, FILE_WRITE_ARGS size_t n; size_t done; char *line;)
{
	const char *text;

	ASYNC_BEGIN;
	f->n = min(f->from->left, 1000ul);
	f->line = kmalloc(f->n + 1);
	if (!f->line)
		ASYNC_RETURN(-ENOMEM);
	for (;;) {
		f->done += kiov_read(f->from, f->line + f->done, f->n - f->done);
		if (f->done == f->n)
			break;
		AWAIT(kiov_fault_in, .iov = f->from);
		if (RESULT < 0)
			break;
	}
	if (f->done < f->n) {
		kfree(f->line);
		ASYNC_RETURN(-EFAULT);
	}
	f->line[f->n] = 0;
	text = f->line;
	if (text[0] == '<' && strchr(text, '>'))
		text = strchr(text, '>') + 1;
	if (f->n && f->line[f->n - 1] == '\n')
		f->line[f->n - 1] = 0;
	log_info("%s", text);
	kfree(f->line);
	f->n += f->from->left;
	kiov_skip(f->from, f->from->left);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

static s64 kmsg_seek(struct file *file, s64 offset, int whence)
{
	struct kmsg *kmsg = file->private;
	char byte;

	if (offset)
		return -ESPIPE;
	if (whence == SEEK_SET) {
		kmsg->pos = 0;
	} else if (whence == SEEK_END) {
		while (log_read(&kmsg->pos, &byte, 1))
			;
	} else if (whence != SEEK_DATA) {
		return -EINVAL;
	}
	return 0;
}

static const struct file_ops null_ops = {.open = &memory_open_fn, .read = &null_read_fn, .write = &null_write_fn, .seek = null_seek};
static const struct file_ops zero_ops = {.open = &memory_open_fn, .read = &zero_read_fn, .write = &null_write_fn, .seek = null_seek};
static const struct file_ops full_ops = {.open = &memory_open_fn, .read = &zero_read_fn, .write = &full_write_fn, .seek = null_seek};
static const struct file_ops random_ops = {.open = &memory_open_fn, .read = &random_read_fn, .write = &random_write_fn, .ioctl = &random_ioctl_fn, .seek = null_seek};
static const struct file_ops kmsg_ops = {.open = &kmsg_open_fn, .release = &kmsg_release_fn, .read = &kmsg_read_fn, .write = &kmsg_write_fn, .seek = kmsg_seek};

void memdev_init(void);
void memdev_init(void)
{
	static const struct {
		const char *name;
		u32 minor;
		const struct file_ops *ops;
		mode_t mode;
	} list[] = {
		{"null", 3, &null_ops, 0666},
		{"zero", 5, &zero_ops, 0666},
		{"full", 7, &full_ops, 0666},
		{"random", 8, &random_ops, 0666},
		{"urandom", 9, &random_ops, 0666},
		{"kmsg", 11, &kmsg_ops, 0644},
	};

	for (u32 i = 0; i < ARRAY_SIZE(list); i++)
		if (device_register(list[i].name, S_IFCHR | list[i].mode, MAKE_DEV(MEM_MAJOR, list[i].minor), list[i].ops, NULL))
			panic("no memory for /dev/%s", list[i].name);
}
