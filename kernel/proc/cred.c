/* SPDX-License-Identifier: MIT */
/*
 * Credentials and the calls that change them: users, groups, capabilities. A struct cred is never changed once a thread has
 * it: a copy is made and committed. Rules: credentials(7), capabilities(7).
 */
#include "proc.h"
#include <linux/prctl.h>
#include <linux/securebits.h>

#define CAP_ALL (BIT(CAP_LAST_CAP + 1) - 1)

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

SYSCALL(getuid)
{
	return current_thread()->cred->uid;
}
SYSCALL(geteuid)
{
	return current_thread()->cred->euid;
}
SYSCALL(getgid)
{
	return current_thread()->cred->gid;
}
SYSCALL(getegid)
{
	return current_thread()->cred->egid;
}

SYSCALL_ASYNC(getresuid, 3, SYS_ARG(uid_t __user *, r) SYS_ARG(uid_t __user *, e) SYS_ARG(uid_t __user *, s) uid_t id[3];)
{
	ASYNC_BEGIN;
	f->id[0] = thread_of(self)->cred->uid;
	f->id[1] = thread_of(self)->cred->euid;
	f->id[2] = thread_of(self)->cred->suid;
	COPY_OUT(f->r, f->id[0]);
	COPY_OUT(f->e, f->id[1]);
	COPY_OUT(f->s, f->id[2]);
	ASYNC_END;
}

SYSCALL_ASYNC(getresgid, 3, SYS_ARG(gid_t __user *, r) SYS_ARG(gid_t __user *, e) SYS_ARG(gid_t __user *, s) gid_t id[3];)
{
	ASYNC_BEGIN;
	f->id[0] = thread_of(self)->cred->gid;
	f->id[1] = thread_of(self)->cred->egid;
	f->id[2] = thread_of(self)->cred->sgid;
	COPY_OUT(f->r, f->id[0]);
	COPY_OUT(f->e, f->id[1]);
	COPY_OUT(f->s, f->id[2]);
	ASYNC_END;
}

/* capabilities(7), "Effect of user ID changes on capabilities". */
static void cred_fix_capabilities(struct cred *cred, const struct cred *old)
{
	bool was_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
	bool is_root = cred->uid == 0 || cred->euid == 0 || cred->suid == 0;

	if (old->securebits & BIT(SECURE_NO_SETUID_FIXUP))
		return;
	if (was_root && !is_root) {
		if (!(old->securebits & BIT(SECURE_KEEP_CAPS))) {
			cred->cap_permitted = 0;
			cred->cap_effective = 0;
		}
		cred->cap_ambient = 0;
	}
	if (old->euid == 0 && cred->euid != 0)
		cred->cap_effective = 0;
	else if (old->euid != 0 && cred->euid == 0)
		cred->cap_effective = cred->cap_permitted;
}

#define NO_ID ((uid_t)-1)

/* setuid, setreuid, setresuid: what changes in the copy is decided by each; the rest is the same. */
static long uid_commit(struct thread *thread, struct cred *cred)
{
	cred->fsuid = cred->euid;
	cred_fix_capabilities(cred, thread->cred);
	cred_commit(thread, cred);
	return 0;
}

SYSCALL(setuid, uid_t, uid)
{
	struct thread *thread = current_thread();
	struct cred *cred;

	if (uid == NO_ID)
		return -EINVAL;
	cred = cred_prepare(thread->cred);
	if (!cred)
		return -ENOMEM;
	if (capable(CAP_SETUID)) {
		cred->uid = cred->suid = uid;
	} else if (uid != cred->uid && uid != cred->suid) {
		cred_put(cred);
		return -EPERM;
	}
	cred->euid = uid;
	return uid_commit(thread, cred);
}

SYSCALL(setreuid, uid_t, ruid, uid_t, euid)
{
	struct thread *thread = current_thread();
	const struct cred *old = thread->cred;
	struct cred *cred;
	bool may = capable(CAP_SETUID);

	if (ruid != NO_ID && !may && ruid != old->uid && ruid != old->euid)
		return -EPERM;
	if (euid != NO_ID && !may && euid != old->uid && euid != old->euid && euid != old->suid)
		return -EPERM;
	cred = cred_prepare(old);
	if (!cred)
		return -ENOMEM;
	if (ruid != NO_ID)
		cred->uid = ruid;
	if (euid != NO_ID)
		cred->euid = euid;
	if (ruid != NO_ID || (euid != NO_ID && euid != old->uid))
		cred->suid = cred->euid;
	return uid_commit(thread, cred);
}

static bool uid_is_own(const struct cred *cred, uid_t id)
{
	return id == NO_ID || id == cred->uid || id == cred->euid || id == cred->suid;
}

