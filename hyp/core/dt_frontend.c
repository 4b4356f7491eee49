/* SPDX-License-Identifier: MIT */
/*
 * Generates the device tree of a frontend domain: memory, CPUs, PSCI, interrupt controller, timer, virtio devices, nothing else.
 */
#include <string.h>
#include <asm/errno.h>
#include <libfdt.h>

#include "dt.h"
#include "text.h"

#define GIC_PHANDLE 1

/* Keeps the first error, so that a tree can be written as one list of statements. */
struct writer {
	void *fdt;
	const struct machine *machine;
	int err;
};

static void keep(struct writer *w, int err)
{
	if (!w->err)
		w->err = err;
}

static void begin(struct writer *w, const char *name)
{
	keep(w, fdt_begin_node(w->fdt, name));
}

static void begin_at(struct writer *w, const char *name, u64 addr)
{
	char text[48];

	text_format(text, sizeof(text), "%s@%lx", name, (unsigned long)addr);
	begin(w, text);
}

static void end(struct writer *w)
{
	keep(w, fdt_end_node(w->fdt));
}

static void string(struct writer *w, const char *name, const char *value)
{
	keep(w, fdt_property_string(w->fdt, name, value));
}

static void cell(struct writer *w, const char *name, u32 value)
{
	keep(w, fdt_property_u32(w->fdt, name, value));
}

static void empty(struct writer *w, const char *name)
{
	keep(w, fdt_property(w->fdt, name, "", 0));
}

static void cells(struct writer *w, const char *name, const u32 *values, u32 n)
{
	fdt32_t out[32];

	for (u32 i = 0; i < n && i < ARRAY_SIZE(out); i++)
		out[i] = cpu_to_fdt32(values[i]);
	keep(w, fdt_property(w->fdt, name, out, n * sizeof(*out)));
}

static void reg(struct writer *w, const struct range *ranges, u32 n)
{
	fdt64_t out[2 * HYP_RANGES];

	for (u32 i = 0; i < n; i++) {
		out[2 * i] = cpu_to_fdt64(ranges[i].base);
		out[2 * i + 1] = cpu_to_fdt64(ranges[i].size);
	}
	keep(w, fdt_property(w->fdt, "reg", out, n * 2 * sizeof(*out)));
}

static void write_cpus(struct writer *w, u64 set)
{
	begin(w, "cpus");
	cell(w, "#address-cells", 2);
	cell(w, "#size-cells", 0);
	for (u32 i = 0; i < w->machine->cpus; i++) {
		u64 mpidr = w->machine->mpidr[i];

		if (!(set & BIT(i)))
			continue;
		begin_at(w, "cpu", mpidr);
		string(w, "device_type", "cpu");
		string(w, "compatible", "arm,armv8");
		string(w, "enable-method", "psci");
		keep(w, fdt_property_u64(w->fdt, "reg", mpidr));
		end(w);
	}
	end(w);
	begin(w, "psci");
	keep(w, fdt_property(w->fdt, "compatible", "arm,psci-1.0\0arm,psci-0.2", 26));
	string(w, "method", "hvc");
	end(w);
}

static void write_gic(struct writer *w)
{
	const struct machine *machine = w->machine;
	struct range regs[1 + MACHINE_GICRS] = {machine->gicd};

	begin_at(w, "interrupt-controller", machine->gicd.base);
	string(w, "compatible", machine->gic_version == 3 ? "arm,gic-v3" : "arm,gic-400");
	empty(w, "interrupt-controller");
	cell(w, "#interrupt-cells", 3);
	cell(w, "#address-cells", 0);
	cell(w, "phandle", GIC_PHANDLE);
	if (machine->gic_version == 3) {
		memcpy(regs + 1, machine->gicr, machine->gicrs * sizeof(*regs));
		reg(w, regs, 1 + machine->gicrs);
		cell(w, "#redistributor-regions", machine->gicrs);
		if (machine->gicr_stride)
			keep(w, fdt_property_u64(
					w->fdt, "redistributor-stride", machine->gicr_stride));
	} else {
		regs[1] = machine->gicc;
		reg(w, regs, 2);
	}
	end(w);

	begin(w, "timer");
	string(w, "compatible", "arm,armv8-timer");
	cells(w, "interrupts", machine->timer, machine->timer_cells);
	empty(w, "always-on");
	end(w);
	if (machine->pmu_cells) {
		begin(w, "pmu");
		string(w, "compatible", "arm,armv8-pmuv3");
		cells(w, "interrupts", machine->pmu, machine->pmu_cells);
		end(w);
	}
}

static void write_memory(struct writer *w, const struct dt_domain *domain)
{
	begin_at(w, "memory", domain->ram->range[0].base);
	string(w, "device_type", "memory");
	reg(w, domain->ram->range, domain->ram->count);
	end(w);
	if (!domain->pool->count)
		return;
	begin(w, "reserved-memory");
	cell(w, "#address-cells", 2);
	cell(w, "#size-cells", 2);
	empty(w, "ranges");
	begin_at(w, "io-pool", domain->pool->range[0].base);
	string(w, "compatible", "lichen,io-pool");
	reg(w, domain->pool->range, domain->pool->count);
	end(w);
	end(w);
}

static void write_devices(
	struct writer *w, const struct dt_domain *domain, const struct dt_frontend *frontend)
{
	struct range windows[] = {domain->info, domain->stats, domain->trace};

	begin(w, "hypervisor");
	string(w, "compatible", "lichen,hypervisor");
	reg(w, windows, domain->trace.size ? 3 : 2);
	end(w);
	for (u32 i = 0; i < frontend->devices; i++) {
		const struct dt_device *device = &frontend->device[i];
		struct range page = {device->base, PAGE_SIZE};
		u32 irq[3] = {0, device->intid - 32, 1};

		begin_at(w, "virtio_mmio", device->base);
		string(w, "compatible", "virtio,mmio");
		reg(w, &page, 1);
		cells(w, "interrupts", irq, 3);
		empty(w, "dma-coherent");
		if (frontend->completion_sgi >= 0)
			cell(w, "lichen,completion-sgi", frontend->completion_sgi);
		end(w);
	}
}

static void write_chosen(struct writer *w, const struct dt_domain *domain)
{
	begin(w, "chosen");
	string(w, "bootargs", domain->cmdline);
	if (domain->initrd.size) {
		keep(w, fdt_property_u64(w->fdt, "linux,initrd-start", domain->initrd.base));
		keep(w, fdt_property_u64(w->fdt, "linux,initrd-end", range_end(&domain->initrd)));
	}
	if (domain->has_seed)
		keep(w, fdt_property(w->fdt, "rng-seed", domain->seed, DT_SEED));
	end(w);
}

int dt_frontend_make(void *buffer, size_t size, const struct machine *machine,
	const struct dt_domain *domain, const struct dt_frontend *frontend)
{
	struct writer w = {.fdt = buffer, .machine = machine};

	keep(&w, fdt_create(buffer, size));
	keep(&w, fdt_finish_reservemap(buffer));
	begin(&w, "");
	string(&w, "compatible", "lichen,domain");
	string(&w, "model", "Lichen domain");
	cell(&w, "#address-cells", 2);
	cell(&w, "#size-cells", 2);
	cell(&w, "interrupt-parent", GIC_PHANDLE);
	write_chosen(&w, domain);
	write_memory(&w, domain);
	write_cpus(&w, domain->cpus);
	write_gic(&w);
	write_devices(&w, domain, frontend);
	end(&w);
	keep(&w, fdt_finish(buffer));
	return w.err ? -ENOSPC : 0;
}
