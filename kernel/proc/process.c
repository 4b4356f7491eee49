/* SPDX-License-Identifier: MIT */
/*
 * The tables of threads, processes, groups and sessions by number, and the lifetimes of threads and processes. A number
 * is free when none of the four tables has it.
 */
#include "proc.h"

#define PID_BUCKETS 1024

spinlock_t process_lock = SPINLOCK_INIT;
struct process *init_process;
struct list all_processes = LIST_INIT(all_processes);

static struct list thread_buckets[PID_BUCKETS], process_buckets[PID_BUCKETS];
static struct slab_cache *thread_cache, *process_cache;
static pid_t last_pid;
static u32 processes, threads, threads_limit;

static struct list *bucket(struct list *table, pid_t pid)
{
	return &table[(u32)pid % PID_BUCKETS];
}

/* An eighth of the memory at most goes into threads. */
static u32 threads_room(void)
{
	struct memory_info info;
	u64 pages;

	memory_info(&info);
	pages = pool_is_separate() ? info.total - info.pool_total : info.total;
	return (u32)min(max(pages * PAGE_SIZE / 8 / THREAD_BYTES, (u64)1000), (u64)PID_MAX / 2);
}

static void process_tables_init(void)
{
	for (unsigned i = 0; i < PID_BUCKETS; i++) {
		list_init(&thread_buckets[i]);
		list_init(&process_buckets[i]);
	}
	thread_cache = slab_cache_create("thread", THREAD_BYTES, 64);
	process_cache = slab_cache_create("process", sizeof(struct process), 0);
	threads_limit = threads_room();
}
INITCALL(INIT_CORE, process_tables_init);

struct thread *thread_find_locked(pid_t tid)
{
	struct thread *thread;

	list_for_each(thread, bucket(thread_buckets, tid), hash_node)
		if (thread->tid == tid)
			return thread;
	return NULL;
}

struct process *process_find_locked(pid_t pid)
{
	struct process *process;

	list_for_each(process, bucket(process_buckets, pid), hash_node)
		if (process->pid == pid)
			return process;
	return NULL;
}

bool pid_is_free(pid_t pid)
{
	return !thread_find_locked(pid) && !process_find_locked(pid) && !group_find_locked(pid) &&
	       !session_find_locked(pid);
}

pid_t pid_allocate(void)
{
	do {
		last_pid = last_pid >= PID_MAX - 1 ? 300 : last_pid + 1;
	} while (!pid_is_free(last_pid));
	return last_pid;
}

u64 uid_thread_count(uid_t uid)
{
	struct process *process;
	u64 n = 0;

	list_for_each(process, &all_processes, all_node) {
		struct thread *thread = process_thread_locked(process);

		if ((thread ? thread->cred->uid : process->exit_uid) == uid)
			n += max(process->thread_count, 1u);
	}
	return n;
}

u32 threads_max(void)
{
	return threads_limit;
}

struct thread *thread_create(void)
{
	struct thread *thread = slab_alloc(thread_cache);

	if (!thread)
		return NULL;
	memset(thread, 0, sizeof(*thread));
	task_init(&thread->task, thread->async_room, THREAD_BYTES - offsetof(struct thread, async_room));
	thread->task.flags = TASK_THREAD;
	atomic_init(&thread->refcount, 1);
	signal_set_init(&thread->pending);
	list_init(&thread->process_node);
	list_init(&thread->hash_node);
	thread->syscall = -1;
	thread->start_time = time_monotonic();
	thread->timer_slack = 50000;
	return thread;
}

void thread_get(struct thread *thread)
{
	atomic_fetch_add_explicit(&thread->refcount, 1, memory_order_relaxed);
}

void thread_put(struct thread *thread)
{
	if (atomic_fetch_sub_explicit(&thread->refcount, 1, memory_order_acq_rel) != 1)
		return;
	if (thread->cred)
		cred_put(thread->cred);
	if (thread->process)
		process_put(thread->process);
	slab_free(thread_cache, thread);
}

struct process *process_create(void)
{
	struct process *process = slab_zalloc(process_cache);

	if (!process)
		return NULL;
	atomic_init(&process->refcount, 1);
	list_init(&process->children);
	list_init(&process->child_node);
	list_init(&process->threads);
	list_init(&process->group_node);
	list_init(&process->hash_node);
	list_init(&process->all_node);
	signal_set_init(&process->pending);
	wait_queue_init(&process->threads_changed);
	wait_queue_init(&process->children_changed);
	wait_queue_init(&process->signalled);
	wait_queue_init(&process->exited);
	process->start_time = time_monotonic();
	return process;
}

void process_get(struct process *process)
{
	atomic_fetch_add_explicit(&process->refcount, 1, memory_order_relaxed);
}

void process_put(struct process *process)
{
	if (atomic_fetch_sub_explicit(&process->refcount, 1, memory_order_acq_rel) != 1)
		return;
	if (process->actions)
		signal_actions_put(process->actions);
	process_timers_free(process);
	slab_free(process_cache, process);
}

