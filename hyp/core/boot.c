/* SPDX-License-Identifier: MIT */
/*
 * The boot: reads the device tree and the configuration, divides the machine, loads the domains, gives up access to their memory, and
 * enters the first. Mistakes in what it is given end in one clear line and the machine's end.
 */
#include <string.h>
#include <asm/errno.h>
#include <libfdt.h>

#include "boot.h"
#include "config.h"
#include "cpio.h"
#include "dt.h"
#include "gic.h"
#include "log.h"
#include "mmu.h"
#include "psci.h"
#include "seed.h"
#include "stage2.h"
#include "uart.h"
#include "trace.h"
#include "virtio.h"

#define STACK_SIZE (2 * PAGE_SIZE)

/* The arm64 Image header (Linux, Documentation/arch/arm64/booting.rst). */
struct image_header {
	u32 code[2];
	u64 text_offset;
	u64 image_size;
	u64 flags;
	u64 reserved[3];
	u32 magic;
	u32 reserved2;
};
#define IMAGE_MAGIC 0x644d5241

static struct machine machine;
static struct config config;
static struct layout layout;
static struct range_list
	busy; /* RAM that still holds something to read, and what was loaded already */
static struct range info_window, stats_window;
static const struct range_list no_pool;

static void stop(const char *name, const struct config_error *error)
{
	if (error->line)
		log_line("%s:%u: %s", name, error->line, error->text);
	else
		log_line("%s: %s", name, error->text);
	machine_off();
}

static void stop_config(const struct config_error *error)
{
	stop("domains.conf", error);
}

static void stop_line(u32 line, const char *text, const char *detail)
{
	struct config_error error;

	config_error_set(&error, line, text, detail);
	stop_config(&error);
}

static void map_machine(void)
{
	for (u32 i = 0; i < machine.rams; i++)
		mmu_map(machine.ram[i].base, machine.ram[i].size, S1_DATA);
	mmu_map_image();
	mmu_map(machine.gicd.base, machine.gicd.size, S1_DEVICE);
	if (machine.gic_version == 2)
		mmu_map(machine.gicc.base, machine.gicc.size, S1_DEVICE);
	if (machine.v2m.size)
		mmu_map(machine.v2m.base, machine.v2m.size, S1_DEVICE);
	for (u32 i = 0; i < machine.gicrs; i++)
		mmu_map(machine.gicr[i].base, machine.gicr[i].size, S1_DEVICE);
	if (machine.uart.size)
		mmu_map(machine.uart.base, machine.uart.size, S1_DEVICE);
	mmu_switch();
}

static const void *payload_find(const char *name, u32 line, size_t *size)
{
	const void *data;

	if (!machine.payload.size)
		stop_line(line, "the payload (an initrd) is missing", NULL);
	switch (cpio_find((void *)machine.payload.base, machine.payload.size, name, &data, size)) {
	case 0:
		return data;
	case -ENOENT:
		stop_line(line, "the payload has no such member", name);
	}
	stop_line(
		line, "the payload is not a cpio archive in the newc format, or is cut off", NULL);
	return NULL;
}

static void read_config(void)
{
	struct config_error error;
	size_t size;
	const void *text = payload_find("domains.conf", 0, &size);
	const struct range own = hyp_memory();

	if (config_parse(text, size, machine.cpus, &config, &error))
		stop_config(&error);
	if (layout_plan(&machine, &config, &own, &layout, &error))
		stop_config(&error);
}

/* CPUs, their stacks, and the pages with their counters. */
static void init_cpus(void)
{
	u64 own = read_sysreg(mpidr_el1) & 0xff00ffffff;
	u64 row = LICHEN_STATS_CAUSES * sizeof(u64);
	struct lichen_info *info = boot_alloc(sizeof(*info) + machine.cpus * sizeof(info->cpu[0]));
	struct cpu *self = NULL;

	info_window = (struct range){(u64)info,
		ALIGN_UP(sizeof(*info) + machine.cpus * sizeof(info->cpu[0]), PAGE_SIZE)};
	stats_window.size = ALIGN_UP(machine.cpus * row, PAGE_SIZE);
	stats_window.base = (u64)boot_alloc(stats_window.size);
	info->magic = LICHEN_INFO_MAGIC;
	info->version = LICHEN_ABI_VERSION;
	info->cpus = machine.cpus;
	for (u32 i = 0; i < machine.cpus; i++) {
		struct cpu *cpu = &cpus[i];

		cpu->index = i;
		cpu->mpidr = machine.mpidr[i];
		cpu->stack_top = (u64)boot_alloc(STACK_SIZE) + STACK_SIZE;
		cpu->stats = (u64 *)(stats_window.base + i * row);
		info->cpu[i].mpidr = cpu->mpidr;
		info->cpu[i].domain = ~0u;
		for (u32 d = 0; d < domain_count; d++)
			if (domains[d].config->cpus & BIT(i)) {
				cpu->domain = &domains[d];
				info->cpu[i].domain = d;
			}
		if (cpu->mpidr == own)
			self = cpu;
	}
	if (!self)
		panic("the device tree has no CPU %lx, which we run on", (unsigned long)own);
	write_sysreg((u64)self, tpidr_el2);
	cpu_has_lse = (read_sysreg(id_aa64isar0_el1) >> 20 & 0xf) >= 2;
}

