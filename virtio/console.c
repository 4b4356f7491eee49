// SPDX-License-Identifier: MIT
/*
 * virtio-console (virtio 1.2, 5.3): the device, its queues, and the control protocol by which the host adds, names, opens and
 * resizes ports. Control messages are handled by a task of the device, since ports get device nodes.
 *
 *     queue 0, 1   port 0, input and output        queue 2, 3   control (MULTIPORT)
 *     queue 2n+2, 2n+3   port n
 */
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <lichen/vfs.h>
#include <asm/errno.h>
#include <linux/virtio_console.h>
#include "port.h"

#define CONSOLES_MAX	 8
#define CONTROL_SLOTS	 64 /* messages to the host in flight */
#define CONTROL_BUFFERS	 16 /* for messages from it */
#define CONTROL_BYTES	 256

struct control_resize {
	__virtio16 columns, rows;
};

struct console {
	struct virtio_device *device;
	struct virtqueue *control_rx, *control_tx; /* NULL: no MULTIPORT */
	struct page *in_page, *out_page; /* CONTROL_BUFFERS * CONTROL_BYTES; CONTROL_SLOTS messages */
	struct wait_queue messages;
	u32 port_count;
	struct virtio_port *ports;
};

static struct console *_Atomic consoles[CONSOLES_MAX];
static void (*_Atomic console_attach)(struct virtio_port *port, u32 index);
static _Atomic u32 attached; /* console ports */

u32 console_index(const struct console *console)
{
	return console->device->index;
}

struct virtio_port *console_port(dev_t dev)
{
	u32 index = DEV_MINOR(dev) / 64, number = DEV_MINOR(dev) % 64;
	struct console *console = index < CONSOLES_MAX ? atomic_load(&consoles[index]) : NULL;

	return console && number < console->port_count ? &console->ports[number] : NULL;
}

/* --- control --- */

static void control_tx_reclaim(struct virtqueue *queue) REQUIRES(queue->lock)
{
	u32 head, bytes;

	do {
		while (virtqueue_take(queue, &head, &bytes))
			;
	} while (virtqueue_rearm(queue));
}

static void control_tx_interrupt(struct virtqueue *queue)
{
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	const char *broken;

	control_tx_reclaim(queue);
	broken = queue->broken;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (broken)
		virtio_device_fail(queue->device, broken);
}

static void control_rx_interrupt(struct virtqueue *queue)
{
	struct console *console = queue->private;

	wait_wake_all(&console->messages);
}