/* The thread's reference to the process is taken here; the tables have none to the thread: it leaves them before it goes. */
void thread_insert(struct thread *thread, struct process *process, pid_t tid)
{
	thread->tid = tid;
	if (!thread->process) {
		process_get(process);
		thread->process = process;
	}
	list_add_tail(&process->threads, &thread->process_node);
	process->thread_count++;
	list_add(bucket(thread_buckets, tid), &thread->hash_node);
	threads++;
}

void thread_rename(struct thread *thread, pid_t tid)
{
	list_remove(&thread->hash_node);
	thread->tid = tid;
	list_add(bucket(thread_buckets, tid), &thread->hash_node);
}

void thread_unlink(struct thread *thread)
{
	list_remove(&thread->process_node);
	list_remove(&thread->hash_node);
	thread->process->thread_count--;
	threads--;
}

/* The tables hold a reference to the process until process_unlink. */
void process_insert(struct process *process, pid_t pid, struct process *parent)
{
	process_get(process);
	process->pid = pid;
	process->parent = parent;
	if (parent)
		list_add_tail(&parent->children, &process->child_node);
	list_add(bucket(process_buckets, pid), &process->hash_node);
	list_add_tail(&all_processes, &process->all_node);
	processes++;
}

void process_unlink(struct process *process)
{
	process->state = PROCESS_DEAD;
	group_leave(process);
	list_remove(&process->child_node);
	list_remove(&process->hash_node);
	list_remove(&process->all_node);
	process->parent = NULL;
	processes--;
}

struct process *process_find(pid_t pid)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *process = process_find_locked(pid);

	if (process)
		process_get(process);
	spin_unlock_irqrestore(&process_lock, flags);
	return process;
}

struct thread *thread_find(pid_t tid)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct thread *thread = thread_find_locked(tid);

	if (thread)
		thread_get(thread);
	spin_unlock_irqrestore(&process_lock, flags);
	return thread;
}

struct process *process_next(pid_t after)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *process, *best = NULL;

	list_for_each(process, &all_processes, all_node)
		if (process->pid > after && (!best || process->pid < best->pid))
			best = process;
	if (best)
		process_get(best);
	spin_unlock_irqrestore(&process_lock, flags);
	return best;
}

struct thread *thread_next(struct process *process, pid_t after)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct thread *thread, *best = NULL;

	list_for_each(thread, &process->threads, process_node)
		if (thread->tid > after && (!best || thread->tid < best->tid))
			best = thread;
	if (best)
		thread_get(best);
	spin_unlock_irqrestore(&process_lock, flags);
	return best;
}

struct thread *process_thread_locked(struct process *process)
{
	struct thread *leader = thread_find_locked(process->pid);

	if (leader && leader->process == process)
		return leader;
	return list_empty(&process->threads) ? NULL : list_first(&process->threads, struct thread, process_node);
}

struct thread *process_thread(struct process *process)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct thread *thread = process_thread_locked(process);

	if (thread)
		thread_get(thread);
	spin_unlock_irqrestore(&process_lock, flags);
	return thread;
}

u32 process_count(void)
{
	return processes;
}

u32 thread_count(void)
{
	return threads;
}

pid_t pid_last(void)
{
	return last_pid;
}

/* A thread's mm, files and fs are taken away under process_lock when it exits, and put afterwards. */
#define THREAD_OBJECT_GET(type, member, get)                                                       \
	type *thread_##member##_get(struct thread *thread)                                         \
	{                                                                                          \
		unsigned long flags = spin_lock_irqsave(&process_lock);                            \
		type *object = thread->member;                                                     \
                                                                                                   \
		if (object)                                                                        \
			get(object);                                                               \
		spin_unlock_irqrestore(&process_lock, flags);                                      \
		return object;                                                                     \
	}
THREAD_OBJECT_GET(struct mm, mm, mm_get)
THREAD_OBJECT_GET(struct files, files, files_get)
THREAD_OBJECT_GET(struct fs_context, fs, fs_context_get)
THREAD_OBJECT_GET(struct cred, cred, cred_get)

void usage_add(struct usage *sum, const struct usage *more)
{
	sum->user += more->user;
	sum->system += more->system;
	sum->voluntary += more->voluntary;
	sum->involuntary += more->involuntary;
	sum->minor += more->minor;
	sum->major += more->major;
	sum->max_rss = max(sum->max_rss, more->max_rss);
	sum->blocks_in += more->blocks_in;
	sum->blocks_out += more->blocks_out;
}

void process_usage_locked(struct process *process, struct usage *usage)
{
	struct thread *thread;

	*usage = process->usage;
	list_for_each(thread, &process->threads, process_node) {
		nsec_t user, system;

		task_times(&thread->task, &user, &system);
		usage->user += user;
		usage->system += system;
		usage->voluntary += thread->voluntary_switches;
		usage->involuntary += thread->involuntary_switches;
		usage->minor += thread->minor_faults;
		usage->major += thread->major_faults;
		if (thread->mm)
			usage->max_rss = max(usage->max_rss, thread->mm->peak_resident);
	}
}

void process_usage(struct process *process, struct usage *usage)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	process_usage_locked(process, usage);
	spin_unlock_irqrestore(&process_lock, flags);
}
