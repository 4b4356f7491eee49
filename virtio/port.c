// SPDX-License-Identifier: MIT
/*
 * Console ports: their buffers, the byte streams that the tty uses, and the character devices of the others. A port has
 * PORT_BUFFERS pages each way. Input pages go round: offered -> filled -> taken -> offered; a port that nobody reads stops its host.
 */
#include <lichen/poll.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <lichen/syscall.h>
#include <lichen/task.h>
#include <lichen/vfs.h>
#include <linux/virtio_console.h>
#include "port.h"

#define PORT_MAJOR 245

static void rx_offer(struct virtio_port *port, struct virtqueue *rx, struct port_buffer *buffer) REQUIRES(rx->lock)
{
	if (virtqueue_begin(rx, 1) < 0) {
		list_add_tail(&port->rx_idle, &buffer->node);
		return;
	}
	virtqueue_put(rx, page_phys(buffer->page), PAGE_SIZE, true);
	virtqueue_end(rx, buffer);
}

void port_offer(struct virtio_port *port)
{
	struct virtqueue *rx = port->rx;
	unsigned long flags = spin_lock_irqsave(&rx->lock);
	struct list idle;

	list_init(&idle);
	list_splice_tail(&idle, &port->rx_idle);
	while (!list_empty(&idle)) {
		struct port_buffer *buffer = list_first(&idle, struct port_buffer, node);

		list_remove(&buffer->node);
		rx_offer(port, rx, buffer);
	}
	virtqueue_kick(rx);
	spin_unlock_irqrestore(&rx->lock, flags);
}

static void client_call(struct virtio_port *port, bool input)
{
	const struct virtio_port_client *client = atomic_load_explicit(&port->client, memory_order_acquire);

	if (client)
		(input ? client->readable : client->writable)(port, port->client_arg);
}

static void rx_interrupt(struct virtqueue *rx)
{
	struct virtio_port *port = rx->private;
	unsigned long flags = spin_lock_irqsave(&rx->lock);
	/* As Linux has it: what comes for a port that is not open is lost, unless it is a console. */
	bool keep = port->is_console || atomic_load(&port->guest_open);
	struct port_buffer *buffer;
	const char *broken;
	bool any = false;
	u32 head, bytes;

	do {
		while ((buffer = virtqueue_take(rx, &head, &bytes))) {
			if (!bytes || !keep) {
				list_add_tail(&port->rx_idle, &buffer->node);
				continue;
			}
			buffer->bytes = bytes;
			buffer->offset = 0;
			list_add_tail(&port->filled, &buffer->node);
			any = true;
		}
	} while (virtqueue_rearm(rx));
	broken = rx->broken;
	spin_unlock_irqrestore(&rx->lock, flags);
	if (broken) {
		virtio_device_fail(rx->device, broken);
		return;
	}
	if (!list_empty(&port->rx_idle))
		port_offer(port);
	if (any) {
		wait_wake_poll(&port->readable, EPOLLIN | EPOLLRDNORM);
		client_call(port, true);
	}
}

/* Finished output goes back to the free list. */
static bool tx_reclaim(struct virtio_port *port, struct virtqueue *tx) REQUIRES(tx->lock)
{
	struct port_buffer *buffer;
	bool any = false;
	u32 head, bytes;

	do {
		while ((buffer = virtqueue_take(tx, &head, &bytes))) {
			list_add_tail(&port->tx_idle, &buffer->node);
			any = true;
		}
	} while (virtqueue_rearm(tx));
	return any;
}

static void tx_interrupt(struct virtqueue *tx)
{
	struct virtio_port *port = tx->private;
	unsigned long flags = spin_lock_irqsave(&tx->lock);
	bool any = tx_reclaim(port, tx);
	const char *broken = tx->broken;

	spin_unlock_irqrestore(&tx->lock, flags);
	if (broken) {
		virtio_device_fail(tx->device, broken);
		return;
	}
	if (any) {
		wait_wake_poll(&port->writable, EPOLLOUT | EPOLLWRNORM);
		client_call(port, false);
	}
}

static void tx_offer(struct virtio_port *port, struct virtqueue *tx, struct port_buffer *buffer) REQUIRES(tx->lock)
{
	if (virtqueue_begin(tx, 1) < 0) {
		/* Being reset: it goes out afterwards. */
		list_add_tail(&port->tx_again, &buffer->node);
		return;
	}
	virtqueue_put(tx, page_phys(buffer->page), buffer->bytes, false);
	virtqueue_end(tx, buffer);
	virtqueue_kick(tx);
}

