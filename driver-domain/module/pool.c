// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The memory that frontends share with us: the regions that the backend node's memory-region names.
 * They lie in Linux's memory map but not in its allocator (reserved-memory without no-map), so each
 * page has a struct page, and bios and direct I/O work on it without a copy. The table is filled
 * once at probe.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/mm.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include "lichen.h"
#include "vring.h"

#define REGIONS 8

static struct {
	u64 start;
	u64 length;
} regions[REGIONS];
static unsigned int region_count;

void *pool_translate(void *unused, u64 address, u32 length)
{
	unsigned int i;

	for (i = 0; i < region_count; i++) {
		u64 offset = address - regions[i].start;

		if (offset < regions[i].length && length <= regions[i].length - offset)
			return phys_to_virt(address);
	}
	return NULL;
}

void pool_window(struct vring_device *ring)
{
	unsigned int i, largest = 0;

	for (i = 1; i < region_count; i++)
		if (regions[i].length > regions[largest].length)
			largest = i;
	vring_window(ring, regions[largest].start, regions[largest].length,
		phys_to_virt(regions[largest].start));
}

unsigned int pool_regions(void)
{
	return region_count;
}

int pool_region(unsigned int index, u64 *start, u64 *length)
{
	if (index >= region_count)
		return -EINVAL;
	*start = regions[index].start;
	*length = regions[index].length;
	return 0;
}

/* The linear map and the page array must cover it, end to end. */
static bool region_has_pages(u64 start, u64 length)
{
	u64 at;

	for (at = start; at < start + length; at += 1ul << SECTION_SIZE_BITS)
		if (!pfn_is_map_memory(PHYS_PFN(at)) || !pfn_valid(PHYS_PFN(at)))
			return false;
	return pfn_is_map_memory(PHYS_PFN(start + length - 1)) &&
	       pfn_valid(PHYS_PFN(start + length - 1));
}

int pool_start(struct device_node *backend)
{
	struct device_node *node;
	struct resource res;
	int i;

	region_count = 0;
	for (i = 0; (node = of_parse_phandle(backend, "memory-region", i)); i++) {
		int error = of_address_to_resource(node, 0, &res);

		if (!error && (i == REGIONS || !PAGE_ALIGNED(res.start) ||
				      !PAGE_ALIGNED(resource_size(&res))))
			error = -EINVAL;
		if (!error && !region_has_pages(res.start, resource_size(&res)))
			error = -ENXIO;
		if (error) {
			pr_err("memory-region %d (%pOF) is not usable: error %d\n", i, node, error);
			of_node_put(node);
			return error;
		}
		of_node_put(node);
		regions[i].start = res.start;
		regions[i].length = resource_size(&res);
		region_count = i + 1;
		pr_info("shared memory %pR\n", &res);
	}
	if (!region_count) {
		pr_err("the hypervisor names no shared memory\n");
		return -ENXIO;
	}
	return 0;
}
