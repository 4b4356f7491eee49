/* SPDX-License-Identifier: MIT */
/*
 * The device tree: memory, reservations, the pool, the command line. Everything in it is checked before use;
 * what is wrong is named in a message and left out.
 */
#include <lichen/boot.h>
#include <lichen/devicetree.h>
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <libfdt.h>

static const void *tree;
char boot_command_line[2048];
struct initrd boot_initrd;

const void *device_tree(void)
{
	return tree;
}

u64 devicetree_cells(const void *property, int cells)
{
	const u8 *p = property;
	u64 value = 0;

	for (int i = 0; i < cells * 4; i++)
		value = value << 8 | p[i];
	return value;
}

bool devicetree_reg(const void *dt, int node, int index, phys_addr_t *base, phys_addr_t *size)
{
	int parent = fdt_parent_offset(dt, node), length;
	int ac, sc, stride;
	const u8 *reg;

	if (parent < 0)
		return false;
	ac = fdt_address_cells(dt, parent);
	sc = fdt_size_cells(dt, parent);
	if (ac < 1 || ac > 2 || sc < 0 || sc > 2)
		return false;
	reg = fdt_getprop(dt, node, "reg", &length);
	stride = (ac + sc) * 4;
	if (!reg || index < 0 || length / stride <= index)
		return false;
	*base = devicetree_cells(reg + index * stride, ac);
	*size = devicetree_cells(reg + index * stride + ac * 4, sc);
	return true;
}

bool devicetree_u32(const void *dt, int node, const char *name, u32 *value)
{
	int length;
	const void *p = fdt_getprop(dt, node, name, &length);

	if (!p || length < 4)
		return false;
	*value = (u32)devicetree_cells(p, 1);
	return true;
}

bool devicetree_string(const void *dt, int node, const char *name, const char **value)
{
	int length;
	const char *p = fdt_getprop(dt, node, name, &length);

	if (!p || length < 1 || p[length - 1])
		return false;
	*value = p;
	return true;
}

bool devicetree_enabled(const void *dt, int node)
{
	const char *status;

	return !devicetree_string(dt, node, "status", &status) || !strcmp(status, "okay") || !strcmp(status, "ok");
}

static bool is_type(const void *dt, int node, const char *type)
{
	const char *value;

	return devicetree_string(dt, node, "device_type", &value) && !strcmp(value, type);
}

static void scan_memory(const void *dt)
{
	int node;

	fdt_for_each_subnode(node, dt, 0) {
		phys_addr_t base, size;

		if (!is_type(dt, node, "memory") || !devicetree_enabled(dt, node))
			continue;
		for (int i = 0; devicetree_reg(dt, node, i, &base, &size); i++)
			memory_map_add_ram(base, size, false);
	}
}

static void scan_reserved(const void *dt)
{
	int parent = fdt_path_offset(dt, "/reserved-memory"), node;

	for (int i = 0; i < fdt_num_mem_rsv(dt); i++) {
		u64 base, size;

		if (!fdt_get_mem_rsv(dt, i, &base, &size))
			memory_map_reserve(base, size);
	}
	if (parent < 0)
		return;
	fdt_for_each_subnode(node, dt, parent) {
		phys_addr_t base, size;
		bool pool = !fdt_node_check_compatible(dt, node, "lichen,io-pool");

		if (!devicetree_enabled(dt, node))
			continue;
		for (int i = 0; devicetree_reg(dt, node, i, &base, &size); i++) {
			if (pool)
				memory_map_add_ram(base, size, true);
			else
				memory_map_reserve(base, size);
		}
	}
}

static bool cell_property(const void *dt, int node, const char *name, u64 *value)
{
	int length;
	const void *p = fdt_getprop(dt, node, name, &length);

	if (!p || (length != 4 && length != 8))
		return false;
	*value = devicetree_cells(p, length / 4);
	return true;
}

static void scan_chosen(const void *dt)
{
	int node = fdt_path_offset(dt, "/chosen");
	const char *args;

	if (node < 0)
		return;
	if (devicetree_string(dt, node, "bootargs", &args) &&
		!string_copy(boot_command_line, sizeof(boot_command_line), args))
		log_warn("command line cut after %zu bytes", sizeof(boot_command_line) - 1);
	if (cell_property(dt, node, "linux,initrd-start", &boot_initrd.start) &&
		cell_property(dt, node, "linux,initrd-end", &boot_initrd.end) && boot_initrd.end > boot_initrd.start)
		memory_map_reserve(boot_initrd.start, boot_initrd.end - boot_initrd.start);
	else
		boot_initrd = (struct initrd){0};
}

void devicetree_scan(const void *dt)
{
	tree = dt;
	scan_memory(dt);
	scan_reserved(dt);
	scan_chosen(dt);
	memory_map_finish();
}

extern const struct driver driver_table_start[], driver_table_end[];

void devicetree_probe(void)
{
	int node = -1;

	while ((node = fdt_next_node(tree, node, NULL)) >= 0)
		for (const struct driver *d = driver_table_start; d < driver_table_end; d++)
			if (!fdt_node_check_compatible(tree, node, d->compatible) && devicetree_enabled(tree, node))
				d->probe(tree, node);
}

/*
 * Words of the command line, split once: the line is copied with NULs between words; values follow their '='. Quotes
 * keep spaces together.
 */
static char words[sizeof(boot_command_line)];

static void split_words(void)
{
	char *out = words;
	bool quoted = false;

	for (const char *p = boot_command_line; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		else
			*out++ = *p == ' ' && !quoted ? '\0' : *p;
	}
	*out = '\0';
}

const char *boot_option(const char *name)
{
	static bool split;
	size_t n = strlen(name);
	const char *end = words + sizeof(words);

	if (!split) {
		split = true;
		split_words();
	}
	for (const char *p = words; p < end; p += strlen(p) + 1) {
		if (strncmp(p, name, n))
			continue;
		if (p[n] == '=')
			return p + n + 1;
		if (!p[n])
			return p + n;
	}
	return NULL;
}
