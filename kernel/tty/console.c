// SPDX-License-Identifier: MIT
/*
 * /dev/console while there is no terminal yet (or none at all): what is written becomes lines of the kernel's log; there is nothing to read.
 * A program that opened it then keeps it so.
 */
#include "console.h"
#include <lichen/printk.h>
#include <lichen/syscall.h>

#define LINE 128

ASYNC(console_log_write, FILE_WRITE_ARGS size_t done; u32 length; char line[LINE];)
{
	ASYNC_BEGIN;
	while (f->from->left) {
		f->length = (u32)kiov_read(f->from, f->line, min_t(size_t, f->from->left, LINE - 1));
		if (!f->length) {
			AWAIT(kiov_fault_in, .iov = f->from, .write = false);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
			continue;
		}
		f->done += f->length;
		f->line[f->length] = 0;
		if (f->line[f->length - 1] == '\n')
			f->line[f->length - 1] = 0;
		log_info("console: %s", f->line);
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(console_log_read, FILE_READ_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(0);
	ASYNC_END;
}

const struct file_ops console_log_ops = {
	.read = &console_log_read_fn,
	.write = &console_log_write_fn,
};
