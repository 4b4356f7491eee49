// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Whether the console devices that Linux itself drives have taken all that was written to them.
 * Their driver lets a program know when there is room, never when the last byte has gone, and a
 * machine that is powered off before that loses it. The rings tell: all that was made available has
 * been used.
 */
#include <linux/device.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include "lichen.h"

/* Output queues are the odd ones (virtio 1.2, 5.3.2). */
static bool console_busy(struct virtio_device *vdev)
{
	struct virtqueue *vq;

	if (vdev->id.device != VIRTIO_ID_CONSOLE || virtio_has_feature(vdev, VIRTIO_F_RING_PACKED))
		return false;
	virtio_device_for_each_vq(vdev, vq)
	{
		const struct vring *ring = virtqueue_get_vring(vq);

		if ((vq->index & 1) && READ_ONCE(ring->avail->idx) != READ_ONCE(ring->used->idx))
			return true;
	}
	return false;
}

static int child_busy(struct device *child, void *unused)
{
	if (!child->bus || strcmp(child->bus->name, "virtio") || !child->driver)
		return 0;
	return console_busy(dev_to_virtio(child));
}

static int transport_busy(struct device *transport, void *unused)
{
	return device_for_each_child(transport, NULL, child_busy);
}

bool consoles_drained(void)
{
	if (bus_for_each_dev(&platform_bus_type, NULL, NULL, transport_busy))
		return false;
#ifdef CONFIG_PCI
	if (bus_for_each_dev(&pci_bus_type, NULL, NULL, transport_busy))
		return false;
#endif
	return true;
}
