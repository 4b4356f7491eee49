/* SPDX-License-Identifier: MIT */
/*
 * The executor: one loop a CPU that picks the task with the least weighted run time, steps it, and idles when there is
 * nothing. Tasks wait in run queues ordered by vruntime; a wake puts a task on an idle CPU if there is one, and a CPU
 * that runs dry steals before it idles. There is no tick: the clock rings for a slice only while others wait.
 *
 * Who may touch a task: RUNNING or NOTIFIED, its CPU; QUEUED, who holds its run queue's lock; BLOCKED, who moves it to
 * QUEUED. So the last thing that a CPU does to a task that it gives up is the change of its state.
 */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/executor.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>

#define SLICE	      (3 * 1000 * 1000) /* ns that a task may keep a CPU that others want */
#define WAKE_CREDIT   (2 * 1000 * 1000) /* how far a sleeper may be behind the queue's floor */
#define WAKE_MARGIN   (1 * 1000 * 1000) /* how far ahead a running task is when a wake preempts it */
#define WEIGHT_NORMAL 1024

struct cpu cpus[CPUS_MAX];
bool cpus_ready;
static _Atomic u64 idle_cpus, online_cpus;

static spinlock_t all_lock = SPINLOCK_INIT; /* interrupts masked */
static struct list all_tasks = LIST_INIT(all_tasks);

/* --- time --- */

static u64 weighted(const struct task *task, nsec_t ns)
{
	return likely(task->weight == WEIGHT_NORMAL) ? ns : ns * WEIGHT_NORMAL / max(task->weight, 1u);
}

/* Charges the running task for its time since the last call. */
static void account(struct cpu *cpu, struct task *task)
{
	nsec_t now = time_monotonic(), ns = now - cpu->run_start;

	cpu->run_start = now;
	task->vruntime += weighted(task, ns);
	executor_charge(task, ns);
}

void task_times(struct task *task, nsec_t *user, nsec_t *system)
{
	struct cpu *cpu = &cpus[task->cpu];

	*user = task->runtime_user;
	*system = task->runtime_system;
	/* A task that keeps its CPU is not charged until it leaves: what it has used since is taken for user time. */
	if (atomic_load_explicit(&cpu->current, memory_order_relaxed) == task && task != this_cpu()->current) {
		nsec_t now = time_monotonic(), start = cpu->run_start;

		*user += now > start ? now - start : 0;
	} else if (task == this_cpu()->current) {
		unsigned long flags = irq_save();

		account(this_cpu(), task);
		*user = task->runtime_user;
		*system = task->runtime_system;
		irq_restore(flags);
	}
}

/* --- the run queue --- */

static void queue_insert(struct run_queue *q, struct task *task) REQUIRES(q->lock)
{
	struct rb_node **link = &q->tree.root, *parent = NULL;
	bool first = true;

	while (*link) {
		parent = *link;
		if ((s64)(task->vruntime - rb_entry(parent, struct task, run_node)->vruntime) < 0) {
			link = &parent->left;
		} else {
			link = &parent->right;
			first = false;
		}
	}
	rb_insert(&q->tree, &task->run_node, parent, link);
	if (first)
		q->first = &task->run_node;
	atomic_fetch_add_explicit(&q->count, 1, memory_order_relaxed);
}

static void queue_erase(struct run_queue *q, struct task *task) REQUIRES(q->lock)
{
	if (q->first == &task->run_node)
		q->first = rb_next(&task->run_node);
	rb_erase(&q->tree, &task->run_node);
	atomic_fetch_sub_explicit(&q->count, 1, memory_order_relaxed);
}

static bool may_run_on(const struct task *task, u32 cpu)
{
	u64 allowed = task->affinity & atomic_load_explicit(&online_cpus, memory_order_relaxed);

	return !allowed || allowed & BIT(cpu);
}

static u32 choose_cpu(struct task *task)
{
	u64 online = atomic_load_explicit(&online_cpus, memory_order_relaxed);
	u64 allowed = task->affinity & online;
	u64 idle;
	u32 best, self = this_cpu()->id;

	if (online == 1)
		return 0;
	if (!allowed)
		allowed = online;
	idle = allowed & atomic_load_explicit(&idle_cpus, memory_order_relaxed);
	if (idle & BIT(self))
		return self;
	if (idle & BIT(task->cpu))
		return task->cpu;
	if (idle)
		return (u32)__builtin_ctzll(idle);
	if (allowed & BIT(task->cpu))
		return task->cpu;
	best = (u32)__builtin_ctzll(allowed);
	for (u64 left = allowed & (allowed - 1); left; left &= left - 1) {
		u32 cpu = (u32)__builtin_ctzll(left);

		if (atomic_load_explicit(&cpus[cpu].queue.count, memory_order_relaxed) <
			atomic_load_explicit(&cpus[best].queue.count, memory_order_relaxed))
			best = cpu;
	}
	return best;
}

