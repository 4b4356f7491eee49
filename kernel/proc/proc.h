/* SPDX-License-Identifier: MIT */
/* What the files of proc/ share among themselves. Everything marked "locked" wants process_lock. */
#ifndef PROC_H
#define PROC_H

#include <lichen/cpu.h>
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <lichen/uaccess.h>
#include "clock.h"
#include <linux/futex.h>
#include <linux/resource.h>
#include <linux/rseq.h>

#define PID_MAX 4194304

/* AWAIT of a copy; returns -EFAULT from the async function. `object` lies in the frame. */
#define COPY_IN(object, user_pointer)                                                              \
	do {                                                                                       \
		AWAIT(copy_in, .to = &(object), .from = (user_pointer), .n = sizeof(object));      \
		if (RESULT < 0)                                                                    \
			ASYNC_RETURN(RESULT);                                                      \
	} while (0)
#define COPY_OUT(user_pointer, object)                                                             \
	do {                                                                                       \
		AWAIT(copy_out, .to = (user_pointer), .from = &(object), .n = sizeof(object));     \
		if (RESULT < 0)                                                                    \
			ASYNC_RETURN(RESULT);                                                      \
	} while (0)

/* --- process.c --- */
struct thread *thread_create(void); /* zeroed but for what a task needs, one reference; NULL */
struct process *process_create(void);
/* Gives it a number that nobody uses. */
pid_t pid_allocate(void) REQUIRES(process_lock);
bool pid_is_free(pid_t pid) REQUIRES(process_lock);
u64 uid_thread_count(uid_t uid) REQUIRES(process_lock); /* for RLIMIT_NPROC; zombies count for one */
void thread_insert(struct thread *thread, struct process *process, pid_t tid) REQUIRES(process_lock);
void thread_rename(struct thread *thread, pid_t tid) REQUIRES(process_lock);
void thread_unlink(struct thread *thread) REQUIRES(process_lock);
void process_insert(struct process *process, pid_t pid, struct process *parent) REQUIRES(process_lock);
/* A zombie's end: it leaves all tables. The caller then puts the reference that the tables had. */
void process_unlink(struct process *process) REQUIRES(process_lock);
struct thread *process_thread_locked(struct process *process) REQUIRES(process_lock);
void process_usage_locked(struct process *process, struct usage *usage) REQUIRES(process_lock);
void usage_add(struct usage *sum, const struct usage *more);
extern struct process *init_process;
extern struct list all_processes;

/* --- session.c --- */
void group_join(struct process *process, struct process_group *group) REQUIRES(process_lock);
void group_leave(struct process *process) REQUIRES(process_lock);
/* After `process` left its parent or ended: groups that became orphans by it and have stopped members get SIGHUP, SIGCONT. */
void group_check_orphaned(struct process *process, struct process *old_parent) REQUIRES(process_lock);
/* A new session of one group of one process. `session` and `group` are fresh memory. */
void session_begin(struct process *process, struct session *session, struct process_group *group)
	REQUIRES(process_lock);
struct session *session_find_locked(pid_t id) REQUIRES(process_lock);
/* No member has a parent in another group of the same session; `except` does not count as a member. */
bool group_is_orphaned_locked(struct process_group *group, struct process *except) REQUIRES(process_lock);

/* --- exit.c --- */
/* All a thread has goes; then it is no more. Never returns to user mode. */
ASYNC_DECLARE(thread_end, struct mm *mm; struct files *files; struct fs_context *fs; struct tty *tty; pid_t session;);
/* exec, exit: what other threads must learn when the address space is left. */
ASYNC_DECLARE(thread_leave_mm, struct thread *thread; struct mm *mm;);
/* Ends all threads with this wait status. */
void process_exit_locked(struct process *process, int status) REQUIRES(process_lock);
/* Tells the parent of a stop or continue. */
void process_notify_parent(struct process *process, int code) REQUIRES(process_lock);
/* exec by one of several threads: the others end. 0, or -EAGAIN if another thread was first. */
ASYNC_DECLARE(process_kill_others, struct thread *thread; u32 ticket;);
/* A parent that waits in vfork goes on. */
void thread_vfork_done(struct thread *thread);