long port_init(struct virtio_port *port, struct console *console, u32 number)
{
	port->console = console;
	port->number = number;
	list_init(&port->filled);
	list_init(&port->rx_idle);
	list_init(&port->tx_idle);
	list_init(&port->tx_again);
	wait_queue_init(&port->readable);
	wait_queue_init(&port->writable);
	for (u32 i = 0; i < PORT_BUFFERS; i++) {
		port->rx_buffers[i].page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
		port->tx_buffers[i].page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
		if (!port->rx_buffers[i].page || !port->tx_buffers[i].page)
			return -ENOMEM; /* the driver keeps what it has: the device is not used then */
		list_add_tail(&port->rx_idle, &port->rx_buffers[i].node);
		list_add_tail(&port->tx_idle, &port->tx_buffers[i].node);
	}
	port->rx->private = port->tx->private = port;
	port->rx->interrupt = rx_interrupt;
	port->tx->interrupt = tx_interrupt;
	return 0;
}

/* --- byte streams --- */

static struct port_buffer *input_take(struct virtio_port *port)
{
	unsigned long flags = spin_lock_irqsave(&port->rx->lock);
	struct port_buffer *buffer = NULL;

	if (!list_empty(&port->filled)) {
		buffer = list_first(&port->filled, struct port_buffer, node);
		list_remove(&buffer->node);
	}
	spin_unlock_irqrestore(&port->rx->lock, flags);
	return buffer;
}

static void input_give_back(struct virtio_port *port, struct port_buffer *buffer)
{
	struct virtqueue *rx = port->rx;
	unsigned long flags = spin_lock_irqsave(&rx->lock);

	if (buffer->offset < buffer->bytes) {
		list_add(&port->filled, &buffer->node);
	} else {
		rx_offer(port, rx, buffer);
		virtqueue_kick(rx);
	}
	spin_unlock_irqrestore(&rx->lock, flags);
}

static bool input_there(struct virtio_port *port)
{
	unsigned long flags = spin_lock_irqsave(&port->rx->lock);
	bool there = !list_empty(&port->filled);

	spin_unlock_irqrestore(&port->rx->lock, flags);
	return there;
}

size_t virtio_port_read(struct virtio_port *port, void *to, size_t n)
{
	size_t done = 0;

	while (done < n) {
		struct port_buffer *buffer = input_take(port);
		size_t part;

		if (!buffer)
			break;
		part = min(n - done, (size_t)(buffer->bytes - buffer->offset));
		memcpy((char *)to + done, (char *)page_address(buffer->page) + buffer->offset, part);
		buffer->offset += (u32)part;
		done += part;
		input_give_back(port, buffer);
	}
	return done;
}

static struct port_buffer *output_take(struct virtio_port *port)
{
	struct virtqueue *tx = port->tx;
	unsigned long flags = spin_lock_irqsave(&tx->lock);
	struct port_buffer *buffer = NULL;

	if (list_empty(&port->tx_idle))
		tx_reclaim(port, tx);
	if (!list_empty(&port->tx_idle)) {
		buffer = list_first(&port->tx_idle, struct port_buffer, node);
		list_remove(&buffer->node);
	}
	spin_unlock_irqrestore(&tx->lock, flags);
	return buffer;
}

/* Sends a buffer, or puts an empty one back. */
static void output_give(struct virtio_port *port, struct port_buffer *buffer, u32 bytes)
{
	struct virtqueue *tx = port->tx;
	unsigned long flags = spin_lock_irqsave(&tx->lock);

	buffer->bytes = bytes;
	if (bytes)
		tx_offer(port, tx, buffer);
	else
		list_add(&port->tx_idle, &buffer->node);
	spin_unlock_irqrestore(&tx->lock, flags);
}

static bool output_room(struct virtio_port *port)
{
	struct virtqueue *tx = port->tx;
	unsigned long flags = spin_lock_irqsave(&tx->lock);
	bool room;

	if (list_empty(&port->tx_idle))
		tx_reclaim(port, tx);
	room = !list_empty(&port->tx_idle);
	spin_unlock_irqrestore(&tx->lock, flags);
	return room;
}

