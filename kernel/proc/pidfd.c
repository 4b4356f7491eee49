/* SPDX-License-Identifier: MIT */
/* pidfd_open, pidfd_send_signal, pidfd_getfd: a process by a descriptor, which never comes to mean another one. */
#include "pidfd.h"
#include "proc.h"
#include <lichen/poll.h>
#include <asm/fcntl.h>

#define PIDFD_NONBLOCK O_NONBLOCK

/* Readable once the process has ended. */
static u32 pidfd_poll(struct file *file, struct poll_table *table)
{
	struct process *process = file->private;

	if (table)
		poll_register(table, &process->exited);
	return __atomic_load_n(&process->state, __ATOMIC_ACQUIRE) >= PROCESS_ZOMBIE ? EPOLLIN | EPOLLRDNORM : 0;
}

ASYNC(pidfd_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	process_put(f->file->private);
	ASYNC_END;
}

static void pidfd_show(struct file *file, char *buf, size_t bytes)
{
	struct process *process = file->private;
	int pid = process->state == PROCESS_DEAD ? -1 : process->pid;

	snprintf(buf, bytes, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

static const struct file_ops pidfd_ops = {
	.release = &pidfd_release_fn,
	.poll = pidfd_poll,
	.show = pidfd_show,
};

struct file *pidfd_create(struct process *process, u32 flags)
{
	struct file *file = file_anonymous("[pidfd]", &pidfd_ops, process, O_RDWR | flags);

	if (file)
		process_get(process);
	return file;
}

/* NULL: not a pidfd, or closed. */
static struct file *pidfd_file(int fd)
{
	struct file *file = fd_get(fd);

	if (file && file->ops != &pidfd_ops) {
		file_put_later(file);
		return NULL;
	}
	return file;
}

struct process *pidfd_process(int fd)
{
	struct file *file = pidfd_file(fd);
	struct process *process;

	if (!file)
		return ERR_PTR(-EBADF);
	process = file->private;
	process_get(process);
	file_put_later(file);
	return process;
}

long pidfd_pid(int fd)
{
	struct process *process = pidfd_process(fd);
	long pid;

	if (IS_ERR(process))
		return PTR_ERR(process);
	pid = process->pid;
	process_put(process);
	return pid;
}

SYSCALL(pidfd_open, pid_t, pid, u32, flags)
{
	struct process *process;
	struct thread *thread;
	struct file *file;
	int fd;

	if ((flags & ~PIDFD_NONBLOCK) || pid <= 0)
		return -EINVAL;
	process = process_find(pid);
	if (!process) {
		thread = thread_find(pid);
		if (thread)
			thread_put(thread);
		return thread ? -EINVAL : -ESRCH; /* a thread that does not lead */
	}
	file = pidfd_create(process, flags & PIDFD_NONBLOCK);
	process_put(process);
	if (!file)
		return -ENOMEM;
	fd = fd_install(file, true);
	if (fd < 0)
		file_put_later(file);
	return fd;
}

SYSCALL_ASYNC(pidfd_send_signal, 4, SYS_ARG(int, fd) SYS_ARG(int, signal) SYS_ARG(const siginfo_t __user *, uinfo) SYS_ARG(u32, flags)
	siginfo_t info;)
{
	struct process *process;
	long result;

	ASYNC_BEGIN;
	if (f->flags)
		ASYNC_RETURN(-EINVAL);
	if (f->uinfo)
		COPY_IN(f->info, f->uinfo);
	process = pidfd_process(f->fd);
	if (IS_ERR(process))
		ASYNC_RETURN(PTR_ERR(process));
	result = signal_send_checked(process, f->signal, f->uinfo ? &f->info : NULL);
	process_put(process);
	ASYNC_RETURN(result);
	ASYNC_END;
}

/* A copy of another process's descriptor: what a debugger may do, its user or root. The table, with a reference, or -errno. */
static struct files *pidfd_files(int pidfd)
{
	const struct cred *cred = current_thread()->cred;
	struct process *process = pidfd_process(pidfd);
	struct thread *thread;
	struct files *files;
	bool allowed;

	if (IS_ERR(process))
		return (void *)process;
	thread = process_thread(process);
	process_put(process);
	if (!thread)
		return ERR_PTR(-ESRCH);
	allowed = capable(CAP_SYS_PTRACE) || (cred->uid == thread->cred->uid && cred->uid == thread->cred->euid);
	files = allowed ? thread_files_get(thread) : NULL;
	thread_put(thread);
	return files ? files : ERR_PTR(allowed ? -ESRCH : -EPERM);
}

SYSCALL_ASYNC(pidfd_getfd, 3, SYS_ARG(int, pidfd) SYS_ARG(int, target) SYS_ARG(u32, flags) struct files *files; struct file *file; int fd;)
{
	ASYNC_BEGIN;
	if (f->flags)
		ASYNC_RETURN(-EINVAL);
	f->files = pidfd_files(f->pidfd);
	if (IS_ERR(f->files))
		ASYNC_RETURN(PTR_ERR(f->files));
	f->file = files_file_get(f->files, f->target);
	AWAIT(files_put, .files = f->files);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	f->fd = fd_install(f->file, true);
	if (f->fd < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}
