/* SPDX-License-Identifier: MIT */
/*
 * Ports of virtio-console devices (virtio 1.2, 5.3): a stream of bytes each way between this machine and its host. Console
 * ports (port 0 without MULTIPORT, and those that the host names so) belong to the tty; all others are
 * /dev/vportNpM (N: the device, M: the port), and /dev/virtio-ports/NAME if the host gave a name.
 *
 * Input stays in the port's buffers, and at last with the host, until somebody takes it.
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include <lichen/types.h>
#include <lichen/wait.h>

struct virtio_port;

/* Who uses a console port. All may run in interrupt context, with no lock held that the functions below take. */
struct virtio_port_client {
	void (*readable)(struct virtio_port *port, void *arg); /* there is input */
	void (*writable)(struct virtio_port *port, void *arg); /* there is room for output again */
	void (*resized)(struct virtio_port *port, void *arg, u32 rows, u32 columns); /* or NULL */
	void (*closed)(struct virtio_port *port, void *arg);   /* the other side hung up, or the device died; or NULL */
};

/*
 * To be called once, at boot: `attach` runs for every console port there is or will be, from a task; index counts consoles
 * from 0 (hvc0). It calls virtio_port_use().
 */
void virtio_console_set_attach(void (*attach)(struct virtio_port *port, u32 index));
/* Makes `client` the user of a port and opens it; input may have come already (then readable is called). */
void virtio_port_use(struct virtio_port *port, const struct virtio_port_client *client, void *arg);

/* Any context; nothing blocks. Bytes taken: 0 if there are none. */
size_t virtio_port_read(struct virtio_port *port, void *to, size_t n);
/* Bytes that found room. */
size_t virtio_port_write(struct virtio_port *port, const void *from, size_t n);
/* The window's size, if the host has told it. */
bool virtio_port_window(struct virtio_port *port, u32 *rows, u32 *columns);
/* The host's side is open. */
bool virtio_port_connected(struct virtio_port *port);

#endif