static void init_domains(void)
{
	for (u32 i = 0; i < config.domains; i++) {
		domains[i].config = &config.domain[i];
		domains[i].index = i;
		domains[i].ram = &layout.domain[i];
		if (config.domain[i].driver)
			driver_domain = &domains[i];
	}
	domain_count = config.domains;
}

static const struct range_list *pool_of(const struct domain *domain)
{
	return domain == driver_domain || !domain->config->share_memory ? &layout.pool : &no_pool;
}

static struct domain *window_domain;

static void map_window(u64 base, u64 size)
{
	stage2_map(window_domain, base, size, S2_MMIO);
}

static void map_domain(struct domain *domain)
{
	const struct range_list *pool = pool_of(domain);

	stage2_init(domain);
	if (domain == driver_domain) {
		stage2_map_devices(domain, &machine);
		for (u32 d = 0; d < domain_count; d++)
			for (u32 i = 0;
				domains[d].config->share_memory && i < domains[d].ram->count; i++)
				stage2_map(domain, domains[d].ram->range[i].base,
					domains[d].ram->range[i].size, S2_SHARED);
	} else {
		window_domain = domain;
		gic_windows(domain, map_window);
	}
	for (u32 i = 0; i < domain->ram->count; i++)
		stage2_map(domain, domain->ram->range[i].base, domain->ram->range[i].size, S2_RAM);
	for (u32 i = 0; i < pool->count; i++)
		stage2_map(domain, pool->range[i].base, pool->range[i].size, S2_SHARED);
	stage2_map(domain, info_window.base, info_window.size, S2_SHARED_RO);
	stage2_map(domain, stats_window.base, stats_window.size, S2_SHARED_RO);
	virtio_map(domain);
	trace_map(domain);
}

static u64 place(struct domain *domain, u64 size, u64 align, const char *what)
{
	u64 at = layout_place(domain->ram, &busy, size, align);

	if (!at || range_list_add(&busy, at, size))
		stop_line(domain->config->memory_line, "the domain's memory has no room for this",
			what);
	return at;
}

static void load_kernel(struct domain *domain)
{
	size_t size;
	const void *data = payload_find(domain->config->kernel, domain->config->kernel_line, &size);
	const struct image_header *header = data;
	u64 whole, at;

	if (size < sizeof(*header) || header->magic != IMAGE_MAGIC || !header->image_size ||
		header->text_offset >= BLOCK_SIZE || header->image_size > GIB)
		stop_line(domain->config->kernel_line, "this is not an arm64 Image",
			domain->config->kernel);
	whole = header->text_offset + MAX(header->image_size, size);
	at = place(domain, whole, BLOCK_SIZE, domain->config->kernel);
	domain->entry = at + header->text_offset;
	memcpy((void *)domain->entry, data, size);
	cache_clean(domain->entry, size);
}

static void load_initrd(struct domain *domain)
{
	size_t size;
	const void *data;

	if (!domain->config->initrd[0])
		return;
	data = payload_find(domain->config->initrd, domain->config->initrd_line, &size);
	if (!size)
		return;
	domain->initrd.base =
		place(domain, ALIGN_UP(size, PAGE_SIZE), PAGE_SIZE, domain->config->initrd);
	domain->initrd.size = size;
	memcpy((void *)domain->initrd.base, data, size);
	cache_clean(domain->initrd.base, size);
}

static void describe(const struct domain *domain, struct dt_domain *dt)
{
	*dt = (struct dt_domain){
		.cmdline = domain->config->cmdline,
		.cpus = domain->config->cpus,
		.ram = domain->ram,
		.initrd = domain->initrd,
		.has_seed = machine.rng_seed_size > 0,
		.info = info_window,
		.stats = stats_window,
		.trace = trace_window(),
		.pool = pool_of(domain),
	};
	seed_expand(machine.rng_seed, machine.rng_seed_size, domain->index + 1, dt->seed,
		sizeof(dt->seed));
}

/* A power of two and at most 2 MiB, so that the tree crosses no 2 MiB boundary. */
static u64 tree_size(u64 size)
{
	u64 power = PAGE_SIZE;

	while (power < size)
		power *= 2;
	return power;
}

