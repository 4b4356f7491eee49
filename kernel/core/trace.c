// SPDX-License-Identifier: MIT
/*
 * Trace rings, the kernel's side. Under the hypervisor they are its memory, found through the device tree, and hold the records of
 * all three programs; what other domains wrote is copied out as bytes and believed in nothing. Alone, the kernel makes rings of its
 * own when the trace is first switched on.
 */
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/string.h>
#include <lichen/tracing.h>
#include <arch/clock.h>
#include <arch/hypercall.h>
#include <asm/errno.h>
#include <libfdt.h>

#define OWN_ORDER   6u /* pages of a ring of our own: its header, and records */
#define OWN_RECORDS 4096u
_Static_assert(LICHEN_TRACE_PAGE + OWN_RECORDS * sizeof(struct lichen_trace_record) <= PAGE_SIZE << OWN_ORDER, "a ring fits");

__attribute__((used)) bool trace_on; /* trace_enabled() is assembly */
static bool hypervisor;
static u32 ring_records, ring_count;
static char *window;			      /* the hypervisor's header and rings */
static const struct lichen_info *info;
static u64 began; /* when it was last switched on */

static struct lichen_trace_ring *window_ring(u32 index)
{
	return (struct lichen_trace_ring *)(window + LICHEN_TRACE_PAGE + index * lichen_trace_ring_bytes(ring_records));
}

static void trace_find(void)
{
	const void *dt = device_tree();
	int node = dt ? fdt_node_offset_by_compatible(dt, -1, "lichen,hypervisor") : -1;
	phys_addr_t base, size, info_base, info_size;
	const volatile struct lichen_trace_header *header;

	hypervisor = node >= 0;
	if (!hypervisor || !devicetree_reg(dt, node, 2, &base, &size) || !devicetree_reg(dt, node, 0, &info_base, &info_size))
		return;
	info = shared_map(info_base, info_size, false);
	window = shared_map(base, size, true); /* our own rings may be written */
	if (!info || !window)
		return;
	header = (const volatile struct lichen_trace_header *)window;
	if (header->magic != LICHEN_TRACE_MAGIC || header->version != LICHEN_TRACE_VERSION) {
		log_err("trace: the hypervisor's rings are of another version");
		return;
	}
	ring_records = header->records;
	ring_count = header->rings;
	for (u32 cpu = 0; cpu < cpu_count(); cpu++)
		for (u32 row = 0; row < ring_count / 2; row++)
			if (info->cpu[row].mpidr == cpu_hardware_id(cpu))
				cpus[cpu].trace = window_ring(2 * row + 1);
}
INITCALL(INIT_LATE, trace_find);

static __always_inline void record(u32 stage, u32 key, u32 tid, u64 value)
{
	unsigned long flags = irq_save();
	struct lichen_trace_ring *ring = this_cpu()->trace;

	if (likely(ring))
		lichen_trace_write(ring, ring_records, stage, key, tid, value);
	irq_restore(flags);
}

/* That does not change, so other flags may. */
static __always_inline bool is_thread(const struct task *task)
{
	return atomic_load_explicit(&task->flags, memory_order_relaxed) & TASK_THREAD;
}

void trace_put(u32 stage, u32 key, const struct task *task, u64 value)
{
	record(stage, key, task && is_thread(task) ? (u32)((const struct thread *)task)->tid : 0, value);
}

void trace_put_submit(u32 key, struct task *task, u64 value)
{
	u32 tid = 0;

	if (task && is_thread(task)) {
		struct thread *thread = thread_of(task);

		tid = (u32)thread->tid;
		/* Several requests of one call have one return. */
		if (!(atomic_fetch_or_explicit(&task->flags, TASK_TRACED, memory_order_relaxed) & TASK_TRACED))
			thread->trace_call = thread->syscall;
	}
	record(LICHEN_TRACE_SUBMIT, key, tid, value);
}

