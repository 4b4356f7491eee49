// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A slot that a program serves: the program holds a file descriptor, reads the rings through its
 * mapping of the shared memory, is woken by eventfds (kicks) and signals by ioctl or eventfd
 * (calls). When the descriptor is closed, also because the program died, the device goes.
 *
 * The program belongs to the driver domain and is root: it is trusted as the module is, but its
 * mistakes must not crash the kernel.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include "lichen.h"

struct program;

/* An eventfd whose signals go to the frontend (as KVM's irqfd). */
struct program_call {
	struct program *program;
	unsigned int queue;
	struct file *file;
	struct eventfd_ctx *context;
	wait_queue_head_t *head;
	wait_queue_entry_t wait;
	poll_table poll;
};

struct program {
	struct slot *slot;
	unsigned int queues;
	struct mutex lock; /* kicks and calls being set */
	bool changed;	   /* since the last BACKEND_VIEW */
	wait_queue_head_t wait;
	struct eventfd_ctx
		*kicks[LICHEN_QUEUES]; /* read by the channels, written with them quiet */
	struct program_call *calls[LICHEN_QUEUES];
};

static void program_kick(struct slot *slot, u64 queues)
{
	struct program *program = slot->owner;

	for (; queues; queues &= queues - 1) {
		struct eventfd_ctx *kick = READ_ONCE(program->kicks[__ffs64(queues)]);

		if (kick)
			eventfd_signal(kick);
	}
}

static void program_change(struct slot *slot, const struct view *view)
{
	struct program *program = slot->owner;

	WRITE_ONCE(program->changed, true);
	wake_up_interruptible(&program->wait);
}

static void program_released(struct slot *slot)
{
}

static const struct slot_operations program_operations = {
	.kick = program_kick,
	.change = program_change,
	.release = program_released,
};

static void program_signal(struct program *program, unsigned int queue)
{
	struct lichen_queue_view view;

	view_read_queue(program->slot->index, queue, &view);
	if (view.ready)
		queue_signal(program->slot->index, &view);
}

/* ---- call eventfds ---- */

/* Called with the eventfd's wait queue locked. */
static int call_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct program_call *call = container_of(wait, struct program_call, wait);
	u64 count;

	if (!(key_to_poll(key) & EPOLLIN))
		return 0;
	eventfd_ctx_do_read(call->context, &count);
	program_signal(call->program, call->queue);
	return 1;
}

static void call_queue(struct file *file, wait_queue_head_t *head, poll_table *poll)
{
	struct program_call *call = container_of(poll, struct program_call, poll);

	call->head = head;
	add_wait_queue_priority(head, &call->wait);
}

static void call_drop(struct program *program, unsigned int queue)
{
	struct program_call *call = program->calls[queue];
	u64 count;

	if (!call)
		return;
	program->calls[queue] = NULL;
	eventfd_ctx_remove_wait_queue(call->context, &call->wait, &count);
	eventfd_ctx_put(call->context);
	fput(call->file);
	kfree(call);
}

static int call_set(struct program *program, unsigned int queue, int fd)
{
	struct program_call *call;
	int error;

	call_drop(program, queue);
	if (fd < 0)
		return 0;
	call = kzalloc(sizeof(*call), GFP_KERNEL);
	if (!call)
		return -ENOMEM;
	call->program = program;
	call->queue = queue;
	call->file = fget(fd);
	call->context = call->file ? eventfd_ctx_fileget(call->file) : ERR_PTR(-EBADF);
	if (IS_ERR(call->context)) {
		error = PTR_ERR(call->context);
		if (call->file)
			fput(call->file);
		kfree(call);
		return error;
	}
	init_waitqueue_func_entry(&call->wait, call_wake);
	init_poll_funcptr(&call->poll, call_queue);
	program->calls[queue] = call;
	/* A signal that came before us. */
	if (vfs_poll(call->file, &call->poll) & EPOLLIN)
		program_signal(program, queue);
	return 0;
}

static int kick_set(struct program *program, unsigned int queue, int fd)
{
	struct eventfd_ctx *now = NULL, *old;
	struct lichen_queue_view view;

	if (fd >= 0) {
		now = eventfd_ctx_fdget(fd);
		if (IS_ERR(now))
			return PTR_ERR(now);
	}
	old = program->kicks[queue];
	WRITE_ONCE(program->kicks[queue], now);
	if (old) {
		channels_quiesce();
		eventfd_ctx_put(old);
	}
	/* Kicks that came before. */
	view_read_queue(program->slot->index, queue, &view);
	if (now)
		channel_kick(view.channel, program->slot->index, BIT_ULL(queue));
	return 0;
}

/* ---- the file ---- */

