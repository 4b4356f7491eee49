/* SPDX-License-Identifier: MIT */
/* Who am I, and where: numbers, names, the machine. Calls that only read or set a field. */
#include "proc.h"
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sysinfo.h>
#include <linux/utsname.h>

SYSCALL(getpid)
{
	return current_thread()->process->pid;
}

SYSCALL(gettid)
{
	return current_thread()->tid;
}

/* Read without the lock: a parent that ends hands its children over before its memory goes, and slab memory stays readable. */
SYSCALL(getppid)
{
	struct process *parent = __atomic_load_n(&current_thread()->process->parent, __ATOMIC_RELAXED);

	return parent ? parent->pid : 0;
}

/* --- uname --- */

#define NAME_BYTES 65

static char hostname[NAME_BYTES] = "lichen", domainname[NAME_BYTES] = "(none)";
static spinlock_t names_lock = SPINLOCK_INIT;

void system_names(char *host, char *domain, size_t bytes)
{
	unsigned long flags = spin_lock_irqsave(&names_lock);

	string_copy(host, bytes, hostname);
	string_copy(domain, bytes, domainname);
	spin_unlock_irqrestore(&names_lock, flags);
}

static void fill_uname(struct new_utsname *u)
{
	memset(u, 0, sizeof(*u));
	/* Programs, glibc first, ask for a Linux that is new enough: 6.12 is the one whose calls are here. */
	string_copy(u->sysname, sizeof(u->sysname), "Linux");
	string_copy(u->release, sizeof(u->release),
		current_thread()->process->personality & UNAME26 ? "2.6.60-lichen" : SYSTEM_RELEASE);
	string_copy(u->version, sizeof(u->version), SYSTEM_VERSION);
	string_copy(u->machine, sizeof(u->machine), "aarch64");
	system_names(u->nodename, u->domainname, NAME_BYTES);
}

SYSCALL_ASYNC(uname, 1, SYS_ARG(struct new_utsname __user *, out) struct new_utsname *u; long error;)
{
	ASYNC_BEGIN;
	f->u = kmalloc(sizeof(*f->u));
	if (!f->u)
		ASYNC_RETURN(-ENOMEM);
	fill_uname(f->u);
	AWAIT(copy_out, .to = f->out, .from = f->u, .n = sizeof(*f->u));
	f->error = RESULT;
	kfree(f->u);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static void name_set(char *name, const char *from, size_t n)
{
	unsigned long flags = spin_lock_irqsave(&names_lock);

	memcpy(name, from, n);
	name[n] = 0;
	spin_unlock_irqrestore(&names_lock, flags);
}

long system_name_set(const char *name, size_t n, bool domain)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	name_set(domain ? domainname : hostname, name, n);
	return 0;
}

SYSCALL_ASYNC(sethostname, 2, SYS_ARG(const char __user *, name) SYS_ARG(int, n) char buffer[NAME_BYTES];)
{
	ASYNC_BEGIN;
	if (!capable(CAP_SYS_ADMIN))
		ASYNC_RETURN(-EPERM);
	if (f->n < 0 || f->n >= NAME_BYTES)
		ASYNC_RETURN(-EINVAL);
	AWAIT(copy_in, .to = f->buffer, .from = f->name, .n = f->n);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	name_set(hostname, f->buffer, f->n);
	ASYNC_END;
}

SYSCALL_ASYNC(setdomainname, 2, SYS_ARG(const char __user *, name) SYS_ARG(int, n) char buffer[NAME_BYTES];)
{
	ASYNC_BEGIN;
	if (!capable(CAP_SYS_ADMIN))
		ASYNC_RETURN(-EPERM);
	if (f->n < 0 || f->n >= NAME_BYTES)
		ASYNC_RETURN(-EINVAL);
	AWAIT(copy_in, .to = f->buffer, .from = f->name, .n = f->n);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	name_set(domainname, f->buffer, f->n);
	ASYNC_END;
}

/* --- the machine --- */

SYSCALL_ASYNC(sysinfo, 1, SYS_ARG(struct sysinfo __user *, out) struct sysinfo info;)
{
	struct memory_info memory;
	u64 load[3];

	ASYNC_BEGIN;
	memory_info(&memory);
	load_average(load);
	f->info.uptime = time_monotonic() / NSEC_PER_SEC;
	for (int i = 0; i < 3; i++)
		f->info.loads[i] = load[i] << (SI_LOAD_SHIFT - 11);
	f->info.totalram = memory.total;
	f->info.freeram = memory.free;
	f->info.procs = thread_count();
	f->info.mem_unit = PAGE_SIZE;
	COPY_OUT(f->out, f->info);
	ASYNC_END;
}