SYSCALL(setresuid, uid_t, ruid, uid_t, euid, uid_t, suid)
{
	struct thread *thread = current_thread();
	const struct cred *old = thread->cred;
	struct cred *cred;

	if (!capable(CAP_SETUID) && !(uid_is_own(old, ruid) && uid_is_own(old, euid) && uid_is_own(old, suid)))
		return -EPERM;
	cred = cred_prepare(old);
	if (!cred)
		return -ENOMEM;
	if (ruid != NO_ID)
		cred->uid = ruid;
	if (euid != NO_ID)
		cred->euid = euid;
	if (suid != NO_ID)
		cred->suid = suid;
	return uid_commit(thread, cred);
}

SYSCALL(setgid, gid_t, gid)
{
	struct thread *thread = current_thread();
	struct cred *cred;

	if (gid == NO_ID)
		return -EINVAL;
	cred = cred_prepare(thread->cred);
	if (!cred)
		return -ENOMEM;
	if (capable(CAP_SETGID)) {
		cred->gid = cred->sgid = gid;
	} else if (gid != cred->gid && gid != cred->sgid) {
		cred_put(cred);
		return -EPERM;
	}
	cred->egid = cred->fsgid = gid;
	cred_commit(thread, cred);
	return 0;
}

SYSCALL(setregid, gid_t, rgid, gid_t, egid)
{
	struct thread *thread = current_thread();
	const struct cred *old = thread->cred;
	struct cred *cred;
	bool may = capable(CAP_SETGID);

	if (rgid != NO_ID && !may && rgid != old->gid && rgid != old->egid)
		return -EPERM;
	if (egid != NO_ID && !may && egid != old->gid && egid != old->egid && egid != old->sgid)
		return -EPERM;
	cred = cred_prepare(old);
	if (!cred)
		return -ENOMEM;
	if (rgid != NO_ID)
		cred->gid = rgid;
	if (egid != NO_ID)
		cred->egid = egid;
	if (rgid != NO_ID || (egid != NO_ID && egid != old->gid))
		cred->sgid = cred->egid;
	cred->fsgid = cred->egid;
	cred_commit(thread, cred);
	return 0;
}

static bool gid_is_own(const struct cred *cred, gid_t id)
{
	return id == NO_ID || id == cred->gid || id == cred->egid || id == cred->sgid;
}

SYSCALL(setresgid, gid_t, rgid, gid_t, egid, gid_t, sgid)
{
	struct thread *thread = current_thread();
	const struct cred *old = thread->cred;
	struct cred *cred;

	if (!capable(CAP_SETGID) && !(gid_is_own(old, rgid) && gid_is_own(old, egid) && gid_is_own(old, sgid)))
		return -EPERM;
	cred = cred_prepare(old);
	if (!cred)
		return -ENOMEM;
	if (rgid != NO_ID)
		cred->gid = rgid;
	if (egid != NO_ID)
		cred->egid = egid;
	if (sgid != NO_ID)
		cred->sgid = sgid;
	cred->fsgid = cred->egid;
	cred_commit(thread, cred);
	return 0;
}

/* These two report no errors: they return what it was. */
SYSCALL(setfsuid, uid_t, uid)
{
	/* Those of file access: they follow fsuid to and from 0. */
	const u64 fs_caps = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |
			    BIT(CAP_FSETID) | BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_MKNOD) | BIT(CAP_MAC_OVERRIDE);
	struct thread *thread = current_thread();
	uid_t old = thread->cred->fsuid;
	struct cred *cred;

	if (uid == NO_ID || uid == old || !(capable(CAP_SETUID) || uid_is_own(thread->cred, uid)))
		return old;
	cred = cred_prepare(thread->cred);
	if (!cred)
		return old;
	cred->fsuid = uid;
	if (!(cred->securebits & BIT(SECURE_NO_SETUID_FIXUP))) {
		if (old == 0)
			cred->cap_effective &= ~fs_caps;
		else if (uid == 0)
			cred->cap_effective |= fs_caps & cred->cap_permitted;
	}
	cred_commit(thread, cred);
	return old;
}

SYSCALL(setfsgid, gid_t, gid)
{
	struct thread *thread = current_thread();
	gid_t old = thread->cred->fsgid;
	struct cred *cred;

	if (gid == NO_ID || gid == old || !(capable(CAP_SETGID) || gid_is_own(thread->cred, gid)))
		return old;
	cred = cred_prepare(thread->cred);
	if (!cred)
		return old;
	cred->fsgid = gid;
	cred_commit(thread, cred);
	return old;
}

#define GROUPS_MAX 65536

