// SPDX-License-Identifier: MIT
/* /proc/PID and /proc/PID/task/TID: what a process is and does. */
#include "proc.h"
#include <lichen/cpu.h>
#include <lichen/tty.h>
#include <linux/sched.h>

#define TICKS 100ull /* of USER_HZ, a second */

static u64 ticks(u64 ns)
{
	return ns / (NSEC_PER_SEC / TICKS);
}

/* What several files show, taken at one moment. */
struct snapshot {
	char name[TASK_NAME_BYTES + 1];
	char state;
	const char *state_text;
	pid_t pid, parent, group, session, tid;
	u32 tty, threads;
	pid_t tty_group;
	struct usage usage, children;
	s32 nice;
	u32 policy, rt_priority, cpu;
	nsec_t start;
	u64 pending, shared_pending, blocked, ignored, caught;
	u32 queued;
	int exit_signal, exit_status;
	u64 affinity;
	u64 vsize, rss; /* bytes, pages */
};

static void take_signals(const struct process *process, const struct thread *thread, struct snapshot *s) REQUIRES(process_lock)
{
	s->shared_pending = process->pending.bits;
	s->queued = process->pending_count;
	if (thread) {
		s->pending = thread->pending.bits;
		s->blocked = thread->blocked;
	}
	for (int i = 0; process->actions && i < 64; i++) {
		u64 handler = process->actions->action[i].handler;

		if (handler == 1) /* SIG_IGN */
			s->ignored |= 1ull << i;
		else if (handler)
			s->caught |= 1ull << i;
	}
}

static void take_state(const struct process *process, const struct thread *thread, struct snapshot *s)
{
	u32 state;

	if (!thread || process->state == PROCESS_ZOMBIE) {
		s->state = 'Z';
		s->state_text = "Z (zombie)";
	} else if (thread->stopped || process->state == PROCESS_STOPPED) {
		s->state = 'T';
		s->state_text = "T (stopped)";
	} else {
		state = atomic_load(&((struct thread *)(uintptr_t)thread)->task.state);
		s->state = state == TASK_BLOCKED ? 'S' : 'R';
		s->state_text = state == TASK_BLOCKED ? "S (sleeping)" : "R (running)";
	}
}

/* thread: the one that is meant, or the leader; NULL: all have ended. whole: the sums of the process. */
static void snapshot(struct process *process, struct thread *thread, bool whole, struct snapshot *s)
{
	struct tty *tty;
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;
	unsigned long flags;

	memset(s, 0, sizeof(*s));
	s->pid = process->pid;
	s->tid = thread && !whole ? thread->tid : process->pid;
	s->start = process->start_time;
	flags = spin_lock_irqsave(&process_lock);
	s->parent = process->parent ? process->parent->pid : 0;
	s->threads = process->thread_count;
	s->exit_signal = process->exit_signal;
	s->exit_status = process->exit_status;
	s->children = process->children_usage;
	take_signals(process, thread, s);
	take_state(process, thread, s);
	if (thread) {
		memcpy(s->name, thread->name, TASK_NAME_BYTES);
		s->nice = thread->nice;
		s->policy = thread->policy;
		s->rt_priority = thread->rt_priority;
		s->cpu = thread->task.cpu;
		s->affinity = thread->task.affinity;
		if (!whole) {
			s->start = thread->start_time;
			s->usage.minor = thread->minor_faults;
			s->usage.major = thread->major_faults;
			s->usage.voluntary = thread->voluntary_switches;
			s->usage.involuntary = thread->involuntary_switches;
		}
	}
	spin_unlock_irqrestore(&process_lock, flags);
	s->group = process_group_id(process);
	s->session = process_session_id(process);
	s->tty_group = -1;
	tty = session_tty(process);
	if (tty) {
		s->tty = dev_encode(tty->dev);
		s->tty_group = tty->group;
	}
	if (whole || !thread)
		process_usage(process, &s->usage);
	else
		task_times(&thread->task, &s->usage.user, &s->usage.system);
	if (mm) {
		s->vsize = mm->total_pages * PAGE_SIZE;
		s->rss = mm->resident_anon + mm->resident_file + mm->resident_shared;
		mm_put_later(mm);
	}
}

static void take(const struct proc_target *target, struct snapshot *s)
{
	struct thread *thread = target_thread(target);

	snapshot(target->process, thread, !target->thread, s);
	if (!thread)
		string_copy(s->name, sizeof(s->name), target->process->exit_name);
	if (thread)
		thread_put(thread);
}

