// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * For tests only: /dev/physical maps any physical page into a program, as device memory. So a
 * program tries from inside the driver domain what a hostile Linux could try, and survives the
 * answer as a signal.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static int physical_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return remap_pfn_range(
		vma, vma->vm_start, vma->vm_pgoff, vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct file_operations physical_operations = {
	.owner = THIS_MODULE,
	.mmap = physical_mmap,
};

static struct miscdevice physical = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "physical",
	.mode = 0600,
	.fops = &physical_operations,
};
module_misc_device(physical);

MODULE_DESCRIPTION("Tests: physical memory for programs");
MODULE_LICENSE("Dual MIT/GPL");