SYSCALL_ASYNC(getgroups, 2, SYS_ARG(int, size) SYS_ARG(gid_t __user *, list) struct cred *cred;)
{
	ASYNC_BEGIN;
	f->cred = thread_of(self)->cred;
	if (f->size < 0)
		ASYNC_RETURN(-EINVAL);
	if (f->size == 0)
		ASYNC_RETURN(f->cred->group_count);
	if ((u32)f->size < f->cred->group_count)
		ASYNC_RETURN(-EINVAL);
	AWAIT(copy_out, .to = f->list, .from = f->cred->groups, .n = f->cred->group_count * sizeof(gid_t));
	ASYNC_RETURN(RESULT < 0 ? RESULT : f->cred->group_count);
	ASYNC_END;
}

static void groups_sort(gid_t *groups, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++) {
			gid_t g = groups[i];
			u32 j = i;

			for (; j >= gap && groups[j - gap] > g; j -= gap)
				groups[j] = groups[j - gap];
			groups[j] = g;
		}
}

SYSCALL_ASYNC(setgroups, 2, SYS_ARG(int, size) SYS_ARG(gid_t __user *, list) gid_t *groups;)
{
	struct cred *cred;

	ASYNC_BEGIN;
	if (!capable(CAP_SETGID))
		ASYNC_RETURN(-EPERM);
	if ((u32)f->size > GROUPS_MAX)
		ASYNC_RETURN(-EINVAL);
	if (f->size) {
		f->groups = kmalloc(f->size * sizeof(gid_t));
		if (!f->groups)
			ASYNC_RETURN(-ENOMEM);
		AWAIT(copy_in, .to = f->groups, .from = f->list, .n = f->size * sizeof(gid_t));
		if (RESULT < 0) {
			kfree(f->groups);
			ASYNC_RETURN(RESULT);
		}
		for (int i = 0; i < f->size; i++)
			if (f->groups[i] == NO_ID) {
				kfree(f->groups);
				ASYNC_RETURN(-EINVAL);
			}
		groups_sort(f->groups, f->size);
	}
	cred = cred_prepare(thread_of(self)->cred);
	if (!cred) {
		kfree(f->groups);
		ASYNC_RETURN(-ENOMEM);
	}
	kfree(cred->groups);
	cred->groups = f->groups;
	cred->group_count = f->size;
	cred_commit(thread_of(self), cred);
	ASYNC_END;
}

/* capget, capset: version 3, two words of 32 bits; version 1 has one word. */
static long capability_words(u32 version)
{
	switch (version) {
	case _LINUX_CAPABILITY_VERSION_1:
		return 1;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		return 2;
	}
	return -EINVAL;
}

SYSCALL_ASYNC(capget, 2, SYS_ARG(cap_user_header_t, header) SYS_ARG(cap_user_data_t, data)
	struct __user_cap_header_struct h; struct __user_cap_data_struct d[2]; long words;)
{
	struct thread *thread;
	struct cred *cred;

	ASYNC_BEGIN;
	COPY_IN(f->h, (void __user *)f->header);
	f->words = capability_words(f->h.version);
	if (f->words < 0) {
		f->h.version = _LINUX_CAPABILITY_VERSION_3;
		COPY_OUT((void __user *)f->header, f->h);
		ASYNC_RETURN(f->data ? -EINVAL : 0);
	}
	if (f->h.pid < 0)
		ASYNC_RETURN(-EINVAL);
	thread = thread_find(f->h.pid ? f->h.pid : thread_of(self)->tid);
	if (!thread)
		ASYNC_RETURN(-ESRCH);
	cred = thread_cred_get(thread);
	f->d[0] = (struct __user_cap_data_struct){cred->cap_effective, cred->cap_permitted, cred->cap_inheritable};
	f->d[1] = (struct __user_cap_data_struct){
		cred->cap_effective >> 32, cred->cap_permitted >> 32, cred->cap_inheritable >> 32};
	cred_put(cred);
	thread_put(thread);
	if (!f->data)
		ASYNC_RETURN(0);
	AWAIT(copy_out, .to = (void __user *)f->data, .from = f->d, .n = f->words * sizeof(f->d[0]));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(capset, 2, SYS_ARG(cap_user_header_t, header) SYS_ARG(cap_user_data_t, data)
	struct __user_cap_header_struct h; struct __user_cap_data_struct d[2]; long words;)
{
	u64 effective, permitted, inheritable;
	const struct cred *old;
	struct cred *cred;

