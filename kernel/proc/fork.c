/* SPDX-License-Identifier: MIT */
/*
 * clone, clone3: a new thread, of this process or of a new one. All that can fail happens before the child is in any table;
 * from then on it lives. fork copies nothing that is not written: the address space is copy-on-write, credentials are shared.
 */
#include "proc.h"
#include "pidfd.h"
#include <linux/sched.h>

#define CLONE_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

struct clone_request {
	u64 flags;
	int exit_signal;
	u64 stack, tls;
	u32 __user *parent_tid, *child_tid;
	int __user *pidfd;
	pid_t set_tid; /* 0: any */
};

static long clone_check(const struct clone_request *r)
{
	u64 flags = r->flags;

	if (((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) || ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM)))
		return -EINVAL;
	if ((flags & CLONE_PARENT) && current_thread()->process == init_process)
		return -EINVAL;
	/* No namespaces here: as a Linux built without them says. */
	if (flags & (CLONE_NAMESPACES | CLONE_INTO_CGROUP | CLONE_NEWTIME))
		return -EINVAL;
	if ((flags & CLONE_PIDFD) && (flags & CLONE_DETACHED))
		return -EINVAL;
	return 0;
}

/* Who starts out with what the parent has. Not in any table yet. */
static long clone_fill(struct thread *child, struct thread *parent, const struct clone_request *r)
{
	child->cred = parent->cred;
	cred_get(child->cred);
	memcpy(child->name, parent->name, sizeof(child->name));
	thread_fp_save(parent);
	arch_clone_context(&child->user, &parent->user, r->stack);
	if (r->flags & CLONE_SETTLS)
		child->user.tls = r->tls;
	child->blocked = parent->blocked;
	if (!(r->flags & CLONE_VM) || (r->flags & CLONE_VFORK)) {
		child->altstack_sp = parent->altstack_sp;
		child->altstack_size = parent->altstack_size;
		child->altstack_flags = parent->altstack_flags;
	}
	if (!(r->flags & CLONE_VM)) {
		child->rseq = parent->rseq;
		child->rseq_length = parent->rseq_length;
		child->rseq_signature = parent->rseq_signature;
		child->rseq_cpu = parent->rseq_cpu;
	}
	if (r->flags & CLONE_CHILD_CLEARTID)
		child->clear_child_tid = r->child_tid;
	if (r->flags & CLONE_CHILD_SETTID) {
		child->set_child_tid = r->child_tid;
		atomic_fetch_or(&child->task.flags, TASK_WORK);
	}
	child->timer_slack = parent->timer_slack;
	child->task.affinity = parent->task.affinity;
	if (!parent->reset_on_fork) {
		child->task.weight = parent->task.weight;
		child->nice = parent->nice;
		child->policy = parent->policy;
		child->rt_priority = parent->rt_priority;
	}
	if (r->flags & CLONE_FILES) {
		child->files = parent->files;
		files_get(child->files);
	} else {
		child->files = files_copy(parent->files);
	}
	if (r->flags & CLONE_FS) {
		child->fs = parent->fs;
		fs_context_get(child->fs);
	} else {
		child->fs = fs_context_copy(parent->fs);
	}
	return child->files && child->fs ? 0 : -ENOMEM;
}

static struct process *clone_process_create(struct thread *parent, const struct clone_request *r)
{
	struct process *from = parent->process, *process = process_create();
	unsigned long flags;

	if (!process)
		return NULL;
	if (r->flags & CLONE_SIGHAND) {
		process->actions = from->actions;
		atomic_fetch_add(&from->actions->users, 1);
	} else {
		process->actions = signal_actions_copy(from->actions);
		if (!process->actions) {
			process_put(process);
			return NULL;
		}
		if (r->flags & CLONE_CLEAR_SIGHAND)
			signal_actions_reset_all(process->actions);
	}
	flags = spin_lock_irqsave(&process_lock);
	memcpy(process->limits, from->limits, sizeof(process->limits));
	spin_unlock_irqrestore(&process_lock, flags);
	process->exit_signal = r->exit_signal;
	process->personality = from->personality;
	if (!process_cpu_limit_prepare(process, process->limits[RLIMIT_CPU].rlim_cur)) {
		process_put(process);
		return NULL;
	}
	return process;
}

