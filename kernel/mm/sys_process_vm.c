/* SPDX-License-Identifier: MIT */
/* process_vm_readv and process_vm_writev: between the caller's memory and another process's, a page at a time. */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/syscall.h>
#include <lichen/uaccess.h>

#define SEGMENTS_MAX 1024u

/* Who may look into a process: the same ids and no more rights than the caller, or CAP_SYS_PTRACE. */
static bool may_access(struct thread *thread, struct mm *mm)
{
	struct cred *other = thread_cred_get(thread);
	const struct cred *own = current_thread()->cred;
	bool same;

	if (!other)
		return false;
	same = own->uid == other->euid && own->uid == other->suid && own->uid == other->uid && own->gid == other->egid &&
	       own->gid == other->sgid && own->gid == other->gid && mm->dumpable &&
	       !(other->cap_permitted & ~own->cap_permitted);
	cred_put(other);
	return same || thread == current_thread() || capable(CAP_SYS_PTRACE);
}

/* The address space of a pid, with a reference, or NULL; *error may be set in both cases. */
static struct mm *foreign_mm(pid_t pid, long *error)
{
	struct thread *thread = thread_find(pid);
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;

	if (!mm)
		*error = -ESRCH;
	else if (!may_access(thread, mm))
		*error = -EPERM;
	if (thread)
		thread_put(thread);
	return mm;
}

/* An array of segments, copied in: a pointer to free, or NULL if there are none, or an error (as long). */
ASYNC(segments_in, const struct iovec __user *from; u64 n; struct iovec *array;)
{
	ASYNC_BEGIN;
	if (f->n > SEGMENTS_MAX)
		ASYNC_RETURN(-EINVAL);
	if (!f->n)
		ASYNC_RETURN(0);
	f->array = kmalloc(f->n * sizeof(struct iovec));
	if (!f->array)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(copy_in, .to = f->array, .from = f->from, .n = f->n * sizeof(struct iovec));
	if (RESULT < 0) {
		kfree(f->array);
		ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN((long)f->array);
	ASYNC_END;
}

/* Moves what one page of the other side holds; -EFAULT at a bad address of either side. */
ASYNC_STATIC(transfer, struct mm *mm; struct kiov *local; const struct iovec *remote; u64 remotes; bool write; u64 done; u64 offset;
	struct page *page;);

/* Copies between f->page and the local side, and lets it go: false if local memory has to be waited for. */
static bool transfer_page(struct transfer_frame *f)
{
	u64 in_page = ((u64)f->remote->iov_base + f->offset) & ~PAGE_MASK;
	char *there = (char *)page_address(f->page) + in_page;
	u64 n = min(min(PAGE_SIZE - in_page, (u64)f->remote->iov_len - f->offset), (u64)f->local->left);
	u64 copied = f->write ? kiov_read(f->local, there, n) : kiov_write(f->local, there, n);

	page_put(f->page);
	f->done += copied;
	f->offset += copied;
	return copied == n;
}

ASYNC_STATIC_DEFINE(transfer)
{
	ASYNC_BEGIN;
	while (f->remotes && f->local->left) {
		if (f->offset == f->remote->iov_len) {
			f->remote++;
			f->remotes--;
			f->offset = 0;
			continue;
		}
		AWAIT(mm_pin_page, .mm = f->mm, .address = (u64)f->remote->iov_base + f->offset, .write = f->write, .page = &f->page);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		if (!transfer_page(f)) {
			AWAIT(kiov_fault_in, .iov = f->local, .write = !f->write);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		if (task_should_yield(self))
			AWAIT(task_yield);
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(process_vm, pid_t pid; const struct iovec __user *local; u64 locals; const struct iovec __user *remote; u64 remotes; u64 flags;
	bool write; struct iovec *here; struct iovec *there; struct kiov iov; struct mm *mm; long result;)
{
	ASYNC_BEGIN;
	if (f->flags)
		ASYNC_RETURN(-EINVAL);
	AWAIT(segments_in, .from = f->local, .n = f->locals);
	if (IS_ERR((void *)RESULT) || !RESULT)
		ASYNC_RETURN(RESULT);
	f->here = (struct iovec *)RESULT;
	AWAIT(segments_in, .from = f->remote, .n = f->remotes);
	f->result = RESULT;
	if (!IS_ERR((void *)RESULT) && RESULT) {
		f->there = (struct iovec *)RESULT;
		f->result = kiov_init_segments(&f->iov, f->here, (u32)f->locals);
		f->mm = foreign_mm(f->pid, &f->result);
		if (!f->result) {
			AWAIT(transfer, .mm = f->mm, .local = &f->iov, .remote = f->there, .remotes = f->remotes, .write = f->write);
			f->result = RESULT;
		}
		if (f->mm)
			AWAIT(mm_put, .mm = f->mm);
		kfree(f->there);
	}
	kfree(f->here);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

#define PROCESS_VM_ARGS                                                                            \
	SYS_ARG(pid_t, pid) SYS_ARG(const struct iovec __user *, local) SYS_ARG(u64, locals)          \
	SYS_ARG(const struct iovec __user *, remote) SYS_ARG(u64, remotes) SYS_ARG(u64, flags)

SYSCALL_ASYNC(process_vm_readv, 6, PROCESS_VM_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(process_vm, .pid = f->pid, .local = f->local, .locals = f->locals, .remote = f->remote, .remotes = f->remotes,
		.flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(process_vm_writev, 6, PROCESS_VM_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(process_vm, .pid = f->pid, .local = f->local, .locals = f->locals, .remote = f->remote, .remotes = f->remotes,
		.flags = f->flags, .write = true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
