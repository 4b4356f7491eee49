/* SPDX-License-Identifier: MIT */
/*
 * Who a thread is: the calls that tell and change users and groups. The rules for users and for groups are the same (credentials(7)),
 * so they are written once, for the four numbers of either kind; only users have capabilities that follow.
 */
#include "proc.h"
#include <linux/securebits.h>

#define NO_ID ((uid_t)-1)

enum id_kind { USER, GROUP };

struct ids {
	u32 real, effective, saved, fs;
};

static struct ids ids_now(const struct thread *thread, enum id_kind kind)
{
	const struct cred *cred = thread->cred;

	if (kind == USER)
		return (struct ids){cred->uid, cred->euid, cred->suid, cred->fsuid};
	return (struct ids){cred->gid, cred->egid, cred->sgid, cred->fsgid};
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

/* A copy of the credentials with these, the file system's following the effective one. */
static long ids_commit(enum id_kind kind, const struct ids *ids)
{
	struct thread *thread = current_thread();
	struct cred *cred = cred_prepare(thread->cred);

	if (!cred)
		return -ENOMEM;
	if (kind == USER) {
		cred->uid = ids->real;
		cred->euid = cred->fsuid = ids->effective;
		cred->suid = ids->saved;
		cred_fix_capabilities(cred, thread->cred);
	} else {
		cred->gid = ids->real;
		cred->egid = cred->fsgid = ids->effective;
		cred->sgid = ids->saved;
	}
	cred_commit(thread, cred);
	return 0;
}

static bool may_set(enum id_kind kind)
{
	return capable(kind == USER ? CAP_SETUID : CAP_SETGID);
}

static bool is_own(const struct ids *ids, u32 id)
{
	return id == NO_ID || id == ids->real || id == ids->effective || id == ids->saved;
}

/* setuid, setgid */
static long set_id(enum id_kind kind, u32 id)
{
	struct ids ids = ids_now(current_thread(), kind);

	if (id == NO_ID)
		return -EINVAL;
	if (may_set(kind))
		ids.real = ids.saved = id;
	else if (id != ids.real && id != ids.saved)
		return -EPERM;
	ids.effective = id;
	return ids_commit(kind, &ids);
}

/* setreuid, setregid */
static long set_two_ids(enum id_kind kind, u32 real, u32 effective)
{
	const struct ids old = ids_now(current_thread(), kind);
	struct ids ids = old;

	if (!may_set(kind)) {
		if (real != NO_ID && real != old.real && real != old.effective)
			return -EPERM;
		if (!is_own(&old, effective))
			return -EPERM;
	}
	if (real != NO_ID)
		ids.real = real;
	if (effective != NO_ID)
		ids.effective = effective;
	if (real != NO_ID || (effective != NO_ID && effective != old.real))
		ids.saved = ids.effective;
	return ids_commit(kind, &ids);
}

/* setresuid, setresgid */
static long set_three_ids(enum id_kind kind, u32 real, u32 effective, u32 saved)
{
	struct ids ids = ids_now(current_thread(), kind);

	if (!may_set(kind) && !(is_own(&ids, real) && is_own(&ids, effective) && is_own(&ids, saved)))
		return -EPERM;
	if (real != NO_ID)
		ids.real = real;
	if (effective != NO_ID)
		ids.effective = effective;
	if (saved != NO_ID)
		ids.saved = saved;
	return ids_commit(kind, &ids);
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

SYSCALL(setuid, uid_t, uid)
{
	return set_id(USER, uid);
}
SYSCALL(setgid, gid_t, gid)
{
	return set_id(GROUP, gid);
}
SYSCALL(setreuid, uid_t, real, uid_t, effective)
{
	return set_two_ids(USER, real, effective);
}
SYSCALL(setregid, gid_t, real, gid_t, effective)
{
	return set_two_ids(GROUP, real, effective);
}
SYSCALL(setresuid, uid_t, real, uid_t, effective, uid_t, saved)
{
	return set_three_ids(USER, real, effective, saved);
}
SYSCALL(setresgid, gid_t, real, gid_t, effective, gid_t, saved)
{
	return set_three_ids(GROUP, real, effective, saved);
}

#define THREE_IDS SYS_ARG(u32 __user *, real) SYS_ARG(u32 __user *, effective) SYS_ARG(u32 __user *, saved) struct ids ids;

SYSCALL_ASYNC(getresuid, 3, THREE_IDS)
{
	ASYNC_BEGIN;
	f->ids = ids_now(thread_of(self), USER);
	COPY_OUT(f->real, f->ids.real);
	COPY_OUT(f->effective, f->ids.effective);
	COPY_OUT(f->saved, f->ids.saved);
	ASYNC_END;
}

SYSCALL_ASYNC(getresgid, 3, THREE_IDS)
{
	ASYNC_BEGIN;
	f->ids = ids_now(thread_of(self), GROUP);
	COPY_OUT(f->real, f->ids.real);
	COPY_OUT(f->effective, f->ids.effective);
	COPY_OUT(f->saved, f->ids.saved);
	ASYNC_END;
}

/* These two report no errors: they return what it was. */
SYSCALL(setfsuid, uid_t, uid)
{
	/* Those of file access: they follow fsuid to and from 0. */
	const u64 fs_caps = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |
			    BIT(CAP_FSETID) | BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_MKNOD) | BIT(CAP_MAC_OVERRIDE);
	struct thread *thread = current_thread();
	const struct ids ids = ids_now(thread, USER);
	uid_t old = ids.fs;
	struct cred *cred;

	if (uid == NO_ID || uid == old || !(capable(CAP_SETUID) || is_own(&ids, uid)))
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
	const struct ids ids = ids_now(thread, GROUP);
	gid_t old = ids.fs;
	struct cred *cred;

	if (gid == NO_ID || gid == old || !(capable(CAP_SETGID) || is_own(&ids, gid)))
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