/* RLIMIT_NPROC, and what the whole machine has room for. */
static bool clone_is_one_too_many(struct thread *parent) REQUIRES(process_lock)
{
	const struct cred *cred = parent->cred;
	u64 limit = parent->process->limits[RLIMIT_NPROC].rlim_cur;

	if (thread_count() >= threads_max() || process_count() >= threads_max())
		return true;
	return cred->uid && limit < threads_max() && uid_thread_count(cred->uid) >= limit &&
	       !cred_capable(cred, CAP_SYS_RESOURCE) && !cred_capable(cred, CAP_SYS_ADMIN);
}

/* Into the tables: the moment of birth. The tid, or -errno (then nothing has happened). */
static long clone_insert(struct thread *child, struct process *process, struct thread *parent, const struct clone_request *r)
{
	struct process *from = parent->process, *its_parent = from;
	unsigned long flags = spin_lock_irqsave(&process_lock);
	long tid = -EAGAIN;

	if (parent->exiting || from->group_exiting || (from->exec_thread && (r->flags & CLONE_THREAD)))
		goto out;
	if (clone_is_one_too_many(parent))
		goto out;
	if (r->set_tid) {
		tid = -EEXIST;
		if (!pid_is_free(r->set_tid))
			goto out;
		tid = r->set_tid;
	} else {
		tid = pid_allocate();
	}
	if (process != from) {
		if (r->flags & CLONE_PARENT) {
			its_parent = from->parent;
			process->exit_signal = from->exit_signal;
		}
		process_insert(process, tid, its_parent);
		group_join(process, from->group);
		process_cpu_limit_arm(process);
	}
	thread_insert(child, process, tid);
	signal_recalculate_locked(child);
out:
	spin_unlock_irqrestore(&process_lock, flags);
	return tid;
}

static void vfork_forget(struct thread *child)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	child->vfork_done = NULL;
	spin_unlock_irqrestore(&process_lock, flags);
}

