// SPDX-License-Identifier: MIT
/*
 * Devices by number, and /dev: one tmpfs instance, seen by every devtmpfs mount, in which drivers' nodes appear by
 * themselves. A node in any file system reaches the driver by its number when it is opened.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/pipe.h>

struct device {
	struct list node;
	mode_t type; /* S_IFCHR or S_IFBLK */
	dev_t dev;
	const struct file_ops *ops;
	void *private;
	char name[48];
};

static spinlock_t device_lock = SPINLOCK_INIT; /* guards the list */
static struct list devices = LIST_INIT(devices);
static struct superblock *dev_sb; /* set at boot, kept for good */

static struct device *find(mode_t type, dev_t dev) REQUIRES(device_lock)
{
	struct device *device;

	list_for_each(device, &devices, node)
		if (device->type == type && device->dev == dev)
			return device;
	return NULL;
}

const struct file_ops *device_ops(mode_t type, dev_t dev, void **private)
{
	const struct file_ops *ops = NULL;
	struct device *device;

	spin_lock(&device_lock);
	device = find(type & S_IFMT, dev);
	if (device) {
		ops = device->ops;
		if (private)
			*private = device->private;
	}
	spin_unlock(&device_lock);
	return ops;
}

void device_for_each(void (*fn)(const char *name, mode_t type, dev_t dev, void *arg), void *arg)
{
	struct device *device;

	spin_lock(&device_lock);
	list_for_each(device, &devices, node)
		fn(device->name, device->type, device->dev, arg);
	spin_unlock(&device_lock);
}

