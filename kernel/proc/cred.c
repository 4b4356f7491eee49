/* SPDX-License-Identifier: MIT */
/*
 * Credentials: users, groups, capabilities. A struct cred is never changed once a thread has it: a copy is made and committed.
 * The calls that do so: ids.c, capability.c. Rules: credentials(7), capabilities(7).
 */
#include "proc.h"
#include <linux/securebits.h>

void cred_get(struct cred *cred)
{
	atomic_fetch_add_explicit(&cred->users, 1, memory_order_relaxed);
}

void cred_put(struct cred *cred)
{
	if (atomic_fetch_sub_explicit(&cred->users, 1, memory_order_acq_rel) != 1)
		return;
	kfree(cred->groups);
	kfree(cred);
}

struct cred *cred_prepare(const struct cred *from)
{
	struct cred *cred = kmalloc(sizeof(*cred));

	if (!cred)
		return NULL;
	*cred = *from;
	atomic_init(&cred->users, 1);
	if (from->groups) {
		cred->groups = kmalloc(from->group_count * sizeof(gid_t));
		if (!cred->groups) {
			kfree(cred);
			return NULL;
		}
		memcpy(cred->groups, from->groups, from->group_count * sizeof(gid_t));
	}
	return cred;
}

struct cred *cred_initial(void)
{
	struct cred *cred = kzalloc(sizeof(*cred));

	if (!cred)
		return NULL;
	atomic_init(&cred->users, 1);
	cred->cap_effective = cred->cap_permitted = cred->cap_bounding = CAP_ALL;
	return cred;
}

void cred_commit(struct thread *thread, struct cred *cred)
{
	struct cred *old = thread->cred;
	bool identity = old->euid != cred->euid || old->egid != cred->egid || old->fsuid != cred->fsuid ||
			old->fsgid != cred->fsgid || (cred->cap_permitted & ~old->cap_permitted);
	unsigned long flags;

	/* What the program was may be more than what it is: others must not look into it (prctl(2), PR_SET_DUMPABLE). */
	if (identity && thread->mm) {
		thread->mm->dumpable = false;
		thread->pdeath_signal = 0;
	}
	flags = spin_lock_irqsave(&process_lock);
	thread->cred = cred;
	spin_unlock_irqrestore(&process_lock, flags);
	cred_put(old);
}

bool cred_capable(const struct cred *cred, int capability)
{
	return cred->cap_effective & BIT(capability);
}

bool capable(int capability)
{
	return cred_capable(current_thread()->cred, capability);
}

bool cred_in_group(const struct cred *cred, gid_t gid)
{
	u32 low = 0, high = cred->group_count;

	if (cred->fsgid == gid)
		return true;
	while (low < high) {
		u32 middle = (low + high) / 2;

		if (cred->groups[middle] == gid)
			return true;
		if (cred->groups[middle] < gid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/*
 * What a program started by execve gets (capabilities(7), "Transformation of capabilities during execve()"): from no file
 * capabilities, but from set-user-ID bits and root. True: AT_SECURE.
 */
bool cred_for_program(struct cred *cred, const struct cred *old, mode_t mode, uid_t owner, gid_t group)
{
	bool root, privileged = false;

	if (!cred->no_new_privs) {
		if (mode & S_ISUID)
			cred->euid = owner;
		if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
			cred->egid = group;
	}
	privileged = cred->euid != old->euid || cred->egid != old->egid;
	cred->suid = cred->fsuid = cred->euid;
	cred->sgid = cred->fsgid = cred->egid;
	if (privileged)
		cred->cap_ambient = 0;
	root = !(cred->securebits & BIT(SECURE_NOROOT));
	if (root && (cred->euid == 0 || cred->uid == 0)) {
		cred->cap_permitted = cred->cap_bounding | cred->cap_inheritable;
		cred->cap_effective = cred->euid == 0 ? cred->cap_permitted : 0;
	} else {
		cred->cap_permitted = cred->cap_ambient;
		cred->cap_effective = cred->cap_ambient;
	}
	cred->securebits &= ~BIT(SECURE_KEEP_CAPS);
	return cred->euid != cred->uid || cred->egid != cred->gid || privileged;
}
