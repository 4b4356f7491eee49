// SPDX-License-Identifier: MIT
/*
 * Walking a path. While its names are cached it goes in one stretch under dcache_lock, without counting references
 * (nothing can be freed under that lock): walk_cached(). It leaves the lock to ask the file system for a name, to read a
 * link that is not in memory, or to follow a magic one; then it holds references to where it stands.
 *
 *     lookup_begin -> lookup_walk [-> lookup_follow_last -> lookup_walk ...] -> lookup_end
 */
#include "internal.h"
#include <linux/limits.h>
#include <linux/openat2.h>

#define LINKS_MAX 40
#define RESOLVE(l) (((l)->flags & LOOKUP_RESOLVE_MASK) >> LOOKUP_RESOLVE_SHIFT)

enum walk { WALK_DONE, WALK_ASK, WALK_LINK };

static struct slab_cache *name_cache;

void path_init(void);
void path_init(void)
{
	name_cache = slab_cache_create("names", PATH_MAX, 0);
}

void path_get(struct path *path)
{
	mount_get(path->mount);
	dentry_get(path->dentry);
}

ASYNC_DEFINE(path_put)
{
	ASYNC_BEGIN;
	if (f->path->dentry)
		AWAIT(dentry_put, .dentry = f->path->dentry);
	if (f->path->mount && !mount_put_fast(f->path->mount))
		AWAIT(mount_put, .mount = f->path->mount);
	ASYNC_END;
}

