/* SPDX-License-Identifier: MIT */
/*
 * When nothing else gives memory back: the process with most of it is killed, with a line in the log. Not PID 1, and nobody
 * while one that was chosen before is still going.
 */
#include "internal.h"
#include <lichen/printk.h>
#include <lichen/process.h>


static u64 size_of(struct mm *mm)
{
	return mm_note_peak(mm) + atomic_load_explicit(&mm->table_pages, memory_order_relaxed);
}

ASYNC_DEFINE(oom_kill)
{
	ASYNC_BEGIN;
	f->process = NULL;
	while ((f->process = process_next(f->pid))) {
		f->pid = f->process->pid;
		if (f->process->group_exiting && f->process->state != PROCESS_ZOMBIE) {
			/* Memory is on its way. */
			process_put(f->process);
			if (f->largest)
				process_put(f->largest);
			ASYNC_RETURN(0);
		}
		f->thread = f->pid == 1 ? NULL : process_thread(f->process);
		f->mm = f->thread ? thread_mm_get(f->thread) : NULL;
		if (f->thread)
			thread_put(f->thread);
		if (f->mm && size_of(f->mm) > f->pages) {
			f->pages = size_of(f->mm);
			if (f->largest)
				process_put(f->largest);
			f->largest = f->process;
			process_get(f->largest);
		}
		if (f->mm)
			AWAIT(mm_put, .mm = f->mm);
		process_put(f->process);
	}
	if (!f->largest) {
		log_err("out of memory, and no process to kill");
		ASYNC_RETURN(0);
	}
	log_err("out of memory: process %d is killed, %llu KiB of memory", (int)f->largest->pid,
		(unsigned long long)f->pages << (PAGE_SHIFT - 10));
	signal_send_process(f->largest, SIGKILL, NULL);
	process_put(f->largest);
	ASYNC_END;
}
