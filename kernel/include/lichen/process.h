/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads. A thread is a task with user registers. What clone(2) may share is counted by itself: mm, files,
 * fs_context, signal_actions, cred, and `struct process` (the thread group: pid, children, limits, shared signals).
 *
 *     struct session -- struct process_group -- struct process -- struct thread (a task)
 *
 * Locking: process_lock (one spinlock, interrupts masked) guards the tree of processes, groups, sessions, thread lists,
 * pending signals, and who has which cred. It is held for short, bounded work alone. Wake-ups may be done under it.
 *
 * Lifetimes: a process and a thread are counted. What process_find() and thread_find() return stays memory until it is put,
 * but may have exited: thread->process stays valid as long as the thread; thread->mm, files and fs become NULL when the
 * thread exits, and may be looked at by others only through thread_mm_get() and its like.
 */
#ifndef LICHEN_PROCESS_H
#define LICHEN_PROCESS_H

#include <lichen/cpu.h>
#include <lichen/mm.h>
#include <lichen/task.h>
#include <lichen/vfs.h>
#include <linux/resource.h>
#include <linux/capability.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <arch/context.h>

#define TASK_NAME_BYTES 16

extern spinlock_t process_lock;

/* Never changed while shared: cred_prepare(), change, cred_commit(). */
struct cred {
	_Atomic u32 users;
	uid_t uid, euid, suid, fsuid;
	gid_t gid, egid, sgid, fsgid;
	u64 cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
	u32 group_count;
	gid_t *groups; /* kmalloc, owned, sorted */
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

/* A queued signal. A plain one that found no memory is only its bit. */
struct pending_signal {
	struct list node;
	siginfo_t info;
};
struct signal_set {
	u64 bits;
	struct list queue; /* of struct pending_signal, oldest first */
};

/* Dispositions: CLONE_SIGHAND. Guarded by process_lock. */
struct signal_action {
	u64 handler, flags, restorer, mask;
};
struct signal_actions {
	_Atomic u32 users;
	struct signal_action action[64]; /* of signal n at [n - 1] */
};

struct session {
	pid_t id;
	u32 groups; /* process groups in it; the last one that goes frees it */
	struct tty *tty; /* the controlling terminal, or NULL */
	struct list hash_node;
};

struct process_group {
	pid_t id;
	struct session *session;
	struct list members; /* struct process.group_node, zombies too; the last one that goes frees it */
	struct list hash_node;
};

/* Sums of threads that ended, or of children that were waited for. */
struct usage {
	u64 user, system; /* ns */
	u64 voluntary, involuntary, minor, major;
	u64 max_rss; /* pages */
	u64 blocks_in, blocks_out;
};

enum process_state { PROCESS_RUNNING, PROCESS_STOPPED, PROCESS_ZOMBIE, PROCESS_DEAD };

struct process {
	_Atomic u32 refcount;
	pid_t pid; /* of the group leader */
	struct process *parent; /* NULL: init, or dead */
	struct list children, child_node;
	struct list threads; /* struct thread.process_node, alive ones */
	u32 thread_count;
	struct process_group *group;
	struct list group_node;
	struct signal_actions *actions;
	struct signal_set pending; /* of the whole process */
	u32 pending_count;	   /* queued, in all sets of the process */
	u32 state;		   /* PROCESS_* */
	int exit_status;	   /* as wait4 gives it, once group_exiting */
	int leader_status;	   /* how the leader ended, if it was before the others */
	uid_t exit_uid;		   /* of a zombie */
	char exit_name[TASK_NAME_BYTES]; /* the same */
	int exit_signal;	   /* to the parent; SIGCHLD */
	/* Job control: stop_signal != 0 from the first thread's dequeuing it until SIGCONT. */
	int stop_signal;
	u32 stopped_threads;
	bool stop_reported; /* by wait */
	bool continued;	    /* and not yet reported */
	bool group_exiting; /* all threads end */
	bool executed;	    /* has called execve: setpgid of it is EACCES */
	bool child_subreaper;
	bool keep_capabilities;
	struct thread *exec_thread;	    /* the one that survives an exec, while others die */
	struct wait_queue threads_changed;  /* exec waits for the others' ends; stop and continue */
	struct wait_queue children_changed; /* wait4 */
	struct wait_queue signalled;	    /* signalfd, sigtimedwait */
	struct wait_queue exited;	    /* pidfd */
	struct rlimit64 limits[RLIM_NLIMITS];
	struct usage usage, children_usage;
	struct list hash_node;
	struct list all_node; /* every process not DEAD, oldest first */
	nsec_t start_time;
	u32 personality;
	struct process_timers *timers; /* setitimer, timer_create (timers.c); or NULL */
};

/* The most bytes that a thread blocked in a call has, all of it: task, registers, vector state, first async segment. */
#define THREAD_BYTES 2688

struct thread {
	struct task task; /* first: a task pointer of a thread is a thread pointer */
	struct user_context user;
	_Atomic u32 refcount;
	pid_t tid;
	struct process *process; /* counted */
	struct mm *mm;		 /* NULL once it exits */
	struct files *files;
	struct fs_context *fs;
	struct cred *cred;
	char name[TASK_NAME_BYTES];
	struct list process_node, hash_node;
	/* signals */
	u64 blocked, saved_blocked; /* saved: restored after a handler of sigsuspend, ppoll, pselect */
	struct signal_set pending;
	u64 altstack_sp, altstack_size;
	u32 altstack_flags;
	bool restore_blocked;
	bool exiting;	 /* this thread ends */
	bool stopped;	 /* counted in process->stopped_threads */
	bool in_execve;
	u64 fault_address, fault_syndrome; /* of the last fault that became a signal: signal frames show them */
	/* system calls */
	s16 syscall;	    /* number, -1 outside, and when the call replaced all registers */
	s16 restart;	    /* the ERESTART code of the call that just ended, or 0 */
	u64 syscall_x0;	    /* the first argument, for restarts */
	const struct async_fn *restart_fn; /* what restart_syscall runs: its arguments are RESTART_ARGS */
	u64 restart_args[4];
	u64 trace_entry; /* while the trace is on: when the last call was entered (counter), */
	s16 trace_call;	 /* and under TASK_TRACED its number, -1: no call */
	/* futex, exit */
	u32 __user *clear_child_tid, *set_child_tid; /* set: at the first return to user mode */
	u64 robust_list;
	u64 rseq; /* 0: none (rseq.c) */
	u32 rseq_length, rseq_signature, rseq_cpu; /* cpu: what user memory says */
	bool rseq_interrupted; /* lost its CPU in user mode */
	int exit_code; /* of this thread: as wait4 gives it */
	struct completion *vfork_done; /* the parent's, in its frame: completed when this thread's mm goes */
	int pdeath_signal;
	u32 minor_faults, major_faults, voluntary_switches, involuntary_switches;
	nsec_t start_time;
	s8 nice;
	u8 policy, rt_priority;
	bool reset_on_fork;
	u16 ioprio;
	u32 timer_slack;
	char async_room[] __aligned(16); /* first segment of the async stack */
};

/* The thread that runs on this CPU; only where a thread runs (syscalls, faults), never in interrupts. */
static inline struct thread *thread_of(struct task *task)
{
	return (struct thread *)task;
}
static inline struct thread *current_thread(void)
{
	return thread_of(atomic_load_explicit(&this_cpu()->current, memory_order_relaxed));
}

/*
 * --- the executor, the entry code and a thread (syscall.c, user_work.c) ---
 *
 * A thread whose async stack is empty (async.top NULL) is in user mode. An exception of user mode has its registers saved
 * in thread->user and calls, with interrupts enabled, one of
 *     syscall_dispatch	    svc
 *     thread_page_fault    instruction and data aborts that a mapping may resolve
 *     thread_exception	    everything else that is the program's own
 * READY: the async stack is empty again. PENDING: it blocks; the executor picks another and steps this one when woken, with
 * async_resume(); when that is READY it calls thread_frames_done(). Then, always, in both cases, until no flag is left:
 *     TASK_SIGNALLED or TASK_WORK in task.flags: starts thread_user_work() as the outermost frame (and steps it, maybe over
 *                                                many wakes). READY with RESULT 0: look at the flags again.
 *                                                READY with -ESRCH: the thread has ended: thread_put() is the last touch, from
 *                                                a stack and address space that are not its own.
 *     TASK_RESCHED: gives way.
 * and enters user mode with what thread->user says.
 */
enum async_poll syscall_dispatch(struct thread *thread);
const char *syscall_name(unsigned number); /* or NULL */
enum async_poll thread_page_fault(struct thread *thread, u64 address, u32 access, u64 esr);
void thread_exception(struct thread *thread, u64 esr, u64 address);
void thread_frames_done(struct thread *thread);
ASYNC_DECLARE(thread_user_work, struct signal_action action; u32 ticket; int signal; u64 mask; siginfo_t info;);

/* What the architecture gives (core: arch/arm64/thread.c). The running thread only: */
void thread_fp_save(struct thread *thread);   /* user.fp and user.tls are up to date; the registers stay valid */
void thread_fp_reload(struct thread *thread); /* user.fp or user.tls were changed: the registers no longer count */
/* A new program: vector state and tls zero. */
void thread_fp_reset(struct thread *thread);

/* --- signals (signal.c) --- */
#define SIGMASK(n)	      (1ull << ((n)-1))
#define SIGNALS_UNBLOCKABLE (SIGMASK(SIGKILL) | SIGMASK(SIGSTOP))
/*
 * To a thread, a process, a group; info NULL: from the kernel (SI_KERNEL). 0, or -EAGAIN (queue full, real-time), -ESRCH.
 * Any context. The permission was checked by the caller.
 */
long signal_send_thread(struct thread *thread, int signal, const siginfo_t *info);
long signal_send_process(struct process *process, int signal, const siginfo_t *info);
long signal_send_group(pid_t group, int signal, const siginfo_t *info);
/* The same with process_lock held. */
long signal_send_thread_locked(struct thread *thread, int signal, const siginfo_t *info) REQUIRES(process_lock);
long signal_send_process_locked(struct process *process, int signal, const siginfo_t *info) REQUIRES(process_lock);
long signal_send_group_locked(struct process_group *group, int signal, const siginfo_t *info) REQUIRES(process_lock);
/* A fault of the program: cannot be blocked or ignored. */
void signal_force(struct thread *thread, int signal, int code, u64 address);
/* The running thread ignores or blocks it: what a tty asks before SIGTTIN and SIGTTOU. */
bool signal_is_ignored(int signal);
/* Sets the mask of the running thread (never SIGKILL, SIGSTOP) and recomputes TASK_SIGNALLED. */
void signal_mask_set(struct thread *thread, u64 mask);
/* For ppoll and its like: sets the mask for the call; restored by _end, or by the delivery of a signal if the call was interrupted. */
void signal_mask_temporary(struct thread *thread, u64 mask);
void signal_mask_end(struct thread *thread, bool interrupted);
/* A fatal signal waits for the thread: waits that ignore other signals should end. */
bool signal_fatal_pending(struct thread *thread);

/* --- processes (process.c, fork.c, exit.c, exec.c) --- */
struct process *process_find(pid_t pid); /* with a reference, or NULL; zombies too */
struct thread *thread_find(pid_t tid);	 /* with a reference, or NULL; alive ones */
struct process *process_find_locked(pid_t pid) REQUIRES(process_lock); /* no reference */
struct thread *thread_find_locked(pid_t tid) REQUIRES(process_lock);
struct process_group *group_find_locked(pid_t id) REQUIRES(process_lock);
void process_get(struct process *process);
void process_put(struct process *process);
void thread_get(struct thread *thread);
void thread_put(struct thread *thread);
/* The first process with a pid > after (0: from the start), with a reference, or NULL: for readdir of /proc. */
struct process *process_next(pid_t after);
/* The same for the threads of a process. */
struct thread *thread_next(struct process *process, pid_t after);
/* Any live thread (the leader if it lives), with a reference, or NULL. */
struct thread *process_thread(struct process *process);
u32 process_count(void);
u32 thread_count(void);
u32 threads_max(void); /* there are never more, zombies included */
pid_t pid_last(void);
/* Of another thread, with a reference, or NULL if it has exited. Put as usual. */
struct mm *thread_mm_get(struct thread *thread);
struct files *thread_files_get(struct thread *thread);
struct fs_context *thread_fs_get(struct thread *thread);
struct cred *thread_cred_get(struct thread *thread);
/* CPU time and the like of all its threads, ended ones too. */
void process_usage(struct process *process, struct usage *usage);

/*
 * Starts PID 1 from an executable (NULL: the first of the usual ones), at boot, from a detached task: 0 or -ENOMEM. The strings
 * and their vectors stay for good. Descriptors 0 to 2 are the console.
 */
ASYNC_DECLARE(process_start_init, const char *path; const char *const *argv; const char *const *envp;);
/* Ends the calling thread, or all of its process, at its next return to user mode. status as wait4 gives it. */
void thread_exit(struct thread *thread, int status);
void process_exit(struct process *process, int status);

/* --- credentials (cred.c) --- */
bool capable(int capability); /* of the running thread: CAP_* */
bool cred_capable(const struct cred *cred, int capability);
bool cred_in_group(const struct cred *cred, gid_t gid); /* fsgid or a supplementary group */
void cred_get(struct cred *cred);
void cred_put(struct cred *cred);
struct cred *cred_prepare(const struct cred *from); /* a copy with one user, or NULL */
void cred_commit(struct thread *thread, struct cred *cred); /* takes the reference */
u64 limit_get(unsigned resource); /* soft, of the running process */

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
/* The tty's: the leader of its session has ended. Called without locks; sends SIGHUP to the foreground group. */
void tty_session_ended(struct tty *tty, pid_t session);

/* What uname says. */
#define SYSTEM_RELEASE "6.12.0-lichen"
#define SYSTEM_VERSION "#1 SMP Lichen"
void system_names(char *host, char *domain, size_t bytes);
/* One of them, of n <= 64 bytes: 0, or -EPERM without CAP_SYS_ADMIN. */
long system_name_set(const char *name, size_t n, bool domain);

u32 runnable_count(void); /* threads that run or want to */
/* For /proc/loadavg: three averages in 1/2048 as Linux shows them, and runnable threads. */
void load_average(u64 average[3]);

#endif