size_t virtio_port_write(struct virtio_port *port, const void *from, size_t n)
{
	size_t done = 0;

	if (atomic_load(&port->dead))
		return n; /* there is nobody to read it */
	while (done < n) {
		struct port_buffer *buffer = output_take(port);
		u32 part = (u32)min(n - done, (size_t)PAGE_SIZE);

		if (!buffer)
			break;
		memcpy(page_address(buffer->page), (const char *)from + done, part);
		output_give(port, buffer, part);
		done += part;
	}
	return done;
}

bool virtio_port_window(struct virtio_port *port, u32 *rows, u32 *columns)
{
	u32 window = atomic_load(&port->window);

	*rows = window >> 16;
	*columns = window & 0xffff;
	return window;
}

bool virtio_port_connected(struct virtio_port *port)
{
	return atomic_load(&port->host_open) && !atomic_load(&port->dead);
}

void virtio_port_use(struct virtio_port *port, const struct virtio_port_client *client, void *arg)
{
	port->client_arg = arg;
	atomic_store_explicit(&port->client, client, memory_order_release);
	atomic_store(&port->guest_open, true);
	console_tell(port->console, port->number, VIRTIO_CONSOLE_PORT_OPEN, 1);
	if (input_there(port))
		client->readable(port, arg);
}

void port_set_window(struct virtio_port *port, u32 rows, u32 columns)
{
	const struct virtio_port_client *client = atomic_load_explicit(&port->client, memory_order_acquire);

	rows &= 0xffff;
	columns &= 0xffff;
	if (atomic_exchange(&port->window, rows << 16 | columns) == (rows << 16 | columns))
		return;
	if (client && client->resized)
		client->resized(port, port->client_arg, rows, columns);
}

void port_set_host_open(struct virtio_port *port, bool open)
{
	const struct virtio_port_client *client = atomic_load_explicit(&port->client, memory_order_acquire);

	if (atomic_exchange(&port->host_open, open) == open)
		return;
	wait_wake_poll(&port->readable, open ? EPOLLIN : EPOLLIN | EPOLLHUP);
	wait_wake_poll(&port->writable, open ? EPOLLOUT : EPOLLHUP);
	if (!open && client && client->closed)
		client->closed(port, port->client_arg);
}

void port_die(struct virtio_port *port)
{
	atomic_store(&port->dead, true);
	port_set_host_open(port, false);
	wait_wake_poll(&port->readable, EPOLLIN | EPOLLHUP);
	wait_wake_poll(&port->writable, EPOLLOUT | EPOLLHUP | EPOLLERR);
}

void port_restore(struct virtio_port *port, bool offer)
{
	struct virtqueue *rx = port->rx, *tx = port->tx;
	struct port_buffer *buffer;
	unsigned long flags;

	if (offer)
		port_offer(port);
	flags = spin_lock_irqsave(&rx->lock);
	if (!offer)
		while ((buffer = virtqueue_detach(rx)))
			list_add_tail(&port->rx_idle, &buffer->node);
	spin_unlock_irqrestore(&rx->lock, flags);
	flags = spin_lock_irqsave(&tx->lock);
	if (offer) {
		struct list again;

		list_init(&again);
		list_splice_tail(&again, &port->tx_again);
		while (!list_empty(&again)) {
			buffer = list_first(&again, struct port_buffer, node);
			list_remove(&buffer->node);
			tx_offer(port, tx, buffer);
		}
	} else {
		while ((buffer = virtqueue_detach(tx)))
			list_add_tail(&port->tx_again, &buffer->node);
	}
	spin_unlock_irqrestore(&tx->lock, flags);
}

/* --- /dev/vportNpM: one opener at a time --- */

static struct virtio_port *port_of(struct file *file)
{
	return file->private;
}

ASYNC(port_open, FILE_OPEN_ARGS)
{
	struct virtio_port *port;

	ASYNC_BEGIN;
	port = console_port(f->inode->rdev);
	if (!port || !port->exists || atomic_load(&port->dead))
		ASYNC_RETURN(-ENXIO);
	if (atomic_exchange(&port->guest_open, true))
		ASYNC_RETURN(-EBUSY);
	f->file->private = port;
	port_offer(port);
	if (console_tell(port->console, port->number, VIRTIO_CONSOLE_PORT_OPEN, 1)) {
		atomic_store(&port->guest_open, false);
		ASYNC_RETURN(-EIO);
	}
	ASYNC_END;
}