/* The address space of the target, counted, or NULL. */
static struct mm *target_mm(const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;

	if (thread)
		thread_put(thread);
	return mm;
}

static long long unsigned llu(u64 v)
{
	return v;
}

/* proc(5): the order of the fields is the ABI. */
static void stat_show(struct proc_text *text, const struct proc_target *target)
{
	struct snapshot s;
	struct mm *mm = target_mm(target);
	bool may = may_inspect(target), realtime;

	take(target, &s);
	realtime = s.policy == SCHED_FIFO || s.policy == SCHED_RR;
	text_printf(text, "%d (%s) %c ", s.tid, s.name, s.state);
	const s64 fields[] = {
		s.parent, s.group, s.session, (s32)s.tty, s.tty_group, 0 /* flags */,
		(s64)s.usage.minor, (s64)s.children.minor, (s64)s.usage.major, (s64)s.children.major,
		(s64)ticks(s.usage.user), (s64)ticks(s.usage.system), (s64)ticks(s.children.user), (s64)ticks(s.children.system),
		realtime ? -1 - (s64)s.rt_priority : 20 + s.nice, s.nice, s.threads, 0, (s64)ticks(s.start),
		(s64)s.vsize, (s64)s.rss,
	};
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		text_decimal(text, fields[i]);
	text_printf(text, "%llu ", llu(target->process->limits[RLIMIT_RSS].rlim_cur));
	const bool shown = mm && may;
	const s64 rest[] = {
		shown ? (s64)mm->start_code : !!mm, shown ? (s64)mm->end_code : !!mm, shown ? (s64)mm->start_stack : 0, 0, 0,
		(s64)(s.pending & 0x7fffffff), (s64)(s.blocked & 0x7fffffff), (s64)(s.ignored & 0x7fffffff), (s64)(s.caught & 0x7fffffff),
		s.state == 'S', 0, 0, s.exit_signal, s.cpu, s.rt_priority, s.policy, 0, 0, 0,
		shown ? (s64)mm->start_data : 0, shown ? (s64)mm->end_data : 0, shown ? (s64)mm->start_brk : 0, shown ? (s64)mm->arg_start : 0,
		shown ? (s64)mm->arg_end : 0, shown ? (s64)mm->env_start : 0, shown ? (s64)mm->env_end : 0, may ? s.exit_status : 0,
	};
	for (u32 i = 0; i < ARRAY_SIZE(rest); i++)
		text_decimal(text, rest[i]);
	if (text->used)
		text->data[text->used - 1] = '\n';
	if (mm)
		mm_put_later(mm);
}

static void show_memory(struct proc_text *text, struct mm *mm)
{
	u64 resident = mm_note_peak(mm), code = (mm->end_code - mm->start_code) / 1024;

	text_printf(text, "VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmLck:\t%8llu kB\nVmPin:\t%8llu kB\n", llu(mm->peak_total * 4), llu(mm->total_pages * 4), llu(mm->locked_pages * 4), llu(0));
	text_printf(text, "VmHWM:\t%8llu kB\nVmRSS:\t%8llu kB\n", llu(mm->peak_resident * 4), llu(resident * 4));
	text_printf(text, "RssAnon:\t%8llu kB\nRssFile:\t%8llu kB\nRssShmem:\t%8llu kB\n", llu(mm->resident_anon * 4), llu(mm->resident_file * 4), llu(mm->resident_shared * 4));
	text_printf(text, "VmData:\t%8llu kB\nVmStk:\t%8llu kB\nVmExe:\t%8llu kB\nVmLib:\t%8llu kB\n", llu(mm->data_pages * 4), llu(132), llu(code), llu(0));
	text_printf(text, "VmPTE:\t%8llu kB\nVmSwap:\t%8llu kB\nHugetlbPages:\t%8llu kB\n", llu(mm->table_pages * 4), llu(0), llu(0));
	text_printf(text, "CoreDumping:\t0\nTHP_enabled:\t0\n");
}

