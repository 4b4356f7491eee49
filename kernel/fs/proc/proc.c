// SPDX-License-Identifier: MIT
/* The procfs file system: inodes made from nodes, directories, links. Files are text (text.c). */
#include "proc.h"
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/magic.h>

struct proc_inode {
	struct inode inode;
	const struct proc_node *node;
	struct proc_target target;
};

static struct slab_cache *inode_cache;
static const struct inode_ops directory_ops, file_inode_ops, link_ops, jump_ops;
static const struct file_ops directory_file_ops;

static struct proc_inode *proc_inode_of(const struct inode *inode)
{
	return container_of((struct inode *)(uintptr_t)inode, struct proc_inode, inode);
}

const struct proc_target *proc_target_of(const struct inode *inode)
{
	return &proc_inode_of(inode)->target;
}

const struct proc_node *proc_node_of(const struct inode *inode)
{
	return proc_inode_of(inode)->node;
}

struct thread *target_thread(const struct proc_target *target)
{
	if (!target->thread)
		return process_thread(target->process);
	thread_get(target->thread);
	return target->thread;
}

bool may_inspect(const struct proc_target *target)
{
	const struct cred *mine = current_thread()->cred;
	struct thread *thread;
	struct cred *theirs;
	bool may = false;

	if (target->process == current_thread()->process)
		return true;
	thread = target_thread(target);
	theirs = thread ? thread_cred_get(thread) : NULL;
	if (!thread)
		may = mine->fsuid == target->process->exit_uid || cred_capable(mine, CAP_SYS_PTRACE);
	if (theirs) {
		may = cred_capable(mine, CAP_SYS_PTRACE) ||
			(mine->fsuid == theirs->uid && mine->fsuid == theirs->euid && mine->fsuid == theirs->suid &&
				mine->fsgid == theirs->gid && mine->fsgid == theirs->egid && mine->fsgid == theirs->sgid);
		cred_put(theirs);
	}
	if (thread)
		thread_put(thread);
	return may;
}

/* --- inodes --- */
static u64 mix(u64 h, u64 v)
{
	return (h ^ v) * 0x9e3779b97f4a7c15ull;
}

/* The same thing has the same number each time. */
static ino_t number_of(const struct proc_node *node, const struct proc_target *target)
{
	u64 h = mix(0, (uintptr_t)node);

	if (target->process)
		h = mix(h, (u64)target->process->pid);
	if (target->thread)
		h = mix(h, (u64)target->thread->tid << 32);
	if (target->fd >= 0)
		h = mix(h, (u64)target->fd + 1);
	return node == &proc_root ? 1 : (h >> 24) | (1ull << 32);
}

static void take_owner(struct inode *inode, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	struct cred *cred = thread ? thread_cred_get(thread) : NULL;

	if (cred) {
		inode->uid = cred->euid;
		inode->gid = cred->egid;
		cred_put(cred);
	} else {
		inode->uid = target->process->exit_uid;
	}
	if (thread)
		thread_put(thread);
}

/* An inode of a node. Takes over the target's references, also when there is no memory. */
static struct inode *proc_make(struct superblock *sb, const struct proc_node *node, struct proc_target target)
{
	struct proc_inode *p = slab_zalloc(inode_cache);
	struct inode *inode = &p->inode;

	if (!p) {
		if (target.process)
			process_put(target.process);
		if (target.thread)
			thread_put(target.thread);
		return ERR_PTR(-ENOMEM);
	}
	inode_init(inode, sb, number_of(node, &target));
	p->node = node;
	p->target = target;
	inode->mode = node->mode;
	if (target.process) {
		atomic_fetch_or(&inode->state, INODE_NO_CACHE);
		take_owner(inode, &target);
	}
	if (S_ISDIR(node->mode)) {
		inode->nlink = 2;
		for (const struct proc_node *child = node->children; child && child->name; child++)
			inode->nlink += S_ISDIR(child->mode);
		inode->ops = &directory_ops;
		inode->file_ops = &directory_file_ops;
		atomic_fetch_or(&inode->state, INODE_NO_NEGATIVE);
	} else if (S_ISLNK(node->mode)) {
		inode->ops = node->follow ? &jump_ops : &link_ops;
	} else {
		inode->ops = &file_inode_ops;
		inode->file_ops = node->ops ? node->ops : &proc_text_ops;
	}
	return inode;
}

static void proc_free_inode(struct inode *inode)
{
	struct proc_inode *p = proc_inode_of(inode);

	if (p->target.process)
		process_put(p->target.process);
	if (p->target.thread)
		thread_put(p->target.thread);
	slab_free(inode_cache, p);
}

/* --- directories --- */
static bool parse_number(const struct name *name, u32 *value)
{
	u64 v = 0;

	if (!name->length || name->length > 10 || (name->text[0] == '0' && name->length > 1))
		return false;
	for (u32 i = 0; i < name->length; i++) {
		if (name->text[i] < '0' || name->text[i] > '9')
			return false;
		v = v * 10 + (u64)(name->text[i] - '0');
	}
	*value = (u32)v;
	return v <= INT32_MAX;
}

