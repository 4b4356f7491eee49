/* SPDX-License-Identifier: MIT */
/*
 * Edits the firmware's device tree for the driver domain: takes away what is not its own (memory, CPUs, the console's UART, the
 * SMMU) and adds the pool and the backend's window. Nodes are disabled rather than removed, so that no phandle dangles.
 */
#include <string.h>
#include <asm/errno.h>
#include <libfdt.h>

#include "dt.h"
#include "text.h"

/* libfdt's errors all mean the same here. */
static int dt_errno(int err)
{
	return err >= 0 ? 0 : err == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
}

u32 dt_trim(void *fdt)
{
	u32 reserved_end = fdt_off_mem_rsvmap(fdt) +
			   (fdt_num_mem_rsv(fdt) + 1) * sizeof(struct fdt_reserve_entry);
	u32 struct_end = fdt_off_dt_struct(fdt) + fdt_size_dt_struct(fdt);
	u32 strings_end = fdt_off_dt_strings(fdt) + fdt_size_dt_strings(fdt);

	fdt_set_totalsize(
		fdt, MIN(fdt_totalsize(fdt), MAX(reserved_end, MAX(struct_end, strings_end))));
	return fdt_totalsize(fdt);
}

struct reg_cells {
	fdt32_t cell[4 * HYP_RANGES * 2];
	u32 count;
	int address_cells, size_cells;
};

static int reg_add(struct reg_cells *reg, const struct range *range)
{
	if (reg->count + 4 > ARRAY_SIZE(reg->cell))
		return -ENOSPC;
	for (int i = reg->address_cells; i-- > 0;)
		reg->cell[reg->count++] = cpu_to_fdt32(range->base >> (32 * i));
	for (int i = reg->size_cells; i-- > 0;)
		reg->cell[reg->count++] = cpu_to_fdt32(range->size >> (32 * i));
	return 0;
}

static int reg_begin(const void *fdt, struct reg_cells *reg)
{
	reg->count = 0;
	reg->address_cells = fdt_address_cells(fdt, 0);
	reg->size_cells = fdt_size_cells(fdt, 0);
	return reg->address_cells >= 1 && reg->address_cells <= 2 && reg->size_cells >= 1 &&
			       reg->size_cells <= 2
		       ? 0
		       : -EINVAL;
}

static int reg_set(void *fdt, int node, const struct reg_cells *reg)
{
	return dt_errno(fdt_setprop(fdt, node, "reg", reg->cell, reg->count * sizeof(fdt32_t)));
}

static int find_memory_node(const void *fdt)
{
	int node;

	fdt_for_each_subnode(node, fdt, 0)
	{
		const char *type = fdt_getprop(fdt, node, "device_type", NULL);

		if (type && !strcmp(type, "memory"))
			return node;
	}
	return -ENOENT;
}

static int edit_memory(void *fdt, const struct dt_domain *domain, const struct dt_backend *backend)
{
	const struct range_list *lists[] = {domain->ram, domain->pool, &backend->shared};
	struct reg_cells reg;
	char name[32];
	int node, err = reg_begin(fdt, &reg);

	while (!err && (node = find_memory_node(fdt)) >= 0)
		err = dt_errno(fdt_del_node(fdt, node));
	for (u32 i = 0; i < ARRAY_SIZE(lists); i++)
		for (u32 j = 0; j < lists[i]->count && !err; j++)
			err = reg_add(&reg, &lists[i]->range[j]);
	if (err)
		return err;
	text_format(name, sizeof(name), "memory@%lx", (unsigned long)domain->ram->range[0].base);
	node = fdt_add_subnode(fdt, 0, name);
	if (node < 0 || fdt_setprop_string(fdt, node, "device_type", "memory"))
		return dt_errno(node < 0 ? node : -FDT_ERR_NOSPACE);
	return reg_set(fdt, node, &reg);
}

static int edit_cpus(void *fdt, const struct dt_domain *domain)
{
	int cpus = fdt_path_offset(fdt, "/cpus"), node, err = 0;
	u32 index = 0;

	fdt_for_each_subnode(node, fdt, cpus)
	{
		const char *type = fdt_getprop(fdt, node, "device_type", NULL);
		int size;

		if (!type || strcmp(type, "cpu") || !fdt_getprop(fdt, node, "reg", &size) ||
			(size != 4 && size != 8))
			continue;
		if (index >= HYP_CPUS || !(domain->cpus & BIT(index)))
			err = err ? err : fdt_setprop_string(fdt, node, "status", "fail");
		index++;
	}
	return dt_errno(err);
}

