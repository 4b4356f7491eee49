/* SPDX-License-Identifier: MIT */
/*
 * Process groups and sessions: POSIX's job control, as credentials(7) and setpgid(2) tell it. Groups and sessions live as
 * long as a process (a zombie too) is in them.
 */
#include "proc.h"

#define BUCKETS 256

static struct list groups[BUCKETS], sessions[BUCKETS];

static void session_init(void)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		list_init(&groups[i]);
		list_init(&sessions[i]);
	}
}
INITCALL(INIT_CORE, session_init);

struct process_group *group_find_locked(pid_t id)
{
	struct process_group *group;

	list_for_each(group, &groups[(u32)id % BUCKETS], hash_node)
		if (group->id == id)
			return group;
	return NULL;
}

struct session *session_find_locked(pid_t id)
{
	struct session *session;

	list_for_each(session, &sessions[(u32)id % BUCKETS], hash_node)
		if (session->id == id)
			return session;
	return NULL;
}

void group_join(struct process *process, struct process_group *group)
{
	process->group = group;
	list_add_tail(&group->members, &process->group_node);
}

void group_leave(struct process *process)
{
	struct process_group *group = process->group;

	if (!group)
		return;
	process->group = NULL;
	list_remove(&process->group_node);
	if (!list_empty(&group->members))
		return;
	list_remove(&group->hash_node);
	if (!--group->session->groups) {
		list_remove(&group->session->hash_node);
		kfree(group->session);
	}
	kfree(group);
}

static void group_begin(struct process_group *group, pid_t id, struct session *session)
{
	group->id = id;
	group->session = session;
	session->groups++;
	list_init(&group->members);
	list_add(&groups[(u32)id % BUCKETS], &group->hash_node);
}

void session_begin(struct process *process, struct session *session, struct process_group *group)
{
	session->id = process->pid;
	session->groups = 0;
	session->tty = NULL;
	list_add(&sessions[(u32)session->id % BUCKETS], &session->hash_node);
	group_begin(group, process->pid, session);
	group_leave(process);
	group_join(process, group);
}

/* --- orphans (POSIX 3.264) --- */

static bool links_group(struct process *process, struct process_group *group)
{
	struct process *parent = process->parent;

	return process->state < PROCESS_ZOMBIE && parent && parent != init_process && parent->group != group &&
	       parent->group && parent->group->session == group->session;
}

bool group_is_orphaned_locked(struct process_group *group, struct process *except)
{
	struct process *process;

	list_for_each(process, &group->members, group_node)
		if (process != except && links_group(process, group))
			return false;
	return true;
}

static bool group_has_stopped(struct process_group *group)
{
	struct process *process;

	list_for_each(process, &group->members, group_node)
		if (process->state == PROCESS_STOPPED)
			return true;
	return false;
}

void group_check_orphaned(struct process *process, struct process *old_parent)
{
	struct process_group *group = process->group;

	/* Only a link that was there can have gone. */
	if (!group || !old_parent || !old_parent->group || old_parent->group == group ||
		old_parent->group->session != group->session)
		return;
	if (!group_is_orphaned_locked(group, process->state >= PROCESS_ZOMBIE ? process : NULL) ||
		!group_has_stopped(group))
		return;
	signal_send_group_locked(group, SIGHUP, NULL);
	signal_send_group_locked(group, SIGCONT, NULL);
}

/* --- for the tty --- */

#define LOCKED(type, expression)                                                                   \
	unsigned long flags = spin_lock_irqsave(&process_lock);                                    \
	type result = (expression);                                                                \
	spin_unlock_irqrestore(&process_lock, flags);                                              \
	return result

pid_t process_group_id(struct process *process)
{
	LOCKED(pid_t, process->group ? process->group->id : 0);
}

pid_t process_session_id(struct process *process)
{
	LOCKED(pid_t, process->group ? process->group->session->id : 0);
}

struct tty *session_tty(struct process *process)
{
	LOCKED(struct tty *, process->group ? process->group->session->tty : NULL);
}

long session_set_tty(struct process *process, struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct session *session = process->group ? process->group->session : NULL;
	long result = -EPERM;

	if (session && !tty) { /* TIOCNOTTY */
		session->tty = NULL;
		result = 0;
	} else if (session && session->id == process->pid && !session->tty) {
		session->tty = tty;
		result = 0;
	}
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

void session_clear_tty(struct tty *tty)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct session *session;

	for (unsigned i = 0; i < BUCKETS; i++)
		list_for_each(session, &sessions[i], hash_node)
			if (session->tty == tty)
				session->tty = NULL;
	spin_unlock_irqrestore(&process_lock, flags);
}

bool group_in_session(pid_t group, pid_t session)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process_group *g = group_find_locked(group);
	bool result = g && g->session->id == session;

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

bool group_is_orphaned(pid_t group)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process_group *g = group_find_locked(group);
	bool result = !g || group_is_orphaned_locked(g, NULL);

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

/* --- system calls --- */

SYSCALL(setsid)
{
	struct process *process = current_thread()->process;
	struct session *session = kmalloc(sizeof(*session));
	struct process_group *group = kmalloc(sizeof(*group));
	unsigned long flags;

	if (!session || !group) {
		kfree(session);
		kfree(group);
		return -ENOMEM;
	}
	flags = spin_lock_irqsave(&process_lock);
	if (group_find_locked(process->pid)) { /* the leader of a group, or its number still in use */
		spin_unlock_irqrestore(&process_lock, flags);
		kfree(session);
		kfree(group);
		return -EPERM;
	}
	session_begin(process, session, group);
	spin_unlock_irqrestore(&process_lock, flags);
	return process->pid;
}

static long setpgid_locked(struct process *self, pid_t pid, pid_t id, struct process_group **fresh) REQUIRES(process_lock)
{
	struct process *process = pid == self->pid ? self : process_find_locked(pid);
	struct process_group *group, *old;

	if (!process || process->state >= PROCESS_ZOMBIE)
		return -ESRCH;
	if (process != self) {
		if (process->parent != self)
			return -ESRCH;
		if (process->group->session != self->group->session)
			return -EPERM;
		if (process->executed)
			return -EACCES;
	}
	if (process->group->session->id == process->pid)
		return -EPERM;
	group = group_find_locked(id);
	if (id != process->pid && (!group || group->session != self->group->session))
		return -EPERM;
	old = process->group;
	if (group == old)
		return 0;
	if (!group) {
		group = *fresh;
		*fresh = NULL;
		group_begin(group, id, old->session);
	}
	group_leave(process);
	group_join(process, group);
	return 0;
}

SYSCALL(setpgid, pid_t, pid, pid_t, pgid)
{
	struct process *self = current_thread()->process;
	struct process_group *fresh;
	unsigned long flags;
	long result;

	if (!pid)
		pid = self->pid;
	if (!pgid)
		pgid = pid;
	if (pgid < 0)
		return -EINVAL;
	fresh = kmalloc(sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	flags = spin_lock_irqsave(&process_lock);
	result = setpgid_locked(self, pid, pgid, &fresh);
	spin_unlock_irqrestore(&process_lock, flags);
	kfree(fresh);
	return result;
}

SYSCALL(getpgid, pid_t, pid)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *process = pid ? process_find_locked(pid) : current_thread()->process;
	long result = process ? process->group->id : -ESRCH;

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL(getsid, pid_t, pid)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *process = pid ? process_find_locked(pid) : current_thread()->process;
	long result = process ? process->group->session->id : -ESRCH;

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}
