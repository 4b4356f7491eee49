/* SPDX-License-Identifier: MIT */
/*
 * Reads the firmware's device tree into struct machine. It runs before there is a console to complain on, so it names what it
 * misses. The tree is walked twice, node by node with all properties at hand: searching it again and again took most of the boot.
 */
#include <string.h>
#include <asm/errno.h>
#include <libfdt.h>

#include "machine.h"

#define DEPTH_MAX 16

/* The properties that are looked at. */
enum property {
	ADDRESS_CELLS,
	SIZE_CELLS,
	INTERRUPT_CELLS,
	COMPATIBLE,
	DEVICE_TYPE,
	INITRD_END,
	INITRD_START,
	INTERRUPT_MAP,
	INTERRUPT_PARENT,
	INTERRUPTS,
	INTERRUPTS_EXTENDED,
	METHOD,
	PHANDLE,
	RANGES,
	REDISTRIBUTOR_REGIONS,
	REDISTRIBUTOR_STRIDE,
	REG,
	RNG_SEED,
	STATUS,
	STDOUT_PATH,
	PROPERTIES
};

static const char *const property_names[PROPERTIES] = {
	[ADDRESS_CELLS] = "#address-cells",
	[SIZE_CELLS] = "#size-cells",
	[INTERRUPT_CELLS] = "#interrupt-cells",
	[COMPATIBLE] = "compatible",
	[DEVICE_TYPE] = "device_type",
	[INITRD_END] = "linux,initrd-end",
	[INITRD_START] = "linux,initrd-start",
	[INTERRUPT_MAP] = "interrupt-map",
	[INTERRUPT_PARENT] = "interrupt-parent",
	[INTERRUPTS] = "interrupts",
	[INTERRUPTS_EXTENDED] = "interrupts-extended",
	[METHOD] = "method",
	[PHANDLE] = "phandle",
	[RANGES] = "ranges",
	[REDISTRIBUTOR_REGIONS] = "#redistributor-regions",
	[REDISTRIBUTOR_STRIDE] = "redistributor-stride",
	[REG] = "reg",
	[RNG_SEED] = "rng-seed",
	[STATUS] = "status",
	[STDOUT_PATH] = "stdout-path",
};

struct node {
	const struct node *parent; /* NULL: the root */
	int offset;
	const char *name;
	const void *value[PROPERTIES]; /* NULL: not there */
	int size[PROPERTIES];
	u32 interrupt_parent; /* its own or inherited */
};

struct reader {
	const void *fdt;
	struct machine *machine;
	struct node stack[DEPTH_MAX];
	const char *stdout_path;
	int stdout_size;
	u32 gic_cells, gic_address_cells;
	int uart; /* offset, or -1 */
	bool psci_by_smc;
	int err;
};

typedef void visit_fn(struct reader *r, const struct node *node);

static u64 read_cells(const fdt32_t *cells, int n)
{
	u64 value = 0;

	while (n-- > 0)
		value = value << 32 | fdt32_ld(cells++);
	return value;
}

/* A property of one cell. */
static u32 get_u32(const struct node *node, enum property property, u32 otherwise)
{
	return node->value[property] && node->size[property] == 4 ? fdt32_ld(node->value[property])
								  : otherwise;
}

/* A property of one or two cells, or 0. */
static u64 get_number(const struct node *node, enum property property)
{
	int size = node->size[property];

	return node->value[property] && (size == 4 || size == 8)
		       ? read_cells(node->value[property], size / 4)
		       : 0;
}

static bool is(const struct node *node, enum property property, const char *text)
{
	size_t size = strlen(text) + 1;

	return node->value[property] && node->size[property] == (int)size &&
	       !memcmp(node->value[property], text, size);
}

static bool compatible(const struct node *node, const char *text)
{
	return node->value[COMPATIBLE] &&
	       fdt_stringlist_contains(node->value[COMPATIBLE], node->size[COMPATIBLE], text);
}

static bool okay(const struct node *node)
{
	return !node->value[STATUS] || is(node, STATUS, "okay") || is(node, STATUS, "ok");
}