/* Disables every node of a kind, and says whether that worked. */
static int disable(void *fdt, const char *compatible)
{
	int node = fdt_node_offset_by_compatible(fdt, -1, compatible), err = 0;

	while (node >= 0 && !err) {
		err = fdt_setprop_string(fdt, node, "status", "disabled");
		node = fdt_node_offset_by_compatible(fdt, node, compatible);
	}
	return dt_errno(err);
}

static int edit_uart(void *fdt, const struct machine *machine)
{
	int node, chosen = fdt_path_offset(fdt, "/chosen");

	if (chosen >= 0) {
		fdt_delprop(fdt, chosen, "stdout-path");
		fdt_delprop(fdt, chosen, "linux,stdout-path");
	}
	if (!machine->uart.size)
		return 0;
	node = fdt_path_offset(fdt, machine->uart_path);
	return dt_errno(node < 0 ? node : fdt_setprop_string(fdt, node, "status", "disabled"));
}

static int find_or_add(void *fdt, const char *path, const char *name)
{
	int node = fdt_path_offset(fdt, path);

	return node >= 0 ? node : fdt_add_subnode(fdt, 0, name);
}

static int edit_chosen(void *fdt, const struct dt_domain *domain)
{
	int chosen = find_or_add(fdt, "/chosen", "chosen"), err;

	if (chosen < 0)
		return dt_errno(chosen);
	err = fdt_setprop_string(fdt, chosen, "bootargs", domain->cmdline);
	fdt_delprop(fdt, chosen, "rng-seed");
	fdt_delprop(fdt, chosen, "kaslr-seed");
	fdt_delprop(fdt, chosen, "linux,initrd-start");
	fdt_delprop(fdt, chosen, "linux,initrd-end");
	if (!err && domain->has_seed)
		err = fdt_setprop(fdt, chosen, "rng-seed", domain->seed, DT_SEED);
	if (!err && domain->initrd.size)
		err = fdt_setprop_u64(fdt, chosen, "linux,initrd-start", domain->initrd.base);
	if (!err && domain->initrd.size)
		err = fdt_setprop_u64(fdt, chosen, "linux,initrd-end", range_end(&domain->initrd));
	return dt_errno(err);
}

/*
 * Reserved, but with struct pages: inside /memory and without no-map. One node a range, since Linux records one. The phandles go to `list`.
 */
static int add_reserved(
	void *fdt, const struct range_list *ranges, const char *kind, fdt32_t *list, u32 *count)
{
	struct reg_cells reg;
	int err = reg_begin(fdt, &reg);

	for (u32 i = 0; i < ranges->count && !err; i++) {
		int parent = find_or_add(fdt, "/reserved-memory", "reserved-memory"), node;
		char name[48], compatible[32];
		u32 phandle = 0;

		if (parent >= 0 && !fdt_getprop(fdt, parent, "ranges", NULL)) {
			err = fdt_setprop_u32(fdt, parent, "#address-cells", reg.address_cells);
			err = err ? err
				  : fdt_setprop_u32(fdt, parent, "#size-cells", reg.size_cells);
			err = err ? err : fdt_setprop_empty(fdt, parent, "ranges");
		}
		if (parent < 0 || err)
			return dt_errno(parent < 0 ? parent : err);
		text_format(name, sizeof(name), "lichen-%s@%lx", kind,
			(unsigned long)ranges->range[i].base);
		text_format(compatible, sizeof(compatible), "lichen,%s", kind);
		node = fdt_add_subnode(fdt, parent, name);
		if (node < 0)
			return dt_errno(node);
		reg.count = 0;
		err = reg_add(&reg, &ranges->range[i]);
		err = err ? err : reg_set(fdt, node, &reg);
		err = err ? err : dt_errno(fdt_generate_phandle(fdt, &phandle));
		err = err ? err : dt_errno(fdt_setprop_u32(fdt, node, "phandle", phandle));
		err = err ? err : dt_errno(fdt_setprop_string(fdt, node, "compatible", compatible));
		list[(*count)++] = cpu_to_fdt32(phandle);
	}
	return err;
}

