// SPDX-License-Identifier: MIT
/*
 * virtio-console (virtio 1.2, 5.3) whose ports are bridged to files of Linux: ports of its own
 * virtio-serial devices, or terminals. Bytes move straight between a file and the driver's buffers.
 *
 *     driver --tx ring--> port_transmit --write--> file      open and close of either side
 *     driver <--rx ring-- port_receive  <--read--- file      are told to the other
 *
 * Nothing is read from a file that the driver has no buffer or no open port for: what it holds is
 * not lost. What the driver sends while nobody is at a file's other end is discarded, as QEMU does:
 * a guest must not hang because nobody listens.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>
#include "daemon.h"

#define CONTROL_RX 2
#define CONTROL_TX 3
#define QUEUE_MAX  256

/* What the driver has still to be told of a port, in the order in which it is told. */
enum {
	TELL_ADD = 1 << 0,
	TELL_CONSOLE = 1 << 1,
	TELL_RESIZE = 1 << 2,
	TELL_NAME = 1 << 3,
	TELL_OPEN = 1 << 4,
};

/* A chain being worked off. */
struct transfer {
	bool busy;
	size_t done; /* bytes */
	struct vring_chain chain;
};

struct port {
	struct source file;
	struct console *console;
	unsigned int id;
	bool present;	  /* in the configuration and found */
	bool driver_open; /* the driver's side */
	bool closing;	  /* the driver closed it, and bytes are still on their way to the file */
	bool host_open;	  /* somebody is at the file's other end */
	unsigned int tell;
	struct transfer receive, transmit;
	char path[CONFIG_PATH];
	char name[64];
};

struct console {
	struct device device; /* first: a pointer to it is a pointer to us */
	unsigned int port_count;
	bool multiport;
	struct virtio_console_config config;
	struct port ports[CONFIG_PORTS];
};

static struct console *consoles[LICHEN_SLOTS];
static unsigned int console_count;
static int lichen_fd;

static unsigned int receive_queue(const struct port *port)
{
	return port->id ? 2 + 2 * port->id : 0;
}

static unsigned int transmit_queue(const struct port *port)
{
	return receive_queue(port) + 1;
}

/* The segments of one direction from byte `done` on; how many. */
static int transfer_iovec(const struct transfer *transfer, bool writable, struct iovec *iov)
{
	size_t skip = transfer->done;
	int n = 0;

	for (unsigned int i = 0; i < transfer->chain.segments; i++) {
		const struct vring_segment *segment = &transfer->chain.segment[i];

		if (segment->writable != writable)
			continue;
		if (skip >= segment->length) {
			skip -= segment->length;
			continue;
		}
		iov[n].iov_base = (char *)segment->data + skip;
		iov[n++].iov_len = segment->length - skip;
		skip = 0;
	}
	return n;
}

/* ---- control messages to the driver ---- */

static bool tell_one(struct port *port, unsigned int what)
{
	struct console *console = port->console;
	struct {
		struct virtio_console_control control;
		union {
			struct {
				uint16_t columns, rows;
			} size;
			char name[sizeof(port->name)];
		};
	} message = {.control.id = port->id};
	size_t length = sizeof(message.control);
	struct transfer transfer = {};
	struct iovec iov[VRING_SEGMENTS];
	uint32_t written = 0;
	int n;

	switch (what) {
	case TELL_ADD:
		message.control.event = VIRTIO_CONSOLE_PORT_ADD;
		message.control.value = 1;
		break;
	case TELL_CONSOLE:
		message.control.event = VIRTIO_CONSOLE_CONSOLE_PORT;
		message.control.value = 1;
		break;
	case TELL_RESIZE:
		message.control.event = VIRTIO_CONSOLE_RESIZE;
		message.size.columns = console->config.cols;
		message.size.rows = console->config.rows;
		length += sizeof(message.size);
		break;
	case TELL_NAME:
		message.control.event = VIRTIO_CONSOLE_PORT_NAME;
		message.control.value = 1;
		memcpy(message.name, port->name, sizeof(port->name));
		length += strlen(port->name);
		break;
	case TELL_OPEN:
		message.control.event = VIRTIO_CONSOLE_PORT_OPEN;
		message.control.value = port->host_open;
		break;
	}
	if (!device_next(&console->device, CONTROL_RX, &transfer.chain))
		return false;
	n = transfer_iovec(&transfer, true, iov);
	for (int i = 0; i < n && written < length; i++) {
		size_t part = length - written < iov[i].iov_len ? length - written : iov[i].iov_len;

		memcpy(iov[i].iov_base, (char *)&message + written, part);
		written += part;
	}
	device_push(&console->device, CONTROL_RX, transfer.chain.head, written);
	return true;
}

