// SPDX-License-Identifier: MIT
/*
 * inotify: queues of what happened to inodes. notify_lock guards everything: watches, events, the lists of inodes. A watch
 * keeps its inode; one that ends where nothing can be awaited leaves it on its queue's list of the dead, to be put by
 * the next call on that queue.
 */
#include "internal.h"
#include <lichen/poll.h>
#include <lichen/syscall.h>
#include <asm/ioctls.h>

#define EVENTS_MAX  16384u
#define WATCHES_MAX 65536u

struct inode_watches {
	struct list list; /* struct watch.inode_node */
};

struct watch {
	struct list inode_node, queue_node;
	struct inode *inode; /* counted */
	struct inotify *queue;
	int number;
	u32 mask;
};

struct event {
	struct list node;
	struct inotify_event head;
	char name[]; /* head.len bytes, padded with zeroes */
};

struct inotify {
	struct list watches, dead, events;
	u32 watch_count, event_count;
	int last_number;
	struct wait_queue readable;
};

bool notify_in_use;
static spinlock_t notify_lock = SPINLOCK_INIT;

/* --- events --- */
static void queue_event(struct inotify *queue, int number, u32 mask, const struct name *name, u32 cookie) REQUIRES(notify_lock)
{
	u32 length = name ? align_up(name->length + 1, (u32)sizeof(struct inotify_event)) : 0;
	struct event *last = list_empty(&queue->events) ? NULL : list_last(&queue->events, struct event, node);
	struct event *event;

	/* The same again tells nothing new. */
	if (last && last->head.wd == number && last->head.mask == mask && last->head.cookie == cookie && last->head.len == length &&
		(!name || (!memcmp(last->name, name->text, name->length) && !last->name[name->length])))
		return;
	if (queue->event_count > EVENTS_MAX)
		return;
	if (queue->event_count == EVENTS_MAX) {
		number = -1;
		mask = IN_Q_OVERFLOW;
		length = cookie = 0;
	}
	event = kzalloc(sizeof(*event) + length);
	if (!event)
		return; /* lost, as at an overflow */
	event->head = (struct inotify_event){.wd = number, .mask = mask, .cookie = cookie, .len = length};
	if (length)
		memcpy(event->name, name->text, name->length);
	list_add_tail(&queue->events, &event->node);
	queue->event_count++;
}

/* The watch ends; its inode is put by somebody who can wait. */
static void end_watch(struct watch *watch) REQUIRES(notify_lock)
{
	struct inotify *queue = watch->queue;

	queue_event(queue, watch->number, IN_IGNORED, NULL, 0);
	list_remove(&watch->inode_node);
	list_remove(&watch->queue_node);
	list_add(&queue->dead, &watch->queue_node);
	queue->watch_count--;
}

static void send(struct inode *inode, u32 mask, const struct name *name, u32 cookie) REQUIRES(notify_lock)
{
	struct watch *watch, *next;

	if (!inode->watches)
		return;
	list_for_each_safe(watch, next, &inode->watches->list, inode_node) {
		if (!(watch->mask & mask & IN_ALL_EVENTS))
			continue;
		queue_event(watch->queue, watch->number, mask, name, cookie);
		if (watch->mask & IN_ONESHOT)
			end_watch(watch);
		wait_wake_poll(&watch->queue->readable, EPOLLIN | EPOLLRDNORM);
	}
	if (mask & IN_DELETE_SELF) {
		list_for_each_safe(watch, next, &inode->watches->list, inode_node) {
			struct inotify *queue = watch->queue;

			end_watch(watch);
			wait_wake_poll(&queue->readable, EPOLLIN | EPOLLRDNORM);
		}
	}
}

void notify_inode(struct inode *inode, u32 mask, const struct name *name, u32 cookie)
{
	spin_lock(&notify_lock);
	send(inode, mask, name, cookie);
	spin_unlock(&notify_lock);
}

void notify_path(struct dentry *dentry, u32 mask)
{
	struct inode *inode = dentry->inode;

	if (S_ISDIR(inode->mode))
		mask |= IN_ISDIR;
	spin_lock(&dcache_lock);
	spin_lock(&notify_lock);
	if (dentry->parent != dentry)
		send(dentry->parent->inode, mask, &dentry->name, 0);
	send(inode, mask, NULL, 0);
	spin_unlock(&notify_lock);
	spin_unlock(&dcache_lock);
}

void notify_file(struct file *file, u32 mask)
{
	notify_path(file->path.dentry, mask);
}

void notify_free(struct inode *inode)
{
	kfree(inode->watches); /* empty: a watch would keep the inode */
	inode->watches = NULL;
}

/* --- the file --- */
/* A watch that has ended, out of all lists, or NULL. */
static struct watch *take_dead(struct inotify *queue)
{
	struct watch *watch = NULL;

	spin_lock(&notify_lock);
	if (!list_empty(&queue->dead)) {
		watch = list_first(&queue->dead, struct watch, queue_node);
		list_remove(&watch->queue_node);
	}
	spin_unlock(&notify_lock);
	return watch;
}