static bool named(const struct node *node, const char *name)
{
	return node->parent && !node->parent->parent && !strcmp(node->name, name);
}

/* Moves an address of the bus `bus` to the root's addresses. */
static int translate(const struct node *bus, u64 *addr)
{
	for (; bus->parent; bus = bus->parent) {
		const fdt32_t *ranges = bus->value[RANGES];
		u32 child = get_u32(bus, ADDRESS_CELLS, 2), size = get_u32(bus, SIZE_CELLS, 1);
		u32 parent = get_u32(bus->parent, ADDRESS_CELLS, 2), step = child + parent + size,
		    i;

		if (!ranges)
			return -EINVAL;
		if (!bus->size[RANGES]) /* the same addresses */
			continue;
		if (child > 2 || parent > 2 || size > 2 || !step)
			return -EINVAL;
		for (i = 0; i + step <= (u32)bus->size[RANGES] / 4; i += step) {
			u64 from = read_cells(ranges + i, child);

			if (*addr >= from &&
				*addr - from < read_cells(ranges + i + child + parent, size)) {
				*addr = *addr - from + read_cells(ranges + i + child, parent);
				break;
			}
		}
		if (i + step > (u32)bus->size[RANGES] / 4)
			return -EINVAL;
	}
	return 0;
}

/*
 * The `index`th entry of `reg`, as CPU physical addresses. -ENOENT past the end; -EINVAL for a broken property, or one that
 * no `ranges` translates.
 */
static int get_reg(const struct node *node, u32 index, struct range *range)
{
	const fdt32_t *reg = node->value[REG];
	u32 address, size, step;

	if (!reg || !node->parent)
		return -ENOENT;
	address = get_u32(node->parent, ADDRESS_CELLS, 2);
	size = get_u32(node->parent, SIZE_CELLS, 1);
	if (address < 1 || address > 2 || size > 2)
		return -EINVAL;
	step = address + size;
	if (index >= (u32)node->size[REG] / 4 / step)
		return -ENOENT;
	range->base = read_cells(reg + index * step, address);
	range->size = read_cells(reg + index * step + address, size);
	if (translate(node->parent, &range->base) || range->base + range->size < range->base)
		return -EINVAL;
	return 0;
}

static void reserve(struct reader *r, const struct range *range)
{
	struct machine *m = r->machine;

	if (range->size && m->reserveds == MACHINE_RESERVED)
		r->err = -ENOSPC;
	else if (range->size)
		m->reserved[m->reserveds++] = *range;
}

static void read_reserved(struct reader *r, const struct node *node)
{
	struct range range;

	for (u32 i = 0; !get_reg(node, i, &range); i++)
		reserve(r, &range);
}

static void read_reservations(struct reader *r)
{
	struct range range;

	for (int i = 0; i < fdt_num_mem_rsv(r->fdt); i++) {
		if (fdt_get_mem_rsv(r->fdt, i, &range.base, &range.size) ||
			range.base + range.size < range.base)
			r->err = -EINVAL;
		else
			reserve(r, &range);
	}
}

static void read_memory(struct reader *r, const struct node *node)
{
	struct machine *m = r->machine;
	struct range range;

	for (u32 i = 0; !get_reg(node, i, &range); i++) {
		if (range.size && m->rams == HYP_RANGES)
			r->err = -ENOSPC;
		else if (range.size)
			m->ram[m->rams++] = range;
	}
}

static void read_cpu(struct machine *m, const struct node *node)
{
	if ((node->size[REG] == 4 || node->size[REG] == 8) && node->value[REG] &&
		m->cpus < HYP_CPUS)
		m->mpidr[m->cpus++] = get_number(node, REG) & 0xff00ffffffull;
}