static void show_cpus(struct proc_text *text, u64 affinity)
{
	u32 cpus = cpu_count();
	u64 all = cpus >= 64 ? ~0ull : BIT(cpus) - 1, allowed = affinity & all;
	bool first = true;

	text_printf(text, "Cpus_allowed:\t%0*llx\nCpus_allowed_list:\t", (int)(cpus + 3) / 4, llu(allowed));
	for (u32 i = 0; i < cpus; i++) {
		u32 last = i;

		if (!(allowed >> i & 1))
			continue;
		while (last + 1 < cpus && (allowed >> (last + 1) & 1))
			last++;
		text_printf(text, first ? "%u" : ",%u", i);
		if (last > i)
			text_printf(text, "-%u", last);
		first = false;
		i = last;
	}
	text_printf(text, "\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
}

static void show_ids(struct proc_text *text, const struct proc_target *target, const struct cred *cred)
{
	if (!cred) {
		uid_t uid = target->process->exit_uid;

		text_printf(text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t0\t0\t0\t0\n", uid, uid, uid, uid);
		return;
	}
	text_printf(text, "Uid:\t%u\t%u\t%u\t%u\n", cred->uid, cred->euid, cred->suid, cred->fsuid);
	text_printf(text, "Gid:\t%u\t%u\t%u\t%u\n", cred->gid, cred->egid, cred->sgid, cred->fsgid);
}

static void show_capabilities(struct proc_text *text, const struct cred *cred)
{
	text_printf(text, "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:\t%016llx\nCapAmb:\t%016llx\nNoNewPrivs:\t%d\n",
		llu(cred->cap_inheritable), llu(cred->cap_permitted), llu(cred->cap_effective), llu(cred->cap_bounding), llu(cred->cap_ambient), cred->no_new_privs);
}

static void status_show(struct proc_text *text, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	struct cred *cred = thread ? thread_cred_get(thread) : NULL;
	struct files *files = thread ? thread_files_get(thread) : NULL;
	struct fs_context *fs = thread ? thread_fs_get(thread) : NULL;
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;
	struct snapshot s;

	take(target, &s);
	text_printf(text, "Name:\t%s\n", s.name);
	if (fs)
		text_printf(text, "Umask:\t%04o\n", fs->umask);
	text_printf(text, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", s.state_text, s.pid, s.tid, s.parent);
	show_ids(text, target, cred);
	text_printf(text, "FDSize:\t%u\nGroups:\t", files ? files_capacity(files) : 0);
	for (u32 i = 0; cred && i < cred->group_count; i++)
		text_printf(text, i ? " %u" : "%u", cred->groups[i]);
	text_printf(text, " \nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", s.pid, s.tid, s.group, s.session);
	if (mm)
		show_memory(text, mm);
	text_printf(text, "Threads:\t%u\nSigQ:\t%u/%llu\n", max(s.threads, 1u), s.queued, llu(target->process->limits[RLIMIT_SIGPENDING].rlim_cur));
	text_printf(text, "SigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n", llu(s.pending), llu(s.shared_pending), llu(s.blocked), llu(s.ignored), llu(s.caught));
	if (cred)
		show_capabilities(text, cred);
	text_printf(text, "Seccomp:\t0\nSeccomp_filters:\t0\nSpeculation_Store_Bypass:\tnot vulnerable\nSpeculationIndirectBranch:\tunknown\n");
	show_cpus(text, s.affinity);
	text_printf(text, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n", llu(s.usage.voluntary), llu(s.usage.involuntary));
	if (mm)
		mm_put_later(mm);
	if (fs)
		fs_context_put_later(fs);
	if (files)
		files_put_later(files);
	if (cred)
		cred_put(cred);
	if (thread)
		thread_put(thread);
}

static void statm_show(struct proc_text *text, const struct proc_target *target)
{
	struct mm *mm = target_mm(target);

	if (!mm) {
		text_printf(text, "0 0 0 0 0 0 0\n");
		return;
	}
	text_printf(text, "%llu %llu %llu %llu 0 %llu 0\n", llu(mm->total_pages), llu(mm->resident_anon + mm->resident_file + mm->resident_shared),
		llu(mm->resident_file + mm->resident_shared), llu((mm->end_code - mm->start_code + PAGE_SIZE - 1) / PAGE_SIZE), llu(mm->data_pages));
	mm_put_later(mm);
}

static void comm_show(struct proc_text *text, const struct proc_target *target)
{
	struct snapshot s;

	take(target, &s);
	text_printf(text, "%s\n", s.name);
}

static long comm_store(const struct proc_target *target, char *name, size_t n)
{
	struct thread *thread = target_thread(target);
	unsigned long flags;

	if (!thread)
		return -ESRCH;
	if (thread->process != current_thread()->process) {
		thread_put(thread);
		return -EINVAL;
	}
	flags = spin_lock_irqsave(&process_lock);
	string_copy(thread->name, sizeof(thread->name), name);
	spin_unlock_irqrestore(&process_lock, flags);
	thread_put(thread);
	return 0;
}

static void limits_show(struct proc_text *text, const struct proc_target *target)
{
	static const struct {
		const char *name, *unit;
		u32 index;
	} rows[] = {
		{"Max cpu time", "seconds", RLIMIT_CPU}, {"Max file size", "bytes", RLIMIT_FSIZE},
		{"Max data size", "bytes", RLIMIT_DATA}, {"Max stack size", "bytes", RLIMIT_STACK},
		{"Max core file size", "bytes", RLIMIT_CORE}, {"Max resident set", "bytes", RLIMIT_RSS},
		{"Max processes", "processes", RLIMIT_NPROC}, {"Max open files", "files", RLIMIT_NOFILE},
		{"Max locked memory", "bytes", RLIMIT_MEMLOCK}, {"Max address space", "bytes", RLIMIT_AS},
		{"Max file locks", "locks", RLIMIT_LOCKS}, {"Max pending signals", "signals", RLIMIT_SIGPENDING},
		{"Max msgqueue size", "bytes", RLIMIT_MSGQUEUE}, {"Max nice priority", "", RLIMIT_NICE},
		{"Max realtime priority", "", RLIMIT_RTPRIO}, {"Max realtime timeout", "us", RLIMIT_RTTIME},
	};

	text_printf(text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rlimit64 *limit = &target->process->limits[rows[i].index];
		char soft[24], hard[24];

		snprintf(soft, sizeof(soft), limit->rlim_cur == RLIM64_INFINITY ? "unlimited" : "%llu", llu(limit->rlim_cur));
		snprintf(hard, sizeof(hard), limit->rlim_max == RLIM64_INFINITY ? "unlimited" : "%llu", llu(limit->rlim_max));
		text_printf(text, "%-25s %-20s %-20s %-10s\n", rows[i].name, soft, hard, rows[i].unit);
	}
}

/* The async frames the thread waits in, innermost first: this kernel has no stacks that could be shown. */
static void stack_show(struct proc_text *text, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	char *to = text_room(text, 4096);

	if (thread && to && capable(CAP_SYS_ADMIN))
		text->used += task_backtrace(&thread->task, to, 4096);
	if (thread)
		thread_put(thread);
}

static void wchan_show(struct proc_text *text, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	char buffer[128] = "";
	size_t n = 0;

	if (thread && may_inspect(target) && atomic_load(&thread->task.state) == TASK_BLOCKED && task_backtrace(&thread->task, buffer, sizeof(buffer)))
		while (buffer[n] && buffer[n] != ' ' && buffer[n] != '\n')
			n++;
	if (n)
		text_append(text, buffer, n);
	else
		text_append(text, "0", 1);
	if (thread)
		thread_put(thread);
}

static void syscall_show(struct proc_text *text, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);

	if (!thread)
		return;
	if (!may_inspect(target) || atomic_load(&thread->task.state) != TASK_BLOCKED)
		text_printf(text, "running\n");
	else
		text_printf(text, "%d 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx\n", thread->syscall, llu(thread->syscall_x0), llu(thread->user.x[1]),
			llu(thread->user.x[2]), llu(thread->user.x[3]), llu(thread->user.x[4]), llu(thread->user.x[5]), llu(thread->user.sp), llu(thread->user.pc));
	thread_put(thread);
}

static void io_show(struct proc_text *text, const struct proc_target *target)
{
	struct usage usage;

	process_usage(target->process, &usage);
	text_printf(text, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: %llu\nwrite_bytes: %llu\ncancelled_write_bytes: 0\n",
		llu(usage.blocks_in * 512), llu(usage.blocks_out * 512));
}

static void schedstat_show(struct proc_text *text, const struct proc_target *target)
{
	struct snapshot s;

	take(target, &s);
	text_printf(text, "%llu 0 %llu\n", llu(s.usage.user + s.usage.system), llu(s.usage.voluntary + s.usage.involuntary));
}

static void zero_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "0\n");
}

/* What nobody acts on, since nothing is killed for want of memory: its range is checked as Linux does. */
static long oom_score_adj_store(const struct proc_target *target, char *value, size_t n)
{
	bool negative = *value == '-';
	char *end;
	unsigned long v = strtoul(value + negative, &end, 10);

	return *end || end == value + negative || v > 1000 ? -EINVAL : 0;
}

static void personality_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%08x\n", target->process->personality);
}