static void load_driver_tree(void *firmware)
{
	struct domain *domain = driver_domain;
	u64 size = tree_size(dt_trim(firmware) + DT_SLACK);
	struct dt_backend backend = {0};
	struct dt_domain dt;
	void *fdt;
	int err;

	domain->dtb = place(domain, size, size, "its device tree");
	fdt = (void *)domain->dtb;
	describe(domain, &dt);
	virtio_describe_backend(&backend);
	for (u32 d = 0; d < domain_count; d++)
		for (u32 i = 0; domains[d].config->share_memory && i < domains[d].ram->count; i++)
			if (range_list_add(&backend.shared, domains[d].ram->range[i].base,
				    domains[d].ram->range[i].size))
				panic("too many pieces of shared memory");
	err = fdt_open_into(firmware, fdt, size);
	if (!err)
		err = dt_driver_edit(fdt, &machine, &dt, &backend);
	if (err)
		panic("the firmware's device tree cannot be edited (%d)", err);
	fdt_pack(fdt);
	cache_clean(domain->dtb, size);
}

bool boot_make_tree(struct domain *domain)
{
	struct dt_frontend *frontend = &(struct dt_frontend){0};
	struct dt_domain dt;
	int err;

	describe(domain, &dt);
	virtio_describe_frontend(domain, domain->config->at_once, frontend);
	err = dt_frontend_make((void *)domain->dtb, DT_FRONTEND, &machine, &dt, frontend);
	cache_clean(domain->dtb, DT_FRONTEND);
	mmu_unmap(domain->dtb, DT_FRONTEND);
	return !err;
}

static void load_domains(void *firmware)
{
	range_list_add(&busy, machine.payload.base, machine.payload.size);
	range_list_add(&busy, (u64)firmware, fdt_totalsize(firmware));
	for (u32 i = 0; i < domain_count; i++) {
		load_kernel(&domains[i]);
		load_initrd(&domains[i]);
		if (&domains[i] == driver_domain)
			load_driver_tree(firmware);
		else
			domains[i].dtb =
				place(&domains[i], DT_FRONTEND, DT_FRONTEND, "its device tree");
	}
	asm volatile("ic ialluis; dsb ish; isb" : : : "memory");
}

/* From here on EL2 reaches its own memory and its devices, and for a while the places of the trees to come. */
static void leave_memory(void)
{
	const struct range own = hyp_memory();

	for (u32 i = 0; i < machine.rams; i++) {
		u64 base = machine.ram[i].base, end = range_end(&machine.ram[i]);

		if (!range_contains(&machine.ram[i], own.base, own.size)) {
			mmu_unmap(base, end - base);
			continue;
		}
		mmu_unmap(base, own.base - base);
		mmu_unmap(range_end(&own), end - range_end(&own));
	}
	for (u32 i = 0; i < domain_count; i++)
		if (&domains[i] != driver_domain)
			mmu_map(domains[i].dtb, DT_FRONTEND, S1_DATA);
	boot_seal();
}

static void report(void)
{
	static const char *const plural[] = {"s", ""};

	for (u32 i = 0; i < domain_count; i++) {
		const struct domain *d = &domains[i];
		u32 n = 0;

		for (u32 cpu = 0; cpu < machine.cpus; cpu++)
			n += d->config->cpus >> cpu & 1;
		log_line("%s: %u CPU%s, %lu MiB%s", d->config->name, n, plural[n == 1],
			(unsigned long)(range_list_size(d->ram) / MIB),
			d == driver_domain ? ", all devices" : "");
	}
	log_line("I/O pool: %lu MiB", (unsigned long)(range_list_size(&layout.pool) / MIB));
	log_line("%s: the driver domain's devices can reach all memory",
		machine.smmu.size ? "SMMU not used" : "no SMMU");
}

void hyp_main(u64 dtb)
{
	void *firmware = (void *)dtb;
	const char *what;
	int err = machine_read(
		firmware, ALIGN_DOWN(dtb, BLOCK_SIZE) + 2 * BLOCK_SIZE - dtb, &machine, &what);

	if (err == -EINVAL)
		panic("no device tree"); /* and no console: for a debugger */
	mmu_init();
	map_machine();
	log_init(machine.uart.size ? machine.uart.base : 0);
	log_line("Lichen hypervisor: %u CPUs, GICv%u, image at %lx", machine.cpus,
		machine.gic_version, (unsigned long)hyp_memory().base);
	if (err)
		panic("the device tree says nothing of %s", what);
	psci_init();
	read_config();
	init_domains();
	init_cpus();
	gic_init(&machine);
	if (!gic_spare_init(&machine, config.spare_first, config.spare_last, virtio_spis_needed()))
		stop_line(config.spare_line,
			"there are too few spare SPIs for the slots and channels", NULL);
	uart_init(&machine.uart);
	trace_init(machine.cpus, config.trace);
	virtio_init(&layout.pool);
	for (u32 i = 0; i < domain_count; i++)
		map_domain(&domains[i]);
	load_domains(firmware);
	leave_memory();
	report();
	log_line("%s starts, %lu us after reset", driver_domain->config->name, microseconds());

	for (u32 i = 0; i < domain_count; i++)
		if (&domains[i] != this_domain() &&
			(&domains[i] == driver_domain || domains[i].config->at_once))
			domain_start(&domains[i]);
	if (this_domain() && (this_domain() == driver_domain || this_domain()->config->at_once))
		domain_start(this_domain());
	cpu_off();
}
