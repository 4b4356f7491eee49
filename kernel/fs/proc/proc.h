/* SPDX-License-Identifier: MIT */
/*
 * procfs: a tree of static nodes. A node below /proc/PID is shown for the process (and thread, and descriptor) that the
 * inode was looked up for; its inode holds them, and lives only as long as somebody uses it.
 */
#ifndef FS_PROC_PROC_H
#define FS_PROC_PROC_H

#include "../internal.h"

/* What an inode is about; each counted, or NULL. */
struct proc_target {
	struct process *process;
	struct thread *thread; /* below /proc/PID/task/TID */
	int fd;		       /* below fd and fdinfo; else -1 */
};

/* The text of a file, made when it is read at position 0. */
struct proc_text {
	char *data;
	size_t used, room;
	bool failed; /* no memory */
};
void text_printf(struct proc_text *text, const char *format, ...) __printf(2, 3);
/* A number and a blank. */
void text_decimal(struct proc_text *text, s64 value);
void text_append(struct proc_text *text, const char *data, size_t n);
/* Room for n bytes at the end, which the caller fills and adds to text->used; NULL without memory. */
char *text_room(struct proc_text *text, size_t n);
/* Of files with show, fill or store. */
extern const struct file_ops proc_text_ops;

#define PROC_FILL_ARGS struct proc_text *text; const struct proc_target *target;
struct proc_fill_args { PROC_FILL_ARGS };

enum proc_kind { PROC_PLAIN, PROC_ROOT, PROC_TASKS, PROC_FDS };

struct proc_node {
	const char *name;
	mode_t mode;
	enum proc_kind kind;		/* of a directory: what it has beside children */
	const struct proc_node *children; /* ended by a NULL name; of PROC_FDS the first is what each descriptor is */
	/* A file's text: one of these. */
	void (*show)(struct proc_text *text, const struct proc_target *target);
	const struct async_fn *fill; /* PROC_FILL_ARGS: 0 or -errno */
	/* Takes what was written, terminated, without the last newline: 0 or -errno. */
	long (*store)(const struct proc_target *target, char *text, size_t n);
	bool keep_newline; /* store gets that, too */
	/* A link: its text, or where it leads (counted). */
	void (*link)(struct proc_text *text, const struct proc_target *target);
	long (*follow)(const struct proc_target *target, struct path *path);
	const struct file_ops *ops; /* of a file that is no text */
};

/* The thread that a node is about: counted, or NULL if it has ended. */
struct thread *target_thread(const struct proc_target *target);
/* The process has ended and was waited for: there is nothing to tell. */
static inline bool target_gone(const struct proc_target *target)
{
	return target->process && target->process->state == PROCESS_DEAD;
}
/* May the running thread look into that process (its memory, files)? */
bool may_inspect(const struct proc_target *target);
const struct proc_target *proc_target_of(const struct inode *inode);
const struct proc_node *proc_node_of(const struct inode *inode);

/* put where nothing can be awaited: of what a look into another process counted. */
void mm_put_later(struct mm *mm);
void fs_context_put_later(struct fs_context *fs);

/* The tables. */
extern const struct proc_node proc_root, proc_pid, proc_tid;
extern const struct proc_node system_nodes[], sysctl_nodes[], lichen_nodes[];

/* fd.c */
long fd_follow(const struct proc_target *target, struct path *path);
void fdinfo_show(struct proc_text *text, const struct proc_target *target);
long exe_follow(const struct proc_target *target, struct path *path);
long cwd_follow(const struct proc_target *target, struct path *path);
long root_follow(const struct proc_target *target, struct path *path);
/* memory.c */
extern const struct async_fn cmdline_fill_fn, environ_fill_fn, maps_fill_fn, smaps_fill_fn, smaps_rollup_fill_fn;
extern const struct file_ops proc_mem_ops;
void auxv_show(struct proc_text *text, const struct proc_target *target);
/* mounts.c */
void mounts_show(struct proc_text *text, const struct proc_target *target);
void mountinfo_show(struct proc_text *text, const struct proc_target *target);
void mountstats_show(struct proc_text *text, const struct proc_target *target);
void filesystems_show(struct proc_text *text, const struct proc_target *target);
/* file.c of the VFS */
u64 files_open(void);

#endif