static long program_eventfd(struct program *program, unsigned int cmd, void __user *user)
{
	struct backend_eventfd arg;
	long error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.queue >= program->queues)
		return -EINVAL;
	mutex_lock(&program->lock);
	error = cmd == BACKEND_KICK ? kick_set(program, arg.queue, arg.fd)
				    : call_set(program, arg.queue, arg.fd);
	mutex_unlock(&program->lock);
	return error;
}

static long program_view(struct program *program, void __user *user)
{
	struct view view;
	struct backend_view arg = {};

	/* Cleared first: a change while we read is told again. */
	WRITE_ONCE(program->changed, false);
	smp_mb();
	view_read(program->slot->index, &view);
	arg.generation = view.generation;
	arg.status = view.status;
	arg.features = view.driver_features;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long program_queue(struct program *program, void __user *user)
{
	struct lichen_queue_view view;
	struct backend_queue arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.queue >= program->queues)
		return -EINVAL;
	view_read_queue(program->slot->index, arg.queue, &view);
	arg.num = view.num;
	arg.desc = view.desc;
	arg.driver = view.driver;
	arg.device = view.device;
	arg.ready = view.ready;
	arg.reserved = 0;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long program_config(struct program *program, void __user *user)
{
	struct backend_config *arg = memdup_user(user, sizeof(*arg));
	long error = -EINVAL;

	if (IS_ERR(arg))
		return PTR_ERR(arg);
	if (arg->offset <= sizeof(arg->bytes) && arg->length <= sizeof(arg->bytes) - arg->offset) {
		config_write(program->slot->index, arg->offset, arg->bytes, arg->length);
		error = hypercall(
			LICHEN_HVC_SIGNAL, program->slot->index, LICHEN_SIGNAL_CONFIG, 0, 0, 0);
	}
	kfree(arg);
	return error;
}

static long program_ioctl(struct file *file, unsigned int cmd, unsigned long argument)
{
	struct program *program = file->private_data;
	void __user *user = (void __user *)argument;

	switch (cmd) {
	case BACKEND_VIEW:
		return program_view(program, user);
	case BACKEND_QUEUE:
		return program_queue(program, user);
	case BACKEND_KICK:
	case BACKEND_CALL:
		return program_eventfd(program, cmd, user);
	case BACKEND_SIGNAL:
		if (argument >= program->queues)
			return -EINVAL;
		program_signal(program, argument);
		return 0;
	case BACKEND_CONFIG:
		return program_config(program, user);
	case BACKEND_RESET_DONE:
		return hypercall(LICHEN_HVC_RESET_DONE, program->slot->index, argument, 0, 0, 0);
	case BACKEND_BROKEN:
		slot_broken(program->slot, argument, NULL);
		return 0;
	}
	return -ENOTTY;
}

static __poll_t program_poll(struct file *file, poll_table *poll)
{
	struct program *program = file->private_data;

	poll_wait(file, &program->wait, poll);
	return READ_ONCE(program->changed) ? EPOLLIN | EPOLLRDNORM : 0;
}

static void program_free(struct program *program)
{
	unsigned int q;

	for (q = 0; q < program->queues; q++) {
		call_drop(program, q);
		if (program->kicks[q])
			eventfd_ctx_put(program->kicks[q]);
	}
	kfree(program);
}

static int program_release(struct inode *inode, struct file *file)
{
	struct program *program = file->private_data;

	slot_detach(program->slot->index);
	program_free(program);
	return 0;
}

static const struct file_operations program_file_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = program_ioctl,
	.poll = program_poll,
	.release = program_release,
};

int program_create(const struct backend_create *what)
{
	struct slot *slot = slot_get(what->slot);
	struct program *program;
	struct file *file;
	int fd, error;

	if (!slot || !what->queues || what->queues > LICHEN_QUEUES ||
		what->config_length > BACKEND_CONFIG_BYTES)
		return -EINVAL;
	program = kzalloc(sizeof(*program), GFP_KERNEL);
	if (!program)
		return -ENOMEM;
	program->slot = slot;
	program->queues = what->queues;
	program->changed = true;
	mutex_init(&program->lock);
	init_waitqueue_head(&program->wait);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		kfree(program);
		return fd;
	}
	error = slot_attach(&(struct slot_attach){
		.slot = what->slot,
		.device_id = what->device_id,
		.queues = what->queues,
		.queue_max = what->queue_max,
		.features = what->features,
		.config = what->config,
		.config_length = what->config_length,
		.operations = &program_operations,
		.owner = program,
	});
	if (error) {
		put_unused_fd(fd);
		kfree(program);
		return error;
	}
	file = anon_inode_getfile("[lichen-device]", &program_file_operations, program, O_RDWR);
	if (IS_ERR(file)) {
		slot_detach(what->slot);
		put_unused_fd(fd);
		kfree(program);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}
