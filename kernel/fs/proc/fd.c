// SPDX-License-Identifier: MIT
/* Where a process's descriptors, working directory, root and executable lead. */
#include "proc.h"

long fd_follow(const struct proc_target *target, struct path *path)
{
	struct thread *thread = target_thread(target);
	struct files *files = thread ? thread_files_get(thread) : NULL;
	struct file *file = files ? files_file_get(files, target->fd) : NULL;

	if (files)
		files_put_later(files);
	if (thread)
		thread_put(thread);
	if (!file)
		return -ENOENT;
	*path = file->path;
	path_get(path);
	if (!file_put_fast(file))
		file_put_later(file);
	return 0;
}

void fdinfo_show(struct proc_text *text, const struct proc_target *target)
{
	struct thread *thread = target_thread(target);
	struct files *files = thread ? thread_files_get(thread) : NULL;
	struct file *file = files ? files_file_get(files, target->fd) : NULL;
	char *more;

	if (file) {
		text_printf(text, "pos:\t%llu\nflags:\t0%o\nmnt_id:\t%u\nino:\t%llu\n", (unsigned long long)file->pos,
			file->flags | (files_cloexec(files, target->fd) ? O_CLOEXEC : 0), file->path.mount->id, (unsigned long long)file->inode->number);
		more = file->ops->show ? text_room(text, 1024) : NULL;
		if (more) {
			*more = 0;
			file->ops->show(file, more, 1024);
			text->used += strlen(more);
		}
		if (!file_put_fast(file))
			file_put_later(file);
	}
	if (files)
		files_put_later(files);
	if (thread)
		thread_put(thread);
}

long exe_follow(const struct proc_target *target, struct path *path)
{
	struct thread *thread = target_thread(target);
	struct mm *mm = thread ? thread_mm_get(thread) : NULL;
	long error = -ENOENT;

	if (mm && mm->executable) {
		*path = mm->executable->path;
		path_get(path);
		error = 0;
	}
	if (mm)
		mm_put_later(mm);
	if (thread)
		thread_put(thread);
	return error;
}

static long context_follow(const struct proc_target *target, struct path *path, bool root)
{
	struct thread *thread = target_thread(target);
	struct fs_context *fs = thread ? thread_fs_get(thread) : NULL;

	if (fs) {
		spin_lock(&fs->lock);
		*path = root ? fs->root : fs->cwd;
		path_get(path);
		spin_unlock(&fs->lock);
		fs_context_put_later(fs);
	}
	if (thread)
		thread_put(thread);
	return fs ? 0 : -ENOENT;
}

long cwd_follow(const struct proc_target *target, struct path *path)
{
	return context_follow(target, path, false);
}

long root_follow(const struct proc_target *target, struct path *path)
{
	return context_follow(target, path, true);
}
