// SPDX-License-Identifier: MIT
/* The files of /proc that tell about the machine and the kernel as a whole. */
#include "proc.h"
#include <lichen/block.h>
#include <lichen/boot.h>
#include <lichen/cpu.h>
#include <linux/fs.h>

#define TICKS 100ull

static long long unsigned llu(u64 v)
{
	return v;
}

static void meminfo_show(struct proc_text *text, const struct proc_target *target)
{
	struct memory_info m;
	u64 shmem = tmpfs_pages(), cached, available;

	memory_info(&m);
	cached = m.cached;
	available = m.free + (cached > shmem ? cached - shmem : 0);
#define ROW(name, pages) text_printf(text, "%-15s %8llu kB\n", name ":", llu((pages) * 4))
	ROW("MemTotal", m.total);
	ROW("MemFree", m.free);
	ROW("MemAvailable", available);
	ROW("Buffers", 0ull);
	ROW("Cached", cached);
	ROW("SwapCached", 0ull);
	ROW("Active", m.anonymous);
	ROW("Inactive", cached);
	ROW("SwapTotal", 0ull);
	ROW("SwapFree", 0ull);
	ROW("Dirty", m.dirty);
	ROW("Writeback", m.writeback);
	ROW("AnonPages", m.anonymous);
	ROW("Mapped", 0ull);
	ROW("Shmem", shmem);
	ROW("KReclaimable", 0ull);
	ROW("Slab", m.slab);
	ROW("SReclaimable", 0ull);
	ROW("SUnreclaim", m.slab);
	ROW("KernelStack", 4ull * cpu_count());
	ROW("PageTables", m.tables);
	ROW("CommitLimit", m.total);
	ROW("Committed_AS", m.anonymous);
	ROW("PoolTotal", m.pool_total);
	ROW("PoolFree", m.pool_free);
#undef ROW
}

struct cpu_times {
	u64 user, system, idle; /* ns */
};

static void sum_task(struct task *task, void *arg)
{
	struct cpu_times *times = arg;
	nsec_t user, system;

	/* Those of tasks that ended are in no sum: idle time is what is sure, the rest is shared out by what lives. */
	task_times(task, &user, &system);
	times->user += user;
	times->system += system;
}

/* Per CPU only the idle time is counted; what is left is shared in the proportion of user and system time of all tasks. */
static void cpu_row(struct proc_text *text, const char *name, u64 busy, u64 idle, const struct cpu_times *all)
{
	u64 user = all->user / 1000, whole = user + all->system / 1000;

	user = whole ? busy / 1000 * user / whole * 1000 : 0;
	text_printf(text, "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name, llu(user / (NSEC_PER_SEC / TICKS)), llu((busy - user) / (NSEC_PER_SEC / TICKS)), llu(idle / (NSEC_PER_SEC / TICKS)));
}

static u64 idle_of(u32 cpu)
{
	u64 now = time_monotonic(), idle = cpus[cpu].idle_ns;

	return min(idle, now);
}

static void stat_show(struct proc_text *text, const struct proc_target *target)
{
	struct cpu_times all = {0};
	u64 now = time_monotonic(), interrupts = 0, switches = 0;
	u32 count = cpu_count();
	char name[12];

	task_for_each(sum_task, &all);
	for (u32 i = 0; i < count; i++) {
		all.idle += idle_of(i);
		interrupts += irq_count(i);
		switches += cpus[i].switches;
	}
	cpu_row(text, "cpu ", now * count - all.idle, all.idle, &all);
	for (u32 i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "cpu%u", i);
		cpu_row(text, name, now - idle_of(i), idle_of(i), &all);
	}
	text_printf(text, "intr %llu\nctxt %llu\nbtime %llu\nprocesses %u\nprocs_running %u\nprocs_blocked 0\nsoftirq 0\n", llu(interrupts), llu(switches),
		llu((time_realtime() - now) / NSEC_PER_SEC), (u32)pid_last(), max(runnable_count(), 1u));
}

