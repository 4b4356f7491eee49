/* SPDX-License-Identifier: MIT */
/* Weak stand-ins for parts of the kernel that link in later. */
#include <lichen/process.h>
#include <asm/errno.h>

#include <lichen/printk.h>

void __noreturn absent_call(const char *name);
void __noreturn absent_call(const char *name)
{
	panic("%s is not built in", name);
}

#define WEAK __attribute__((weak))

WEAK enum async_poll syscall_dispatch(struct thread *thread)
{
	return READY;
}
WEAK enum async_poll thread_page_fault(struct thread *thread, u64 address, u32 access, u64 esr)
{
	return READY;
}
WEAK void thread_exception(struct thread *thread, u64 esr, u64 address)
{
}
WEAK void thread_frames_done(struct thread *thread)
{
}
WEAK const struct async_fn thread_user_work_fn;
WEAK void thread_put(struct thread *thread)
{
}
WEAK void mm_activate(struct mm *mm)
{
}
WEAK long mm_fault_fast(struct mm *mm, u64 address, enum fault_access access)
{
	return -EFAULT;
}