long console_tell(struct console *console, u32 port, u16 event, u16 value)
{
	struct virtqueue *queue = console->control_tx;
	struct virtio_console_control *message;
	unsigned long flags;
	long head;

	if (!queue)
		return 0;
	flags = spin_lock_irqsave(&queue->lock);
	control_tx_reclaim(queue);
	head = virtqueue_begin(queue, 1);
	if (head >= 0) {
		message = (struct virtio_console_control *)page_address(console->out_page) + head;
		*message = (struct virtio_console_control){.id = port, .event = event, .value = value};
		virtqueue_put(queue, page_phys(console->out_page) + (u64)head * sizeof(*message), sizeof(*message), false);
		virtqueue_end(queue, console);
		virtqueue_kick(queue);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	return head >= 0 || head == -EAGAIN ? 0 : -EIO; /* in a reset: all is told again afterwards */
}

/* Tokens of the control queue's buffers are their numbers, plus one. */
static void control_offer(struct console *console, struct virtqueue *queue, u32 i) REQUIRES(queue->lock)
{
	if (virtqueue_begin(queue, 1) < 0)
		return;
	virtqueue_put(queue, page_phys(console->in_page) + i * CONTROL_BYTES, CONTROL_BYTES, true);
	virtqueue_end(queue, (void *)(uintptr_t)(i + 1));
}

static void control_offer_all(struct console *console)
{
	struct virtqueue *queue = console->control_rx;
	unsigned long flags = spin_lock_irqsave(&queue->lock);

	for (u32 i = 0; i < CONTROL_BUFFERS && i < queue->size; i++)
		control_offer(console, queue, i);
	virtqueue_kick(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}

/* Copies the next message out, once, and gives the buffer back. Its bytes, or 0. */
static u32 control_next(struct console *console, char *message)
{
	struct virtqueue *queue = console->control_rx;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	const char *broken;
	u32 head, bytes = 0;
	void *token;

	token = virtqueue_take(queue, &head, &bytes);
	if (!token && virtqueue_rearm(queue))
		token = virtqueue_take(queue, &head, &bytes);
	if (token) {
		u32 i = (u32)(uintptr_t)token - 1;

		memcpy(message, (char *)page_address(console->in_page) + i * CONTROL_BYTES, bytes);
		control_offer(console, queue, i);
		virtqueue_kick(queue);
		if (bytes < sizeof(struct virtio_console_control))
			bytes = 1; /* too short to mean anything, but there may be more */
	} else {
		bytes = 0;
	}
	broken = queue->broken;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (broken)
		virtio_device_fail(queue->device, broken);
	return bytes;
}

static void attach(struct virtio_port *port)
{
	void (*fn)(struct virtio_port *, u32) = atomic_load(&console_attach);

	if (fn && !atomic_load(&port->client))
		fn(port, atomic_fetch_add(&attached, 1));
}

void virtio_console_set_attach(void (*fn)(struct virtio_port *port, u32 index))
{
	atomic_store(&console_attach, fn);
	for (u32 i = 0; i < CONSOLES_MAX; i++) {
		struct console *console = atomic_load(&consoles[i]);

		for (u32 n = 0; console && n < console->port_count; n++)
			if (console->ports[n].is_console)
				attach(&console->ports[n]);
	}
}

static void port_add(struct console *console, struct virtio_port *port)
{
	if (!port->exists) {
		port->exists = true;
		port_offer(port);
		port_make_node(port);
	}
	console_tell(console, port->number, VIRTIO_CONSOLE_PORT_READY, 1);
	if (atomic_load(&port->guest_open)) /* it was before a reset */
		console_tell(console, port->number, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void port_named(struct virtio_port *port, const char *text, u32 bytes)
{
	char link[PORT_NAME_BYTES + 16], target[32];

	bytes = min(bytes, (u32)PORT_NAME_BYTES - 1);
	for (u32 i = 0; i < bytes; i++) {
		if (!text[i]) {
			bytes = i;
			break;
		}
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '/')
			return; /* no name for a file */
	}
	if (!bytes || port->name[0] || (text[0] == '.' && bytes <= 2))
		return;
	memcpy(port->name, text, bytes);
	snprintf(link, sizeof(link), "virtio-ports/%s", port->name);
	snprintf(target, sizeof(target), "../vport%up%u", console_index(port->console), port->number);
	device_link(link, target);
}

static void control_handle(struct console *console, const char *bytes, u32 n)
{
	struct virtio_console_control message;
	struct virtio_port *port;

	memcpy(&message, bytes, sizeof(message));
	bytes += sizeof(message);
	n -= (u32)sizeof(message);
	if (message.id >= console->port_count) {
		log_ratelimited(LOG_WARN, "virtio console%u: the host speaks of port %u, there are %u", console_index(console),
			message.id, console->port_count);
		return;
	}
	port = &console->ports[message.id];
	if (message.event != VIRTIO_CONSOLE_PORT_ADD && !port->exists)
		return;
	if (message.event == VIRTIO_CONSOLE_PORT_ADD) {
		port_add(console, port);
	} else if (message.event == VIRTIO_CONSOLE_PORT_REMOVE) {
		port->exists = false;
		port_set_host_open(port, false);
		port_remove_node(port);
	} else if (message.event == VIRTIO_CONSOLE_CONSOLE_PORT) {
		port->is_console = true;
		port_remove_node(port);
		atomic_store(&port->host_open, true);
		attach(port);
	} else if (message.event == VIRTIO_CONSOLE_RESIZE) {
		struct control_resize size;

		if (n >= sizeof(size)) {
			memcpy(&size, bytes, sizeof(size));
			port_set_window(port, size.rows, size.columns);
		}
	} else if (message.event == VIRTIO_CONSOLE_PORT_OPEN) {
		port_set_host_open(port, message.value);
	} else if (message.event == VIRTIO_CONSOLE_PORT_NAME) {
		port_named(port, bytes, n);
	}
}

/* --- the device --- */

static void console_window(struct virtio_device *device)
{
	struct console *console = device->private;
	struct virtio_console_config config;

	if (!virtio_has(device, VIRTIO_CONSOLE_F_SIZE))
		return;
	virtio_config_read(device, 0, &config, offsetof(struct virtio_console_config, max_nr_ports));
	port_set_window(&console->ports[0], config.rows, config.cols);
}

static long console_queues(struct virtio_device *device, struct console *console)
{
	long error;

	for (u32 i = 0; i < console->port_count; i++) {
		struct virtio_port *port = &console->ports[i];
		u32 first = i ? 2 * i + 2 : 0;

		/* Handlers come with port_init, before the device is ready. */
		error = virtio_queue_setup(device, first, PORT_QUEUE_SIZE, 0, 0, NULL);
		if (!error)
			error = virtio_queue_setup(device, first + 1, PORT_QUEUE_SIZE, 0, 0, NULL);
		if (error)
			return error;
		port->rx = device->queues[first];
		port->tx = device->queues[first + 1];
		error = port_init(port, console, i);
		if (error)
			return error;
	}
	if (!virtio_has(device, VIRTIO_CONSOLE_F_MULTIPORT))
		return 0;
	error = virtio_queue_setup(device, 2, CONTROL_BUFFERS, 0, 0, control_rx_interrupt);
	if (!error)
		error = virtio_queue_setup(device, 3, CONTROL_SLOTS, 0, 0, control_tx_interrupt);
	if (error)
		return error;
	console->control_rx = device->queues[2];
	console->control_tx = device->queues[3];
	console->control_rx->private = console->control_tx->private = console;
	return 0;
}

static struct console *console_create(struct virtio_device *device)
{
	struct console *console = kzalloc(sizeof(*console));
	struct virtio_console_config config = {.max_nr_ports = 1};
	long error = -ENOMEM;

	if (!console)
		return ERR_PTR(error);
	if (device->index >= CONSOLES_MAX)
		return ERR_PTR(-ENODEV);
	if (virtio_has(device, VIRTIO_CONSOLE_F_MULTIPORT))
		virtio_config_read(device, 0, &config, offsetof(struct virtio_console_config, emerg_wr));
	wait_queue_init(&console->messages);
	console->device = device;
	console->port_count = min(max(config.max_nr_ports, 1u), (u32)PORTS_MAX);
	console->ports = kzalloc(sizeof(*console->ports) * console->port_count);
	console->in_page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	console->out_page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	if (!console->ports || !console->in_page || !console->out_page)
		return ERR_PTR(-ENOMEM);
	error = console_queues(device, console);
	if (error)
		return ERR_PTR(error);
	device->private = console;
	atomic_store(&consoles[device->index], console);
	return console;
}

ASYNC(console_probe, VIRTIO_PROBE_ARGS struct console *console; u32 ticket; char message[CONTROL_BYTES];)
{
	struct virtio_port *port;
	u32 n;

	ASYNC_BEGIN;
	f->console = console_create(f->device);
	if (IS_ERR(f->console))
		ASYNC_RETURN(PTR_ERR(f->console));
	virtio_device_ready(f->device);
	if (!f->console->control_rx) {
		port = &f->console->ports[0];
		port->exists = port->is_console = true;
		atomic_store(&port->host_open, true);
		port_offer(port);
		console_window(f->device);
		attach(port);
		ASYNC_RETURN(0);
	}
	control_offer_all(f->console);
	console_tell(f->console, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	while (atomic_load(&f->device->state) != VIRTIO_FAILED) {
		f->ticket = wait_ticket(&f->console->messages);
		while ((n = control_next(f->console, f->message)))
			if (n >= sizeof(struct virtio_console_control))
				control_handle(f->console, f->message, n);
		AWAIT(wait_on, .queue = &f->console->messages, .ticket = f->ticket, .uninterruptible = true);
	}
	ASYNC_END;
}

static void console_failed(struct virtio_device *device)
{
	struct console *console = device->private;

	if (!console)
		return;
	for (u32 i = 0; i < console->port_count; i++)
		port_die(&console->ports[i]);
	wait_wake_all(&console->messages);
}

static void control_restore(struct console *console, bool offer)
{
	struct virtqueue *rx = console->control_rx, *tx = console->control_tx;
	unsigned long flags;

	if (offer) {
		control_offer_all(console);
		console_tell(console, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
		for (u32 i = 0; i < console->port_count; i++)
			if (atomic_load(&console->ports[i].guest_open))
				console_tell(console, i, VIRTIO_CONSOLE_PORT_OPEN, 1);
		return;
	}
	flags = spin_lock_irqsave(&rx->lock);
	while (virtqueue_detach(rx))
		;
	spin_unlock_irqrestore(&rx->lock, flags);
	flags = spin_lock_irqsave(&tx->lock);
	while (virtqueue_detach(tx))
		;
	spin_unlock_irqrestore(&tx->lock, flags);
}

static void console_restore(struct virtio_device *device, bool offer)
{
	struct console *console = device->private;

	if (console->control_rx)
		control_restore(console, offer);
	for (u32 i = 0; i < console->port_count; i++)
		if (console->ports[i].exists || !offer)
			port_restore(&console->ports[i], offer);
}

const struct virtio_driver virtio_console_driver = {
	.id = VIRTIO_ID_CONSOLE,
	.name = "console",
	.features = BIT(VIRTIO_CONSOLE_F_SIZE) | BIT(VIRTIO_CONSOLE_F_MULTIPORT),
	.probe = &console_probe_fn,
	.config_changed = console_window,
	.failed = console_failed,
	.restore = console_restore,
};