static void read_gic(struct reader *r, const struct node *node, u32 version)
{
	struct machine *m = r->machine;
	u32 regions = get_u32(node, REDISTRIBUTOR_REGIONS, 1);

	if (m->gic_version || get_reg(node, 0, &m->gicd))
		return;
	m->gic_phandle = get_u32(node, PHANDLE, 0);
	r->gic_cells = get_u32(node, INTERRUPT_CELLS, 3);
	r->gic_address_cells = get_u32(node, ADDRESS_CELLS, 0);
	if (version == 2) {
		m->gic_version = get_reg(node, 1, &m->gicc) ? 0 : 2;
		return;
	}
	m->gicr_stride = get_number(node, REDISTRIBUTOR_STRIDE);
	while (m->gicrs < regions && m->gicrs < MACHINE_GICRS &&
		!get_reg(node, 1 + m->gicrs, &m->gicr[m->gicrs]))
		m->gicrs++;
	m->gic_version = m->gicrs ? 3 : 0;
}

static void read_chosen(struct reader *r, const struct node *node)
{
	struct machine *m = r->machine;
	u64 start = get_number(node, INITRD_START), end = get_number(node, INITRD_END);

	if (end > start)
		m->payload = (struct range){start, end - start};
	if (node->value[RNG_SEED]) {
		m->rng_seed_size = MIN((size_t)node->size[RNG_SEED], sizeof(m->rng_seed));
		memcpy(m->rng_seed, node->value[RNG_SEED], m->rng_seed_size);
	}
	r->stdout_path = node->value[STDOUT_PATH];
	r->stdout_size = node->size[STDOUT_PATH];
}

static u32 read_interrupts(const struct node *node, u32 *cells, u32 limit)
{
	if (!node->value[INTERRUPTS])
		return 0;
	limit = MIN(limit, (u32)node->size[INTERRUPTS] / 4);
	limit -= limit % 3;
	for (u32 i = 0; i < limit; i++)
		cells[i] = fdt32_ld((const fdt32_t *)node->value[INTERRUPTS] + i);
	return limit;
}

static void visit_first(struct reader *r, const struct node *node)
{
	struct machine *m = r->machine;

	if (!node->parent)
		return;
	if (named(node, "chosen"))
		read_chosen(r, node);
	else if (named(node, "psci"))
		r->psci_by_smc = is(node, METHOD, "smc");
	else if (!node->parent->parent && is(node, DEVICE_TYPE, "memory") && okay(node))
		read_memory(r, node);
	else if (named(node->parent, "cpus") && is(node, DEVICE_TYPE, "cpu"))
		read_cpu(m, node);
	else if (named(node->parent, "reserved-memory"))
		read_reserved(r, node);
	if (!node->value[COMPATIBLE])
		return;
	if (compatible(node, "arm,gic-v3"))
		read_gic(r, node, 3);
	else if (compatible(node, "arm,gic-400") || compatible(node, "arm,cortex-a15-gic"))
		read_gic(r, node, 2);
	else if (compatible(node, "arm,gic-v2m-frame"))
		get_reg(node, 0, &m->v2m);
	else if (compatible(node, "arm,armv8-timer"))
		m->timer_cells = read_interrupts(node, m->timer, ARRAY_SIZE(m->timer));
	else if (compatible(node, "arm,armv8-pmuv3"))
		m->pmu_cells = read_interrupts(node, m->pmu, ARRAY_SIZE(m->pmu));
	else if (compatible(node, "arm,smmu-v3") && !m->smmu.size)
		get_reg(node, 0, &m->smmu);
}

static void mark_spi(struct machine *m, const fdt32_t *cells)
{
	u32 intid = fdt32_ld(cells + 1) + 32;

	if (fdt32_ld(cells) == 0 && intid >= 32 && intid < MACHINE_INTIDS)
		m->intid_used[intid / 64] |= BIT(intid % 64);
}

/* interrupt-map: child address, child interrupt, parent's phandle, parent address, parent interrupt; repeated. */
static void mark_map(struct reader *r, const struct node *node)
{
	const fdt32_t *map = node->value[INTERRUPT_MAP];
	u32 child = get_u32(node, ADDRESS_CELLS, 2) + get_u32(node, INTERRUPT_CELLS, 1);
	u32 step = child + 1 + r->gic_address_cells + r->gic_cells;

	if (!map || child > 8)
		return;
	for (u32 at = 0; at + step <= (u32)node->size[INTERRUPT_MAP] / 4; at += step)
		if (fdt32_ld(map + at + child) == r->machine->gic_phandle)
			mark_spi(r->machine, map + at + child + 1 + r->gic_address_cells);
}

