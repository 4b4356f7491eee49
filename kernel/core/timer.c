/* SPDX-License-Identifier: MIT */
/*
 * Timers: a tree of deadlines a CPU, and the slice of the task that runs there. The hardware is told the earliest of
 * them; it is never told to forget one (an interrupt too early is cheaper than two register writes a switch).
 */
#include <lichen/cpu.h>
#include <lichen/timer.h>
#include <arch/relax.h>

void timer_init(struct timer *timer, void (*expire)(struct timer *timer))
{
	timer->expire = expire;
	timer->deadline = 0;
	atomic_init(&timer->cpu, -1);
}

/* The hardware rings no later than `deadline`. Interrupts masked; touches only what is this CPU's own. */
static void ring_by(struct cpu *cpu, nsec_t deadline)
{
	struct timer_queue *q = &cpu->timers;

	if (!q->armed || deadline < q->armed) {
		q->armed = deadline;
		clock_arch_arm(deadline);
	}
}

void timer_slice(struct cpu *cpu)
{
	ring_by(cpu, cpu->slice_end);
}

static void timer_insert(struct timer_queue *q, struct timer *timer) REQUIRES(q->lock)
{
	struct rb_node **link = &q->tree.root, *parent = NULL;
	bool first = true;

	while (*link) {
		parent = *link;
		if (timer->deadline < rb_entry(parent, struct timer, node)->deadline) {
			link = &parent->left;
		} else {
			link = &parent->right;
			first = false;
		}
	}
	rb_insert(&q->tree, &timer->node, parent, link);
	if (first)
		q->first = &timer->node;
}

static void timer_erase(struct timer_queue *q, struct timer *timer) REQUIRES(q->lock)
{
	if (q->first == &timer->node)
		q->first = rb_next(&timer->node);
	rb_erase(&q->tree, &timer->node);
}

/* Takes it out of whatever tree it is in. */
static bool timer_detach(struct timer *timer)
{
	for (;;) {
		int cpu = atomic_load_explicit(&timer->cpu, memory_order_acquire);
		struct timer_queue *q;
		unsigned long flags;

		if (cpu < 0)
			return false;
		q = &cpus[cpu].timers;
		flags = spin_lock_irqsave(&q->lock);
		if (atomic_load_explicit(&timer->cpu, memory_order_relaxed) == cpu) {
			timer_erase(q, timer);
			atomic_store_explicit(&timer->cpu, -1, memory_order_relaxed);
			spin_unlock_irqrestore(&q->lock, flags);
			return true;
		}
		spin_unlock_irqrestore(&q->lock, flags);
	}
}

void timer_start(struct timer *timer, nsec_t deadline)
{
	unsigned long flags;
	struct cpu *cpu;

	timer_detach(timer);
	flags = irq_save();
	cpu = this_cpu();
	spin_lock(&cpu->timers.lock);
	timer->deadline = deadline;
	timer_insert(&cpu->timers, timer);
	atomic_store_explicit(&timer->cpu, (int)cpu->id, memory_order_release);
	spin_unlock(&cpu->timers.lock);
	ring_by(cpu, max(deadline, (nsec_t)1));
	irq_restore(flags);
}

bool timer_cancel(struct timer *timer)
{
	if (timer_detach(timer))
		return true;
	/* Not in a tree: expired, or never started. Its expire may be running still. */
	for (u32 i = 0; i < cpu_count(); i++)
		while (atomic_load_explicit(&cpus[i].timers.running, memory_order_acquire) == timer)
			relax();
	return false;
}

void timer_interrupt(void)
{
	struct cpu *cpu = this_cpu();
	struct timer_queue *q = &cpu->timers;
	nsec_t now = time_monotonic(), next;

	spin_lock(&q->lock);
	q->armed = 0;
	while (q->first) {
		struct timer *timer = rb_entry(q->first, struct timer, node);

		if (timer->deadline > now)
			break;
		timer_erase(q, timer);
		/* `running` first: timer_cancel reads `cpu` first. */
		atomic_store_explicit(&q->running, timer, memory_order_release);
		atomic_store_explicit(&timer->cpu, -1, memory_order_release);
		spin_unlock(&q->lock);
		timer->expire(timer);
		spin_lock(&q->lock);
		atomic_store_explicit(&q->running, NULL, memory_order_release);
	}
	if (cpu->slice_end && now >= cpu->slice_end) {
		struct task *task = cpu->current;

		cpu->slice_end = 0;
		if (task)
			atomic_fetch_or_explicit(&task->flags, TASK_RESCHED, memory_order_relaxed);
	}
	next = q->first ? max(rb_entry(q->first, struct timer, node)->deadline, (nsec_t)1) : 0;
	spin_unlock(&q->lock);
	if (cpu->slice_end && (!next || cpu->slice_end < next))
		next = cpu->slice_end;
	q->armed = next;
	clock_arch_arm(next);
}
