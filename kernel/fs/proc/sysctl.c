// SPDX-License-Identifier: MIT
/* /proc/sys: what programs look up there; the few values that can be set are those that something obeys. */
#include "proc.h"
#include <linux/limits.h>

/* A file that shows one fixed text. */
#define FIXED(fn, value)                                                                           \
	static void fn(struct proc_text *text, const struct proc_target *target)                   \
	{                                                                                          \
		text_append(text, value "\n", sizeof(value));                                        \
	}

FIXED(ostype_show, "Linux")
FIXED(osrelease_show, SYSTEM_RELEASE)
FIXED(version_show, SYSTEM_VERSION)
FIXED(pid_max_show, "4194304")
FIXED(zero_show, "0")
FIXED(one_show, "1")
FIXED(cap_last_cap_show, "40")
FIXED(ngroups_show, "65536")
FIXED(printk_show, "6\t4\t1\t7")
FIXED(core_pattern_show, "core")
FIXED(overflow_show, "65534")
FIXED(poolsize_show, "256")
FIXED(max_map_count_show, "65530")
FIXED(pipe_max_size_show, "1048576")
FIXED(pipe_pages_show, "16384")
FIXED(nr_open_show, "1048576")
FIXED(file_max_show, "1048576")
FIXED(inotify_events_show, "16384")
FIXED(inotify_instances_show, "128")
FIXED(inotify_watches_show, "65536")
FIXED(epoll_watches_show, "1000000")
FIXED(mmap_min_show, "65536")
FIXED(dirty_ratio_show, "20")
FIXED(dirty_background_show, "10")
FIXED(dirty_expire_show, "500")
FIXED(sched_child_show, "0")
FIXED(somaxconn_show, "4096")
FIXED(msgmax_show, "8192")
FIXED(shmmax_show, "18446744073692774399")

static void threads_max_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%u\n", threads_max());
}

static void hostname_show(struct proc_text *text, const struct proc_target *target)
{
	char host[65], domain[65];

	system_names(host, domain, sizeof(host));
	text_printf(text, "%s\n", host);
}

static void domainname_show(struct proc_text *text, const struct proc_target *target)
{
	char host[65], domain[65];

	system_names(host, domain, sizeof(host));
	text_printf(text, "%s\n", domain);
}

static long hostname_store(const struct proc_target *target, char *name, size_t n)
{
	return system_name_set(name, min(n, 64ul), false);
}

static long domainname_store(const struct proc_target *target, char *name, size_t n)
{
	return system_name_set(name, min(n, 64ul), true);
}

static void show_uuid(struct proc_text *text, const u8 *b)
{
	text_printf(text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
		b[12], b[13], b[14], b[15]);
}

static void make_uuid(u8 *b)
{
	random_bytes(b, 16);
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
}

static void uuid_show(struct proc_text *text, const struct proc_target *target)
{
	u8 b[16];

	make_uuid(b);
	show_uuid(text, b);
}

static void boot_id_show(struct proc_text *text, const struct proc_target *target)
{
	static spinlock_t lock = SPINLOCK_INIT;
	static u8 b[16];

	spin_lock(&lock);
	if (!b[6])
		make_uuid(b);
	spin_unlock(&lock);
	show_uuid(text, b);
}

static void entropy_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "256\n");
}

static void file_nr_show(struct proc_text *text, const struct proc_target *target)
{
	text_printf(text, "%llu\t0\t1048576\n", (unsigned long long)files_open());
}

static void inode_nr_show(struct proc_text *text, const struct proc_target *target)
{
	u64 inodes, unused;

	inode_stats(&inodes, &unused);
	text_printf(text, "%llu\t%llu\n", (unsigned long long)inodes, (unsigned long long)unused);
}

static void inode_state_show(struct proc_text *text, const struct proc_target *target)
{
	u64 inodes, unused;

	inode_stats(&inodes, &unused);
	text_printf(text, "%llu\t%llu\t0\t0\t0\t0\t0\n", (unsigned long long)inodes, (unsigned long long)unused);
}

static void dentry_state_show(struct proc_text *text, const struct proc_target *target)
{
	u64 dentries, unused;

	dcache_stats(&dentries, &unused);
	text_printf(text, "%llu\t%llu\t45\t0\t0\t0\n", (unsigned long long)dentries, (unsigned long long)unused);
}