ASYNC(bury, struct inotify *queue; struct watch *watch;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->watch = take_dead(f->queue);
		if (!f->watch)
			break;
		AWAIT(inode_put, .inode = f->watch->inode);
		kfree(f->watch);
	}
	ASYNC_END;
}

static struct event *take_event(struct inotify *queue, size_t room, bool *too_big)
{
	struct event *event = NULL;

	spin_lock(&notify_lock);
	if (!list_empty(&queue->events)) {
		event = list_first(&queue->events, struct event, node);
		*too_big = sizeof(event->head) + event->head.len > room;
		if (*too_big) {
			event = NULL;
		} else {
			list_remove(&event->node);
			queue->event_count--;
		}
	}
	spin_unlock(&notify_lock);
	return event;
}

ASYNC(inotify_read, FILE_READ_ARGS u32 ticket; struct event *event; size_t done; size_t at; size_t n; bool too_big;)
{
	struct inotify *queue = f->file->private;

	ASYNC_BEGIN;
	AWAIT(bury, .queue = queue);
	for (;;) {
		f->ticket = wait_ticket(&queue->readable);
		f->too_big = false;
		f->event = take_event(queue, f->to->left, &f->too_big);
		if (f->event) {
			f->n = sizeof(f->event->head) + f->event->head.len;
			f->at = 0;
			while (f->at < f->n) {
				f->at += kiov_write(f->to, (char *)&f->event->head + f->at, f->n - f->at);
				if (f->at == f->n)
					break;
				AWAIT(kiov_fault_in, .iov = f->to, .write = true);
				if (RESULT < 0)
					break;
			}
			kfree(f->event);
			if (f->at < f->n)
				ASYNC_RETURN(f->done ? (long)f->done : -EFAULT);
			f->done += f->n;
			continue;
		}
		if (f->done)
			ASYNC_RETURN(f->done);
		if (f->too_big)
			ASYNC_RETURN(-EINVAL);
		if (f->file->flags & O_NONBLOCK)
			ASYNC_RETURN(-EAGAIN);
		AWAIT(wait_on, .queue = &queue->readable, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

static u32 inotify_poll(struct file *file, struct poll_table *table)
{
	struct inotify *queue = file->private;

	poll_register(table, &queue->readable);
	return queue->event_count ? EPOLLIN | EPOLLRDNORM : 0;
}

ASYNC(inotify_ioctl, FILE_IOCTL_ARGS int bytes;)
{
	struct inotify *queue = f->file->private;
	struct event *event;

	ASYNC_BEGIN;
	if (f->command != FIONREAD)
		ASYNC_RETURN(-ENOTTY);
	spin_lock(&notify_lock);
	list_for_each(event, &queue->events, node)
		f->bytes += (int)(sizeof(event->head) + event->head.len);
	spin_unlock(&notify_lock);
	AWAIT(copy_out, .to = (void __user *)f->argument, .from = &f->bytes, .n = sizeof(f->bytes));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static void end_all(struct inotify *queue)
{
	struct watch *watch, *next_watch;
	struct event *event, *next_event;

	spin_lock(&notify_lock);
	list_for_each_safe(watch, next_watch, &queue->watches, queue_node)
		end_watch(watch);
	list_for_each_safe(event, next_event, &queue->events, node)
		kfree(event);
	spin_unlock(&notify_lock);
}

ASYNC(inotify_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	end_all(f->file->private);
	AWAIT(bury, .queue = f->file->private);
	kfree(f->file->private);
	ASYNC_END;
}

static const struct file_ops inotify_ops = {
	.read = &inotify_read_fn,
	.poll = inotify_poll,
	.ioctl = &inotify_ioctl_fn,
	.release = &inotify_release_fn,
};

SYSCALL_ASYNC(inotify_init1, 1, SYS_ARG(u32, flags) struct file *file; int fd;)
{
	struct inotify *queue;

	ASYNC_BEGIN;
	if (f->flags & ~(u32)(IN_CLOEXEC | IN_NONBLOCK))
		ASYNC_RETURN(-EINVAL);
	queue = kzalloc(sizeof(*queue));
	if (!queue)
		ASYNC_RETURN(-ENOMEM);
	list_init(&queue->watches);
	list_init(&queue->dead);
	list_init(&queue->events);
	wait_queue_init(&queue->readable);
	f->file = file_anonymous("inotify", &inotify_ops, queue, O_RDONLY | (f->flags & IN_NONBLOCK ? O_NONBLOCK : 0));
	if (!f->file) {
		kfree(queue);
		ASYNC_RETURN(-ENFILE);
	}
	f->fd = fd_install(f->file, f->flags & IN_CLOEXEC);
	if (f->fd < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}

/* A new watch, or a change of the one that is there: its number or -errno. Takes over the inode's reference if *used. */
static long add_watch(struct inotify *queue, struct inode *inode, u32 mask, bool *used)
{
	struct inode_watches *list = kzalloc(sizeof(*list));
	struct watch *fresh = kzalloc(sizeof(*fresh)), *watch;
	u32 keep = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
	long result = 0;

	*used = false;
	if (!list || !fresh) {
		kfree(list);
		kfree(fresh);
		return -ENOMEM;
	}
	list_init(&list->list);
	spin_lock(&notify_lock);
	if (!inode->watches) {
		inode->watches = list;
		list = NULL;
	}
	list_for_each(watch, &inode->watches->list, inode_node) {
		if (watch->queue != queue)
			continue;
		if (mask & IN_MASK_CREATE)
			result = -EEXIST;
		else
			watch->mask = mask & IN_MASK_ADD ? watch->mask | keep : keep;
		if (!result)
			result = watch->number;
		break;
	}
	if (!result && queue->watch_count >= WATCHES_MAX)
		result = -ENOSPC;
	if (!result) {
		*fresh = (struct watch){.inode = inode, .queue = queue, .number = ++queue->last_number, .mask = keep};
		list_add(&inode->watches->list, &fresh->inode_node);
		list_add_tail(&queue->watches, &fresh->queue_node);
		queue->watch_count++;
		result = fresh->number;
		fresh = NULL;
		*used = true;
		notify_in_use = true;
	}
	spin_unlock(&notify_lock);
	kfree(list);
	kfree(fresh);
	return result;
}

SYSCALL_ASYNC(inotify_add_watch, 3, SYS_ARG(int, number) SYS_ARG(const char __user *, name) SYS_ARG(u32, mask) struct fd_use fd; struct path path; char *kernel_name; long result; bool used;)
{
	struct inode *inode;

	ASYNC_BEGIN;
	if (!(f->mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED)) || ((f->mask & IN_MASK_ADD) && (f->mask & IN_MASK_CREATE)))
		ASYNC_RETURN(-EINVAL);
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	if (f->fd.file->ops != &inotify_ops) {
		f->result = -EINVAL;
		goto out;
	}
	AWAIT(name_copy_in, .from = f->name);
	f->result = IS_ERR(RESULT) ? RESULT : 0;
	if (f->result)
		goto out;
	f->kernel_name = (char *)RESULT;
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->kernel_name, .path = &f->path,
		.flags = (f->mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW) | (f->mask & IN_ONLYDIR ? LOOKUP_DIRECTORY : 0));
	f->result = RESULT;
	name_free(f->kernel_name);
	if (f->result)
		goto out;
	inode = f->path.dentry->inode;
	f->result = inode_permission(inode, MAY_READ);
	if (!f->result) {
		inode_get(inode);
		f->result = add_watch(f->fd.file->private, inode, f->mask, &f->used);
		if (!f->used)
			AWAIT(inode_put, .inode = f->path.dentry->inode);
	}
	AWAIT(path_put, .path = &f->path);
out:
	FD_END(f->fd);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

static long remove_watch(struct inotify *queue, int number)
{
	struct watch *watch, *found = NULL;

	spin_lock(&notify_lock);
	list_for_each(watch, &queue->watches, queue_node)
		if (watch->number == number)
			found = watch;
	if (found)
		end_watch(found);
	spin_unlock(&notify_lock);
	if (!found)
		return -EINVAL;
	wait_wake_poll(&queue->readable, EPOLLIN | EPOLLRDNORM);
	return 0;
}

SYSCALL_ASYNC(inotify_rm_watch, 2, SYS_ARG(int, number) SYS_ARG(int, watch) struct fd_use fd; long result;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->result = -EINVAL;
	if (f->fd.file->ops == &inotify_ops) {
		f->result = remove_watch(f->fd.file->private, f->watch);
		AWAIT(bury, .queue = f->fd.file->private);
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* --- umount --- */
/* One watch of the file system that goes, ended; its inode is the caller's. NULL: there is none. */
static struct inode *end_one(struct superblock *sb)
{
	struct inode *inode, *found = NULL;
	struct watch *watch;

	spin_lock(&notify_lock);
	/* Nobody else uses the file system any more: its list of inodes changes no more, but for evictions by the caller. */
	list_for_each(inode, &sb->inodes, sb_node) {
		if (!inode->watches || list_empty(&inode->watches->list))
			continue;
		watch = list_first(&inode->watches->list, struct watch, inode_node);
		queue_event(watch->queue, watch->number, IN_UNMOUNT, NULL, 0);
		end_watch(watch);
		list_remove(&watch->queue_node);
		wait_wake_poll(&watch->queue->readable, EPOLLIN | EPOLLRDNORM);
		kfree(watch);
		found = inode;
		break;
	}
	spin_unlock(&notify_lock);
	return found;
}

ASYNC_DEFINE(notify_unmount)
{
	ASYNC_BEGIN;
	for (;;) {
		f->inode = notify_in_use ? end_one(f->sb) : NULL;
		if (!f->inode)
			break;
		AWAIT(inode_put, .inode = f->inode);
	}
	ASYNC_END;
}
