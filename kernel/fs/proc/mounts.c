// SPDX-License-Identifier: MIT
/* What is mounted: /proc/PID/mounts, mountinfo, mountstats; and which file systems there are. */
#include "proc.h"
#include <linux/limits.h>

/* A name with blanks, newlines and backslashes as octal numbers. */
static void append_escaped(struct proc_text *text, const char *s)
{
	for (; *s; s++) {
		if (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\\' || *s == '#')
			text_printf(text, "\\%03o", (u8)*s);
		else
			text_append(text, s, 1);
	}
}

static void append_flags(struct proc_text *text, const struct mount *mount, bool with_sb)
{
	static const struct {
		u32 flag;
		const char *name;
	} names[] = {
		{MS_NOSUID, "nosuid"}, {MS_NODEV, "nodev"}, {MS_NOEXEC, "noexec"}, {MS_NOATIME, "noatime"}, {MS_NODIRATIME, "nodiratime"},
	};
	u32 flags = mount->flags;

	text_printf(text, "%s", (flags | (with_sb ? mount->sb->flags : 0)) & MS_RDONLY ? "ro" : "rw");
	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag)
			text_printf(text, ",%s", names[i].name);
	if (!(flags & (MS_NOATIME | MS_STRICTATIME)))
		text_printf(text, ",relatime");
}

/* Where a mount lies as the running thread sees it, or NULL: outside of its root. */
static const char *mount_place(struct mount *mount, char *buffer)
{
	struct path path = {mount, mount->root}, root;
	struct mount *at = mount;
	struct dentry *dentry = NULL;
	const char *name;
	bool inside;

	fs_root_get(&root);
	spin_lock(&dcache_lock);
	while (at != root.mount && at->parent) {
		dentry = at->mountpoint;
		at = at->parent;
	}
	inside = at == root.mount;
	/* The root's own mount is shown if the root is all of it; others if they lie below the root. */
	if (inside && dentry) {
		while (dentry != root.dentry && dentry != dentry->parent)
			dentry = dentry->parent;
		inside = dentry == root.dentry;
	} else if (inside) {
		inside = mount->root == root.dentry;
	}
	spin_unlock(&dcache_lock);
	atomic_fetch_sub(&root.mount->refcount, 1); /* the thread itself has the others */
	atomic_fetch_sub(&root.dentry->refcount, 1);
	if (!inside)
		return NULL;
	name = path_name(&path, buffer, PATH_MAX);
	return IS_ERR(name) ? NULL : name;
}

static void for_each_mount(struct proc_text *text, void (*show)(struct proc_text *text, struct mount *mount, const char *place))
{
	char *buffer = kmalloc(PATH_MAX);
	struct mount *mount;
	const char *place;

	if (!buffer) {
		text->failed = true;
		return;
	}
	for (u32 id = 0; (mount = mount_next(id)); id = mount->id, mount_put_later(mount)) {
		place = mount_place(mount, buffer);
		if (place)
			show(text, mount, place);
	}
	kfree(buffer);
}

static void show_mount(struct proc_text *text, struct mount *mount, const char *place)
{
	append_escaped(text, mount->source);
	text_append(text, " ", 1);
	append_escaped(text, place);
	text_printf(text, " %s ", mount->sb->fs->name);
	append_flags(text, mount, true);
	text_printf(text, "%s 0 0\n", mount->sb->options);
}

void mounts_show(struct proc_text *text, const struct proc_target *target)
{
	for_each_mount(text, show_mount);
}

static void show_info(struct proc_text *text, struct mount *mount, const char *place)
{
	struct path root = {mount, mount->root};
	char *buffer = kmalloc(PATH_MAX);
	u32 parent;
	u64 dev = mount->sb->dev;

	spin_lock(&dcache_lock);
	parent = mount->parent ? mount->parent->id : mount->id;
	spin_unlock(&dcache_lock);
	text_printf(text, "%u %u %u:%u ", mount->id, parent, DEV_MAJOR(dev), DEV_MINOR(dev));
	append_escaped(text, buffer ? dentry_name(root.dentry, buffer, PATH_MAX) : "/");
	text_append(text, " ", 1);
	append_escaped(text, place);
	text_append(text, " ", 1);
	append_flags(text, mount, false);
	text_printf(text, " - %s ", mount->sb->fs->name);
	append_escaped(text, mount->source);
	text_printf(text, " %s%s\n", mount->sb->flags & MS_RDONLY ? "ro" : "rw", mount->sb->options);
	kfree(buffer);
}

void mountinfo_show(struct proc_text *text, const struct proc_target *target)
{
	for_each_mount(text, show_info);
}

static void show_stats(struct proc_text *text, struct mount *mount, const char *place)
{
	text_printf(text, "device ");
	append_escaped(text, mount->source);
	text_printf(text, " mounted on ");
	append_escaped(text, place);
	text_printf(text, " with fstype %s\n", mount->sb->fs->name);
}

void mountstats_show(struct proc_text *text, const struct proc_target *target)
{
	for_each_mount(text, show_stats);
}

static void show_filesystem(struct filesystem *fs, void *arg)
{
	text_printf(arg, "%s\t%s\n", fs->flags & FS_NEEDS_DEVICE ? "" : "nodev", fs->name);
}

void filesystems_show(struct proc_text *text, const struct proc_target *target)
{
	filesystem_for_each(show_filesystem, text);
}
