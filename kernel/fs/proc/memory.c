// SPDX-License-Identifier: MIT
/* The address space of a process: its arguments, environment, areas, and the memory itself. */
#include "proc.h"
#include <linux/fs.h>

static struct mm *target_mm(const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;

	if (thread)
		thread_put(thread);
	return mm;
}

/* Memory [start, end) of the process, at most 1 MiB. */
ASYNC(append_memory, struct proc_text *text; struct mm *mm; u64 start; u64 end; char *to;)
{
	ASYNC_BEGIN;
	f->end = min(f->end, f->start + (1u << 20));
	while (f->start < f->end) {
		f->to = text_room(f->text, PAGE_SIZE);
		if (!f->to)
			ASYNC_RETURN(-ENOMEM);
		AWAIT(mm_access, .mm = f->mm, .address = f->start, .buffer = f->to, .n = min(PAGE_SIZE, f->end - f->start));
		if (RESULT <= 0)
			break;
		f->text->used += (size_t)RESULT;
		f->start += (u64)RESULT;
	}
	ASYNC_END;
}

ASYNC_DECLARE(cmdline_fill, PROC_FILL_ARGS struct mm *mm;);
ASYNC_DEFINE(cmdline_fill)
{
	ASYNC_BEGIN;
	f->mm = target_mm(f->target);
	if (!f->mm)
		ASYNC_RETURN(0);
	AWAIT(append_memory, .text = f->text, .mm = f->mm, .start = f->mm->arg_start, .end = f->mm->arg_end);
	/* A program that wrote a title over its arguments has no NUL at their end: then it goes on into the environment, up to one. */
	if (f->text->used && f->text->data[f->text->used - 1]) {
		AWAIT(append_memory, .text = f->text, .mm = f->mm, .start = f->mm->env_start, .end = f->mm->env_end);
		f->text->used = strnlen(f->text->data, f->text->used);
	}
	mm_put_later(f->mm);
	ASYNC_END;
}

ASYNC_DECLARE(environ_fill, PROC_FILL_ARGS struct mm *mm;);
ASYNC_DEFINE(environ_fill)
{
	ASYNC_BEGIN;
	if (!may_inspect(f->target))
		ASYNC_RETURN(-EACCES);
	f->mm = target_mm(f->target);
	if (!f->mm)
		ASYNC_RETURN(0);
	AWAIT(append_memory, .text = f->text, .mm = f->mm, .start = f->mm->env_start, .end = f->mm->env_end);
	mm_put_later(f->mm);
	ASYNC_END;
}

void auxv_show(struct proc_text *text, const struct proc_target *target)
{
	struct mm *mm = may_inspect(target) ? target_mm(target) : NULL;
	u32 n = 0;

	if (!mm)
		return;
	while (n + 2 < ARRAY_SIZE(mm->auxv) && mm->auxv[n])
		n += 2;
	text_append(text, (const char *)mm->auxv, (n + 2) * sizeof(u64));
	mm_put_later(mm);
}

/* --- areas --- */
static const char *area_name(const struct mm *mm, const struct vma *vma)
{
	if (vma->name)
		return vma->name;
	if (vma->start <= mm->brk && vma->end > mm->start_brk && mm->brk > mm->start_brk)
		return "[heap]";
	if (vma->start <= mm->start_stack && vma->end >= mm->start_stack)
		return "[stack]";
	return "";
}

static void show_area(struct proc_text *text, const struct mm *mm, const struct vma *vma, char *buffer)
{
	const char *name = "";
	u64 dev = 0, number = 0;
	size_t begin = text->used, head;

	if (vma->file) {
		name = path_name(&vma->file->path, buffer, PAGE_SIZE);
		if (IS_ERR(name))
			name = "?";
		dev = vma->file->inode->sb->dev;
		number = vma->file->inode->number;
	} else {
		name = area_name(mm, vma);
	}
	text_printf(text, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu", (unsigned long long)vma->start, (unsigned long long)vma->end,
		vma->flags & VMA_READ ? 'r' : '-', vma->flags & VMA_WRITE ? 'w' : '-', vma->flags & VMA_EXEC ? 'x' : '-', vma->flags & VMA_SHARED ? 's' : 'p',
		(unsigned long long)(vma->file ? vma->offset : 0), DEV_MAJOR(dev), DEV_MINOR(dev), (unsigned long long)number);
	if (*name) {
		head = text->used - begin;
		text_printf(text, "%*s%s", head < 73 ? 73 - (int)head : 1, "", name);
	}
	text_printf(text, "\n");
}

static bool count_entry(pte_t *entry, u64 address, void *arg)
{
	++*(u64 *)arg;
	return true;
}

/* Pages of an area that are mapped. */
static u64 area_resident(const struct vma *vma)
{
	u64 pages = 0;

	spin_lock(&vma->mm->table_lock);
	pte_walk(vma->mm, vma->start, vma->end, count_entry, &pages);
	spin_unlock(&vma->mm->table_lock);
	return pages;
}

