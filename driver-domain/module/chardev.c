// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * /dev/lichen: the way in for programs of the driver domain (see backend.h). Mapping the shared
 * memory gives them the very pages, counted as pages, so that direct I/O works on the mapping.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include "lichen.h"

static u64 machine_bits;
static DECLARE_WAIT_QUEUE_HEAD(machine_wait);

void chardev_machine(u64 bits)
{
	atomic64_or(bits, (atomic64_t *)&machine_bits);
	wake_up_interruptible(&machine_wait);
}

static ssize_t chardev_read(struct file *file, char __user *to, size_t length, loff_t *at)
{
	u64 bits;
	int error;

	if (length < sizeof(bits))
		return -EINVAL;
	while (!(bits = xchg((u64 *)&machine_bits, 0))) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		error = wait_event_interruptible(machine_wait, READ_ONCE(machine_bits));
		if (error)
			return error;
	}
	slots_report();
	return copy_to_user(to, &bits, sizeof(bits)) ? -EFAULT : sizeof(bits);
}

static __poll_t chardev_poll(struct file *file, poll_table *poll)
{
	poll_wait(file, &machine_wait, poll);
	return READ_ONCE(machine_bits) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* The file offset of a region is its physical address: unique, and page aligned. */
static vm_fault_t chardev_fault(struct vm_fault *fault)
{
	u64 address = (u64)fault->pgoff << PAGE_SHIFT;
	void *data = pool_translate(NULL, address, PAGE_SIZE);

	if (!data)
		return VM_FAULT_SIGBUS;
	/* The fault handler's caller takes over the reference and maps the page. */
	fault->page = virt_to_page(data);
	get_page(fault->page);
	return 0;
}

static const struct vm_operations_struct chardev_vm_operations = {
	.fault = chardev_fault,
};

static int chardev_mmap(struct file *file, struct vm_area_struct *vma)
{
	u64 length = vma->vm_end - vma->vm_start;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (length > U32_MAX || !pool_translate(NULL, (u64)vma->vm_pgoff << PAGE_SHIFT, length))
		return -ENXIO;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &chardev_vm_operations;
	return 0;
}

static long chardev_block(void __user *user)
{
	struct backend_block arg;
	struct file *file;
	long error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	file = fget(arg.fd);
	if (!file)
		return -EBADF;
	error = block_attach(&arg, file);
	fput(file);
	return error;
}

static long chardev_echo(void __user *user)
{
	struct backend_echo arg;

	return copy_from_user(&arg, user, sizeof(arg)) ? -EFAULT : echo_attach(&arg);
}

static long chardev_create(void __user *user)
{
	struct backend_create *arg = memdup_user(user, sizeof(*arg));
	long fd;

	if (IS_ERR(arg))
		return PTR_ERR(arg);
	fd = program_create(arg);
	kfree(arg);
	return fd;
}

static long chardev_ioctl(struct file *file, unsigned int cmd, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	struct backend_region region;
	struct backend_info info;

	switch (cmd) {
	case BACKEND_INFO:
		info.slots = lichen_window.slots;
		info.channels = lichen_window.channels;
		info.regions = pool_regions();
		info.frontend_cpus = READ_ONCE(lichen_window.control->frontend_cpus);
		return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
	case BACKEND_REGION:
		if (copy_from_user(&region, user, sizeof(region)))
			return -EFAULT;
		if (pool_region(region.index, &region.start, &region.length))
			return -EINVAL;
		region.offset = region.start;
		return copy_to_user(user, &region, sizeof(region)) ? -EFAULT : 0;
	case BACKEND_BLOCK:
		return chardev_block(user);
	case BACKEND_ECHO:
		return chardev_echo(user);
	case BACKEND_CREATE:
		return chardev_create(user);
	case BACKEND_READY:
		return hypercall(LICHEN_HVC_BACKEND_READY, 0, 0, 0, 0, 0);
	case BACKEND_DRAINED:
		return consoles_drained();
	}
	return -ENOTTY;
}

static const struct file_operations chardev_operations = {
	.owner = THIS_MODULE,
	.read = chardev_read,
	.poll = chardev_poll,
	.mmap = chardev_mmap,
	.unlocked_ioctl = chardev_ioctl,
};

static struct miscdevice chardev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lichen",
	.mode = 0600,
	.fops = &chardev_operations,
};

int chardev_start(void)
{
	return misc_register(&chardev);
}

void chardev_stop(void)
{
	misc_deregister(&chardev);
}