/* Tell what there are buffers for. */
static void console_tell(struct console *console)
{
	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		while (port->tell) {
			unsigned int what = port->tell & -port->tell;

			if (!tell_one(port, what))
				return;
			port->tell &= ~what;
		}
	}
}

/* ---- the file's side ---- */

static void port_close(struct port *port)
{
	if (port->file.fd >= 0) {
		loop_remove(&port->file);
		close(port->file.fd);
	}
	port->file.fd = -1;
	port->closing = false;
}

/* A change of the file's other end is news for the driver. */
static void port_host_state(struct port *port, bool open)
{
	if (port->host_open == open)
		return;
	port->host_open = open;
	port->tell |= TELL_OPEN;
	console_tell(port->console);
}

static bool file_connected(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};

	return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* File to driver: until the file is empty or the driver has no buffer. */
static void port_receive(struct port *port)
{
	struct device *device = &port->console->device;
	struct transfer *transfer = &port->receive;
	struct iovec iov[VRING_SEGMENTS];
	ssize_t n;

	while (port->driver_open && port->file.fd >= 0) {
		if (!transfer->busy)
			transfer->busy = device_next(device, receive_queue(port), &transfer->chain);
		if (!transfer->busy)
			return;
		transfer->done = 0;
		n = readv(port->file.fd, iov, transfer_iovec(transfer, true, iov));
		if (n > 0) {
			transfer->busy = false;
			device_push(device, receive_queue(port), transfer->chain.head, n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* Only after the bytes before it is the end of the file told. */
		if (!n || errno != EAGAIN)
			port_host_state(port, false);
		return;
	}
}

/* Driver to file: until the ring is empty or the file is full. */
static void port_transmit(struct port *port)
{
	struct device *device = &port->console->device;
	struct transfer *transfer = &port->transmit;
	struct iovec iov[VRING_SEGMENTS];
	ssize_t n;
	int count;

	for (;;) {
		if (!transfer->busy) {
			transfer->busy =
				device_next(device, transmit_queue(port), &transfer->chain);
			transfer->done = 0;
		}
		if (!transfer->busy)
			break;
		count = transfer_iovec(transfer, false, iov);
		if (count && port->file.fd >= 0 && file_connected(port->file.fd)) {
			n = writev(port->file.fd, iov, count);
			if (n > 0) {
				transfer->done += n;
				continue;
			}
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN && file_connected(port->file.fd))
				return;
		}
		transfer->busy = false;
		device_push(device, transmit_queue(port), transfer->chain.head, 0);
	}
	if (port->closing)
		port_close(port);
}

static void file_ready(struct source *source, uint32_t events)
{
	struct port *port = (struct port *)source;

	if (events & EPOLLOUT)
		port_transmit(port);
	if (port->file.fd < 0)
		return;
	if (port->driver_open && events & (EPOLLIN | EPOLLHUP))
		port_receive(port);
	/*
	 * With EPOLLHUP there may still be bytes to read: that the file has ended is told by
	 * port_receive alone.
	 */
	if (!(events & EPOLLHUP))
		port_host_state(port, true);
}

/* 0 or -errno. The file is read and written without blocking; a terminal is made transparent. */
static int port_use(struct port *port, int fd)
{
	struct termios mode;
	int error;

	if (!tcgetattr(fd, &mode)) {
		cfmakeraw(&mode);
		tcsetattr(fd, TCSANOW, &mode);
	}
	port->file.fd = fd;
	port->file.ready = file_ready;
	port_host_state(port, true); /* until a read says that it is not */
	error = loop_add(&port->file, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error)
		port_close(port);
	return error;
}

static void port_open(struct port *port)
{
	int fd;

	port->closing = false;
	if (port->file.fd >= 0)
		return;
	fd = open(port->path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || port_use(port, fd))
		log_error("slot %u: port %u: %s: %s", port->console->device.slot, port->id,
			port->path, strerror(errno));
}

/* ---- the driver's side ---- */

static void control_message(struct console *console, const struct virtio_console_control *message)
{
	struct port *port = message->id < console->port_count ? &console->ports[message->id] : NULL;

	if (message->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned int i = 0; message->value && i < console->port_count; i++)
			if (console->ports[i].present)
				console->ports[i].tell |= TELL_ADD;
		return;
	}
	if (!port || !port->present)
		return;
	switch (message->event) {
	case VIRTIO_CONSOLE_PORT_READY:
		if (!message->value)
			break;
		port_open(port);
		port->tell |= TELL_NAME | TELL_OPEN;
		if (!port->id) {
			port->tell |= TELL_CONSOLE | (console->config.cols ? TELL_RESIZE : 0);
			port->driver_open = true;
			port_receive(port);
		}
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		port->driver_open = message->value;
		if (message->value) {
			port_open(port);
			port_receive(port);
			break;
		}
		/* What was sent before it closed goes out first. */
		port->closing = true;
		port_transmit(port);
		break;
	}
}