/* The phandle of the interrupt controller; it gets one if it has none. */
static int gic_phandle(void *fdt, const struct machine *machine, u32 *phandle, u32 *cells)
{
	const char *kind = machine->gic_version == 3 ? "arm,gic-v3" : NULL;
	int node, size;
	const fdt32_t *value;

	*phandle = machine->gic_phandle;
	if (*phandle)
		node = fdt_node_offset_by_phandle(fdt, *phandle);
	else
		node = kind ? fdt_node_offset_by_compatible(fdt, -1, kind) : -FDT_ERR_NOTFOUND;
	if (node < 0)
		return -EINVAL;
	value = fdt_getprop(fdt, node, "#interrupt-cells", &size);
	*cells = value && size == 4 ? fdt32_to_cpu(*value) : 3;
	if (*phandle)
		return *cells >= 3 && *cells <= 4 ? 0 : -EINVAL;
	if (fdt_generate_phandle(fdt, phandle))
		return -EINVAL;
	return dt_errno(fdt_setprop_u32(fdt, node, "phandle", *phandle));
}

static int add_hypervisor(void *fdt, const struct dt_domain *domain)
{
	struct reg_cells reg;
	int node = fdt_add_subnode(fdt, 0, "hypervisor"), err = reg_begin(fdt, &reg);

	if (node < 0 || err)
		return node < 0 ? dt_errno(node) : err;
	err = reg_add(&reg, &domain->info);
	err = err ? err : reg_add(&reg, &domain->stats);
	if (!err && domain->trace.size)
		err = reg_add(&reg, &domain->trace);
	err = err ? err : reg_set(fdt, node, &reg);
	return err ? err
		   : dt_errno(fdt_setprop_string(fdt, node, "compatible", "lichen,hypervisor"));
}

static int add_backend(void *fdt, const struct machine *machine, const struct dt_backend *backend,
	const fdt32_t *regions, u32 region_count)
{
	const struct range *const windows[] = {
		&backend->control, &backend->doorbells, &backend->views, &backend->registers};
	fdt32_t irq[DT_CHANNELS * 4];
	struct reg_cells reg;
	u32 phandle, cells, n = 0;
	int node, err = gic_phandle(fdt, machine, &phandle, &cells);

	err = err ? err : reg_begin(fdt, &reg);
	for (u32 i = 0; i < ARRAY_SIZE(windows) && !err; i++)
		err = reg_add(&reg, windows[i]);
	if (err)
		return err;
	for (u32 i = 0; i < backend->channels; i++) {
		irq[n++] = cpu_to_fdt32(0);
		irq[n++] = cpu_to_fdt32(backend->channel[i] - 32);
		irq[n++] = cpu_to_fdt32(1); /* edge, rising */
		if (cells == 4)
			irq[n++] = cpu_to_fdt32(0);
	}
	node = fdt_add_subnode(fdt, 0, "lichen-backend");
	if (node < 0)
		return dt_errno(node);
	err = reg_set(fdt, node, &reg);
	err = err ? err : dt_errno(fdt_setprop_string(fdt, node, "compatible", "lichen,backend"));
	err = err ? err : dt_errno(fdt_setprop_u32(fdt, node, "interrupt-parent", phandle));
	err = err ? err : dt_errno(fdt_setprop(fdt, node, "interrupts", irq, n * sizeof(*irq)));
	if (!err && region_count)
		err = dt_errno(fdt_setprop(
			fdt, node, "memory-region", regions, region_count * sizeof(*regions)));
	return err;
}

int dt_driver_edit(void *fdt, const struct machine *machine, const struct dt_domain *domain,
	const struct dt_backend *backend)
{
	fdt32_t regions[2 * HYP_RANGES];
	u32 count = 0;
	int err = edit_memory(fdt, domain, backend);

	err = err ? err : edit_cpus(fdt, domain);
	err = err ? err : edit_uart(fdt, machine);
	err = err ? err : disable(fdt, "arm,smmu-v3");
	err = err ? err : edit_chosen(fdt, domain);
	err = err ? err : add_reserved(fdt, domain->pool, "io-pool", regions, &count);
	err = err ? err : add_reserved(fdt, &backend->shared, "shared-memory", regions, &count);
	err = err ? err : add_hypervisor(fdt, domain);
	return err ? err : add_backend(fdt, machine, backend, regions, count);
}