ASYNC_DEFINE(name_copy_in)
{
	ASYNC_BEGIN;
	f->buffer = slab_alloc(name_cache);
	if (!f->buffer)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(copy_string_in, .to = f->buffer, .from = f->from, .bytes = PATH_MAX);
	if (RESULT < 0) {
		slab_free(name_cache, f->buffer);
		ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

void name_free(char *name)
{
	slab_free(name_cache, name);
}

/* The root of the walk, not counted. */
static struct path walk_root(const struct lookup *l) REQUIRES(dcache_lock)
{
	struct fs_context *fs = current_thread()->fs;
	struct path root;

	if (l->scope.dentry)
		return l->scope;
	spin_lock(&fs->lock);
	root = fs->root;
	spin_unlock(&fs->lock);
	return root;
}

/* To the root: for names and links that begin with a slash. */
static long walk_to_root(struct lookup *l) REQUIRES(dcache_lock)
{
	struct path root = walk_root(l);

	if (RESOLVE(l) & RESOLVE_BENEATH)
		return -EXDEV;
	if ((RESOLVE(l) & RESOLVE_NO_XDEV) && l->path.mount && root.mount != l->path.mount)
		return -EXDEV;
	l->path = root;
	return 0;
}

static long walk_up(struct lookup *l) REQUIRES(dcache_lock)
{
	struct path root = walk_root(l), at = l->path;

	for (;;) {
		if (at.mount == root.mount && at.dentry == root.dentry) {
			if (RESOLVE(l) & RESOLVE_BENEATH)
				return -EXDEV;
			break;
		}
		if (at.dentry != at.mount->root) {
			at.dentry = at.dentry->parent;
			break;
		}
		if (!at.mount->parent)
			break;
		at = (struct path){at.mount->parent, at.mount->mountpoint};
	}
	path_follow_mounts(&at);
	if ((RESOLVE(l) & RESOLVE_NO_XDEV) && at.mount != l->path.mount)
		return -EXDEV;
	l->path = at;
	return 0;
}

/*
 * The walk goes on with a link's text, followed by what was left. Does not move to the root for an absolute one.
 * `text` need not be terminated.
 */
static long expand_link(struct lookup *l, const char *text, size_t length)
{
	size_t left = strlen(l->after);
	char *buffer;

	if (!length)
		return -ENOENT;
	buffer = kmalloc(length + left + 1);
	if (!buffer)
		return -ENOMEM;
	memcpy(buffer, text, length);
	memcpy(buffer + length, l->after, left + 1);
	kfree(l->buffer);
	l->buffer = buffer;
	l->rest = buffer;
	return 0;
}

static long count_link(struct lookup *l)
{
	if (RESOLVE(l) & RESOLVE_NO_SYMLINKS)
		return -ELOOP;
	return ++l->links > LINKS_MAX ? -ELOOP : 0;
}

/* As Debian's Linux has it (fs.protected_symlinks): in /tmp and its like only the owner's own links, and the directory's owner's, are followed. */
static bool protects_links(const struct inode *dir, const struct inode *link, const struct cred *cred)
{
	return (dir->mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH) && link->uid != cred->fsuid && link->uid != dir->uid;
}

/* Splits the next name off: 0 or -ENAMETOOLONG. Hashes it on the way. */
static inline long next_name(struct lookup *l, const char *s)
{
	const char *start = s;
	u32 h = 0;

	for (; *s && *s != '/'; s++)
		h = (h ^ (u8)*s) * 0x01000193u;
	l->last.text = start;
	l->last.length = (u32)(s - start);
	l->last.hash = h ^ l->last.length;
	l->after = s;
	l->last_type = LAST_NORMAL;
	if (start[0] == '.') {
		if (l->last.length == 1)
			l->last_type = LAST_DOT;
		else if (l->last.length == 2 && start[1] == '.')
			l->last_type = LAST_DOTDOT;
	}
	return l->last.length > 255 ? -ENAMETOOLONG : 0;
}

static const char *skip_slashes(const char *s)
{
	while (*s == '/')
		s++;
	return s;
}

/*
 * As far as cached names go. WALK_DONE: path is the result. WALK_ASK: the file system must be asked for `last` in path. WALK_LINK: *link
 * is one whose text is not in memory. Nothing is counted that was not before.
 */
static long walk_cached(struct lookup *l, const struct cred *cred, struct dentry **link) REQUIRES(dcache_lock)
{
	struct dentry *asked = l->asked;

	for (;;) {
		const char *s = skip_slashes(l->rest);
		struct dentry *child;
		struct inode *inode = l->path.dentry->inode;
		struct path next;
		long error;
		bool final;

		if (!*s) {
			if (((l->flags & LOOKUP_DIRECTORY) || (s != l->rest)) && !S_ISDIR(inode->mode))
				return -ENOTDIR;
			l->last_type = LAST_ROOT;
			return WALK_DONE;
		}
		if (!S_ISDIR(inode->mode))
			return -ENOTDIR;
		error = inode_permission_cred(inode, MAY_EXEC, cred);
		if (!error)
			error = next_name(l, s);
		if (error)
			return error;
		final = !*skip_slashes(l->after);
		if (final && (l->flags & LOOKUP_PARENT)) {
			l->slash = *l->after;
			return WALK_DONE;
		}
		if (l->last_type != LAST_NORMAL) {
			error = l->last_type == LAST_DOTDOT ? walk_up(l) : 0;
			if (error)
				return error;
			l->rest = l->after;
			continue;
		}
		child = asked ? asked : dentry_find(l->path.dentry, &l->last);
		asked = NULL;
		if (!child) {
			l->rest = s;
			return RESOLVE(l) & RESOLVE_CACHED ? -EAGAIN : WALK_ASK;
		}
		if (!child->inode)
			return -ENOENT;
		next = (struct path){l->path.mount, child};
		if (unlikely(child->flags & DENTRY_MOUNTED)) {
			path_follow_mounts(&next);
			if (next.mount != l->path.mount && (RESOLVE(l) & RESOLVE_NO_XDEV))
				return -EXDEV;
		}
		if (S_ISLNK(next.dentry->inode->mode) && (!final || *l->after || (l->flags & LOOKUP_FOLLOW))) {
			inode = next.dentry->inode;
			error = count_link(l);
			if (!error && unlikely(protects_links(l->path.dentry->inode, inode, cred)))
				error = -EACCES;
			if (error)
				return error;
			if (!inode->target) {
				*link = child;
				return WALK_LINK;
			}
			error = expand_link(l, inode->target, strlen(inode->target));
			if (!error && inode->target[0] == '/')
				error = walk_to_root(l);
			if (error)
				return error;
			continue;
		}
		l->path = next;
		l->rest = l->after;
	}
}

/*
 * One stretch under the lock. Afterwards path (and *link) are counted; old and asked must be put.
 */
static long walk_stretch(struct lookup *l, const struct cred *cred, struct path *old, struct dentry **link)
{
	struct path before = l->path;
	long r;

	*link = NULL;
	spin_lock(&dcache_lock);
	if (!l->path.dentry) {
		struct fs_context *fs = current_thread()->fs;

		if (l->rest[0] == '/') {
			l->path = walk_root(l);
		} else {
			spin_lock(&fs->lock);
			l->path = fs->cwd;
			spin_unlock(&fs->lock);
		}
	}
	r = walk_cached(l, cred, link);
	path_get(&l->path);
	if (*link)
		dentry_get(*link);
	spin_unlock(&dcache_lock);
	if (l->counted)
		*old = before;
	else
		*old = (struct path){NULL, NULL};
	l->counted = true;
	return r;
}

ASYNC_DEFINE(lookup_walk)
{
	struct lookup *l = f->lookup;
	struct path old;

	ASYNC_BEGIN;
	for (;;) {
		f->error = walk_stretch(l, thread_of(self)->cred, &old, &f->link);
		f->old_dentry = old.dentry;
		f->old_mount = old.mount;
		if (f->old_dentry)
			AWAIT(dentry_put, .dentry = f->old_dentry);
		if (f->old_mount && !mount_put_fast(f->old_mount))
			AWAIT(mount_put, .mount = f->old_mount);
		if (l->asked) {
			AWAIT(dentry_put, .dentry = l->asked);
			l->asked = NULL;
		}
		if (f->error == WALK_DONE || f->error < 0)
			ASYNC_RETURN(f->error);
		if (f->error == WALK_ASK) {
			AWAIT(dentry_ask, .parent = l->path.dentry, .name = &l->last);
			if (IS_ERR(RESULT))
				ASYNC_RETURN(RESULT);
			l->asked = (struct dentry *)RESULT;
		} else {
			l->links--; /* counted once: by lookup_follow_last */
			AWAIT(lookup_follow_last, .lookup = l, .link = f->link);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
	}
	ASYNC_END;
}

/* The walk goes on in another place, whose references it takes over. Returns the old place, to be put. */
static struct path walk_jump(struct lookup *l, const struct path *to)
{
	struct path old = l->path;

	l->path = *to;
	return old;
}

ASYNC_DEFINE(lookup_follow_last)
{
	struct lookup *l = f->lookup;
	struct inode *inode = f->link->inode;

	ASYNC_BEGIN;
	f->error = count_link(l);
	if (!f->error && !inode->ops->follow && protects_links(l->path.dentry->inode, inode, thread_of(self)->cred))
		f->error = -EACCES;
	if (f->error)
		goto out;
	if (inode->ops->follow) {
		f->error = RESOLVE(l) & RESOLVE_NO_MAGICLINKS ? -ELOOP : l->scope.dentry ? -EXDEV : 0;
		if (!f->error)
			f->error = inode->ops->follow(inode, &f->target);
		if (!f->error && (RESOLVE(l) & RESOLVE_NO_XDEV) && f->target.mount != l->path.mount) {
			AWAIT(path_put, .path = &f->target);
			f->error = -EXDEV;
		}
		if (f->error)
			goto out;
		f->target = walk_jump(l, &f->target);
		AWAIT(path_put, .path = &f->target);
		l->rest = l->after;
		goto out;
	}
	if (inode->target) {
		f->error = expand_link(l, inode->target, strlen(inode->target));
	} else {
		f->error = -EINVAL;
		f->text = slab_alloc(name_cache);
		if (!f->text)
			f->error = -ENOMEM;
		else if (inode->ops->readlink)
			f->error = 0;
		if (!f->error) {
			AWAIT_OP(inode->ops->readlink, inode_readlink, .inode = inode, .buf = f->text, .bytes = PATH_MAX - 1);
			f->error = RESULT < 0 ? RESULT : expand_link(l, f->text, (size_t)RESULT);
		}
		if (f->text)
			slab_free(name_cache, f->text);
	}
	if (!f->error && l->rest[0] == '/') {
		spin_lock(&dcache_lock);
		f->target = l->path;
		f->error = walk_to_root(l);
		if (!f->error)
			path_get(&l->path);
		spin_unlock(&dcache_lock);
		if (!f->error)
			AWAIT(path_put, .path = &f->target);
	}
out:
	if (f->link)
		AWAIT(dentry_put, .dentry = f->link);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

long lookup_begin(struct lookup *l, int dirfd, const char *name, u32 flags)
{
	u32 resolve = (flags & LOOKUP_RESOLVE_MASK) >> LOOKUP_RESOLVE_SHIFT;
	struct fd_use use;

	*l = (struct lookup){.rest = name, .after = name, .flags = flags, .last_type = LAST_ROOT};
	l->last.text = name;
	if (!*name && !(flags & LOOKUP_EMPTY))
		return -ENOENT;
	if (name[0] == '/' && (resolve & RESOLVE_BENEATH))
		return -EXDEV;
	if ((name[0] != '/' || (resolve & RESOLVE_IN_ROOT)) && dirfd != AT_FDCWD) {
		use = fd_begin_any(&current_thread()->task, dirfd);
		if (!use.file)
			return -EBADF;
		l->path = use.file->path;
		l->counted = true;
		path_get(&l->path);
		if (use.counted)
			l->start = use.file;
	}
	if (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
		if (!l->counted) {
			fs_cwd_get(&l->path);
			l->counted = true;
		}
		l->scope = l->path;
		path_get(&l->scope);
	}
	return 0;
}

ASYNC_DEFINE(lookup_end)
{
	ASYNC_BEGIN;
	kfree(f->lookup->buffer);
	f->lookup->buffer = NULL;
	if (f->lookup->asked)
		AWAIT(dentry_put, .dentry = f->lookup->asked);
	if (f->lookup->start && !file_put_fast(f->lookup->start))
		AWAIT(file_put, .file = f->lookup->start);
	if (unlikely(f->lookup->scope.dentry))
		AWAIT(path_put, .path = &f->lookup->scope);
	if (f->lookup->counted && !f->keep)
		AWAIT(path_put, .path = &f->lookup->path);
	ASYNC_END;
}

ASYNC_DEFINE(path_lookup)
{
	long error;

	ASYNC_BEGIN;
	error = lookup_begin(&f->lookup, f->dirfd, f->name, f->flags);
	if (error)
		ASYNC_RETURN(error);
	AWAIT(lookup_walk, .lookup = &f->lookup);
	if (likely(!RESULT && !f->lookup.buffer && !f->lookup.scope.dentry && !f->lookup.start)) {
		*f->path = f->lookup.path;
		ASYNC_RETURN(0);
	}
	error = RESULT;
	*f->path = f->lookup.path;
	f->flags = (u32)-error;
	AWAIT(lookup_end, .lookup = &f->lookup, .keep = !f->flags);
	ASYNC_RETURN(-(long)f->flags);
	ASYNC_END;
}

/* Puts s before *p. */
static bool prepend(char **p, const char *start, const char *s, size_t n)
{
	if ((size_t)(*p - start) < n)
		return false;
	*p -= n;
	memcpy(*p, s, n);
	return true;
}

char *path_name(const struct path *path, char *buf, size_t bytes)
{
	struct fs_context *fs = current_thread()->fs;
	struct path at = *path, root;
	char *p = buf + bytes;
	bool fits, empty = true;

	if (!at.dentry)
		return ERR_PTR(-ENOENT);
	fits = prepend(&p, buf, "", 1);
	spin_lock(&dcache_lock);
	if (at.dentry->inode && (at.dentry->inode->state & INODE_ANONYMOUS)) {
		if (!at.dentry->inode->nlink)
			fits = fits && prepend(&p, buf, " (deleted)", 10);
		fits = fits && prepend(&p, buf, at.dentry->name.text, at.dentry->name.length);
		spin_unlock(&dcache_lock);
		return fits ? p : ERR_PTR(-ENAMETOOLONG);
	}
	spin_lock(&fs->lock);
	root = fs->root;
	spin_unlock(&fs->lock);
	if (at.dentry->flags & DENTRY_UNHASHED)
		fits = fits && prepend(&p, buf, " (deleted)", 10);
	while (fits && !(at.mount == root.mount && at.dentry == root.dentry)) {
		if (at.dentry == at.mount->root) {
			if (!at.mount->parent)
				break;
			at = (struct path){at.mount->parent, at.mount->mountpoint};
			continue;
		}
		fits = prepend(&p, buf, at.dentry->name.text, at.dentry->name.length) && prepend(&p, buf, "/", 1);
		empty = false;
		at.dentry = at.dentry->parent;
	}
	spin_unlock(&dcache_lock);
	if (fits && empty)
		fits = prepend(&p, buf, "/", 1);
	return fits ? p : ERR_PTR(-ENAMETOOLONG);
}