static void control_receive(struct console *console)
{
	struct vring_chain chain;

	while (device_next(&console->device, CONTROL_TX, &chain)) {
		struct virtio_console_control message;

		if (chain.readable && chain.segment[0].length >= sizeof(message)) {
			memcpy(&message, chain.segment[0].data, sizeof(message));
			control_message(console, &message);
		}
		device_push(&console->device, CONTROL_TX, chain.head, 0);
	}
	console_tell(console);
}

static void console_kick(struct device *device, unsigned int queue)
{
	struct console *console = (struct console *)device;
	unsigned int id = queue < 2 ? 0 : (queue - 2) / 2;

	if (queue == CONTROL_RX)
		console_tell(console);
	else if (queue == CONTROL_TX)
		control_receive(console);
	else if (id >= console->port_count || !console->ports[id].present)
		return;
	else if (queue & 1)
		port_transmit(&console->ports[id]);
	else
		port_receive(&console->ports[id]);
}

static void console_start(struct device *device)
{
	struct console *console = (struct console *)device;

	for (unsigned int i = 0; i < console->port_count; i++)
		console->ports[i].tell = 0;
	console->multiport = device->features & (1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	if (!console->multiport && console->ports[0].present) {
		port_open(&console->ports[0]);
		console->ports[0].driver_open = true;
	}
}

static void console_stop(struct device *device)
{
	struct console *console = (struct console *)device;

	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		port->driver_open = false;
		port->receive.busy = false;
		port->transmit.busy = false;
		port_close(port);
	}
}

static const struct device_operations console_operations = {
	.start = console_start,
	.stop = console_stop,
	.kick = console_kick,
};

/* ---- attach ---- */

/* The name that the port has in the machine, or its file's. */
static void port_name(struct port *port)
{
	const char *base = strrchr(port->path, '/') + 1;
	char path[CONFIG_PATH + 64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", base);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, port->name, sizeof(port->name) - 1);
		close(fd);
	}
	if (n > 0)
		port->name[n] = 0;
	port->name[strcspn(port->name, "\n")] = 0;
	if (!port->name[0])
		snprintf(port->name, sizeof(port->name), "%.*s", (int)sizeof(port->name) - 1, base);
}

bool console_drained(void)
{
	for (unsigned int c = 0; c < console_count; c++) {
		for (unsigned int i = 0; i < consoles[c]->port_count; i++) {
			struct port *port = &consoles[c]->ports[i];
			int waiting;

			if (port->transmit.busy && port->file.fd >= 0)
				return false;
			if (port->file.fd >= 0 && isatty(port->file.fd) &&
				!ioctl(port->file.fd, TIOCOUTQ, &waiting) && waiting)
				return false;
		}
	}
	return !console_count || ioctl(lichen_fd, BACKEND_DRAINED, 0) != 0;
}

int console_attach(const struct config_line *line, int lichen, int64_t deadline)
{
	struct console *console = calloc(1, sizeof(*console));
	struct backend_create create = {
		.slot = line->slot,
		.device_id = VIRTIO_ID_CONSOLE,
		.queue_max = QUEUE_MAX,
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			    1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_CONSOLE_F_MULTIPORT,
		.config_length = sizeof(console->config),
	};
	unsigned int present = 0;

	if (!console)
		return -ENOMEM;
	for (unsigned int i = 0; i < CONFIG_PORTS; i++) {
		struct port *port = &console->ports[i];
		int fd;

		port->console = console;
		port->id = i;
		port->file.fd = -1;
		if (!line->port[i][0])
			continue;
		console->port_count = i + 1;
		memcpy(port->path, line->port[i], sizeof(port->path));
		fd = wait_device(port->path, O_RDWR | O_NONBLOCK | O_NOCTTY, deadline);
		if (fd < 0 || port_use(port, fd)) {
			log_error("lichen.conf:%u: port%u: %s: %s: left out", line->line, i,
				port->path, strerror(fd < 0 ? -fd : EIO));
			continue;
		}
		port->present = true;
		port_name(port);
		present++;
	}
	if (!present)
		return -ENODEV;
	console->config.max_nr_ports = console->port_count;
	console->config.cols = line->columns;
	console->config.rows = line->rows;
	if (line->columns)
		create.features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
	memcpy(create.config, &console->config, sizeof(console->config));
	create.queues = 2 * console->port_count + 2;
	lichen_fd = lichen;
	consoles[console_count++] = console;
	return device_attach(&console->device, lichen, &create, &console_operations);
}