/* --- opening a node --- */
ASYNC(device_open, FILE_OPEN_ARGS const struct file_ops *ops;)
{
	ASYNC_BEGIN;
	f->ops = device_ops(f->inode->mode, f->inode->rdev, &f->file->private);
	if (!f->ops)
		ASYNC_RETURN(-ENXIO);
	f->file->ops = f->ops;
	if (f->ops->open) {
		AWAIT_OP(f->ops->open, file_open, .file = f->file, .inode = f->inode);
		ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

ASYNC(socket_node_open, FILE_OPEN_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(-ENXIO);
	ASYNC_END;
}

static const struct file_ops device_node_ops = {.open = &device_open_fn};
static const struct file_ops socket_node_ops = {.open = &socket_node_open_fn};

void inode_init_special(struct inode *inode, mode_t mode, dev_t rdev)
{
	inode->mode = mode;
	inode->rdev = 0;
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		inode->rdev = rdev;
		inode->file_ops = &device_node_ops;
	} else if (S_ISFIFO(mode)) {
		inode->file_ops = &fifo_ops;
	} else {
		inode->file_ops = &socket_node_ops;
	}
}

/* --- nodes --- */
/* What is to be made or taken away in the tree; by a task, since directories may be locked just now. */
struct change {
	struct list node;
	bool remove;
	mode_t mode;
	dev_t dev;
	char name[48], target[48];
};
static spinlock_t change_lock = SPINLOCK_INIT;
static struct list changes = LIST_INIT(changes);
static bool changing;

static struct change *next_change(void)
{
	struct change *change = NULL;

	spin_lock(&change_lock);
	if (list_empty(&changes)) {
		changing = false;
	} else {
		change = list_first(&changes, struct change, node);
		list_remove(&change->node);
	}
	spin_unlock(&change_lock);
	return change;
}

/* One step on the way: the directory `name` in dir, made if it is missing. Counted, or NULL. dir is locked. */
static struct inode *directory_in(struct inode *dir, const struct name *name)
{
	struct inode *inode = tmpfs_find(dir, name);

	if (!inode) {
		inode = tmpfs_make(dir, name, S_IFDIR | 0755, 0, NULL);
		if (IS_ERR(inode))
			return NULL;
	}
	if (S_ISDIR(inode->mode))
		return inode;
	inode_put_fast(inode);
	return NULL;
}

static void apply(struct inode *dir, const struct name *name, const struct change *change)
{
	struct inode *inode;

	if (change->remove) {
		tmpfs_forget(dir, name);
		/* Only nodes of the top directory are ever taken away. */
		if (dir == dev_sb->root->inode)
			dentry_forget(dev_sb->root, name);
		return;
	}
	inode = tmpfs_make(dir, name, change->mode, change->dev, change->target);
	if (!IS_ERR(inode))
		inode_put_fast(inode);
	else if (PTR_ERR(inode) != -EEXIST)
		log_err("no memory for /dev/%s", change->name);
}

ASYNC(device_nodes, struct change *change; struct inode *dir; struct inode *next; const char *rest;)
{
	const char *slash;
	struct name name;

	ASYNC_BEGIN;
	for (;;) {
		f->change = next_change();
		if (!f->change)
			break;
		f->dir = dev_sb->root->inode;
		inode_get(f->dir);
		f->rest = f->change->name;
		while (f->dir) {
			INODE_LOCK(f->dir);
			slash = strchr(f->rest, '/');
			name = (struct name){f->rest, slash ? (u32)(slash - f->rest) : (u32)strlen(f->rest), 0};
			name.hash = name_hash(name.text, name.length);
			f->next = NULL;
			if (slash) {
				f->next = directory_in(f->dir, &name);
				f->rest = slash + 1;
			} else {
				apply(f->dir, &name, f->change);
			}
			INODE_UNLOCK(f->dir);
			AWAIT(inode_put, .inode = f->dir);
			f->dir = f->next;
		}
		kfree(f->change);
	}
	ASYNC_END;
}

static bool booted; /* the executor runs: tasks can be spawned */

static long queue_change(const struct change *wanted)
{
	struct change *change = kmalloc(sizeof(*change));
	bool start;

	if (!change)
		return -ENOMEM;
	*change = *wanted;
	spin_lock(&change_lock);
	list_add_tail(&changes, &change->node);
	start = booted && !changing;
	changing |= start;
	spin_unlock(&change_lock);
	if (start && !task_spawn("devtmpfs", &device_nodes_fn, NULL, 0)) {
		spin_lock(&change_lock);
		changing = false; /* with the next one */
		spin_unlock(&change_lock);
	}
	return 0;
}

static void devtmpfs_start(void)
{
	bool start;

	spin_lock(&change_lock);
	booted = true;
	start = !list_empty(&changes) && !changing;
	changing |= start;
	spin_unlock(&change_lock);
	if (start && !task_spawn("devtmpfs", &device_nodes_fn, NULL, 0))
		panic("no memory for /dev");
}
INITCALL(INIT_FS, devtmpfs_start);

long device_register(const char *name, mode_t mode, dev_t dev, const struct file_ops *ops, void *private)
{
	struct device *device = kzalloc(sizeof(*device));
	struct change change = {.mode = mode, .dev = dev};
	bool taken;

	if (!device)
		return -ENOMEM;
	device->type = mode & S_IFMT;
	device->dev = dev;
	device->ops = ops;
	device->private = private;
	string_copy(device->name, sizeof(device->name), name);
	string_copy(change.name, sizeof(change.name), name);
	spin_lock(&device_lock);
	taken = find(device->type, dev);
	if (!taken)
		list_add_tail(&devices, &device->node);
	spin_unlock(&device_lock);
	if (taken) {
		kfree(device);
		return -EBUSY;
	}
	return queue_change(&change);
}

void device_unregister(const char *name, mode_t mode, dev_t dev)
{
	struct change change = {.remove = true};
	struct device *device;

	spin_lock(&device_lock);
	device = find(mode & S_IFMT, dev);
	if (device)
		list_remove(&device->node);
	spin_unlock(&device_lock);
	kfree(device);
	string_copy(change.name, sizeof(change.name), name);
	queue_change(&change);
}

long device_link(const char *name, const char *target)
{
	struct change change = {.mode = S_IFLNK | 0777};

	string_copy(change.name, sizeof(change.name), name);
	string_copy(change.target, sizeof(change.target), target);
	return queue_change(&change);
}

ASYNC(devtmpfs_mount, FS_MOUNT_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(-EBUSY); /* there is one instance, made at boot */
	ASYNC_END;
}

static struct filesystem devtmpfs = {.name = "devtmpfs", .flags = FS_SINGLE | FS_NO_CACHE | FS_TMPFILE, .mount = &devtmpfs_mount_fn};

void devtmpfs_init(void);
void devtmpfs_init(void)
{
	devtmpfs.free_inode = tmpfs.free_inode;
	devtmpfs.statfs = tmpfs.statfs;
	dev_sb = tmpfs_superblock(&devtmpfs);
	if (!dev_sb)
		panic("no memory for devtmpfs");
	atomic_fetch_or(&dev_sb->root->inode->state, INODE_NO_NEGATIVE);
	atomic_store(&dev_sb->mounts, 1); /* for good */
	devtmpfs.single = dev_sb;
	filesystem_register(&devtmpfs);
}