void trace_put_return(struct task *task)
{
	struct thread *thread = thread_of(task);
	bool entered = thread->trace_call >= 0 && thread->trace_entry >= began;

	atomic_fetch_and_explicit(&task->flags, ~(u32)TASK_TRACED, memory_order_relaxed);
	record(LICHEN_TRACE_RETURN, (u32)thread->trace_call, (u32)thread->tid, entered ? thread->trace_entry : 0);
}

static long own_make(void)
{
	for (u32 cpu = 0; cpu < cpu_count(); cpu++) {
		struct page *page = cpus[cpu].trace ? NULL : page_alloc(OWN_ORDER, ALLOC_ZERO);

		if (!cpus[cpu].trace && !page)
			return -ENOMEM;
		if (page)
			cpus[cpu].trace = page_address(page);
	}
	ring_records = OWN_RECORDS;
	ring_count = cpu_count();
	return 0;
}

long trace_switch(bool on)
{
	long error = 0;

	if (!hypervisor)
		error = own_make();
	else if (!ring_count)
		error = -ENODEV;
	else
		error = hypercall1(LICHEN_HVC_TRACE, on);
	if (error)
		return error;
	if (on)
		began = lichen_trace_time();
	trace_on = on;
	trace_syscalls(on);
	return 0;
}

size_t trace_file_bytes(void)
{
	return ring_count ? sizeof(struct lichen_trace_file) +
				    ring_count * (sizeof(struct lichen_trace_chunk) + ring_records * sizeof(struct lichen_trace_record))
			  : 0;
}

/* Records that are whole: their sequence is right before and after they were copied. */
static size_t ring_copy(struct lichen_trace_ring *ring, char *to)
{
	u64 next = *(volatile u64 *)&ring->next, n = min(next, (u64)ring_records);
	struct lichen_trace_record *out = (struct lichen_trace_record *)to;
	size_t count = 0;

	for (u64 i = next - n; i != next; i++) {
		const volatile u64 *from = (const volatile u64 *)&lichen_trace_records(ring)[i & (ring_records - 1)];
		u64 word[sizeof(*out) / sizeof(u64)];

		for (u32 w = 0; w < ARRAY_SIZE(word); w++)
			word[w] = from[w];
		atomic_thread_fence(memory_order_acquire);
		if ((u32)word[1] != (u32)i + 1 || (u32)from[1] != (u32)i + 1)
			continue;
		memcpy(&out[count++], word, sizeof(*out));
	}
	return count;
}

size_t trace_file_copy(char *to, size_t room)
{
	struct lichen_trace_file file = {LICHEN_TRACE_MAGIC, LICHEN_TRACE_VERSION, ring_count, clock_frequency()};
	size_t used = sizeof(file);

	if (!ring_count || room < trace_file_bytes())
		return 0;
	memcpy(to, &file, sizeof(file));
	for (u32 i = 0; i < ring_count; i++) {
		struct lichen_trace_ring *ring = hypervisor ? window_ring(i) : cpus[i].trace;
		struct lichen_trace_chunk chunk = {.cpu = hypervisor ? i / 2 : i, .writer = LICHEN_TRACE_FRONTEND};

		if (hypervisor && !(i & 1)) {
			chunk.writer = LICHEN_TRACE_EL2;
		} else if (hypervisor) {
			chunk.writer = LICHEN_TRACE_BACKEND;
			for (u32 cpu = 0; cpu < cpu_count(); cpu++)
				if (cpus[cpu].trace == ring)
					chunk.writer = LICHEN_TRACE_FRONTEND;
		}
		chunk.written = *(volatile u64 *)&ring->next;
		chunk.count = ring_copy(ring, to + used + sizeof(chunk));
		memcpy(to + used, &chunk, sizeof(chunk));
		used += sizeof(chunk) + chunk.count * sizeof(struct lichen_trace_record);
	}
	return used;
}