ASYNC(clone_thread, struct clone_request *r; struct thread *child; struct process *process; struct mm *mm; struct completion vfork;
	long tid; int pidfd; struct file *file;)
{
	struct thread *parent = thread_of(self);

	ASYNC_BEGIN;
	f->tid = clone_check(f->r);
	if (f->tid)
		ASYNC_RETURN(f->tid);
	f->pidfd = -1;
	f->tid = -ENOMEM;
	f->child = thread_create();
	if (!f->child)
		ASYNC_RETURN(-ENOMEM);
	if (clone_fill(f->child, parent, f->r))
		goto fail;
	if (f->r->flags & CLONE_THREAD) {
		f->process = parent->process;
		process_get(f->process);
	} else {
		f->process = clone_process_create(parent, f->r);
		if (!f->process)
			goto fail;
	}
	if (f->r->flags & CLONE_VM) {
		f->child->mm = parent->mm;
		mm_get(f->child->mm);
	} else {
		AWAIT(mm_fork, .from = parent->mm);
		f->tid = RESULT;
		if (IS_ERR((void *)RESULT))
			goto fail;
		f->child->mm = (struct mm *)RESULT;
	}
	/* Forking takes time, and a signal that came meanwhile would be taken by both. */
	f->tid = -ERESTARTNOINTR;
	if (!(f->r->flags & CLONE_THREAD) && task_signalled(self))
		goto fail;
	if (f->r->flags & CLONE_PIDFD) {
		AWAIT(fault_in, .address = f->r->pidfd, .n = sizeof(int), .write = true);
		f->tid = RESULT;
		if (f->tid)
			goto fail;
		f->file = pidfd_create(f->process, 0);
		f->tid = -ENOMEM;
		if (!f->file)
			goto fail;
		f->pidfd = fd_install(f->file, true);
		f->tid = f->pidfd;
		if (f->pidfd < 0)
			goto fail;
		f->file = NULL;
		AWAIT(copy_out, .to = f->r->pidfd, .from = &f->pidfd, .n = sizeof(int));
	}
	if (f->r->flags & CLONE_VFORK) {
		completion_init(&f->vfork);
		f->child->vfork_done = &f->vfork;
	}
	thread_get(f->child);
	f->tid = clone_insert(f->child, f->process, parent, f->r);
	if (f->tid < 0) {
		thread_put(f->child);
		goto fail;
	}
	process_put(f->process); /* its tables and its thread hold it now */
	if (f->r->flags & CLONE_PARENT_SETTID) {
		AWAIT(copy_out, .to = f->r->parent_tid, .from = &f->child->tid, .n = sizeof(u32));
	}
	task_start(&f->child->task);
	if (f->r->flags & CLONE_VFORK) {
		AWAIT(wait_for, .completion = &f->vfork, .killable = true);
		vfork_forget(f->child); /* it was killed: the frame goes before the child does */
	}
	thread_put(f->child);
	ASYNC_RETURN(f->tid);

fail:
	if (f->file) {
		AWAIT(file_put, .file = f->file);
	}
	if (f->child->mm) {
		AWAIT(mm_put, .mm = f->child->mm);
	}
	if (f->child->files) {
		AWAIT(files_put, .files = f->child->files);
	}
	if (f->child->fs) {
		AWAIT(fs_context_put, .fs = f->child->fs);
	}
	if (f->process)
		process_put(f->process);
	thread_put(f->child);
	ASYNC_RETURN(f->tid);
	ASYNC_END;
}