static void uptime_show(struct proc_text *text, const struct proc_target *target)
{
	u64 now = time_monotonic() / 10000000, idle = 0;

	for (u32 i = 0; i < cpu_count(); i++)
		idle += idle_of(i) / 10000000;
	text_printf(text, "%llu.%02llu %llu.%02llu\n", llu(now / 100), llu(now % 100), llu(idle / 100), llu(idle % 100));
}

static void loadavg_show(struct proc_text *text, const struct proc_target *target)
{
	u64 average[3];

	load_average(average);
	for (u32 i = 0; i < 3; i++) {
		u64 hundredths = (average[i] * 100 + 1024) / 2048;

		text_printf(text, "%llu.%02llu ", llu(hundredths / 100), llu(hundredths % 100));
	}
	text_printf(text, "%u/%u %d\n", max(runnable_count(), 1u), thread_count(), pid_last());
}

static void version_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "Linux version %s (lichen) (gcc %d.%d) %s\n", SYSTEM_RELEASE, __GNUC__, __GNUC_MINOR__, SYSTEM_VERSION);
}

static void cpuinfo_show(struct proc_text *text, const struct proc_target *target)
{
	for (u32 i = 0; i < cpu_count(); i++) {
		char *to = text_room(text, 1024);

		if (to)
			text->used += cpu_show(i, to, 1024);
	}
}

static void cmdline_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%s\n", boot_command_line);
}

static void devices_row(const char *name, mode_t type, dev_t dev, void *arg)
{
	/* Rooms for the few names that a kernel of this size has; the same major once. */
	struct {
		char rows[64][32];
		mode_t types[64];
		u32 majors[64], count;
	} *list = arg;
	u32 n = 0;

	for (u32 i = 0; i < list->count; i++)
		if (list->types[i] == type && list->majors[i] == DEV_MAJOR(dev))
			return;
	if (list->count == ARRAY_SIZE(list->rows))
		return;
	while (name[n] && !(name[n] >= '0' && name[n] <= '9') && name[n] != '/' && n < 31)
		n++;
	memcpy(list->rows[list->count], name, n);
	list->rows[list->count][n] = 0;
	list->types[list->count] = type;
	list->majors[list->count++] = DEV_MAJOR(dev);
}

static void devices_show(struct proc_text *text, const struct proc_target *target)
{
	struct {
		char rows[64][32];
		mode_t types[64];
		u32 majors[64], count;
	} *list = kzalloc(sizeof(*list));

	if (!list) {
		text->failed = true;
		return;
	}
	device_for_each(devices_row, list);
	text_printf(text, "Character devices:\n");
	for (u32 i = 0; i < list->count; i++)
		if (list->types[i] == S_IFCHR)
			text_printf(text, "%3u %s\n", list->majors[i], list->majors[i] == 1 ? "mem" : list->rows[i]);
	text_printf(text, "\nBlock devices:\n");
	for (u32 i = 0; i < list->count; i++)
		if (list->types[i] == S_IFBLK)
			text_printf(text, "%3u %s\n", list->majors[i], "virtblk");
	kfree(list);
}

static void partition_row(struct block_device *device, void *arg)
{
	struct proc_text *text = arg;

	if (!text->used)
		text_printf(text, "major minor  #blocks  name\n\n");
	text_printf(text, "%4u  %7u %10llu %s\n", DEV_MAJOR(device->dev), DEV_MINOR(device->dev), llu(device->sectors / 2), device->name);
}

static void partitions_show(struct proc_text *text, const struct proc_target *target)
{
	block_for_each(partition_row, text);
}

static void disk_row(struct block_device *device, void *arg)
{
	text_printf(arg, "%4u %7u %s %llu 0 %llu 0 %llu 0 %llu 0 0 0 0 0 0 0 0 0 0\n", DEV_MAJOR(device->dev), DEV_MINOR(device->dev), device->name,
		llu(device->reads), llu(device->sectors_read), llu(device->writes), llu(device->sectors_written));
}

static void diskstats_show(struct proc_text *text, const struct proc_target *target)
{
	block_for_each(disk_row, text);
}

static void interrupts_show(struct proc_text *text, const struct proc_target *target)
{
	char *to = text_room(text, 65536);

	if (to)
		text->used += irq_show(to, 65536);
}