/* The target of a child: that of the directory, counted once more. */
static struct proc_target inherit(const struct proc_target *target)
{
	if (target->process)
		process_get(target->process);
	if (target->thread)
		thread_get(target->thread);
	return *target;
}

/* The open file of a descriptor: counted, or NULL. */
static struct file *target_file(const struct proc_target *target, int fd)
{
	struct thread *thread = target_thread(target);
	struct files *files = thread ? thread_files_get(thread) : NULL;
	struct file *file = files ? files_file_get(files, fd) : NULL;

	if (files)
		files_put_later(files);
	if (thread)
		thread_put(thread);
	return file;
}

/* What is looked up beside static children: fills in the target (counted). False: there is no such thing. */
static const struct proc_node *find_dynamic(const struct proc_inode *dir, const struct name *name, struct proc_target *target)
{
	const struct proc_node *node = NULL;
	struct file *file;
	u32 value;

	if (!parse_number(name, &value))
		return NULL;
	*target = (struct proc_target){.fd = -1};
	if (dir->node->kind == PROC_ROOT) {
		target->process = process_find((pid_t)value);
		node = target->process ? &proc_pid : NULL;
		if (!node) {
			/* A thread's number leads to its process, too, though readdir does not show it. */
			struct thread *thread = thread_find((pid_t)value);

			if (thread) {
				process_get(thread->process);
				target->process = thread->process;
				target->thread = thread;
				node = &proc_pid;
			}
		}
	} else if (dir->node->kind == PROC_TASKS) {
		target->thread = thread_find((pid_t)value);
		if (target->thread && target->thread->process != dir->target.process) {
			thread_put(target->thread);
			target->thread = NULL;
		}
		if (target->thread) {
			process_get(dir->target.process);
			target->process = dir->target.process;
			node = &proc_tid;
		}
	} else if (dir->node->kind == PROC_FDS) {
		file = target_file(&dir->target, (int)value);
		if (file) {
			if (!file_put_fast(file))
				file_put_later(file);
			*target = inherit(&dir->target);
			target->fd = (int)value;
			node = dir->node->children;
		}
	}
	return node;
}

ASYNC(proc_lookup, INODE_LOOKUP_ARGS)
{
	struct proc_inode *dir = proc_inode_of(f->dir);
	const struct proc_node *node;
	struct proc_target target;

	ASYNC_BEGIN;
	if (dir->node->kind != PROC_FDS) {
		for (node = dir->node->children; node && node->name; node++)
			if (strlen(node->name) == f->name->length && !memcmp(node->name, f->name->text, f->name->length))
				ASYNC_RETURN((long)proc_make(f->dir->sb, node, inherit(&dir->target)));
	}
	node = find_dynamic(dir, f->name, &target);
	if (!node)
		ASYNC_RETURN(-ENOENT);
	ASYNC_RETURN((long)proc_make(f->dir->sb, node, target));
	ASYNC_END;
}

#define NUMBERS 0x10000u /* positions from here on are numbers that follow */

static bool emit_number(struct dir_emit *to, u32 value, mode_t mode, const struct proc_node *node, const struct proc_target *target)
{
	char text[12];
	int n = snprintf(text, sizeof(text), "%u", value);

	if (!to->emit(to, text, (u32)n, number_of(node, target), NUMBERS + value + 1, dir_type(mode)))
		return false;
	to->pos = NUMBERS + value + 1;
	return true;
}

static void emit_processes(struct dir_emit *to)
{
	for (;;) {
		struct process *process = process_next((pid_t)(to->pos - NUMBERS - 1 + (to->pos == NUMBERS)));
		struct proc_target target = {.process = process, .fd = -1};
		bool more;

		if (!process)
			break;
		more = emit_number(to, (u32)process->pid, S_IFDIR, &proc_pid, &target);
		process_put(process);
		if (!more)
			break;
	}
}

static void emit_threads(struct dir_emit *to, struct process *process)
{
	for (;;) {
		struct thread *thread = thread_next(process, (pid_t)(to->pos - NUMBERS - 1 + (to->pos == NUMBERS)));
		struct proc_target target = {.process = process, .thread = thread, .fd = -1};
		bool more;

		if (!thread)
			break;
		more = emit_number(to, (u32)thread->tid, S_IFDIR, &proc_tid, &target);
		thread_put(thread);
		if (!more)
			break;
	}
}

static void emit_descriptors(struct dir_emit *to, const struct proc_inode *dir)
{
	struct thread *thread = target_thread(&dir->target);
	struct files *files = thread ? thread_files_get(thread) : NULL;
	struct proc_target target = dir->target;
	int fd = (int)(to->pos - NUMBERS);

	while (files) {
		fd = files_next(files, fd);
		if (fd < 0)
			break;
		target.fd = fd;
		if (!emit_number(to, (u32)fd, dir->node->children[0].mode, dir->node->children, &target))
			break;
		fd++;
	}
	if (files)
		files_put_later(files);
	if (thread)
		thread_put(thread);
}

