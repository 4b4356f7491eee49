// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The window that the hypervisor gives us: found in the device tree, mapped once, never unmapped
 * while in use. The pages are the hypervisor's: it writes views and doorbells, and never trusts
 * what we write.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/io.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_irq.h>
#include <linux/platform_device.h>
#include <linux/virtio_mmio.h>
#include <asm/arch_gicv3.h>
#include "lichen.h"
#include "trace.h"

struct lichen_window lichen_window;

static const struct lichen_device_view *view_of(unsigned int slot)
{
	return lichen_window.views + slot * 4096ul;
}

/* The hypervisor writes a view in a few dozen instructions with the sequence odd. */
static u32 view_begin(const struct lichen_device_view *view)
{
	u32 sequence;

	while ((sequence = smp_load_acquire(&view->sequence)) & 1)
		cpu_relax();
	return sequence;
}

static bool view_retry(const struct lichen_device_view *view, u32 sequence)
{
	smp_rmb();
	return READ_ONCE(view->sequence) != sequence;
}

void view_read(unsigned int slot, struct view *to)
{
	const struct lichen_device_view *view = view_of(slot);
	u32 sequence;

	do {
		sequence = view_begin(view);
		to->generation = READ_ONCE(view->generation);
		to->status = READ_ONCE(view->status);
		to->driver_features = READ_ONCE(view->driver_features);
	} while (view_retry(view, sequence));
}

void view_read_queue(unsigned int slot, unsigned int queue, struct lichen_queue_view *to)
{
	const struct lichen_device_view *view = view_of(slot);
	u32 sequence;

	do {
		sequence = view_begin(view);
		memcpy(to, &view->queue[queue], sizeof(*to));
	} while (view_retry(view, sequence));
}

void config_write(unsigned int slot, unsigned int offset, const void *from, unsigned int length)
{
	memcpy(window_registers(slot) + VIRTIO_MMIO_CONFIG + offset, from, length);
	/* Before the hypercall that tells of it. */
	wmb();
}

void queue_signal(unsigned int slot, const struct lichen_queue_view *queue)
{
	if (queue->complete == LICHEN_COMPLETE_SGI) {
		/*
		 * The used ring must be visible before the interrupt is (as the GIC driver does for
		 * its own).
		 */
		dsb(ishst);
		gic_write_sgi1r(queue->target);
		return;
	}
	hypercall(LICHEN_HVC_SIGNAL, slot, LICHEN_SIGNAL_USED, 0, 0, 0);
}

/* reg[index], mapped as the ordinary memory it is. */
static void *window_map(struct platform_device *pdev, int index, size_t needed)
{
	struct resource *res = platform_get_resource(pdev, IORESOURCE_MEM, index);
	void *map;

	if (!res || resource_size(res) < needed) {
		dev_err(&pdev->dev, "reg[%d] is missing or shorter than %zu bytes\n", index,
			needed);
		return ERR_PTR(-EINVAL);
	}
	map = devm_memremap(&pdev->dev, res->start, resource_size(res), MEMREMAP_WB);
	return map ?: ERR_PTR(-ENOMEM);
}

static int window_probe(struct platform_device *pdev)
{
	struct lichen_window *w = &lichen_window;
	int interrupts[LICHEN_CHANNELS], error;
	unsigned int i;
	long version;

	version = hypercall(LICHEN_HVC_VERSION, 0, 0, 0, 0, 0);
	if (version != LICHEN_ABI_VERSION)
		return dev_err_probe(&pdev->dev, -EPROTO,
			"the hypervisor speaks version %ld, we speak %u\n", version,
			LICHEN_ABI_VERSION);
	log_start();
	trace_start();

	w->control = window_map(pdev, 0, sizeof(*w->control));
	if (IS_ERR(w->control))
		return PTR_ERR(w->control);
	if (w->control->magic != LICHEN_CONTROL_MAGIC || !w->control->slots ||
		w->control->slots > LICHEN_SLOTS || !w->control->channels ||
		w->control->channels > LICHEN_CHANNELS)
		return dev_err_probe(&pdev->dev, -EPROTO, "the control page makes no sense\n");
	w->slots = w->control->slots;
	w->channels = w->control->channels;
	w->doorbells = window_map(pdev, 1, w->channels * 4096ul);
	w->views = window_map(pdev, 2, w->slots * 4096ul);
	w->registers = window_map(pdev, 3, w->slots * 4096ul);
	if (IS_ERR(w->doorbells) || IS_ERR(w->views) || IS_ERR(w->registers))
		return -EINVAL;
	for (i = 0; i < w->channels; i++) {
		interrupts[i] = platform_get_irq(pdev, i);
		if (interrupts[i] < 0)
			return interrupts[i];
	}

	error = pool_start(pdev->dev.of_node) ?: slots_start() ?: channels_start(&pdev->dev, interrupts);
	if (error)
		return error;
	error = chardev_start();
	if (error)
		channels_stop();
	else
		pr_info("%u slots, %u channels\n", w->slots, w->channels);
	return error;
}

static void window_remove(struct platform_device *pdev)
{
	chardev_stop();
	slots_stop();
	channels_stop();
	log_stop();
}

static const struct of_device_id window_match[] = {{.compatible = "lichen,backend"}, {}};
MODULE_DEVICE_TABLE(of, window_match);

static struct platform_driver window_driver = {
	.probe = window_probe,
	.remove = window_remove,
	.driver =
		{
			.name = "lichen",
			.of_match_table = window_match,
			.suppress_bind_attrs = true,
		},
};
module_platform_driver(window_driver);

MODULE_DESCRIPTION("Virtio backends for the Lichen hypervisor");
MODULE_LICENSE("Dual MIT/GPL");