/* The area at or behind an address, shown; where it ends, or 0 after the last. detail: smaps. */
static u64 show_next(struct proc_text *text, struct mm *mm, u64 address, char *buffer, bool detail)
{
	struct vma *vma = vma_find(mm, address);
	u64 kib, resident;

	if (!vma)
		return 0;
	show_area(text, mm, vma, buffer);
	if (detail) {
		kib = (vma->end - vma->start) / 1024;
		resident = area_resident(vma) * (PAGE_SIZE / 1024);
		text_printf(text, "Size:           %8llu kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\nRss:            %8llu kB\nPss:            %8llu kB\n",
			(unsigned long long)kib, (unsigned long long)resident, (unsigned long long)resident);
	}
	return vma->end;
}

ASYNC(show_areas, struct proc_text *text; const struct proc_target *target; bool detail; struct mm *mm; u64 at; char *buffer;)
{
	ASYNC_BEGIN;
	if (!may_inspect(f->target))
		ASYNC_RETURN(-EACCES);
	f->mm = target_mm(f->target);
	if (!f->mm)
		ASYNC_RETURN(0);
	f->buffer = kmalloc(PAGE_SIZE);
	if (!f->buffer) {
		mm_put_later(f->mm);
		ASYNC_RETURN(-ENOMEM);
	}
	AWAIT(rwlock_read, .lock = &f->mm->lock);
	do {
		f->at = show_next(f->text, f->mm, f->at, f->buffer, f->detail);
	} while (f->at && !f->text->failed);
	rwlock_read_unlock(&f->mm->lock);
	kfree(f->buffer);
	mm_put_later(f->mm);
	ASYNC_END;
}

ASYNC_DECLARE(maps_fill, PROC_FILL_ARGS);
ASYNC_DEFINE(maps_fill)
{
	ASYNC_BEGIN;
	AWAIT(show_areas, .text = f->text, .target = f->target);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DECLARE(smaps_fill, PROC_FILL_ARGS);
ASYNC_DEFINE(smaps_fill)
{
	ASYNC_BEGIN;
	AWAIT(show_areas, .text = f->text, .target = f->target, .detail = true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DECLARE(smaps_rollup_fill, PROC_FILL_ARGS);
ASYNC_DEFINE(smaps_rollup_fill)
{
	struct mm *mm;
	u64 resident;

	ASYNC_BEGIN;
	if (!may_inspect(f->target))
		ASYNC_RETURN(-EACCES);
	mm = target_mm(f->target);
	if (!mm)
		ASYNC_RETURN(0);
	resident = mm_note_peak(mm) * 4;
	text_printf(f->text, "%08llx-%08llx ---p 00000000 00:00 0                          [rollup]\nRss:            %8llu kB\nPss:            %8llu kB\nAnonymous:      %8llu kB\n",
		(unsigned long long)mm->start_code, (unsigned long long)mm->start_stack, (unsigned long long)resident, (unsigned long long)resident,
		(unsigned long long)(mm->resident_anon * 4));
	mm_put_later(mm);
	ASYNC_END;
}

/* --- /proc/PID/mem --- */
ASYNC(mem_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	if (!may_inspect(proc_target_of(f->inode)))
		ASYNC_RETURN(-EACCES);
	f->file->private = target_mm(proc_target_of(f->inode));
	ASYNC_END;
}

ASYNC(mem_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	if (f->file->private)
		AWAIT(mm_put, .mm = f->file->private);
	ASYNC_END;
}

/* Both directions, a page at a time through a buffer: iov is whose bytes come or go. */
ASYNC(mem_move, struct mm *mm; struct kiov *iov; u64 pos; bool write; char *buffer; size_t done; size_t n; size_t at; long error;)
{
	ASYNC_BEGIN;
	if (!f->mm)
		ASYNC_RETURN(0);
	f->buffer = kmalloc(PAGE_SIZE);
	if (!f->buffer)
		ASYNC_RETURN(-ENOMEM);
	while (f->iov->left && !f->error) {
		f->n = min(f->iov->left, PAGE_SIZE);
		f->at = 0;
		while (f->write && f->at < f->n && !f->error) {
			f->at += kiov_read(f->iov, f->buffer + f->at, f->n - f->at);
			if (f->at < f->n) {
				AWAIT(kiov_fault_in, .iov = f->iov);
				f->error = RESULT;
			}
		}
		if (f->error)
			break;
		AWAIT(mm_access, .mm = f->mm, .address = f->pos + f->done, .buffer = f->buffer, .n = f->n, .write = f->write);
		if (RESULT <= 0) {
			f->error = -EIO;
			break;
		}
		f->n = (size_t)RESULT;
		while (!f->write && f->at < f->n && !f->error) {
			f->at += kiov_write(f->iov, f->buffer + f->at, f->n - f->at);
			if (f->at < f->n) {
				AWAIT(kiov_fault_in, .iov = f->iov, .write = true);
				f->error = RESULT;
			}
		}
		f->done += f->n;
		if (task_should_yield(self)) {
			if (task_signalled(self) && f->done)
				break;
			AWAIT(task_yield);
		}
	}
	kfree(f->buffer);
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}

ASYNC(mem_read, FILE_READ_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(mem_move, .mm = f->file->private, .iov = f->to, .pos = f->pos);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(mem_write, FILE_WRITE_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(mem_move, .mm = f->file->private, .iov = f->from, .pos = f->pos, .write = true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static s64 mem_seek(struct file *file, s64 offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += (s64)file->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	return offset;
}

const struct file_ops proc_mem_ops = {.open = &mem_open_fn, .release = &mem_release_fn, .read = &mem_read_fn, .write = &mem_write_fn, .seek = mem_seek};
