/* SPDX-License-Identifier: MIT */
/*
 * execve: a thread gets a new program. Everything that can fail is done first, on the side: the files are opened and checked,
 * the arguments copied, the new address space built with all its mappings and its stack filled. Only then, at the point of no
 * return, do the other threads end and the old address space go; nothing fails after it. So a bad file loses nothing.
 *
 *     open -> script? (again with its interpreter) -> ELF headers -> arguments -> new mm -> | -> others end -> switch
 */
#include "exec.h"
#include <linux/signal.h>
#include <linux/auxvec.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/personality.h>

#define EXEC_DEPTH    5
#define ARGUMENTS_MAX (4u << 20)
#define STRING_MAX    131072u

static void exec_free_buffers(struct exec *e)
{
	kfree(e->headers);
	kfree(e->interpreter_headers);
	kfree(e->interpreter_path);
	kfree(e->prefix);
	kfree(e->args.buffer);
	kfree(e->path);
	kfree(e->original_path);
	if (e->cred)
		cred_put(e->cred);
	if (e->actions)
		signal_actions_put(e->actions);
	kfree(e);
}

ASYNC(exec_cleanup, struct exec *e;)
{
	ASYNC_BEGIN;
	if (f->e->file)
		AWAIT(file_put, .file = f->e->file);
	if (f->e->interpreter)
		AWAIT(file_put, .file = f->e->interpreter);
	if (f->e->mm)
		AWAIT(mm_put, .mm = f->e->mm);
	if (f->e->files)
		AWAIT(files_put, .files = f->e->files);
	exec_free_buffers(f->e);
	ASYNC_END;
}

/* --- the file --- */

