// SPDX-License-Identifier: MIT
/*
 * /proc/lichen: counters that tests and measurements read before and after. Reading one costs no entry into the hypervisor,
 * and changes none of the others but by its own work.
 *
 *     el2      a row a physical CPU, a column a cause (virtio/include/lichen/abi.h); empty without a hypervisor
 *     counters NAME VALUE a line
 *     pmu      the same: what the driver domain's CPUs have counted, all that are online, by a sample that is taken when the file is read
 *              (LICHEN_MMIO_SAMPLE). Reading it is one entry, and may sleep; -ETIMEDOUT or -ENODEV without an answer. Empty without
 *              a hypervisor; only "backend_cpus 0" if there is no PMU
 *     trace    the trace rings, binary (virtio/include/lichen/trace.h); "on" and "off", written to it, switch the trace: root's alone
 *     tasks    every task of the kernel with its async backtrace
 */
#include "proc.h"
#include <lichen/abi.h>
#include <lichen/block.h>
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/spin.h>
#include <lichen/tracing.h>
#include <lichen/wait.h>
#include <virtio/device.h>
#include <arch/hypercall.h>
#include <libfdt.h>

static const u64 *statistics; /* the hypervisor's page, or NULL */
static u32 statistics_rows;

static void lichen_init(void)
{
	const void *dt = device_tree();
	int node = dt ? fdt_node_offset_by_compatible(dt, -1, "lichen,hypervisor") : -1;
	phys_addr_t base, size;

	if (node < 0 || !devicetree_reg(dt, node, 1, &base, &size))
		return;
	statistics = shared_map(base, size, false);
	if (statistics)
		statistics_rows = (u32)(size / (LICHEN_STATS_CAUSES * sizeof(u64)));
}
INITCALL(INIT_LATE, lichen_init);

static u64 statistic(u32 row, u32 cause)
{
	return *(const volatile u64 *)&statistics[row * LICHEN_STATS_CAUSES + cause];
}

static void el2_show(struct proc_text *text, const struct proc_target *target)
{
	static const char *const causes[] = LICHEN_STATS_NAMES;

	if (!statistics)
		return;
	text_printf(text, "cpu");
	for (u32 i = 0; i < ARRAY_SIZE(causes); i++)
		text_printf(text, " %s", causes[i]);
	text_printf(text, "\n");
	for (u32 row = 0; row < statistics_rows; row++) {
		/* Rows of CPUs that the machine has not are all zero: from the first on only those with entries are shown. */
		if (row && !statistic(row, LICHEN_STATS_ENTRIES))
			continue;
		text_printf(text, "%u", row);
		for (u32 i = 0; i < ARRAY_SIZE(causes); i++)
			text_printf(text, " %llu", (unsigned long long)statistic(row, i));
		text_printf(text, "\n");
	}
}

struct block_sum {
	u64 reads, writes, sectors_read, sectors_written;
};

static void add_device(struct block_device *device, void *arg)
{
	struct block_sum *sum = arg;

	if (device->whole != device)
		return; /* counted in the whole */
	sum->reads += device->reads;
	sum->writes += device->writes;
	sum->sectors_read += device->sectors_read;
	sum->sectors_written += device->sectors_written;
}

static void add_backend(struct virtio_device *device, void *arg)
{
	struct lichen_backend_counters *sum = arg, counters;

	if (!virtio_backend_counters(device, &counters))
		return;
	sum->spin_instructions += counters.spin_instructions;
	sum->doorbells += counters.doorbells;
	sum->interrupts += counters.interrupts;
	if (device->id != VIRTIO_ID_BLOCK)
		return;
	sum->requests += counters.requests;
	sum->bytes_copied += counters.bytes_copied;
	sum->allocations += counters.allocations;
	sum->signals += counters.signals;
}

static void counters_show(struct proc_text *text, const struct proc_target *target)
{
	struct lichen_backend_counters backend = {0};
	struct block_sum sum = {0};
	u64 interrupts = 0, spins = 0, switches = 0, idle = 0, entries = 0, dentries, unused, inodes, unused_inodes;
	struct memory_info m;

	for (u32 i = 0; i < cpu_count(); i++) {
		interrupts += irq_count(i);
		spins += cpus[i].spins;
		switches += cpus[i].switches;
		idle += cpus[i].idle_ns;
	}
	for (u32 i = 0; i < statistics_rows; i++)
		entries += statistic(i, LICHEN_STATS_ENTRIES);
	block_for_each(add_device, &sum);
	virtio_for_each(add_backend, &backend);
	dcache_stats(&dentries, &unused);
	inode_stats(&inodes, &unused_inodes);
	memory_info(&m);
#define COUNTER(name, value) text_printf(text, name " %llu\n", (unsigned long long)(value))
	COUNTER("time_ns", time_monotonic());
	COUNTER("el2_entries", entries);
	COUNTER("interrupts", interrupts);
	COUNTER("switches", switches);
	COUNTER("idle_ns", idle);
	COUNTER("slab_allocations", slab_allocations());
	COUNTER("page_allocations", page_allocations());
	COUNTER("bytes_copied", kiov_bytes_copied()); /* between the kernel and programs, by read and write */
	COUNTER("io_bytes_copied", atomic_load(&io_bytes_copied)); /* to where devices can reach them */
	COUNTER("backend_requests", backend.requests);
	COUNTER("backend_bytes_copied", backend.bytes_copied);
	COUNTER("backend_allocations", backend.allocations);
	COUNTER("backend_signals", backend.signals);
	COUNTER("backend_doorbells", backend.doorbells);
	COUNTER("backend_interrupts", backend.interrupts);
	/* What the loops took that wait for the other side, here and there (lichen/spin.h), or there for the device. */
	COUNTER("spin_instructions", spins * LICHEN_SPIN_INSTRUCTIONS + backend.spin_instructions);
	COUNTER("block_reads", sum.reads);
	COUNTER("block_writes", sum.writes);
	COUNTER("block_bytes_read", sum.sectors_read * 512);
	COUNTER("block_bytes_written", sum.sectors_written * 512);
	COUNTER("free_pages", m.free);
	COUNTER("cached_pages", m.cached);
	COUNTER("slab_pages", m.slab);
	COUNTER("dentries", dentries);
	COUNTER("dentries_unused", unused);
	COUNTER("inodes", inodes);
	COUNTER("inodes_unused", unused_inodes);
	COUNTER("files", files_open());
	COUNTER("processes", process_count());
	COUNTER("threads", thread_count());
#undef COUNTER
}

