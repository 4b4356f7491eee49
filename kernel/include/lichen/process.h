/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads. A thread is a task with user registers. What clone(2) may share is counted by itself: mm, files,
 * fs_context, and `struct process` (the thread group: pid, signals' dispositions, children, limits).
 *
 * Locking: process_lock (one spinlock, interrupts masked) guards the tree of processes, groups, sessions, thread lists and
 * pending signals. It is held for short, bounded work alone.
 */
#ifndef LICHEN_PROCESS_H
#define LICHEN_PROCESS_H

#include <lichen/mm.h>
#include <lichen/task.h>
#include <lichen/vfs.h>
#include <linux/resource.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <arch/context.h>

#define TASK_NAME_BYTES 16

struct cred {
	uid_t uid, euid, suid, fsuid;
	gid_t gid, egid, sgid, fsgid;
	u64 cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
	u32 group_count;
	gid_t *groups; /* kmalloc, owned */
	u32 securebits;
	bool no_new_privs;
};

/* root, working directory, umask: CLONE_FS */
struct fs_context {
	_Atomic u32 users;
	spinlock_t lock;
	struct path root, cwd;
	mode_t umask;
};

/* Descriptor table: CLONE_FILES (fdtable.c) */
struct files;

/* A queued signal; the plain ones need no memory (only the bit). */
struct pending_signal {
	struct list node;
	siginfo_t info;
};
struct signal_set {
	u64 bits;
	struct list queue; /* of struct pending_signal */
};

/* Dispositions: CLONE_SIGHAND */
struct signal_actions {
	_Atomic u32 users;
	struct {
		u64 handler, flags, restorer, mask;
	} action[64];
};

struct process {
	_Atomic u32 refcount;
	pid_t pid; /* of the group leader */
	struct process *parent;
	struct list children, child_node;
	struct list threads; /* struct thread.process_node */
	u32 thread_count;
	struct process_group *group; /* and its session, tty: session.c */
	struct list group_node;
	struct signal_actions *actions;
	struct signal_set pending; /* of the whole process */
	u32 state;		   /* PROCESS_* */
	int exit_code;		   /* wait status */
	int exit_signal;	   /* to the parent; SIGCHLD */
	int stop_signal;
	bool stop_reported, continue_reported, group_exiting, executed, child_subreaper;
	struct wait_queue children_changed; /* wait4 */
	struct wait_queue signalled;	    /* signalfd, sigtimedwait */
	struct rlimit64 limits[RLIM_NLIMITS];
	struct { u64 user, system, voluntary, involuntary, minor, major, max_rss; } usage, children_usage;
	struct list hash_node;
	nsec_t start_time;
	struct wait_queue exited; /* pidfd */
	struct process_timers *timers; /* setitimer, timer_create; or NULL */
};
enum { PROCESS_RUNNING, PROCESS_STOPPED, PROCESS_ZOMBIE, PROCESS_DEAD };

struct thread {
	struct task task; /* first: a task pointer of a thread is a thread pointer */
	struct user_context user;
	struct process *process;
	struct mm *mm; /* NULL once it exits */
	struct files *files;
	struct fs_context *fs;
	struct cred *cred; /* own, copy on change */
	pid_t tid;
	char name[TASK_NAME_BYTES];
	struct list process_node, hash_node;
	/* signals */
	u64 blocked, saved_blocked; /* saved: restored after a handler of sigsuspend, ppoll, pselect */
	bool restore_blocked;
	struct signal_set pending;
	struct { u64 sp, size; u32 flags; } altstack;
	u64 restart[6]; /* for restart_syscall */
	const struct async_fn *restart_fn;
	s32 syscall;	/* number, -1 outside */
	u64 syscall_x0; /* the first argument, for restarts */
	/* futex, exit */
	u32 __user *clear_child_tid;
	u64 robust_list;
	u64 rseq;
	struct process *vfork_parent; /* woken when this thread's mm goes */
	struct completion *vfork_done;
	struct waiter futex_waiter;
	int pdeath_signal;
	u64 minor_faults, major_faults, voluntary_switches, involuntary_switches;
	nsec_t start_time;
	int nice;
	u32 policy;
	char async_room[] __aligned(16); /* first segment of the async stack */
};

/* The thread that runs on this CPU; only where a thread runs (syscalls, faults), never in interrupts. */
struct thread *current_thread(void);
static inline struct thread *thread_of(struct task *task)
{
	return (struct thread *)task;
}

/* --- what the architecture's entry code calls (core/entry.c) --- */
/* An exception of user mode that is the program's: becomes a signal with this siginfo. */
void thread_fault_signal(struct thread *thread, int signal, int code, u64 address);
/* A page fault of user mode: resolves it now, or starts an async one as the thread's work. */
/* Before each return to user mode with TASK_WORK or TASK_SIGNALLED set: signals, exit, stop. An async function, the outermost frame. */
ASYNC_DECLARE(thread_user_work, u64 aux[10];);

/* --- signals (signal.c) --- */
#define SIGMASK(n) (1ull << ((n)-1))
/* To a thread, a process, a group; info NULL: from the kernel. 0, or -EAGAIN (queue full, real-time), -ESRCH. Any context with interrupts maskable. */
long signal_send_thread(struct thread *thread, int signal, const siginfo_t *info);
long signal_send_process(struct process *process, int signal, const siginfo_t *info);
long signal_send_group(pid_t group, int signal, const siginfo_t *info);
/* Recomputes TASK_SIGNALLED after a change of the mask. */
void signal_recalculate(struct thread *thread);
/* For ppoll and its like: sets the mask for the call; restored by the signal delivery or by _end. */
void signal_mask_temporary(struct thread *thread, u64 mask);
void signal_mask_end(struct thread *thread);

/* --- processes (process.c, fork.c, exit.c, exec.c) --- */
struct process *process_find(pid_t pid); /* with a reference, or NULL */
struct thread *thread_find(pid_t tid);	 /* with a reference to its process, or NULL */
void process_get(struct process *process);
void process_put(struct process *process);
/* Starts PID 1 from an executable: at boot. */
ASYNC_DECLARE(process_start_init, const char *path; const char *const *argv; const char *const *envp; u64 aux[8];);
/* Ends the calling thread (or all of its process): as the outermost thing it does; thread_user_work finishes it. */
void thread_exit(struct thread *thread, int code);
void process_exit(struct process *process, int status); /* wait status: code << 8, or the signal */
bool capable(int capability); /* of the running thread: CAP_* */
u64 limit_get(unsigned resource);   /* soft, of the running process */

/* --- sessions and groups, as far as the tty needs them (session.c) --- */
struct tty;
pid_t process_group_id(struct process *process);
pid_t process_session_id(struct process *process);
/* The controlling terminal of a session. */
struct tty *session_tty(struct process *process);
long session_set_tty(struct process *process, struct tty *tty); /* -EPERM unless a leader without one */
void session_clear_tty(struct tty *tty);
bool group_in_session(pid_t group, pid_t session);
bool group_is_orphaned(pid_t group);

#endif
