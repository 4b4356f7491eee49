/* SPDX-License-Identifier: MIT */
// sources: hyp/core/dt_machine.c hyp/core/dt_driver.c hyp/core/dt_frontend.c hyp/core/layout.c hyp/core/config.c hyp/core/text.c
// cflags: -Ihyp/include -Ivirtio/include
// libfdt: yes
/*
 * Any bytes as the firmware's device tree. The mutations start from a good one: the first byte chooses how many of the others
 * are changes to it, so that the fuzzer need not find the format.
 */
#include <stdlib.h>
#include <string.h>
#include <libfdt.h>

#include "dt.h"
#include "hyp-dt.h"

static const struct range_list ram = {{{0x40000000, 0x8000000}}, 1};
static const struct range_list pool = {{{0x60000000, 0x8000000}}, 1};

static void try(void *fdt, size_t size)
{
	struct dt_domain domain = {.cmdline = "x",
		.cpus = 5,
		.ram = &ram,
		.initrd = {0x44000000, 99},
		.has_seed = true,
		.pool = &pool};
	struct dt_backend backend = {
		.channel = {200}, .channels = 1, .shared = {{{0x70000000, 0x100000}}, 1}};
	struct dt_frontend frontend = {
		.devices = 1, .device = {{0x40300000, 201}}, .completion_sgi = 7};
	static char buffer[DT_FRONTEND];
	struct machine machine;
	const char *what;
	size_t whole;
	void *copy;

	if (machine_read(fdt, size, &machine, &what))
		return;
	dt_frontend_make(buffer, sizeof(buffer), &machine, &domain, &frontend);
	whole = dt_trim(fdt) + DT_SLACK;
	copy = malloc(whole);
	if (!fdt_open_into(fdt, copy, whole))
		dt_driver_edit(copy, &machine, &domain, &backend);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *fdt;

	if (!size)
		return 0;
	if (data[0] & 1) {
		size--;
		fdt = malloc(size ? size : 1);
		memcpy(fdt, data + 1, size);
	} else {
		size_t whole;

		/* A good tree with changes: place, place, byte. */
		fdt = make_firmware();
		whole = fdt_totalsize(fdt);
		for (size_t i = 1; i + 2 < size; i += 3)
			((uint8_t *)fdt)[(data[i] << 8 | data[i + 1]) % whole] = data[i + 2];
		size = whole;
	}
	try(fdt, size);
	free(fdt);
	return 0;
}