/* Which SPIs the tree wires, so that the hypervisor can choose among the others; and the console. */
static void visit_second(struct reader *r, const struct node *node)
{
	struct machine *m = r->machine;
	const fdt32_t *irq = node->value[INTERRUPTS];

	if (compatible(node, "arm,pl011") && (!m->uart.size || node->offset == r->uart) &&
		!get_reg(node, 0, &m->uart) &&
		fdt_get_path(r->fdt, node->offset, m->uart_path, sizeof(m->uart_path)))
		m->uart.size = 0;
	if (irq && node->interrupt_parent == m->gic_phandle)
		for (u32 i = 0; i + r->gic_cells <= (u32)node->size[INTERRUPTS] / 4;
			i += r->gic_cells)
			mark_spi(m, irq + i);
	irq = node->value[INTERRUPTS_EXTENDED];
	for (u32 i = 0; irq && i + 1 + r->gic_cells <= (u32)node->size[INTERRUPTS_EXTENDED] / 4;
		i++)
		if (fdt32_ld(irq + i) == m->gic_phandle)
			mark_spi(m, irq + i + 1);
	mark_map(r, node);
}

static void read_node(struct reader *r, struct node *node)
{
	int at;

	memset(node->value, 0, sizeof(node->value));
	fdt_for_each_property_offset(at, r->fdt, node->offset)
	{
		const char *name;
		int size;
		const void *value = fdt_getprop_by_offset(r->fdt, at, &name, &size);

		for (u32 i = 0; value && i < PROPERTIES; i++)
			if (name[0] == property_names[i][0] && !strcmp(name, property_names[i])) {
				node->value[i] = value;
				node->size[i] = size;
				break;
			}
	}
	node->interrupt_parent =
		get_u32(node, INTERRUPT_PARENT, node->parent ? node->parent->interrupt_parent : 0);
}

static void walk(struct reader *r, visit_fn *visit)
{
	int depth = -1;

	for (int at = fdt_next_node(r->fdt, -1, &depth); at >= 0 && depth >= 0;
		at = fdt_next_node(r->fdt, at, &depth)) {
		struct node *node = &r->stack[depth];

		if (depth >= DEPTH_MAX)
			continue;
		node->parent = depth ? node - 1 : NULL;
		node->offset = at;
		node->name = fdt_get_name(r->fdt, at, NULL);
		if (!node->name)
			return;
		read_node(r, node);
		visit(r, node);
	}
}

/* The node that stdout-path names, an alias perhaps, without its options. */
static int find_console(const struct reader *r)
{
	size_t n = r->stdout_path ? strnlen(r->stdout_path, r->stdout_size) : 0;
	const char *colon = n ? memchr(r->stdout_path, ':', n) : NULL;

	return n ? fdt_path_offset_namelen(
			   r->fdt, r->stdout_path, colon ? colon - r->stdout_path : (int)n)
		 : -1;
}

int machine_read(const void *fdt, size_t limit, struct machine *machine, const char **what)
{
	static struct reader reader; /* some kilobytes */
	struct reader *r = &reader;

	memset(machine, 0, sizeof(*machine));
	memset(r, 0, sizeof(*r));
	r->fdt = fdt;
	r->machine = machine;
	*what = "device tree";
	if (limit < sizeof(struct fdt_header) || fdt_check_header(fdt) ||
		fdt_off_mem_rsvmap(fdt) & 7 || fdt_off_dt_struct(fdt) & 3 ||
		fdt_check_full(fdt, limit))
		return -EINVAL;
	read_reservations(r);
	walk(r, visit_first);
	r->uart = find_console(r);
	if (r->gic_cells >= 3 && r->gic_cells <= 4 && r->gic_address_cells <= 2)
		walk(r, visit_second);
	*what = !machine->rams		? "memory"
		: !machine->cpus	? "cpus"
		: !machine->gic_version ? "an interrupt controller (GICv2 or GICv3)"
		: !r->psci_by_smc	? "PSCI firmware (a /psci node with method smc)"
		: r->err		? "memory in so many pieces"
					: NULL;
	return *what ? -ENODEV : 0;
}