ASYNC(exec_open, int dirfd; const char *path; u32 flags; struct file *at; long opened;)
{
	ASYNC_BEGIN;
	if (!*f->path && (f->flags & AT_EMPTY_PATH)) {
		f->at = fd_get_any(f->dirfd);
		if (!f->at)
			ASYNC_RETURN(-EBADF);
		AWAIT(file_open_path, .path = &f->at->path, .flags = O_RDONLY | OPEN_EXEC);
		f->opened = RESULT;
		AWAIT(file_put, .file = f->at);
		ASYNC_RETURN(f->opened);
	}
	AWAIT(file_open, .dirfd = f->dirfd, .name = f->path,
		.flags = O_RDONLY | OPEN_EXEC | (f->flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static char *line_end(char *from, char *end)
{
	for (; from < end && *from != '\n' && *from; from++)
		;
	return from;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * "#! interpreter [argument]": what the interpreter is called with goes before the arguments. 0, or -ENOEXEC; e->path is then
 * the interpreter's.
 */
static long exec_script(struct exec *e)
{
	char *start = e->header + 2, *limit = e->header + e->header_bytes, *end = line_end(start, limit), *name_end, *argument;
	bool cut = end == limit && e->header_bytes == sizeof(e->header);
	char *path, *prefix;
	size_t name, extra, bytes;

	while (start < end && is_blank(*start))
		start++;
	for (name_end = start; name_end < end && !is_blank(*name_end); name_end++)
		;
	/* A name that the buffer cuts off would be another name. */
	if (name_end == start || (cut && name_end == end))
		return -ENOEXEC;
	for (argument = name_end; argument < end && is_blank(*argument); argument++)
		;
	while (end > argument && is_blank(end[-1]))
		end--;
	name = name_end - start;
	extra = end - argument;
	if (!e->prefix) { /* argv[0] is replaced by the name of the script */
		e->prefix = kstrdup(e->first_path);
		if (!e->prefix)
			return -ENOMEM;
		e->prefix_bytes = strlen(e->prefix) + 1;
		e->prefix_count = 1;
	}
	bytes = name + 1 + (extra ? extra + 1 : 0) + e->prefix_bytes;
	path = kmalloc(name + 1);
	prefix = kzalloc(bytes);
	if (!path || !prefix) {
		kfree(path);
		kfree(prefix);
		return -ENOMEM;
	}
	memcpy(path, start, name);
	path[name] = 0;
	memcpy(prefix, path, name);
	if (extra)
		memcpy(prefix + name + 1, argument, extra);
	memcpy(prefix + bytes - e->prefix_bytes, e->prefix, e->prefix_bytes);
	kfree(e->prefix);
	e->prefix = prefix;
	e->prefix_bytes = bytes;
	e->prefix_count += extra ? 2 : 1;
	kfree(e->path);
	e->path = path;
	return 0;
}

/* Who the new program will be, of the file that is really started: a script's bits do not count. */
static long exec_credentials(struct exec *e)
{
	struct thread *thread = current_thread();
	struct inode *inode = e->file->inode;
	bool nosuid = e->file->path.mount && (e->file->path.mount->flags & MS_NOSUID);

	e->cred = cred_prepare(thread->cred);
	if (!e->cred)
		return -ENOMEM;
	e->secure = cred_for_program(e->cred, thread->cred, nosuid ? 0 : inode->mode, inode->uid, inode->gid);
	return 0;
}

/* Opens, follows scripts, reads the headers of the program and of its interpreter. */
ASYNC(exec_load_files, struct exec *e; int dirfd; u32 flags; u32 depth; u32 bytes; long error;)
{
	ASYNC_BEGIN;
	for (f->depth = 0;; f->depth++) {
		if (f->depth > EXEC_DEPTH)
			ASYNC_RETURN(-ELOOP);
		AWAIT(exec_open, .dirfd = f->dirfd, .path = f->e->path, .flags = f->flags);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->e->file = (struct file *)RESULT;
		AWAIT(file_read_kernel, .file = f->e->file, .buf = f->e->header, .n = sizeof(f->e->header), .pos = 0);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->e->header_bytes = RESULT;
		memset(f->e->header + RESULT, 0, sizeof(f->e->header) - RESULT);
		if (f->e->header[0] != '#' || f->e->header[1] != '!')
			break;
		f->error = exec_script(f->e);
		if (f->error)
			ASYNC_RETURN(f->error);
		f->dirfd = AT_FDCWD;
		f->flags = 0;
		AWAIT(file_put, .file = f->e->file);
		f->e->file = NULL;
	}
	f->error = elf_check_header((const Elf64_Ehdr *)f->e->header, &f->bytes);
	if (f->error || f->e->header_bytes < sizeof(Elf64_Ehdr))
		ASYNC_RETURN(-ENOEXEC);
	f->e->headers = kmalloc(f->bytes);
	if (!f->e->headers)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(file_read_kernel, .file = f->e->file, .buf = f->e->headers, .n = f->bytes,
		.pos = ((const Elf64_Ehdr *)f->e->header)->e_phoff);
	if (RESULT != f->bytes)
		ASYNC_RETURN(RESULT < 0 ? RESULT : -ENOEXEC);
	f->error = elf_parse((const Elf64_Ehdr *)f->e->header, f->e->headers, &f->e->image);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (!f->e->image.dynamic && f->e->image.low < MMAP_MIN_ADDRESS)
		ASYNC_RETURN(-EPERM);
	f->error = exec_credentials(f->e);
	if (f->error || !f->e->image.interpreter_bytes)
		ASYNC_RETURN(f->error);

	f->e->interpreter_path = kmalloc(f->e->image.interpreter_bytes);
	if (!f->e->interpreter_path)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(file_read_kernel, .file = f->e->file, .buf = f->e->interpreter_path, .n = f->e->image.interpreter_bytes,
		.pos = f->e->image.interpreter_offset);
	if (RESULT != f->e->image.interpreter_bytes)
		ASYNC_RETURN(RESULT < 0 ? RESULT : -EIO);
	if (f->e->interpreter_path[f->e->image.interpreter_bytes - 1])
		ASYNC_RETURN(-ENOEXEC);
	AWAIT(exec_open, .dirfd = AT_FDCWD, .path = f->e->interpreter_path);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->e->interpreter = (struct file *)RESULT;
	AWAIT(file_read_kernel, .file = f->e->interpreter, .buf = &f->e->interpreter_header, .n = sizeof(Elf64_Ehdr));
	if (RESULT != sizeof(Elf64_Ehdr))
		ASYNC_RETURN(RESULT < 0 ? RESULT : -EIO);
	if (elf_check_header(&f->e->interpreter_header, &f->bytes))
		ASYNC_RETURN(-ELIBBAD);
	f->e->interpreter_headers = kmalloc(f->bytes);
	if (!f->e->interpreter_headers)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(file_read_kernel, .file = f->e->interpreter, .buf = f->e->interpreter_headers, .n = f->bytes,
		.pos = f->e->interpreter_header.e_phoff);
	if (RESULT != f->bytes)
		ASYNC_RETURN(RESULT < 0 ? RESULT : -ELIBBAD);
	if (elf_parse(&f->e->interpreter_header, f->e->interpreter_headers, &f->e->interpreter_image))
		ASYNC_RETURN(-ELIBBAD);
	ASYNC_END;
}

/* --- the arguments --- */

static u32 arguments_limit(void)
{
	u64 limit = limit_get(RLIMIT_STACK) / 4;

	return max_t(u64, STRING_MAX, min_t(u64, limit, ARGUMENTS_MAX));
}

/* Room for at least one more byte; doubles. */
static long arguments_grow(struct exec_arguments *args)
{
	u32 room = args->room ? args->room * 2 : 4096;
	char *buffer;

	if (room > ARGUMENTS_MAX)
		return -E2BIG;
	buffer = kmalloc(room);
	if (!buffer)
		return -ENOMEM;
	memcpy(buffer, args->buffer, args->bytes);
	kfree(args->buffer);
	args->buffer = buffer;
	args->room = room;
	return 0;
}

static long arguments_add(struct exec_arguments *args, const char *text, u32 bytes)
{
	while (args->room - args->bytes < bytes) {
		long error = arguments_grow(args);

		if (error)
			return error;
	}
	memcpy(args->buffer + args->bytes, text, bytes);
	args->bytes += bytes;
	return 0;
}

static bool arguments_too_many(const struct exec_arguments *args, u32 count)
{
	return args->bytes + (u64)count * sizeof(u64) > args->limit;
}

/* A vector of strings of the user's, from `first` on: how many. */
ASYNC(arguments_copy, struct exec_arguments *args; const char __user *const __user *vector; u32 first; u32 before; u64 pointer; u32 i; long error;)
{
	ASYNC_BEGIN;
	if (!f->vector)
		ASYNC_RETURN(0);
	for (f->i = 0;; f->i++) {
		COPY_IN(f->pointer, f->vector + f->i);
		if (!f->pointer)
			break;
		if (f->i < f->first)
			continue;
		for (;;) {
			f->error = -ENAMETOOLONG;
			if (f->args->room > f->args->bytes) {
				AWAIT(copy_string_in, .to = f->args->buffer + f->args->bytes,
					.from = (const char __user *)f->pointer, .bytes = min(f->args->room - f->args->bytes, STRING_MAX));
				f->error = RESULT;
			}
			if (f->error != -ENAMETOOLONG)
				break;
			if (f->args->room - f->args->bytes >= STRING_MAX)
				ASYNC_RETURN(-E2BIG);
			f->error = arguments_grow(f->args);
			if (f->error)
				ASYNC_RETURN(f->error);
		}
		if (f->error < 0)
			ASYNC_RETURN(f->error);
		f->args->bytes += f->error + 1;
		if (arguments_too_many(f->args, f->before + f->i))
			ASYNC_RETURN(-E2BIG);
	}
	ASYNC_RETURN(f->i > f->first ? f->i - f->first : 0);
	ASYNC_END;
}

static long arguments_copy_kernel(struct exec_arguments *args, const char *const *vector)
{
	long n;

	for (n = 0; vector && vector[n]; n++) {
		long error = arguments_add(args, vector[n], strlen(vector[n]) + 1);

		if (error)
			return error;
	}
	return n;
}

ASYNC(exec_load_arguments, struct exec *e; const struct exec_program_frame *call;)
{
	struct exec_arguments *args = &f->e->args;
	long error;

	ASYNC_BEGIN;
	args->limit = arguments_limit();
	if (f->e->prefix) {
		error = arguments_add(args, f->e->prefix, f->e->prefix_bytes);
		if (error)
			ASYNC_RETURN(error);
		args->argc = f->e->prefix_count;
	}
	if (f->call->kernel_argv) {
		error = arguments_copy_kernel(args, f->call->kernel_argv);
		if (error < 0)
			ASYNC_RETURN(error);
		args->argc += error;
	} else {
		AWAIT(arguments_copy, .args = args, .vector = f->call->argv, .first = f->e->prefix ? 1 : 0, .before = args->argc);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		args->argc += RESULT;
	}
	if (!args->argc) { /* programs count on argv[0] */
		error = arguments_add(args, "", 1);
		if (error)
			ASYNC_RETURN(error);
		args->argc = 1;
	}
	args->env_offset = args->bytes;
	if (f->call->kernel_argv) {
		error = arguments_copy_kernel(args, f->call->kernel_envp);
		if (error < 0)
			ASYNC_RETURN(error);
		args->envc = error;
	} else {
		AWAIT(arguments_copy, .args = args, .vector = f->call->envp, .before = args->argc);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		args->envc = RESULT;
	}
	args->path_offset = args->bytes;
	error = arguments_add(args, f->e->first_path, strlen(f->e->first_path) + 1);
	if (error)
		ASYNC_RETURN(error);
	if (arguments_too_many(args, args->argc + args->envc))
		ASYNC_RETURN(-E2BIG);
	ASYNC_END;
}

/* --- the point of no return --- */

/* The new address space becomes the thread's. */
static struct mm *exec_switch_mm(struct thread *thread, struct exec *e)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct mm *old = thread->mm;

	thread->mm = e->mm;
	e->mm = NULL;
	mm_activate(thread->mm);
	spin_unlock_irqrestore(&process_lock, flags);
	return old;
}

/* Everything else that a new program starts with. */
static void exec_reset_thread(struct thread *thread, struct exec *e)
{
	struct process *process = thread->process;
	const char *slash = strrchr(e->first_path, '/');
	struct signal_actions *old_actions = NULL;
	struct files *old_files = NULL;
	unsigned long flags = spin_lock_irqsave(&process_lock);

	if (e->actions) {
		old_actions = process->actions;
		process->actions = e->actions;
	}
	signal_actions_reset(process->actions);
	if (e->files) {
		old_files = thread->files;
		thread->files = e->files;
	}
	process->executed = true;
	process->exit_signal = SIGCHLD;
	thread->altstack_sp = thread->altstack_size = 0;
	thread->altstack_flags = SS_DISABLE;
	thread->restart_fn = NULL;
	thread->robust_list = 0;
	thread->rseq = 0;
	string_copy(thread->name, sizeof(thread->name), slash ? slash + 1 : e->first_path);
	spin_unlock_irqrestore(&process_lock, flags);
	e->actions = old_actions;
	e->files = old_files;
	if (e->secure)
		process->personality &= ~PER_CLEAR_ON_SETID;
	thread->mm->dumpable = !e->secure;
	cred_commit(thread, e->cred);
	thread->mm->dumpable = !e->secure;
	e->cred = NULL;
	thread_fp_reset(thread);
	arch_start_program(&thread->user, e->entry, e->stack_pointer);
	thread->syscall = -1; /* there is nothing to return to */
}

ASYNC(exec_commit, struct exec *e; struct thread *thread; struct mm *old;)
{
	ASYNC_BEGIN;
	AWAIT(process_kill_others, .thread = f->thread);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->thread->mm)
		AWAIT(thread_leave_mm, .thread = f->thread);
	process_timers_exec(f->thread->process);
	f->old = exec_switch_mm(f->thread, f->e);
	thread_vfork_done(f->thread);
	if (f->old)
		AWAIT(mm_put, .mm = f->old);
	exec_reset_thread(f->thread, f->e);
	AWAIT(files_close_on_exec, .files = f->thread->files);
	ASYNC_END;
}

/* What is shared and must not be any more: copied while that may still fail. */
static long exec_unshare(struct thread *thread, struct exec *e)
{
	if (atomic_load(&thread->process->actions->users) > 1) {
		e->actions = signal_actions_copy(thread->process->actions);
		if (!e->actions)
			return -ENOMEM;
	}
	if (files_shared(thread->files)) {
		e->files = files_copy(thread->files);
		if (!e->files)
			return -ENOMEM;
	}
	return 0;
}

ASYNC_DEFINE(exec_program)
{
	ASYNC_BEGIN;
	f->exec = kzalloc(sizeof(*f->exec));
	if (!f->exec)
		ASYNC_RETURN(-ENOMEM);
	f->error = -ENOMEM;
	f->exec->path = kstrdup(f->path);
	f->exec->original_path = kstrdup(f->path);
	f->exec->first_path = f->exec->original_path;
	if (!f->exec->path || !f->exec->original_path)
		goto out;
	if (f->dirfd != AT_FDCWD && f->path[0] != '/') {
		snprintf(f->exec->fd_path, sizeof(f->exec->fd_path), "/dev/fd/%d%s%s", f->dirfd, *f->path ? "/" : "", f->path);
		f->exec->first_path = f->exec->fd_path;
	}
	AWAIT(exec_load_files, .e = f->exec, .dirfd = f->dirfd, .flags = f->flags);
	f->error = RESULT;
	if (f->error)
		goto out;
	AWAIT(exec_load_arguments, .e = f->exec, .call = f);
	f->error = RESULT;
	if (f->error)
		goto out;
	AWAIT(exec_build_mm, .e = f->exec);
	f->error = RESULT;
	if (f->error)
		goto out;
	f->error = exec_unshare(thread_of(self), f->exec);
	if (f->error)
		goto out;
	AWAIT(exec_commit, .e = f->exec, .thread = thread_of(self));
	f->error = RESULT;
out:
	AWAIT(exec_cleanup, .e = f->exec);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(execve, 3, SYS_ARG(const char __user *, name) SYS_ARG(const char __user *const __user *, argv)
	SYS_ARG(const char __user *const __user *, envp) char *path; long error;)
{
	ASYNC_BEGIN;
	f->path = kmalloc(ELF_PATH_MAX);
	if (!f->path)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(copy_string_in, .to = f->path, .from = f->name, .bytes = ELF_PATH_MAX);
	f->error = RESULT < 0 ? RESULT : RESULT ? 0 : -ENOENT;
	if (!f->error) {
		AWAIT(exec_program, .dirfd = AT_FDCWD, .path = f->path, .argv = f->argv, .envp = f->envp);
		f->error = RESULT;
	}
	kfree(f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(execveat, 5, SYS_ARG(int, dirfd) SYS_ARG(const char __user *, name) SYS_ARG(const char __user *const __user *, argv)
	SYS_ARG(const char __user *const __user *, envp) SYS_ARG(int, flags) char *path; long error;)
{
	ASYNC_BEGIN;
	f->path = kmalloc(ELF_PATH_MAX);
	if (!f->path)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(copy_string_in, .to = f->path, .from = f->name, .bytes = ELF_PATH_MAX);
	f->error = RESULT < 0 ? RESULT : RESULT || (f->flags & AT_EMPTY_PATH) ? 0 : -ENOENT;
	if (!f->error && (f->flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)))
		f->error = -EINVAL;
	if (!f->error) {
		AWAIT(exec_program, .dirfd = f->dirfd, .path = f->path, .flags = f->flags, .argv = f->argv, .envp = f->envp);
		f->error = RESULT;
	}
	kfree(f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