	ASYNC_BEGIN;
	COPY_IN(f->h, (void __user *)f->header);
	f->words = capability_words(f->h.version);
	if (f->words < 0) {
		f->h.version = _LINUX_CAPABILITY_VERSION_3;
		COPY_OUT((void __user *)f->header, f->h);
		ASYNC_RETURN(-EINVAL);
	}
	if (f->h.pid && f->h.pid != thread_of(self)->tid)
		ASYNC_RETURN(-EPERM);
	AWAIT(copy_in, .to = f->d, .from = (void __user *)f->data, .n = f->words * sizeof(f->d[0]));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	old = thread_of(self)->cred;
	effective = (f->d[0].effective | (u64)f->d[1].effective << 32) & CAP_ALL;
	permitted = (f->d[0].permitted | (u64)f->d[1].permitted << 32) & CAP_ALL;
	inheritable = (f->d[0].inheritable | (u64)f->d[1].inheritable << 32) & CAP_ALL;
	if ((!cred_capable(old, CAP_SETPCAP) && (inheritable & ~(old->cap_inheritable | old->cap_permitted))) ||
		(inheritable & ~(old->cap_inheritable | old->cap_bounding)) || (permitted & ~old->cap_permitted) ||
		(effective & ~permitted))
		ASYNC_RETURN(-EPERM);
	cred = cred_prepare(old);
	if (!cred)
		ASYNC_RETURN(-ENOMEM);
	cred->cap_effective = effective;
	cred->cap_permitted = permitted;
	cred->cap_inheritable = inheritable;
	cred->cap_ambient &= permitted & inheritable;
	cred_commit(thread_of(self), cred);
	ASYNC_END;
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

/* prctl's options about credentials; -ENOSYS: not one of them. */
long cred_prctl(struct thread *thread, int option, u64 a, u64 b)
{
	const struct cred *old = thread->cred;
	struct cred *cred;

	switch (option) {
	case PR_CAPBSET_READ:
		return a > CAP_LAST_CAP ? -EINVAL : !!(old->cap_bounding & BIT(a));
	case PR_GET_SECUREBITS:
		return old->securebits;
	case PR_GET_KEEPCAPS:
		return !!(old->securebits & BIT(SECURE_KEEP_CAPS));
	case PR_GET_NO_NEW_PRIVS:
		return old->no_new_privs;
	case PR_CAPBSET_DROP:
		if (a > CAP_LAST_CAP)
			return -EINVAL;
		if (!cred_capable(old, CAP_SETPCAP))
			return -EPERM;
		break;
	case PR_SET_SECUREBITS:
		if (!cred_capable(old, CAP_SETPCAP) || (a & ~(u64)(SECURE_ALL_BITS | SECURE_ALL_LOCKS)) ||
			((old->securebits & SECURE_ALL_LOCKS) & ~a) ||
			(((old->securebits & SECURE_ALL_LOCKS) >> 1) & (old->securebits ^ a)))
			return -EPERM;
		break;
	case PR_SET_KEEPCAPS:
		if (a > 1)
			return -EINVAL;
		if (old->securebits & BIT(SECURE_KEEP_CAPS_LOCKED))
			return -EPERM;
		break;
	case PR_SET_NO_NEW_PRIVS:
		if (a != 1 || b)
			return -EINVAL;
		break;
	case PR_CAP_AMBIENT:
		if (a == PR_CAP_AMBIENT_CLEAR_ALL) {
			if (b)
				return -EINVAL;
			break;
		}
		if (b > CAP_LAST_CAP)
			return -EINVAL;
		if (a == PR_CAP_AMBIENT_IS_SET)
			return !!(old->cap_ambient & BIT(b));
		if (a != PR_CAP_AMBIENT_RAISE && a != PR_CAP_AMBIENT_LOWER)
			return -EINVAL;
		if (a == PR_CAP_AMBIENT_RAISE && (!(old->cap_permitted & old->cap_inheritable & BIT(b)) ||
							 (old->securebits & BIT(SECURE_NO_CAP_AMBIENT_RAISE))))
			return -EPERM;
		break;
	default:
		return -ENOSYS;
	}
	cred = cred_prepare(old);
	if (!cred)
		return -ENOMEM;
	switch (option) {
	case PR_CAPBSET_DROP:
		cred->cap_bounding &= ~BIT(a);
		break;
	case PR_SET_SECUREBITS:
		cred->securebits = a;
		break;
	case PR_SET_KEEPCAPS:
		cred->securebits = (cred->securebits & ~BIT(SECURE_KEEP_CAPS)) | (a ? BIT(SECURE_KEEP_CAPS) : 0);
		break;
	case PR_SET_NO_NEW_PRIVS:
		cred->no_new_privs = true;
		break;
	case PR_CAP_AMBIENT:
		if (a == PR_CAP_AMBIENT_CLEAR_ALL)
			cred->cap_ambient = 0;
		else if (a == PR_CAP_AMBIENT_RAISE)
			cred->cap_ambient |= BIT(b);
		else
			cred->cap_ambient &= ~BIT(b);
		break;
	}
	cred_commit(thread, cred);
	return 0;
}