ASYNC(proc_readdir, FILE_READDIR_ARGS)
{
	struct proc_inode *dir = proc_inode_of(f->file->inode);
	struct proc_target target = dir->target;
	const struct proc_node *node;
	u32 i;

	ASYNC_BEGIN;
	if (!dir_emit_dots(f->file, f->to))
		ASYNC_RETURN(0);
	if (f->to->pos < NUMBERS && dir->node->kind != PROC_FDS) {
		i = (u32)f->to->pos - 2;
		for (node = dir->node->children ? dir->node->children + i : NULL; node && node->name; node++) {
			if (!f->to->emit(f->to, node->name, (u32)strlen(node->name), number_of(node, &target), f->to->pos + 1, dir_type(node->mode)))
				ASYNC_RETURN(0);
			f->to->pos++;
		}
	}
	if (dir->node->kind == PROC_PLAIN)
		ASYNC_RETURN(0);
	if (f->to->pos < NUMBERS)
		f->to->pos = NUMBERS;
	if (dir->node->kind == PROC_ROOT)
		emit_processes(f->to);
	else if (dir->node->kind == PROC_TASKS)
		emit_threads(f->to, dir->target.process);
	else
		emit_descriptors(f->to, dir);
	ASYNC_END;
}

ASYNC(proc_directory_open, FILE_OPEN_ARGS)
{
	struct proc_inode *p = proc_inode_of(f->inode);

	ASYNC_BEGIN;
	/* A list of descriptors is for those who may look into the process. */
	if (p->node->kind == PROC_FDS && !may_inspect(&p->target))
		ASYNC_RETURN(-EACCES);
	ASYNC_END;
}

/* --- links --- */
ASYNC(proc_readlink, INODE_READLINK_ARGS)
{
	struct proc_inode *p = proc_inode_of(f->inode);
	struct proc_text text = {.data = NULL};
	long n;

	ASYNC_BEGIN;
	p->node->link(&text, &p->target);
	n = text.failed ? -ENOMEM : !text.used ? -ENOENT : (long)min(text.used, f->bytes);
	if (n > 0)
		memcpy(f->buf, text.data, (size_t)n);
	kfree(text.data);
	ASYNC_RETURN(n);
	ASYNC_END;
}

static long proc_follow(struct inode *inode, struct path *path)
{
	struct proc_inode *p = proc_inode_of(inode);

	if (!may_inspect(&p->target))
		return -EACCES;
	return p->node->follow(&p->target, path);
}

ASYNC(proc_setattr, INODE_SETATTR_ARGS)
{
	const struct attributes *a = f->attributes;

	ASYNC_BEGIN;
	if (a->valid & ATTR_MODE)
		ASYNC_RETURN(-EPERM);
	/* Opening with O_TRUNC is allowed and does nothing. */
	if (a->valid & (ATTR_UID | ATTR_GID))
		ASYNC_RETURN(-EPERM);
	ASYNC_END;
}

static const struct inode_ops directory_ops = {.lookup = &proc_lookup_fn, .setattr = &proc_setattr_fn};
static const struct inode_ops file_inode_ops = {.setattr = &proc_setattr_fn};
static const struct inode_ops link_ops = {.readlink = &proc_readlink_fn, .setattr = &proc_setattr_fn};
static const struct inode_ops jump_ops = {.follow = proc_follow, .setattr = &proc_setattr_fn};
static const struct file_ops directory_file_ops = {.open = &proc_directory_open_fn, .readdir = &proc_readdir_fn};

static void proc_statfs(struct superblock *sb, struct kstatfs_ *st)
{
	st->type = PROC_SUPER_MAGIC;
	st->bsize = PAGE_SIZE;
}

ASYNC(proc_mount, FS_MOUNT_ARGS)
{
	struct inode *root;

	ASYNC_BEGIN;
	root = proc_make(f->sb, &proc_root, (struct proc_target){.fd = -1});
	if (IS_ERR(root))
		ASYNC_RETURN(PTR_ERR(root));
	if (superblock_set_root(f->sb, root)) {
		inode_discard(root);
		ASYNC_RETURN(-ENOMEM);
	}
	ASYNC_END;
}

static struct filesystem proc_fs = {
	.name = "proc",
	.flags = FS_NO_CACHE | FS_SINGLE,
	.mount = &proc_mount_fn,
	.free_inode = proc_free_inode,
	.statfs = proc_statfs,
};

static void proc_init(void)
{
	inode_cache = slab_cache_create("proc_inode", sizeof(struct proc_inode), 0);
	filesystem_register(&proc_fs);
}
INITCALL(INIT_FS, proc_init);