#define SAMPLE_PATIENCE NSEC_PER_SEC
#define SAMPLE_LOOK	100000 /* ns, between two looks for the answer */

static void find_backend(struct virtio_device *device, void *arg)
{
	struct virtio_device **found = arg;

	if (!*found && device->hypervisor)
		*found = device;
}

static void sample_show(struct proc_text *text, const struct lichen_sample *sample)
{
	text_printf(text, "backend_cpus %u\n", sample->cpus);
	if (!sample->cpus)
		return;
	text_printf(text, "backend_instructions %llu\n", (unsigned long long)sample->instructions);
	text_printf(text, "backend_cycles %llu\n", (unsigned long long)sample->cycles);
}

ASYNC_DECLARE(pmu_fill, PROC_FILL_ARGS struct virtio_device *device; u32 wanted; nsec_t deadline; struct lichen_sample sample;);
ASYNC_DEFINE(pmu_fill)
{
	ASYNC_BEGIN;
	f->device = NULL;
	virtio_for_each(find_backend, &f->device);
	if (!f->device)
		ASYNC_RETURN(0);
	virtio_backend_sample(f->device, &f->sample);
	f->wanted = lichen_sample_wanted(f->sample.sequence);
	RESULT = hypercall1(LICHEN_HVC_SAMPLE, 0);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->deadline = time_monotonic() + SAMPLE_PATIENCE;
	for (;;) {
		virtio_backend_sample(f->device, &f->sample);
		if (lichen_sample_is_new(f->sample.sequence, f->wanted))
			break;
		if (time_monotonic() >= f->deadline)
			ASYNC_RETURN(-ETIMEDOUT);
		AWAIT(sleep_until, .deadline = time_monotonic() + SAMPLE_LOOK);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	sample_show(f->text, &f->sample);
	ASYNC_RETURN(0);
	ASYNC_END;
}

struct task_list {
	char *text;
	size_t used, room;
};

static void show_task(struct task *task, void *arg)
{
	struct task_list *list = arg;
	const char *name = atomic_load(&task->flags) & TASK_THREAD ? thread_of(task)->name : task->name;

	if (list->room - list->used < 512)
		return;
	list->used += (size_t)snprintf(list->text + list->used, 64, "%s: cpu %u, state %u\n", name, task->cpu, atomic_load(&task->state));
	list->used += task_backtrace(task, list->text + list->used, min(list->room - list->used, 400ul));
}

static void tasks_show(struct proc_text *text, const struct proc_target *target)
{
	struct task_list list = {.room = 1u << 20};

	if (!capable(CAP_SYS_ADMIN))
		return;
	/* Under a lock with interrupts masked: no memory can be asked for on the way. */
	list.text = text_room(text, list.room);
	if (!list.text)
		return;
	task_for_each(show_task, &list);
	text->used += list.used;
}

static void trace_show(struct proc_text *text, const struct proc_target *target)
{
	size_t n = trace_file_bytes();
	char *room = n && capable(CAP_SYS_ADMIN) ? text_room(text, n) : NULL;

	if (room)
		text->used += trace_file_copy(room, n);
}

static long trace_store(const struct proc_target *target, char *text, size_t n)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (strcmp(text, "on") && strcmp(text, "off"))
		return -EINVAL;
	return trace_switch(!strcmp(text, "on"));
}

const struct proc_node lichen_nodes[] = {
	{.name = "counters", .mode = S_IFREG | 0444, .show = counters_show},
	{.name = "el2", .mode = S_IFREG | 0444, .show = el2_show},
	{.name = "pmu", .mode = S_IFREG | 0444, .fill = &pmu_fill_fn},
	{.name = "trace", .mode = S_IFREG | 0600, .show = trace_show, .store = trace_store},
	{.name = "tasks", .mode = S_IFREG | 0400, .show = tasks_show},
	{.name = NULL},
};