SYSCALL_ASYNC(getrandom, 3, SYS_ARG(char __user *, to) SYS_ARG(size_t, n) SYS_ARG(u32, flags) size_t done; u32 step; u8 buffer[64];)
{
	ASYNC_BEGIN;
	if (f->flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
		(f->flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		ASYNC_RETURN(-EINVAL);
	f->n = min_t(size_t, f->n, INT32_MAX);
	while (f->done < f->n) {
		f->step = min_t(size_t, f->n - f->done, sizeof(f->buffer));
		random_bytes(f->buffer, f->step);
		AWAIT(copy_out, .to = f->to + f->done, .from = f->buffer, .n = f->step);
		if (RESULT < 0) {
			memset(f->buffer, 0, sizeof(f->buffer));
			ASYNC_RETURN(f->done ? f->done : RESULT);
		}
		f->done += f->step;
		if (f->done % 65536 == 0 && task_should_yield(self))
			AWAIT(task_yield);
		if (f->done % 65536 == 0 && task_signalled(self))
			break;
	}
	memset(f->buffer, 0, sizeof(f->buffer));
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

SYSCALL(reboot, u32, magic1, u32, magic2, u32, command, void __user *, arg)
{
	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (magic1 != LINUX_REBOOT_MAGIC1 || (magic2 != LINUX_REBOOT_MAGIC2 && magic2 != LINUX_REBOOT_MAGIC2A &&
						     magic2 != LINUX_REBOOT_MAGIC2B && magic2 != LINUX_REBOOT_MAGIC2C))
		return -EINVAL;
	switch (command) {
	case LINUX_REBOOT_CMD_RESTART:
	case LINUX_REBOOT_CMD_RESTART2:
		log_info("restarting");
		machine_restart();
	case LINUX_REBOOT_CMD_POWER_OFF:
	case LINUX_REBOOT_CMD_HALT:
		log_info("powering off");
		machine_off();
	case LINUX_REBOOT_CMD_CAD_ON:
	case LINUX_REBOOT_CMD_CAD_OFF: /* there are no such keys */
		return 0;
	}
	return -EINVAL;
}

SYSCALL(personality, u32, persona)
{
	struct process *process = current_thread()->process;
	u32 old = process->personality;

	if (persona != 0xffffffff)
		process->personality = persona;
	return old;
}

/* Nobody can trace yet: to a debugger it looks as if it may not. */
SYSCALL(ptrace, long, request, pid_t, pid, u64, address, u64, data)
{
	return -EPERM;
}

/* --- prctl --- */

SYSCALL_ASYNC(prctl, 5, SYS_ARG(int, option) SYS_ARG(u64, a) SYS_ARG(u64, b) SYS_ARG(u64, c) SYS_ARG(u64, d) char name[TASK_NAME_BYTES];
	int value; long error;)
{
	struct thread *thread = thread_of(self);
	struct process *process = thread->process;

	ASYNC_BEGIN;
	f->error = cred_prctl(thread, f->option, f->a, f->b);
	if (f->error != -ENOSYS)
		ASYNC_RETURN(f->error);
	if (f->option == PR_SET_NAME) {
		AWAIT(copy_string_in, .to = f->name, .from = (const char __user *)f->a, .bytes = sizeof(f->name));
		if (RESULT < 0 && RESULT != -ENAMETOOLONG)
			ASYNC_RETURN(RESULT);
		f->name[sizeof(f->name) - 1] = 0;
		string_copy(thread->name, sizeof(thread->name), f->name);
		ASYNC_RETURN(0);
	}
	if (f->option == PR_GET_NAME) {
		string_copy(f->name, sizeof(f->name), thread->name);
		COPY_OUT((void __user *)f->a, f->name);
		ASYNC_RETURN(0);
	}
	if (f->option == PR_GET_PDEATHSIG || f->option == PR_GET_CHILD_SUBREAPER || f->option == PR_GET_TID_ADDRESS) {
		if (f->option == PR_GET_TID_ADDRESS) {
			AWAIT(copy_out, .to = (void __user *)f->a, .from = &thread->clear_child_tid, .n = sizeof(u64));
			ASYNC_RETURN(RESULT);
		}
		f->value = f->option == PR_GET_PDEATHSIG ? thread->pdeath_signal : process->child_subreaper;
		COPY_OUT((void __user *)f->a, f->value);
		ASYNC_RETURN(0);
	}
	switch (f->option) {
	case PR_SET_PDEATHSIG:
		if (f->a > 64)
			ASYNC_RETURN(-EINVAL);
		thread->pdeath_signal = f->a;
		ASYNC_RETURN(0);
	case PR_SET_CHILD_SUBREAPER:
		process->child_subreaper = f->a;
		ASYNC_RETURN(0);
	case PR_GET_DUMPABLE:
		ASYNC_RETURN(thread->mm->dumpable);
	case PR_SET_DUMPABLE:
		if (f->a > 1)
			ASYNC_RETURN(-EINVAL);
		thread->mm->dumpable = f->a;
		ASYNC_RETURN(0);
	case PR_GET_TIMERSLACK:
		ASYNC_RETURN(thread->timer_slack);
	case PR_SET_TIMERSLACK:
		thread->timer_slack = f->a && f->a <= UINT32_MAX ? f->a : 50000;
		ASYNC_RETURN(0);
	case PR_GET_TIMING:
		ASYNC_RETURN(PR_TIMING_STATISTICAL);
	case PR_SET_TIMING:
		ASYNC_RETURN(f->a == PR_TIMING_STATISTICAL ? 0 : -EINVAL);
	case PR_GET_SECCOMP:
		ASYNC_RETURN(0); /* none */
	case PR_SET_PTRACER: /* what Yama would do; EINVAL is its absence */
	default:
		ASYNC_RETURN(-EINVAL);
	}
	ASYNC_END;
}