ASYNC(port_release, FILE_RELEASE_ARGS)
{
	struct virtio_port *port = port_of(f->file);
	struct port_buffer *buffer;

	ASYNC_BEGIN;
	console_tell(port->console, port->number, VIRTIO_CONSOLE_PORT_OPEN, 0);
	atomic_store(&port->guest_open, false);
	while ((buffer = input_take(port))) {
		buffer->offset = buffer->bytes;
		input_give_back(port, buffer);
	}
	ASYNC_END;
}

ASYNC(port_read, FILE_READ_ARGS struct port_buffer *buffer; u32 ticket; size_t done; bool faulted;)
{
	struct virtio_port *port = port_of(f->file);
	size_t n, want;

	ASYNC_BEGIN;
	while (f->to->left) {
		port = port_of(f->file);
		f->ticket = wait_ticket(&port->readable);
		f->buffer = input_take(port);
		if (!f->buffer) {
			if (f->done || !virtio_port_connected(port))
				break; /* end of file: the other side is closed */
			if (f->file->flags & O_NONBLOCK)
				ASYNC_RETURN(-EAGAIN);
			AWAIT(wait_on, .queue = &port->readable, .ticket = f->ticket);
			if (RESULT < 0)
				ASYNC_RETURN(-ERESTARTSYS);
			continue;
		}
		want = min(f->to->left, (size_t)(f->buffer->bytes - f->buffer->offset));
		n = kiov_write(f->to, (char *)page_address(f->buffer->page) + f->buffer->offset, want);
		f->buffer->offset += (u32)n;
		f->done += n;
		input_give_back(port, f->buffer);
		if (n < want) {
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC(port_write, FILE_WRITE_ARGS struct port_buffer *buffer; u32 ticket; size_t done;)
{
	struct virtio_port *port = port_of(f->file);
	size_t n, want;

	ASYNC_BEGIN;
	while (f->from->left) {
		port = port_of(f->file);
		f->ticket = wait_ticket(&port->writable);
		if (atomic_load(&port->dead))
			ASYNC_RETURN(f->done ? (long)f->done : -EIO);
		f->buffer = virtio_port_connected(port) ? output_take(port) : NULL;
		if (!f->buffer) {
			if (f->file->flags & O_NONBLOCK)
				ASYNC_RETURN(f->done ? (long)f->done : -EAGAIN);
			AWAIT(wait_on, .queue = &port->writable, .ticket = f->ticket);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : -ERESTARTSYS);
			continue;
		}
		want = min(f->from->left, (size_t)PAGE_SIZE);
		n = kiov_read(f->from, page_address(f->buffer->page), want);
		output_give(port, f->buffer, (u32)n);
		f->done += n;
		if (n < want) {
			AWAIT(kiov_fault_in, .iov = f->from, .write = false);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

static u32 port_poll(struct file *file, struct poll_table *table)
{
	struct virtio_port *port = port_of(file);
	u32 mask = 0;

	if (table) {
		poll_register(table, &port->readable);
		poll_register(table, &port->writable);
	}
	if (!virtio_port_connected(port))
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	else if (output_room(port))
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (input_there(port))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

static s64 port_seek(struct file *file __unused, s64 offset __unused, int whence __unused)
{
	return -ESPIPE;
}

static const struct file_ops port_file_ops = {
	.open = &port_open_fn,
	.release = &port_release_fn,
	.read = &port_read_fn,
	.write = &port_write_fn,
	.poll = port_poll,
	.seek = port_seek,
};

static dev_t port_dev(const struct virtio_port *port)
{
	return MAKE_DEV(PORT_MAJOR, console_index(port->console) * 64 + port->number);
}

void port_make_node(struct virtio_port *port)
{
	char name[32];
	long error;

	if (port->node_made)
		return;
	snprintf(name, sizeof(name), "vport%up%u", console_index(port->console), port->number);
	error = device_register(name, S_IFCHR | 0600, port_dev(port), &port_file_ops, port);
	if (error)
		log_err("%s: no device node (error %ld)", name, -error);
	port->node_made = !error;
}

void port_remove_node(struct virtio_port *port)
{
	char name[32];

	if (!port->node_made)
		return;
	snprintf(name, sizeof(name), "vport%up%u", console_index(port->console), port->number);
	device_unregister(name, S_IFCHR, port_dev(port));
	port->node_made = false;
}