/* Should the running task of this CPU give way to the first of the queue? Interrupts masked. */
static void check_preempt(struct cpu *cpu)
{
	struct task *current = cpu->current;
	u64 mine;

	if (!current)
		return;
	mine = current->vruntime + weighted(current, time_monotonic() - cpu->run_start);
	spin_lock(&cpu->queue.lock);
	if (cpu->queue.first) {
		struct task *first = rb_entry(cpu->queue.first, struct task, run_node);

		if ((s64)(mine - first->vruntime) > WAKE_MARGIN)
			atomic_fetch_or_explicit(&current->flags, TASK_RESCHED, memory_order_relaxed);
	}
	spin_unlock(&cpu->queue.lock);
	if (!cpu->slice_end) {
		cpu->slice_end = time_monotonic() + SLICE;
		timer_slice(cpu);
	}
}

/* The task is QUEUED and nobody's: puts it into a run queue. */
static void enqueue(struct task *task, bool woken)
{
	unsigned long flags = irq_save();
	struct cpu *self = this_cpu(), *cpu = &cpus[choose_cpu(task)];
	struct run_queue *q = &cpu->queue;
	u64 floor;

	spin_lock(&q->lock);
	floor = atomic_load_explicit(&q->floor, memory_order_relaxed);
	if (woken)
		floor -= WAKE_CREDIT;
	if (cpu->id != task->cpu) {
		/* Another queue's time: keep what it is ahead of the floor, within reason. */
		u64 ahead = task->vruntime - atomic_load_explicit(&cpus[task->cpu].queue.floor, memory_order_relaxed);

		task->vruntime = atomic_load_explicit(&q->floor, memory_order_relaxed) +
			((s64)ahead > 0 ? min(ahead, (u64)100 * SLICE) : 0);
		task->cpu = cpu->id;
	}
	if ((s64)(task->vruntime - floor) < 0)
		task->vruntime = floor;
	queue_insert(q, task);
	spin_unlock(&q->lock);
	/* Between here and the kick another CPU may have run it already. */
	if (cpu != self)
		cpu_arch_kick(cpu->id);
	else
		check_preempt(cpu);
	irq_restore(flags);
}

static struct task *queue_take(struct cpu *cpu)
{
	struct run_queue *q = &cpu->queue;
	struct task *task = NULL;
	unsigned long flags;

	if (!atomic_load_explicit(&q->count, memory_order_acquire))
		return NULL;
	flags = spin_lock_irqsave(&q->lock);
	if (q->first) {
		task = rb_entry(q->first, struct task, run_node);
		queue_erase(q, task);
		if ((s64)(task->vruntime - q->floor) > 0)
			atomic_store_explicit(&q->floor, task->vruntime, memory_order_relaxed);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	return task;
}

/* Takes a waiting task from another CPU's queue. */
static struct task *steal(struct cpu *self)
{
	u32 n = cpu_count();

