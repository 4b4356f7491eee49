// SPDX-License-Identifier: MIT
/* /dev/hvcN: terminals on the console ports of virtio-console devices. The first is the machine's console. */
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/tty.h>
#include <virtio/console.h>

#define HVC_MAJOR 229 /* Linux: Documentation/admin-guide/devices.txt */
#define HVC_CHUNK 128

struct hvc {
	struct virtio_port *port;
	struct tty *tty;
	spinlock_t lock; /* keeps input in order: held from the port to the terminal */
};

/* Moves input up, as far as the terminal has room. Any context. */
static void hvc_input(struct hvc *hvc)
{
	unsigned long flags = spin_lock_irqsave(&hvc->lock);
	u8 bytes[HVC_CHUNK];
	size_t n;

	do {
		size_t room = tty_receive_room(hvc->tty);

		if (!room && tty_hold_back(hvc->tty))
			break;
		n = virtio_port_read(hvc->port, bytes, min(room, sizeof(bytes)));
		tty_receive(hvc->tty, bytes, n);
	} while (n);
	spin_unlock_irqrestore(&hvc->lock, flags);
}

static void hvc_readable(struct virtio_port *port __unused, void *arg)
{
	hvc_input(arg);
}

static void hvc_resume(struct tty *tty)
{
	hvc_input(tty->driver);
}

static void hvc_writable(struct virtio_port *port __unused, void *arg)
{
	tty_write_wakeup(((struct hvc *)arg)->tty);
}

static void hvc_resized(struct virtio_port *port __unused, void *arg, u32 rows, u32 columns)
{
	tty_set_size(((struct hvc *)arg)->tty, rows, columns);
}

static void hvc_closed(struct virtio_port *port __unused, void *arg)
{
	tty_hangup(((struct hvc *)arg)->tty);
}

static size_t hvc_write(struct tty *tty, const u8 *bytes, size_t n)
{
	return virtio_port_write(((struct hvc *)tty->driver)->port, bytes, n);
}

static const struct tty_ops hvc_ops = {
	.write = hvc_write,
	.resume = hvc_resume,
};

static const struct virtio_port_client hvc_client = {
	.readable = hvc_readable,
	.writable = hvc_writable,
	.resized = hvc_resized,
	.closed = hvc_closed,
};

static void hvc_attach(struct virtio_port *port, u32 index)
{
	struct hvc *hvc = kzalloc(sizeof(*hvc));
	char name[16];
	u32 rows, columns;

	snprintf(name, sizeof(name), "hvc%u", index);
	if (!hvc) {
		log_err("%s: no memory", name);
		return;
	}
	spin_init(&hvc->lock);
	hvc->port = port;
	hvc->tty = tty_create(name, MAKE_DEV(HVC_MAJOR, index), &hvc_ops, hvc);
	if (!hvc->tty) {
		kfree(hvc);
		return;
	}
	if (virtio_port_window(port, &rows, &columns))
		tty_set_size(hvc->tty, rows, columns);
	tty_set_console(hvc->tty);
	virtio_port_use(port, &hvc_client, hvc);
}

static void hvc_init(void)
{
	virtio_console_set_attach(hvc_attach);
}
INITCALL(INIT_FS, hvc_init);