static void slabinfo_show(struct proc_text *text, const struct proc_target *target)
{
	char *to;

	text_printf(text, "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize>\n");
	to = text_room(text, 65536);
	if (to)
		text->used += slab_info(to, 65536);
}

static void vmstat_show(struct proc_text *text, const struct proc_target *target)
{
	struct memory_info m;

	memory_info(&m);
	text_printf(text, "nr_free_pages %llu\nnr_file_pages %llu\nnr_dirty %llu\nnr_writeback %llu\nnr_anon_pages %llu\nnr_page_table_pages %llu\nnr_slab_unreclaimable %llu\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n",
		llu(m.free), llu(m.cached), llu(m.dirty), llu(m.writeback), llu(m.anonymous), llu(m.tables), llu(m.slab));
}

static void swaps_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

static void cgroups_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
}

static void nothing_show(struct proc_text *text, const struct proc_target *target)
{
}

static void self_link(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%d", current_thread()->process->pid);
}

static void thread_self_link(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%d/task/%d", current_thread()->process->pid, current_thread()->tid);
}

static void mounts_link(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "self/mounts");
}

ASYNC(kmsg_open_link, FILE_OPEN_ARGS const struct file_ops *ops;)
{
	ASYNC_BEGIN;
	f->ops = device_ops(S_IFCHR, MAKE_DEV(1, 11), &f->file->private);
	if (!f->ops)
		ASYNC_RETURN(-ENXIO);
	f->file->ops = f->ops;
	AWAIT_OP(f->ops->open, file_open, .file = f->file, .inode = f->inode);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
static const struct file_ops kmsg_ops = {.open = &kmsg_open_link_fn};

/* Sorted as far as readers care: the fixed ones first, as on Linux's own listing they come in no useful order. */
static const struct proc_node root_nodes[] = {
	{.name = "cgroups", .mode = S_IFREG | 0444, .show = cgroups_show},
	{.name = "cmdline", .mode = S_IFREG | 0444, .show = cmdline_show},
	{.name = "consoles", .mode = S_IFREG | 0444, .show = nothing_show},
	{.name = "cpuinfo", .mode = S_IFREG | 0444, .show = cpuinfo_show},
	{.name = "devices", .mode = S_IFREG | 0444, .show = devices_show},
	{.name = "diskstats", .mode = S_IFREG | 0444, .show = diskstats_show},
	{.name = "filesystems", .mode = S_IFREG | 0444, .show = filesystems_show},
	{.name = "interrupts", .mode = S_IFREG | 0444, .show = interrupts_show},
	{.name = "kmsg", .mode = S_IFREG | 0400, .ops = &kmsg_ops},
	{.name = "lichen", .mode = S_IFDIR | 0555, .children = lichen_nodes},
	{.name = "loadavg", .mode = S_IFREG | 0444, .show = loadavg_show},
	{.name = "meminfo", .mode = S_IFREG | 0444, .show = meminfo_show},
	{.name = "modules", .mode = S_IFREG | 0444, .show = nothing_show},
	{.name = "mounts", .mode = S_IFLNK | 0777, .link = mounts_link},
	{.name = "partitions", .mode = S_IFREG | 0444, .show = partitions_show},
	{.name = "self", .mode = S_IFLNK | 0777, .link = self_link},
	{.name = "slabinfo", .mode = S_IFREG | 0400, .show = slabinfo_show},
	{.name = "stat", .mode = S_IFREG | 0444, .show = stat_show},
	{.name = "swaps", .mode = S_IFREG | 0444, .show = swaps_show},
	{.name = "sys", .mode = S_IFDIR | 0555, .children = sysctl_nodes},
	{.name = "thread-self", .mode = S_IFLNK | 0777, .link = thread_self_link},
	{.name = "uptime", .mode = S_IFREG | 0444, .show = uptime_show},
	{.name = "version", .mode = S_IFREG | 0444, .show = version_show},
	{.name = "vmstat", .mode = S_IFREG | 0444, .show = vmstat_show},
	{.name = NULL},
};

const struct proc_node proc_root = {.name = "proc", .mode = S_IFDIR | 0555, .kind = PROC_ROOT, .children = root_nodes};