/* arm64: clone(flags, stack, parent_tid, tls, child_tid). With CLONE_PIDFD the descriptor goes to parent_tid. */
SYSCALL_ASYNC(clone, 5, SYS_ARG(u64, flags) SYS_ARG(u64, stack) SYS_ARG(u32 __user *, parent_tid) SYS_ARG(u64, tls)
	SYS_ARG(u32 __user *, child_tid) struct clone_request request;)
{
	ASYNC_BEGIN;
	if ((f->flags & CLONE_PIDFD) && (f->flags & CLONE_PARENT_SETTID))
		ASYNC_RETURN(-EINVAL);
	f->request = (struct clone_request){
		.flags = (u32)f->flags & ~(u64)CSIGNAL,
		.exit_signal = f->flags & CSIGNAL,
		.stack = f->stack,
		.tls = f->tls,
		.parent_tid = f->parent_tid,
		.child_tid = f->child_tid,
		.pidfd = (int __user *)f->parent_tid,
	};
	AWAIT(clone_thread, .r = &f->request);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* The bytes beyond what we know must be zero (clone3(2)). */
ASYNC(copy_in_struct, void *to; size_t known; const void __user *from; size_t given; size_t done; u64 word;)
{
	ASYNC_BEGIN;
	AWAIT(copy_in, .to = f->to, .from = f->from, .n = min(f->known, f->given));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	for (f->done = f->known; f->done < f->given; f->done++) {
		f->word = 0;
		AWAIT(copy_in, .to = &f->word, .from = (const char __user *)f->from + f->done, .n = 1);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if (f->word)
			ASYNC_RETURN(-E2BIG);
	}
	ASYNC_END;
}

static long clone3_request(struct clone_request *r, const struct clone_args *a)
{
	if ((a->flags & ~(0xffffffffull | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP)) ||
		(a->flags & (CLONE_DETACHED | (CSIGNAL & ~CLONE_NEWTIME))))
		return -EINVAL;
	if ((a->flags & (CLONE_SIGHAND | CLONE_CLEAR_SIGHAND)) == (CLONE_SIGHAND | CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if ((a->flags & (CLONE_THREAD | CLONE_PARENT)) && a->exit_signal)
		return -EINVAL;
	if (a->exit_signal & ~(u64)CSIGNAL || a->exit_signal > 64)
		return -EINVAL;
	if (!a->stack != !a->stack_size)
		return -EINVAL;
	if (a->set_tid_size > 32 || !a->set_tid != !a->set_tid_size)
		return -EINVAL;
	*r = (struct clone_request){
		.flags = a->flags,
		.exit_signal = a->exit_signal,
		.stack = a->stack ? a->stack + a->stack_size : 0,
		.tls = a->tls,
		.parent_tid = (u32 __user *)a->parent_tid,
		.child_tid = (u32 __user *)a->child_tid,
		.pidfd = (int __user *)a->pidfd,
	};
	return 0;
}

SYSCALL_ASYNC(clone3, 2, SYS_ARG(const void __user *, uargs) SYS_ARG(size_t, size) struct clone_args args; struct clone_request request;
	long error;)
{
	ASYNC_BEGIN;
	if (f->size > PAGE_SIZE)
		ASYNC_RETURN(-E2BIG);
	if (f->size < CLONE_ARGS_SIZE_VER0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(copy_in_struct, .to = &f->args, .known = sizeof(f->args), .from = f->uargs, .given = f->size);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->error = clone3_request(&f->request, &f->args);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (f->args.set_tid_size) {
		if (f->args.set_tid_size > 1) /* one for each nested pid namespace, and there is one */
			ASYNC_RETURN(-EINVAL);
		COPY_IN(f->request.set_tid, (const void __user *)f->args.set_tid);
		if (f->request.set_tid < 1 || f->request.set_tid >= PID_MAX)
			ASYNC_RETURN(-EINVAL);
		if (!capable(CAP_SYS_ADMIN) && !capable(CAP_CHECKPOINT_RESTORE))
			ASYNC_RETURN(-EPERM);
	}
	AWAIT(clone_thread, .r = &f->request);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL(set_tid_address, u32 __user *, address)
{
	current_thread()->clear_child_tid = address;
	return current_thread()->tid;
}

SYSCALL_ASYNC(unshare, 1, SYS_ARG(u64, flags) struct fs_context *fs; struct files *files;)
{
	struct thread *thread = thread_of(self);
	unsigned long irq;

	ASYNC_BEGIN;
	if (f->flags & ~(u64)(CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM | CLONE_NAMESPACES |
			      CLONE_NEWTIME))
		ASYNC_RETURN(-EINVAL);
	if (f->flags & (CLONE_NAMESPACES | CLONE_NEWTIME))
		ASYNC_RETURN(-EINVAL);
	if ((f->flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && thread->process->thread_count > 1)
		ASYNC_RETURN(-EINVAL);
	if (f->flags & CLONE_FS) {
		f->fs = fs_context_copy(thread->fs);
		if (!f->fs)
			ASYNC_RETURN(-ENOMEM);
	}
	if (f->flags & CLONE_FILES)
		f->files = files_copy(thread->files);
	if ((f->flags & CLONE_FILES) && !f->files) {
		if (f->fs)
			AWAIT(fs_context_put, .fs = f->fs);
		ASYNC_RETURN(-ENOMEM);
	}
	irq = spin_lock_irqsave(&process_lock);
	if (f->fs) {
		struct fs_context *old = thread->fs;

		thread->fs = f->fs;
		f->fs = old;
	}
	if (f->files) {
		struct files *old = thread->files;

		thread->files = f->files;
		f->files = old;
	}
	spin_unlock_irqrestore(&process_lock, irq);
	if (f->fs)
		AWAIT(fs_context_put, .fs = f->fs);
	if (f->files)
		AWAIT(files_put, .files = f->files);
	ASYNC_END;
}
