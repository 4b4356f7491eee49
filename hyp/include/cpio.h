/* SPDX-License-Identifier: MIT */
/*
 * The payload: a cpio archive in the "newc" format, as Linux's initramfs. Read-only, in place.
 */
#ifndef HYP_CPIO_H
#define HYP_CPIO_H

#include "types.h"

/*
 * Finds the member `name`; *data and *size tell where its bytes are. -ENOENT: no such member; -EINVAL: the archive is
 * broken before it (or is none).
 */
int cpio_find(const void *archive, size_t limit, const char *name, const void **data, size_t *size);

#endif
