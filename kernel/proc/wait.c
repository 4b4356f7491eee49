/* SPDX-License-Identifier: MIT */
/* wait4 and waitid: the parent learns of its children's ends, stops and continues. Reference: wait(2). */
#include "proc.h"
#include "pidfd.h"
#include <linux/wait.h>

/* What one scan finds, and what the caller then reports. */
struct wait_result {
	pid_t pid;
	uid_t uid;
	int code;   /* CLD_* */
	int status; /* si_status */
	int wait_status;
	struct usage usage;
};

struct wait_query {
	int type; /* P_PID, P_PGID, P_ALL; P_PIDFD has become P_PID with `process` */
	pid_t id;
	u32 options;
};

static bool wait_matches(const struct wait_query *query, const struct process *child)
{
	if (query->type == P_PID && child->pid != query->id)
		return false;
	if (query->type == P_PGID && child->group->id != query->id)
		return false;
	/* A "clone" child is one that does not report with SIGCHLD. */
	if (!(query->options & __WALL) && (child->exit_signal != SIGCHLD) != !!(query->options & __WCLONE))
		return false;
	return true;
}

static void wait_report(struct wait_result *result, struct process *child, int code, int status) REQUIRES(process_lock)
{
	struct thread *thread = process_thread_locked(child);

	result->pid = child->pid;
	result->uid = thread ? thread->cred->uid : child->exit_uid;
	result->code = code;
	result->status = status;
	process_usage_locked(child, &result->usage);
	usage_add(&result->usage, &child->children_usage);
}

/* True if this child has something to report. *dead: the zombie that was taken. */
static bool wait_child(const struct wait_query *query, struct process *child, struct wait_result *result, struct process **dead) REQUIRES(process_lock)
{
	bool keep = query->options & WNOWAIT;

	if (child->state == PROCESS_ZOMBIE && (query->options & WEXITED)) {
		int status = child->exit_status;

		if (!(status & 0x7f))
			wait_report(result, child, CLD_EXITED, status >> 8);
		else
			wait_report(result, child, status & 0x80 ? CLD_DUMPED : CLD_KILLED, status & 0x7f);
		result->wait_status = status;
		if (!keep) {
			usage_add(&child->parent->children_usage, &result->usage);
			process_unlink(child);
			*dead = child;
		}
		return true;
	}
	if (child->state == PROCESS_STOPPED && !child->stop_reported && (query->options & WSTOPPED)) {
		wait_report(result, child, CLD_STOPPED, child->stop_signal);
		result->wait_status = child->stop_signal << 8 | 0x7f;
		if (!keep)
			child->stop_reported = true;
		return true;
	}
	if (child->continued && (query->options & WCONTINUED)) {
		wait_report(result, child, CLD_CONTINUED, SIGCONT);
		result->wait_status = 0xffff;
		if (!keep)
			child->continued = false;
		return true;
	}
	return false;
}

/* The pid; 0: none yet; -ECHILD. */
static long wait_scan(struct process *process, const struct wait_query *query, struct wait_result *result)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *child, *dead = NULL;
	long found = -ECHILD;

	list_for_each(child, &process->children, child_node) {
		if (!wait_matches(query, child))
			continue;
		if (wait_child(query, child, result, &dead)) {
			found = result->pid;
			break;
		}
		found = 0;
	}
	spin_unlock_irqrestore(&process_lock, flags);
	if (dead)
		process_put(dead);
	return found;
}

ASYNC(wait_children, struct wait_query *query; struct wait_result *result; u32 ticket;)
{
	struct process *process = thread_of(self)->process;
	long found;

	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&process->children_changed);
		found = wait_scan(process, f->query, f->result);
		if (found || (f->query->options & WNOHANG))
			ASYNC_RETURN(found);
		AWAIT(wait_on, .queue = &process->children_changed, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTSYS);
	}
	ASYNC_END;
}

