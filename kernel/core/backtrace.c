/* SPDX-License-Identifier: MIT */
/*
 * Async backtraces: of any task, at any time, from any CPU. A task that runs meanwhile may give a torn picture, never a
 * fault: each frame is checked before it is read.
 */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/printk.h>
#include <lichen/task.h>

static const char *const state_names[] = {"queued", "running", "notified", "blocked", "dead"};

static const char *task_name(struct task *task)
{
	if (task->flags & TASK_THREAD)
		return debug_thread_name(task);
	return task->name ? task->name : "?";
}

size_t task_backtrace(struct task *task, char *buf, size_t bytes)
{
	struct async_frame *frame = task->async.top;
	size_t n = 0;

	if (bytes)
		buf[0] = '\0';
	for (int depth = 0; frame && depth < 64; depth++) {
		struct async_frame *caller;
		const struct async_fn *fn;

		if (!debug_arch_readable(frame, sizeof(*frame)))
			break;
		fn = frame->fn;
		caller = frame->caller;
		if (!debug_arch_constant(fn, sizeof(*fn)))
			break;
		n += (size_t)snprintf(buf + n, bytes - n, "%s (%s:%u)\n", fn->name, fn->file, frame->resume & ~ASYNC_RETRY);
		if (n >= bytes)
			return bytes ? bytes - 1 : 0;
		frame = caller;
	}
	return n;
}

static void show(struct task *task, void *arg)
{
	static char trace[1024]; /* under task_for_each's lock */
	char *line = trace;

	log_info("task %p %s: %s on CPU %u", (void *)task, task_name(task),
		state_names[min(task->state, (u32)TASK_DEAD)], task->cpu);
	task_backtrace(task, trace, sizeof(trace));
	for (char *p = trace; *p; p++) {
		if (*p != '\n')
			continue;
		*p = '\0';
		log_info("    %s", line);
		line = p + 1;
	}
}

void debug_show_tasks(void)
{
	task_for_each(show, NULL);
}
