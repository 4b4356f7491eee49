/* SPDX-License-Identifier: MIT */
// fails: sparse|dereference of noderef
/* A pointer into user memory is dereferenced. */
#include <lichen/types.h>
#include <lichen/uaccess.h>

long wrong(const u32 __user *p);

long wrong(const u32 __user *p)
{
#ifdef RIGHT
	u32 value;

	return copy_from_user(&value, p, sizeof(value)) ? -1 : (long)value;
#else
	return *p;
#endif
}