void usage_to_user(struct rusage *r, const struct usage *usage)
{
	memset(r, 0, sizeof(*r));
	r->ru_utime.tv_sec = usage->user / NSEC_PER_SEC;
	r->ru_utime.tv_usec = usage->user % NSEC_PER_SEC / 1000;
	r->ru_stime.tv_sec = usage->system / NSEC_PER_SEC;
	r->ru_stime.tv_usec = usage->system % NSEC_PER_SEC / 1000;
	r->ru_maxrss = usage->max_rss * (PAGE_SIZE / 1024);
	r->ru_minflt = usage->minor;
	r->ru_majflt = usage->major;
	r->ru_inblock = usage->blocks_in;
	r->ru_oublock = usage->blocks_out;
	r->ru_nvcsw = usage->voluntary;
	r->ru_nivcsw = usage->involuntary;
}

SYSCALL_ASYNC(wait4, 4, SYS_ARG(pid_t, pid) SYS_ARG(int __user *, status) SYS_ARG(int, options) SYS_ARG(struct rusage __user *, usage)
	struct wait_query query; struct wait_result result; struct rusage rusage; pid_t found;)
{
	ASYNC_BEGIN;
	if (f->options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		ASYNC_RETURN(-EINVAL);
	if (f->pid == INT32_MIN)
		ASYNC_RETURN(-ESRCH);
	f->query.options = f->options | WEXITED;
	if (f->pid > 0) {
		f->query.type = P_PID;
		f->query.id = f->pid;
	} else if (f->pid == -1) {
		f->query.type = P_ALL;
	} else {
		f->query.type = P_PGID;
		f->query.id = f->pid ? -f->pid : process_group_id(thread_of(self)->process);
	}
	AWAIT(wait_children, .query = &f->query, .result = &f->result);
	if (RESULT <= 0)
		ASYNC_RETURN(RESULT);
	f->found = RESULT;
	if (f->usage) {
		usage_to_user(&f->rusage, &f->result.usage);
		COPY_OUT(f->usage, f->rusage);
	}
	if (f->status)
		COPY_OUT(f->status, f->result.wait_status);
	ASYNC_RETURN(f->found);
	ASYNC_END;
}

SYSCALL_ASYNC(waitid, 5, SYS_ARG(int, type) SYS_ARG(pid_t, id) SYS_ARG(siginfo_t __user *, info) SYS_ARG(int, options)
	SYS_ARG(struct rusage __user *, usage) struct wait_query query; struct wait_result result; struct rusage rusage; siginfo_t out;)
{
	long pid;

	ASYNC_BEGIN;
	if ((f->options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)) ||
		!(f->options & (WEXITED | WSTOPPED | WCONTINUED)))
		ASYNC_RETURN(-EINVAL);
	f->query = (struct wait_query){f->type, f->id, f->options};
	if (f->type == P_PGID && !f->id) {
		f->query.id = process_group_id(thread_of(self)->process);
	} else if (f->type == P_PIDFD) {
		if (f->id < 0)
			ASYNC_RETURN(-EINVAL);
		pid = pidfd_pid(f->id);
		if (pid < 0)
			ASYNC_RETURN(pid);
		f->query.type = P_PID;
		f->query.id = pid;
	} else if (f->type != P_ALL && (f->id <= 0 || (f->type != P_PID && f->type != P_PGID))) {
		ASYNC_RETURN(-EINVAL);
	}
	AWAIT(wait_children, .query = &f->query, .result = &f->result);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (RESULT > 0) {
		f->out.si_signo = SIGCHLD;
		f->out.si_code = f->result.code;
		f->out.si_pid = f->result.pid;
		f->out.si_uid = f->result.uid;
		f->out.si_status = f->result.status;
		if (f->usage) {
			usage_to_user(&f->rusage, &f->result.usage);
			COPY_OUT(f->usage, f->rusage);
		}
	}
	/* Linux writes these fields alone; the rest of the caller's siginfo stays. */
	if (f->info) {
		AWAIT(copy_out, .to = f->info, .from = &f->out, .n = offsetof(siginfo_t, _sifields._sigchld._utime));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}
