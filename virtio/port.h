/* SPDX-License-Identifier: MIT */
/* Inside the console driver: what console.c (the device) and port.c (the ports and their device nodes) share. */
#ifndef VIRTIO_PORT_H
#define VIRTIO_PORT_H

#include <lichen/list.h>
#include <lichen/wait.h>
#include <virtio/console.h>
#include <virtio/device.h>

#define PORT_BUFFERS 8 /* pages, each way */
#define PORT_NAME_BYTES 64
#define PORT_QUEUE_SIZE 16
#define PORTS_MAX 31 /* what LICHEN_QUEUES allows */

struct console;

struct port_buffer {
	struct list node;
	struct page *page;
	u32 bytes, offset; /* received, and taken of it; or to be sent */
};

/* In `offered` of a queue's lock while the device has it; else on one of the lists. */
struct virtio_port {
	struct console *console;
	u32 number;
	bool exists, is_console, node_made;
	_Atomic bool host_open, guest_open, dead;
	char name[PORT_NAME_BYTES];
	struct virtqueue *rx, *tx;
	struct port_buffer rx_buffers[PORT_BUFFERS], tx_buffers[PORT_BUFFERS];
	struct list filled;	 /* input, oldest first; rx->lock */
	struct list rx_idle;	 /* to be offered; rx->lock */
	struct list tx_idle;	 /* free; tx->lock */
	struct list tx_again;	 /* in flight when the device was reset; tx->lock */
	struct wait_queue readable, writable;
	_Atomic u32 window; /* rows << 16 | columns; 0: unknown */
	const struct virtio_port_client *_Atomic client;
	void *client_arg;
};

/* Buffers, queues' handlers. 0 or -ENOMEM. The queues were set up. */
long port_init(struct virtio_port *port, struct console *console, u32 number);
/* Offers all idle input buffers. */
void port_offer(struct virtio_port *port);
/* The window's size as the host tells it. */
void port_set_window(struct virtio_port *port, u32 rows, u32 columns);
void port_set_host_open(struct virtio_port *port, bool open);
/* A generic port: its nodes in /dev. Task context. */
void port_make_node(struct virtio_port *port);
void port_remove_node(struct virtio_port *port);
/* The device died: readers get an end of file, writers -EIO. */
void port_die(struct virtio_port *port);
/* Reset: offer false: takes back what was in flight; true: offers it again. */
void port_restore(struct virtio_port *port, bool offer);

/* console.c */
/* Tells the host (VIRTIO_CONSOLE_*): 0, or -EIO if it does not listen. Any context. */
long console_tell(struct console *console, u32 port, u16 event, u16 value);
struct virtio_port *console_port(dev_t dev);
u32 console_index(const struct console *console);

#endif