/* echo N > drop_caches: unused names and inodes go, and the clean pages of inodes with them. */
static long drop_caches_store(const struct proc_target *target, char *value, size_t n)
{
	u32 what = (u32)strtoul(value, NULL, 10);

	if (what < 1 || what > 4)
		return -EINVAL;
	if ((what & 2) && !task_spawn("drop-caches", &vfs_shrink_fn, &(u32){1u << 20}, sizeof(u32)))
		return -ENOMEM;
	return 0;
}

#define FILE(n, fn)	      {.name = n, .mode = S_IFREG | 0444, .show = fn}
#define SETTABLE(n, fn, set)  {.name = n, .mode = S_IFREG | 0644, .show = fn, .store = set}
#define DIRECTORY(n, entries) {.name = n, .mode = S_IFDIR | 0555, .children = entries}
#define END		      {.name = NULL}

static const struct proc_node random_nodes[] = {
	FILE("boot_id", boot_id_show),
	FILE("entropy_avail", entropy_show),
	FILE("poolsize", poolsize_show),
	FILE("uuid", uuid_show),
	END,
};

static const struct proc_node kernel_nodes[] = {
	FILE("cap_last_cap", cap_last_cap_show),
	FILE("core_pattern", core_pattern_show),
	FILE("core_uses_pid", zero_show),
	FILE("dmesg_restrict", zero_show),
	SETTABLE("domainname", domainname_show, domainname_store),
	SETTABLE("hostname", hostname_show, hostname_store),
	FILE("kptr_restrict", one_show),
	FILE("msgmax", msgmax_show),
	FILE("ngroups_max", ngroups_show),
	FILE("osrelease", osrelease_show),
	FILE("ostype", ostype_show),
	FILE("overflowgid", overflow_show),
	FILE("overflowuid", overflow_show),
	FILE("panic", zero_show),
	FILE("pid_max", pid_max_show),
	FILE("printk", printk_show),
	DIRECTORY("random", random_nodes),
	FILE("randomize_va_space", one_show),
	FILE("sched_child_runs_first", sched_child_show),
	FILE("seccomp", zero_show),
	FILE("shmmax", shmmax_show),
	FILE("sysrq", zero_show),
	FILE("tainted", zero_show),
	FILE("threads-max", threads_max_show),
	FILE("version", version_show),
	END,
};

static const struct proc_node vm_nodes[] = {
	FILE("dirty_background_ratio", dirty_background_show),
	FILE("dirty_expire_centisecs", dirty_expire_show),
	FILE("dirty_ratio", dirty_ratio_show),
	FILE("dirty_writeback_centisecs", dirty_expire_show),
	{.name = "drop_caches", .mode = S_IFREG | 0200, .store = drop_caches_store},
	FILE("max_map_count", max_map_count_show),
	FILE("mmap_min_addr", mmap_min_show),
	FILE("overcommit_memory", one_show),
	FILE("swappiness", zero_show),
	END,
};

static const struct proc_node inotify_nodes[] = {
	FILE("max_queued_events", inotify_events_show),
	FILE("max_user_instances", inotify_instances_show),
	FILE("max_user_watches", inotify_watches_show),
	END,
};
static const struct proc_node epoll_nodes[] = {FILE("max_user_watches", epoll_watches_show), END};

static const struct proc_node fs_nodes[] = {
	FILE("dentry-state", dentry_state_show),
	DIRECTORY("epoll", epoll_nodes),
	FILE("file-max", file_max_show),
	FILE("file-nr", file_nr_show),
	FILE("inode-nr", inode_nr_show),
	FILE("inode-state", inode_state_show),
	DIRECTORY("inotify", inotify_nodes),
	FILE("nr_open", nr_open_show),
	FILE("pipe-max-size", pipe_max_size_show),
	FILE("pipe-user-pages-soft", pipe_pages_show),
	FILE("protected_hardlinks", one_show),
	FILE("protected_symlinks", one_show),
	FILE("suid_dumpable", zero_show),
	END,
};

static const struct proc_node core_nodes[] = {FILE("somaxconn", somaxconn_show), END};
static const struct proc_node net_nodes[] = {DIRECTORY("core", core_nodes), END};

const struct proc_node sysctl_nodes[] = {
	DIRECTORY("fs", fs_nodes),
	DIRECTORY("kernel", kernel_nodes),
	DIRECTORY("net", net_nodes),
	DIRECTORY("vm", vm_nodes),
	END,
};
