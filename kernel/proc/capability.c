/* SPDX-License-Identifier: MIT */
/* capget(2), capset(2), and what prctl(2) does to credentials: capabilities(7). */
#include "proc.h"
#include <linux/prctl.h>
#include <linux/securebits.h>

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