	for (u32 i = 1; i < n; i++) {
		struct cpu *victim = &cpus[(self->id + i) % n];
		struct task *task = NULL;
		unsigned long flags;

		/* One that waits on an idle CPU is about to run there. */
		if (!atomic_load_explicit(&victim->queue.count, memory_order_relaxed) ||
			atomic_load_explicit(&victim->idle, memory_order_relaxed))
			continue;
		flags = spin_lock_irqsave(&victim->queue.lock);
		for (struct rb_node *node = victim->queue.first; node; node = rb_next(node)) {
			task = rb_entry(node, struct task, run_node);
			if (may_run_on(task, self->id))
				break;
			task = NULL;
		}
		if (task) {
			u64 ahead = task->vruntime - victim->queue.floor;

			queue_erase(&victim->queue, task);
			task->vruntime = self->queue.floor + ((s64)ahead > 0 ? ahead : 0);
			task->cpu = self->id;
		}
		spin_unlock_irqrestore(&victim->queue.lock, flags);
		if (task)
			return task;
	}
	return NULL;
}

static bool work_somewhere(struct cpu *self)
{
	u32 n = cpu_count();

	for (u32 i = 0; i < n; i++)
		if (atomic_load_explicit(&cpus[i].queue.count, memory_order_relaxed) &&
			(i == self->id || !atomic_load_explicit(&cpus[i].idle, memory_order_relaxed)))
			return true;
	return false;
}

static void idle(struct cpu *cpu)
{
	unsigned long flags = irq_save();
	nsec_t start = time_monotonic();

	cpu->slice_end = 0;
	executor_arch_leave_thread();
	atomic_store_explicit(&cpu->idle, true, memory_order_relaxed);
	/* Seen as idle before the last look at the queue: who queues after that look sees it and kicks. */
	atomic_fetch_or_explicit(&idle_cpus, BIT(cpu->id), memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	if (!work_somewhere(cpu))
		cpu_arch_idle();
	atomic_fetch_and_explicit(&idle_cpus, ~BIT(cpu->id), memory_order_relaxed);
	atomic_store_explicit(&cpu->idle, false, memory_order_relaxed);
	cpu->idle_ns += time_monotonic() - start;
	irq_restore(flags);
}

static struct task *pick(struct cpu *cpu)
{
	struct task *task;

	for (;;) {
		task = queue_take(cpu);
		if (!task)
			task = steal(cpu);
		if (!task) {
			idle(cpu);
		} else if (unlikely(!may_run_on(task, cpu->id))) {
			enqueue(task, false);
		} else {
			return task;
		}
	}
}

/* --- giving a task up --- */

static void leave(struct cpu *cpu, struct task *task, enum executor_verdict verdict)
{
	unsigned long flags = irq_save();

	account(cpu, task);
	atomic_fetch_and_explicit(&task->flags, ~(u32)TASK_RESCHED, memory_order_relaxed);
	if (task->flags & TASK_THREAD)
		executor_leave_thread(task, verdict);
	atomic_store_explicit(&cpu->current, NULL, memory_order_relaxed);
	irq_restore(flags);
}

static void requeue(struct cpu *cpu, struct task *task)
{
	leave(cpu, task, EXECUTOR_PREEMPTED);
	atomic_store_explicit(&task->state, TASK_QUEUED, memory_order_release);
	enqueue(task, false);
}

static void block(struct cpu *cpu, struct task *task)
{
	u32 state = TASK_RUNNING;

	leave(cpu, task, EXECUTOR_BLOCK);
	if (atomic_compare_exchange_strong_explicit(
		    &task->state, &state, TASK_BLOCKED, memory_order_acq_rel, memory_order_acquire))
		return;
	/* NOTIFIED: a wake came while it went to sleep. */
	atomic_store_explicit(&task->state, TASK_QUEUED, memory_order_release);
	enqueue(task, false);
}

/* Bytes that are kept free for the frames of each task: enough for most to wait for memory at the same time. */
#define TASK_RESERVE 1024

static void finish(struct cpu *cpu, struct task *task)
{
	bool thread = task->flags & TASK_THREAD;
	unsigned long flags;

	leave(cpu, task, EXECUTOR_ENDED);
	atomic_store_explicit(&task->state, TASK_DEAD, memory_order_release);
	flags = spin_lock_irqsave(&all_lock);
	list_remove(&task->all_node);
	page_reserve_frames(-TASK_RESERVE);
	spin_unlock_irqrestore(&all_lock, flags);
	if (thread)
		executor_end_thread(task);
	else
		kfree(task);
}

void executor_done(enum executor_verdict verdict)
{
	struct cpu *cpu = this_cpu();
	struct task *task = cpu->current;

	if (verdict == EXECUTOR_BLOCK)
		block(cpu, task);
	else if (verdict == EXECUTOR_PREEMPTED)
		requeue(cpu, task);
	else
		finish(cpu, task);
}

/* --- the loop --- */

static void run(struct cpu *cpu, struct task *task)
{
	unsigned long flags = irq_save();

	task->cpu = cpu->id;
	atomic_store_explicit(&task->state, TASK_RUNNING, memory_order_relaxed);
	atomic_store_explicit(&cpu->current, task, memory_order_relaxed);
	cpu->switches++;
	cpu->run_start = time_monotonic();
	cpu->slice_end = 0;
	if (atomic_load_explicit(&cpu->queue.count, memory_order_relaxed)) {
		cpu->slice_end = cpu->run_start + SLICE;
		timer_slice(cpu);
	}
	if (task->flags & TASK_THREAD)
		executor_enter_thread(task);
	irq_restore(flags);
	if (task->flags & TASK_THREAD)
		executor_done(executor_run_thread(task));
	else
		executor_done(async_resume(task) == READY ? EXECUTOR_ENDED : EXECUTOR_BLOCK);
}

void executor_step(void)
{
	struct cpu *cpu = this_cpu();

	run(cpu, pick(cpu));
}

void executor_poll(void)
{
	struct cpu *cpu = this_cpu();
	struct task *task = queue_take(cpu);

	if (!task)
		task = steal(cpu);
	if (task)
		run(cpu, task);
	else
		idle(cpu);
}

void __noreturn executor_run(void)
{
	executor_online();
	for (;;)
		executor_step();
}

void executor_online(void)
{
	atomic_store(&this_cpu()->online, true);
	atomic_fetch_or(&online_cpus, BIT(this_cpu()->id));
}

void __noreturn executor_resume_other(void)
{
	executor_done(EXECUTOR_BLOCK);
	for (;;)
		executor_step();
}

void executor_kicked(void)
{
	check_preempt(this_cpu());
}

/* --- tasks --- */

void task_init(struct task *task, void *room, size_t bytes)
{
	list_init(&task->all_node);
	async_stack_init(&task->async, room, bytes);
	task->weight = WEIGHT_NORMAL;
	task->affinity = ~0ull;
	atomic_init(&task->state, TASK_QUEUED);
}

void task_start(struct task *task)
{
	unsigned long flags = spin_lock_irqsave(&all_lock);

	list_add_tail(&all_tasks, &task->all_node);
	page_reserve_frames(TASK_RESERVE);
	spin_unlock_irqrestore(&all_lock, flags);
	task->cpu = this_cpu()->id;
	task->vruntime = this_cpu()->queue.floor;
	atomic_store_explicit(&task->state, TASK_QUEUED, memory_order_release);
	enqueue(task, false);
}

void task_wake(struct task *task)
{
	u32 state = atomic_load_explicit(&task->state, memory_order_acquire);

	for (;;) {
		if (state == TASK_BLOCKED) {
			if (!atomic_compare_exchange_weak_explicit(&task->state, &state, TASK_QUEUED,
				    memory_order_acq_rel, memory_order_acquire))
				continue;
			enqueue(task, true);
			return;
		}
		if (state != TASK_RUNNING)
			return;
		if (atomic_compare_exchange_weak_explicit(
			    &task->state, &state, TASK_NOTIFIED, memory_order_acq_rel, memory_order_acquire))
			return;
	}
}

ASYNC_DEFINE_SHALLOW(task_yield, 0)
{
	if (f->yielded)
		ASYNC_RETURN(0);
	f->yielded = true;
	executor_fall_behind(self);
	task_wake(self); /* it runs: remembered, so that it is queued again */
	return PENDING;
}

void executor_fall_behind(struct task *task)
{
	struct cpu *cpu = this_cpu();
	unsigned long flags = spin_lock_irqsave(&cpu->queue.lock);

	if (cpu->queue.first) {
		struct task *first = rb_entry(cpu->queue.first, struct task, run_node);

		if ((s64)(first->vruntime - task->vruntime) >= 0)
			task->vruntime = first->vruntime + 1;
	}
	spin_unlock_irqrestore(&cpu->queue.lock, flags);
}

bool task_should_yield(struct task *self)
{
	return atomic_load_explicit(&self->flags, memory_order_relaxed) & TASK_RESCHED;
}

struct detached {
	struct task task;
	char room[704] __aligned(16);
};

struct task *task_spawn(const char *name, const struct async_fn *fn, const void *args, size_t args_size)
{
	struct detached *d = kzalloc(sizeof(*d));

	if (!d)
		return NULL;
	task_init(&d->task, d->room, sizeof(d->room));
	d->task.name = name;
	if (!async_prepare(&d->task, fn, args, args_size)) {
		kfree(d);
		return NULL;
	}
	task_start(&d->task);
	return &d->task;
}

void task_for_each(void (*fn)(struct task *task, void *arg), void *arg)
{
	unsigned long flags = spin_lock_irqsave(&all_lock);
	struct task *task;

	list_for_each(task, &all_tasks, all_node)
		fn(task, arg);
	spin_unlock_irqrestore(&all_lock, flags);
}
