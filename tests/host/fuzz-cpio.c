// SPDX-License-Identifier: MIT
// kernel: fs/cpio.c
/* Any bytes as a cpio archive: every entry lies inside them, and the walk ends. */
#include <lichen/cpio.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned char sink;

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct cpio_entry entry;
	size_t at = 0;

	for (;;) {
		s64 next = cpio_next(data, size, at, &entry);

		if (next <= 0)
			break;
		if ((size_t)next <= at || (size_t)next > size || strlen(entry.name) != entry.name_length)
			abort();
		for (u32 i = 0; i < entry.size; i++)
			sink = ((const unsigned char *)entry.data)[i];
		at = (size_t)next;
	}
	return 0;
}
