/* SPDX-License-Identifier: MIT */
/* The first task: unpacks the initramfs and starts PID 1 from it, in a process that nobody forked. */
#include "proc.h"
#include <lichen/boot.h>
#include <lichen/executor.h>
#include <lichen/start.h>
#include <linux/fcntl.h>

static const char *const init_environment[] = {"HOME=/", "TERM=linux", NULL};
static const char *const init_candidates[] = {"/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"};

/* What Linux gives to PID 1 (include/asm-generic/resource.h says the same). */
static void limits_initial(struct rlimit64 *limits)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		limits[i] = (struct rlimit64){RLIM64_INFINITY, RLIM64_INFINITY};
	limits[RLIMIT_STACK].rlim_cur = 8 << 20;
	limits[RLIMIT_CORE].rlim_cur = 0;
	limits[RLIMIT_NOFILE] = (struct rlimit64){1024, 4096};
	limits[RLIMIT_MEMLOCK] = (struct rlimit64){8 << 20, 8 << 20};
	limits[RLIMIT_MSGQUEUE] = (struct rlimit64){819200, 819200};
	limits[RLIMIT_NICE] = (struct rlimit64){0, 0};
	limits[RLIMIT_RTPRIO] = (struct rlimit64){0, 0};
	limits[RLIMIT_SIGPENDING] = (struct rlimit64){8192, 8192};
	limits[RLIMIT_NPROC] = (struct rlimit64){threads_max() / 2, threads_max() / 2};
}

static struct thread *init_thread_create(void)
{
	struct thread *thread = thread_create();
	struct process *process = process_create();
	struct session *session = kzalloc(sizeof(*session));
	struct process_group *group = kzalloc(sizeof(*group));
	unsigned long flags;

	if (!thread || !process || !session || !group)
		return NULL;
	process->actions = signal_actions_create();
	thread->cred = cred_initial();
	thread->files = files_create();
	thread->fs = fs_context_initial();
	if (!process->actions || !thread->cred || !thread->files || !thread->fs)
		return NULL;
	limits_initial(process->limits);
	process->exit_signal = SIGCHLD;
	string_copy(thread->name, sizeof(thread->name), "init");
	flags = spin_lock_irqsave(&process_lock);
	process_insert(process, pid_allocate(), NULL);
	session_begin(process, session, group);
	thread_insert(thread, process, process->pid);
	init_process = process;
	spin_unlock_irqrestore(&process_lock, flags);
	process_put(process);
	return thread;
}

struct init_begin_args {
	const char *path;
	const char *const *argv;
	const char *const *envp;
};

/* Runs as PID 1, before it has a program. */
ASYNC(init_begin, const char *path; const char *const *argv; const char *const *envp; const char *argv0[2]; u32 i; long error;)
{
	ASYNC_BEGIN;
	AWAIT(open_console);
	if (f->path) {
		AWAIT(exec_program, .dirfd = AT_FDCWD, .path = f->path, .kernel_argv = f->argv, .kernel_envp = f->envp);
		if (!RESULT)
			ASYNC_RETURN(0);
		log_err("%s: cannot be executed: error %ld", f->path, -RESULT);
	} else {
		for (f->i = 0; f->i < ARRAY_SIZE(init_candidates); f->i++) {
			f->argv0[0] = init_candidates[f->i];
			AWAIT(exec_program, .dirfd = AT_FDCWD, .path = init_candidates[f->i], .kernel_argv = f->argv0,
				.kernel_envp = f->envp);
			if (!RESULT)
				ASYNC_RETURN(0);
			if (RESULT != -ENOENT)
				log_err("%s: cannot be executed: error %ld", init_candidates[f->i], -RESULT);
		}
	}
	log_err("there is no init program: the machine goes off");
	machine_off();
	ASYNC_END;
}

ASYNC_DEFINE(process_start_init)
{
	struct thread *thread;

	ASYNC_BEGIN;
	thread = init_thread_create();
	if (!thread || !async_prepare(&thread->task, &init_begin_fn,
			       &(struct init_begin_args){f->path, f->argv, f->envp}, sizeof(struct init_begin_args)))
		ASYNC_RETURN(-ENOMEM);
	task_start(&thread->task);
	ASYNC_END;
}

static const char *init_arguments[2];

ASYNC_STATIC(system_begin, long error;);
const struct async_fn system_start_fn = {
	.step = (enum async_poll (*)(struct task *, void *))system_begin_step,
	.name = "system_start",
	.file = __FILE__,
	.frame_size = sizeof(struct system_begin_frame),
};

ASYNC_STATIC_DEFINE(system_begin)
{
	ASYNC_BEGIN;
	if (!boot_initrd.end)
		log_err("no initramfs was given");
	else
		AWAIT(initramfs_unpack, .archive = phys_address(boot_initrd.start), .bytes = boot_initrd.end - boot_initrd.start);
	init_arguments[0] = boot_option("rdinit");
	AWAIT(process_start_init, .path = init_arguments[0], .argv = init_arguments, .envp = init_environment);
	if (RESULT < 0)
		panic("no memory for the first process");
	ASYNC_END;
}
