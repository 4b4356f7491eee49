// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * For measurements on a Linux that is the frontend: /proc/lichen/el2, counters and pmu, in the form that they have on Lichen. Reading
 * the first two costs no entry into the hypervisor, pmu one.
 *
 *     el2       a row a physical CPU, a column a cause (lichen/abi.h)
 *     counters  NAME VALUE a line: what the backend says of its work for our devices, and our own interrupts
 *     pmu       NAME VALUE a line: what the driver domain's CPUs have counted, by a sample that is taken when the file is read
 */
#define pr_fmt(format) "lichen-frontend: " format

#include <linux/arm-smccc.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <lichen/abi.h>

static const u64 *statistics;
static unsigned int statistics_rows;
static void __iomem *devices[LICHEN_SLOTS];
static unsigned int device_count;
static struct proc_dir_entry *directory;

static u64 statistic(unsigned int row, unsigned int cause)
{
	return READ_ONCE(statistics[row * LICHEN_STATS_CAUSES + cause]);
}

static int el2_show(struct seq_file *file, void *unused)
{
	static const char *const causes[] = LICHEN_STATS_NAMES;
	unsigned int row, i;

	seq_puts(file, "cpu");
	for (i = 0; i < ARRAY_SIZE(causes); i++)
		seq_printf(file, " %s", causes[i]);
	seq_putc(file, '\n');
	for (row = 0; row < statistics_rows; row++) {
		/* Rows of CPUs that the machine has not are all zero. */
		if (row && !statistic(row, LICHEN_STATS_ENTRIES))
			continue;
		seq_printf(file, "%u", row);
		for (i = 0; i < ARRAY_SIZE(causes); i++)
			seq_printf(file, " %llu", statistic(row, i));
		seq_putc(file, '\n');
	}
	return 0;
}

static u64 backend_sum(size_t offset)
{
	u64 sum = 0;
	unsigned int i;

	for (i = 0; i < device_count; i++)
		sum += readq(devices[i] + LICHEN_MMIO_COUNTERS + offset);
	return sum;
}

static int counters_show(struct seq_file *file, void *unused)
{
	static const struct {
		const char *name;
		size_t offset;
	} counters[] = {
		{"backend_requests", offsetof(struct lichen_backend_counters, requests)},
		{"backend_bytes_copied", offsetof(struct lichen_backend_counters, bytes_copied)},
		{"backend_allocations", offsetof(struct lichen_backend_counters, allocations)},
		{"backend_signals", offsetof(struct lichen_backend_counters, signals)},
		{"backend_doorbells", offsetof(struct lichen_backend_counters, doorbells)},
		{"backend_interrupts", offsetof(struct lichen_backend_counters, interrupts)},
		{"spin_instructions", offsetof(struct lichen_backend_counters, spin_instructions)},
	};
	u64 interrupts = 0;
	unsigned int i;

	for_each_online_cpu(i)
		interrupts += kstat_cpu_irqs_sum(i);
	seq_printf(file, "interrupts %llu\n", interrupts);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		seq_printf(file, "%s %llu\n", counters[i].name, backend_sum(counters[i].offset));
	return 0;
}

#define SAMPLE_PATIENCE_MS 1000
#define SAMPLE_LOOK_US	   100 /* between two looks for the answer */

static u32 sample_word(size_t offset)
{
	return readl(devices[0] + LICHEN_MMIO_SAMPLE + offset);
}

/* Consistent if its sequence is even. */
static void sample_read(struct lichen_sample *to)
{
	const void __iomem *from = devices[0] + LICHEN_MMIO_SAMPLE;

	to->sequence = sample_word(offsetof(struct lichen_sample, sequence));
	to->cpus = sample_word(offsetof(struct lichen_sample, cpus));
	to->instructions = readq(from + offsetof(struct lichen_sample, instructions));
	to->cycles = readq(from + offsetof(struct lichen_sample, cycles));
	to->sequence |= to->sequence != sample_word(offsetof(struct lichen_sample, sequence));
}

/* Asks, and waits for the answer: 0, -ENODEV (the driver domain does not run), -ETIMEDOUT. */
static int sample_ask(struct lichen_sample *to)
{
	u32 wanted = lichen_sample_wanted(sample_word(offsetof(struct lichen_sample, sequence)));
	ktime_t deadline = ktime_add_ms(ktime_get(), SAMPLE_PATIENCE_MS);
	struct arm_smccc_res result;

	arm_smccc_1_1_hvc(LICHEN_HVC_SAMPLE, &result);
	if (result.a0)
		return (int)result.a0;
	for (;;) {
		sample_read(to);
		if (lichen_sample_is_new(to->sequence, wanted))
			return 0;
		if (ktime_after(ktime_get(), deadline))
			return -ETIMEDOUT;
		usleep_range(SAMPLE_LOOK_US, 2 * SAMPLE_LOOK_US);
	}
}

static int pmu_show(struct seq_file *file, void *unused)
{
	struct lichen_sample sample;
	int error = device_count ? sample_ask(&sample) : -ENODEV;

	if (error)
		return error;
	seq_printf(file, "backend_cpus %u\n", sample.cpus);
	if (!sample.cpus)
		return 0;
	seq_printf(file, "backend_instructions %llu\n", sample.instructions);
	seq_printf(file, "backend_cycles %llu\n", sample.cycles);
	return 0;
}

static int statistics_map(void)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL, "lichen,hypervisor");
	struct resource res;
	int error = node ? of_address_to_resource(node, 1, &res) : -ENODEV;

	of_node_put(node);
	if (error)
		return error;
	statistics = memremap(res.start, resource_size(&res), MEMREMAP_WB);
	statistics_rows = resource_size(&res) / (LICHEN_STATS_CAUSES * sizeof(u64));
	return statistics ? 0 : -ENOMEM;
}

static void devices_map(void)
{
	struct device_node *node;

	for_each_compatible_node(node, NULL, "virtio,mmio") {
		void __iomem *page = device_count < LICHEN_SLOTS ? of_iomap(node, 0) : NULL;

		if (!page)
			continue;
		if (readl(page + LICHEN_MMIO_MAGIC) == LICHEN_MMIO_MAGIC_VALUE)
			devices[device_count++] = page;
		else
			iounmap(page);
	}
}

static int __init frontend_init(void)
{
	int error = statistics_map();

	if (error)
		return error;
	devices_map();
	directory = proc_mkdir("lichen", NULL);
	proc_create_single("el2", 0444, directory, el2_show);
	proc_create_single("counters", 0444, directory, counters_show);
	proc_create_single("pmu", 0444, directory, pmu_show);
	return 0;
}

static void __exit frontend_exit(void)
{
	proc_remove(directory);
	while (device_count)
		iounmap(devices[--device_count]);
	memunmap((void *)statistics);
}

module_init(frontend_init);
module_exit(frontend_exit);
MODULE_DESCRIPTION("What Lichen's hypervisor and backends count, for programs of a frontend");
MODULE_LICENSE("Dual MIT/GPL");