static void cgroup_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "0::/\n");
}

static void children_show(struct proc_text *text, const struct proc_target *target)
{
	struct process *child;
	unsigned long flags;

	if (!text_room(text, 65536))
		return;
	flags = spin_lock_irqsave(&process_lock);
	list_for_each(child, &target->process->children, child_node)
		if (text->used + 12 < text->room)
			text->used += (size_t)snprintf(text->data + text->used, 12, "%d ", child->pid);
	spin_unlock_irqrestore(&process_lock, flags);
}

static void uid_map_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%10u %10u %10u\n", 0, 0, ~0u);
}

#define COMMON_NODES                                                                               \
	{.name = "attr", .mode = S_IFDIR | 0555},                                                  \
	{.name = "auxv", .mode = S_IFREG | 0400, .show = auxv_show},                               \
	{.name = "cgroup", .mode = S_IFREG | 0444, .show = cgroup_show},                           \
	{.name = "cmdline", .mode = S_IFREG | 0444, .fill = &cmdline_fill_fn},                     \
	{.name = "comm", .mode = S_IFREG | 0644, .show = comm_show, .store = comm_store, .keep_newline = true},          \
	{.name = "cwd", .mode = S_IFLNK | 0777, .follow = cwd_follow},                             \
	{.name = "environ", .mode = S_IFREG | 0400, .fill = &environ_fill_fn},                     \
	{.name = "exe", .mode = S_IFLNK | 0777, .follow = exe_follow},                             \
	{.name = "fd", .mode = S_IFDIR | 0500, .kind = PROC_FDS, .children = fd_children},         \
	{.name = "fdinfo", .mode = S_IFDIR | 0555, .kind = PROC_FDS, .children = fdinfo_children}, \
	{.name = "gid_map", .mode = S_IFREG | 0644, .show = uid_map_show},                         \
	{.name = "io", .mode = S_IFREG | 0400, .show = io_show},                                   \
	{.name = "limits", .mode = S_IFREG | 0444, .show = limits_show},                           \
	{.name = "maps", .mode = S_IFREG | 0444, .fill = &maps_fill_fn},                           \
	{.name = "mem", .mode = S_IFREG | 0600, .ops = &proc_mem_ops},                             \
	{.name = "mountinfo", .mode = S_IFREG | 0444, .show = mountinfo_show},                     \
	{.name = "mounts", .mode = S_IFREG | 0444, .show = mounts_show},                           \
	{.name = "mountstats", .mode = S_IFREG | 0400, .show = mountstats_show},                   \
	{.name = "oom_score", .mode = S_IFREG | 0444, .show = zero_show},                          \
	{.name = "oom_score_adj", .mode = S_IFREG | 0644, .show = zero_show, .store = oom_score_adj_store}, \
	{.name = "personality", .mode = S_IFREG | 0400, .show = personality_show},                 \
	{.name = "root", .mode = S_IFLNK | 0777, .follow = root_follow},                           \
	{.name = "schedstat", .mode = S_IFREG | 0444, .show = schedstat_show},                     \
	{.name = "smaps", .mode = S_IFREG | 0444, .fill = &smaps_fill_fn},                         \
	{.name = "smaps_rollup", .mode = S_IFREG | 0444, .fill = &smaps_rollup_fill_fn},           \
	{.name = "stack", .mode = S_IFREG | 0400, .show = stack_show},                             \
	{.name = "stat", .mode = S_IFREG | 0444, .show = stat_show},                               \
	{.name = "statm", .mode = S_IFREG | 0444, .show = statm_show},                             \
	{.name = "status", .mode = S_IFREG | 0444, .show = status_show},                           \
	{.name = "syscall", .mode = S_IFREG | 0400, .show = syscall_show},                         \
	{.name = "uid_map", .mode = S_IFREG | 0644, .show = uid_map_show},                         \
	{.name = "wchan", .mode = S_IFREG | 0444, .show = wchan_show}

static const struct proc_node fd_children[] = {{.name = "0", .mode = S_IFLNK | 0700, .follow = fd_follow}, {.name = NULL}};
static const struct proc_node fdinfo_children[] = {{.name = "0", .mode = S_IFREG | 0400, .show = fdinfo_show}, {.name = NULL}};

static const struct proc_node thread_nodes[] = {
	COMMON_NODES,
	{.name = "children", .mode = S_IFREG | 0444, .show = children_show},
	{.name = NULL},
};

static const struct proc_node process_nodes[] = {
	COMMON_NODES,
	{.name = "task", .mode = S_IFDIR | 0555, .kind = PROC_TASKS},
	{.name = NULL},
};

const struct proc_node proc_pid = {.name = "pid", .mode = S_IFDIR | 0555, .children = process_nodes};
const struct proc_node proc_tid = {.name = "tid", .mode = S_IFDIR | 0555, .children = thread_nodes};
