/* SPDX-License-Identifier: MIT */
// sources: hyp/core/config.c hyp/core/cpio.c hyp/core/layout.c
// cflags: -Ihyp/include
/*
 * Any bytes as the payload archive, and as domains.conf; what is taken is also laid out, and every page has one owner.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "cpio.h"
#include "layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lay_out(const struct config *config)
{
	struct machine machine = {.rams = 2, .ram = {{0x40000000, GIB}, {0x100000000, GIB}}};
	struct range hyp = {0x40200000, 4 * MIB};
	struct config_error error;
	struct layout layout;

	if (layout_plan(&machine, config, &hyp, &layout, &error))
		return;
	for (u32 i = 0; i < config->domains; i++)
		for (u32 j = 0; j < layout.domain[i].count; j++) {
			const struct range *r = &layout.domain[i].range[j];

			if (range_overlaps(r, &hyp))
				abort();
			for (u32 k = 0; k < layout.pool.count; k++)
				if (range_overlaps(r, &layout.pool.range[k]))
					abort();
			for (u32 k = 0; k < i; k++)
				for (u32 l = 0; l < layout.domain[k].count; l++)
					if (range_overlaps(r, &layout.domain[k].range[l]))
						abort();
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config;
	struct config_error error;
	const void *found;
	size_t found_size;

	if (!cpio_find(data, size, "domains.conf", &found, &found_size)) {
		uint8_t sum = 0;

		for (size_t i = 0; i < found_size; i++)
			sum ^= ((const uint8_t *)found)[i];
		asm volatile("" : : "r"(sum));
	}
	if (!config_parse((const char *)data, size, 8, &config, &error))
		lay_out(&config);
	return 0;
}