/* --- signal.c --- */
void signal_set_init(struct signal_set *set);
void signal_set_flush(struct process *process, struct signal_set *set, u64 mask) REQUIRES(process_lock);
void signal_recalculate_locked(struct thread *thread) REQUIRES(process_lock);
void signal_recalculate_all(struct process *process) REQUIRES(process_lock);
/* Takes the next signal of `mask` out of the thread's or the process's set: its number and info, or 0. */
int signal_dequeue(struct thread *thread, u64 mask, siginfo_t *info) REQUIRES(process_lock);
bool signal_ignored_locked(struct process *process, int signal) REQUIRES(process_lock);
struct signal_actions *signal_actions_copy(struct signal_actions *from);
struct signal_actions *signal_actions_create(void);
void signal_actions_put(struct signal_actions *actions);
/* exec: handlers become defaults. */
void signal_actions_reset(struct signal_actions *actions) REQUIRES(process_lock);
/* clone3's CLONE_CLEAR_SIGHAND: nobody else has them yet. */
void signal_actions_reset_all(struct signal_actions *actions);
extern const u64 signals_stop, signals_ignored;
int signal_death(struct process *process, int signal);
/* sigaltstack: 0, -EINVAL, -ENOMEM. The thread must not be on it. */
long signal_send_checked(struct process *process, int signal, const siginfo_t *given);
long altstack_set(struct thread *thread, u32 flags, u64 sp, u64 size);
void thread_interrupt(struct thread *thread);
long signal_action_set(struct process *process, int signal, const struct signal_action *action);
void siginfo_kernel(siginfo_t *info, int signal, int code);

/* --- arch/arm64/signal.c --- */
/* Enters a handler: writes the frame, changes thread->user. 0, or -EFAULT: no stack, becomes SIGSEGV. */
ASYNC_DECLARE(signal_enter_handler, struct thread *thread; int signal; struct signal_action action; u64 mask; siginfo_t info; u64 at;
	u64 next;);
/* The register file for a new program. */
void arch_start_program(struct user_context *user, u64 entry, u64 stack);
/* What is left of a call that is to be made again: pc goes back, x0 is the first argument, x8 as asked. */
void arch_restart_call(struct thread *thread, bool by_restart_syscall);
/* clone: the child's registers. stack 0: the parent's. */
void arch_clone_context(struct user_context *child, const struct user_context *parent, u64 stack);
bool arch_on_stack(const struct user_context *user, u64 start, u64 size);

/* --- vdso.c --- */
struct vdso {
	struct page *data, *code;
	u32 code_pages;
	u64 sigreturn; /* offset of __kernel_rt_sigreturn */
};
extern struct vdso vdso;
void vdso_update(void); /* after the clock of the day was set */

/* --- clock.c, alarm.c --- */
long clock_read(int clock, nsec_t *now); /* 0 or -EINVAL */
bool clock_is_realtime(int clock);
bool clock_has_timers(int clock);
bool clock_is_alarm(int clock);
extern struct wait_queue clock_set_queue; /* woken when CLOCK_REALTIME was set */
void alarms_clock_was_set(void);

/* --- timers.c --- */
/* exit: none is left. */
void process_timers_end(struct process *process);
void process_timers_exec(struct process *process); /* those of timer_create; setitimer's stay */
/* What an RLIMIT_CPU of so many seconds needs to be kept: false without memory. A process that has ended needs nothing. */
bool process_cpu_limit_prepare(struct process *process, u64 seconds);
/* The limit is another one, or the process is in the tables from now on. Nothing that is not prepared is kept. */
void process_cpu_limit_arm(struct process *process) REQUIRES(process_lock);
/* Of a process that nobody ever saw: none of its timers runs. */
void process_timers_free(struct process *process);
/* A signal of a timer was taken: its overrun count goes into the siginfo, the next may be sent. */
void process_timer_taken(struct process *process, siginfo_t *info) REQUIRES(process_lock);

/* --- cred.c, ids.c, capability.c --- */
#define CAP_ALL (BIT(CAP_LAST_CAP + 1) - 1)
struct cred *cred_initial(void);
bool cred_for_program(struct cred *cred, const struct cred *old, mode_t mode, uid_t owner, gid_t group);
long cred_prctl(struct thread *thread, int option, u64 a, u64 b);

/* --- wait.c --- */
void usage_to_user(struct rusage *r, const struct usage *usage);

/* --- futex.c --- */
ASYNC_DECLARE(futex_exit, struct thread *thread; u64 head; struct robust_list_head list; u64 entry; u64 next; u64 pending; u32 count;
	long error;);
ASYNC_DECLARE(futex_wake_address, u32 __user *address; u32 count;);

/* --- rseq.c: 0, or a negative error: the program's structures are bad, it gets SIGSEGV --- */
ASYNC_DECLARE(rseq_fixup, u64 address; struct rseq_cs cs; u32 signature; u64 zero;);
ASYNC_DECLARE(rseq_update, long error;);
static inline bool rseq_is_due(struct thread *thread)
{
	return thread->rseq && (thread->rseq_interrupted || thread->rseq_cpu != cpu_id());
}

/* --- exec.c --- */
struct exec;
/* Replaces the program of the running thread. argv and envp are the user's, or the kernel's for PID 1. */
ASYNC_DECLARE(exec_program, int dirfd; const char *path; u32 flags; const char __user *const __user *argv;
	const char __user *const __user *envp; const char *const *kernel_argv; const char *const *kernel_envp;
	struct exec *exec; long error;);

#endif
