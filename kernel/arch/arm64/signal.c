/* SPDX-License-Identifier: MIT */
/*
 * The signal frame on the user's stack, bit for bit Linux's (arch/arm64, struct rt_sigframe: siginfo, ucontext with sigcontext,
 * then records in its reserved bytes; the frame record of x29 and x30 above it), and the way back from it. What comes back is
 * the program's, and is checked like any argument.
 */
#include "../../proc/proc.h"
#include <linux/signal.h>
#include <asm/sigcontext.h>
#include <asm/ptrace.h>
/* Linux names a member as we name an attribute. */
#undef __unused
#include <asm/ucontext.h>
#define __unused __attribute__((unused))
#include <arch/sysreg.h>

struct signal_frame {
	siginfo_t info;
	struct ucontext uc;
};

/* Above the frame: what unwinders follow. */
struct frame_record {
	u64 fp, lr;
};

/* What Linux 6.12 has; AT_MINSIGSTKSZ says frame + record + 16 (exec.h). */
_Static_assert(sizeof(struct signal_frame) == 4688, "the size of Linux's struct rt_sigframe");

/* Only this much of the reserved bytes is ever used: vector state, syndrome, end mark. */
#define RECORDS_BYTES (sizeof(struct fpsimd_context) + sizeof(struct esr_context) + sizeof(struct _aarch64_ctx))
#define FRAME_USED (offsetof(struct signal_frame, uc.uc_mcontext.__reserved) + RECORDS_BYTES)

#define PSTATE_KEPT  (PSR_N_BIT | PSR_Z_BIT | PSR_C_BIT | PSR_V_BIT)

/* --- contexts of new threads and programs --- */

void arch_start_program(struct user_context *user, u64 entry, u64 stack)
{
	memset(user->x, 0, sizeof(user->x));
	user->pc = entry;
	user->sp = stack;
	user->pstate = PSR_MODE_EL0t;
}

void arch_clone_context(struct user_context *child, const struct user_context *parent, u64 stack)
{
	*child = *parent;
	child->fp_cpu = 0;
	child->x[0] = 0;
	if (stack)
		child->sp = stack;
}

void arch_restart_call(struct thread *thread, bool by_restart_syscall)
{
	thread->user.pc -= 4;
	thread->user.x[0] = thread->syscall_x0;
	if (by_restart_syscall)
		thread->user.x[8] = __NR_restart_syscall;
}

bool arch_on_stack(const struct user_context *user, u64 start, u64 size)
{
	return user->sp > start && user->sp - start <= size;
}

/* --- into the handler --- */

static u64 stack_for(const struct thread *thread, const struct signal_action *action)
{
	u64 sp = thread->user.sp;

	if ((action->flags & SA_ONSTACK) && thread->altstack_size &&
		((thread->altstack_flags & SS_AUTODISARM) ||
			!arch_on_stack(&thread->user, thread->altstack_sp, thread->altstack_size)))
		sp = thread->altstack_sp + thread->altstack_size;
	return sp;
}

static u32 altstack_state(const struct thread *thread)
{
	if (!thread->altstack_size)
		return SS_DISABLE;
	if (thread->altstack_flags & SS_AUTODISARM)
		return SS_AUTODISARM;
	return arch_on_stack(&thread->user, thread->altstack_sp, thread->altstack_size) ? SS_ONSTACK : 0;
}

static void fill_frame(struct signal_frame *frame, struct thread *thread, const struct signal_enter_handler_frame *f)
{
	struct user_context *user = &thread->user;
	struct sigcontext *sc = &frame->uc.uc_mcontext;
	struct fpsimd_context *fp = (void *)sc->__reserved;
	struct esr_context *esr;
	struct _aarch64_ctx *end = (void *)(fp + 1);

	memset(frame, 0, FRAME_USED);
	frame->info = f->info;
	frame->uc.uc_stack.ss_sp = (void *)thread->altstack_sp;
	frame->uc.uc_stack.ss_size = thread->altstack_size;
	frame->uc.uc_stack.ss_flags = altstack_state(thread);
	memcpy(&frame->uc.uc_sigmask, &f->mask, sizeof(f->mask));
	memcpy(sc->regs, user->x, sizeof(sc->regs));
	sc->sp = user->sp;
	sc->pc = user->pc;
	sc->pstate = user->pstate;
	sc->fault_address = thread->fault_address;

	thread_fp_save(thread);
	fp->head.magic = FPSIMD_MAGIC;
	fp->head.size = sizeof(*fp);
	fp->fpsr = user->fp.fpsr;
	fp->fpcr = user->fp.fpcr;
	memcpy(fp->vregs, user->fp.v, sizeof(fp->vregs));
	if (thread->fault_syndrome) {
		esr = (void *)end;
		esr->head.magic = ESR_MAGIC;
		esr->head.size = sizeof(*esr);
		esr->esr = thread->fault_syndrome;
		end = (void *)(esr + 1);
	}
	end->magic = 0;
	end->size = 0;
}

ASYNC_DEFINE(signal_enter_handler)
{
	struct user_context *user = &f->thread->user;
	struct signal_frame frame;
	struct frame_record record;

	ASYNC_BEGIN;
	/* record, then frame, each on a multiple of 16 */
	f->next = align_down(stack_for(f->thread, &f->action) - sizeof(record), 16);
	f->at = align_down(f->next, 16) - align_up(sizeof(frame), 16);
	if (f->next > USER_END || f->at > f->next)
		ASYNC_RETURN(-EFAULT);
	/* A stack that overflows the alternate one must not be written beyond it. */
	if (arch_on_stack(user, f->thread->altstack_sp, f->thread->altstack_size) && f->thread->altstack_size &&
		!(f->thread->altstack_flags & SS_AUTODISARM) && f->at < f->thread->altstack_sp)
		ASYNC_RETURN(-EFAULT);
	for (;;) {
		fill_frame(&frame, f->thread, f);
		record = (struct frame_record){user->x[29], user->x[30]};
		if (!copy_to_user((void __user *)f->at, &frame, FRAME_USED) &&
			!copy_to_user((void __user *)f->next, &record, sizeof(record)))
			break;
		AWAIT(fault_in, .address = (void __user *)f->at, .n = f->next + sizeof(record) - f->at, .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	user->x[0] = f->signal;
	if (f->action.flags & SA_SIGINFO) {
		user->x[1] = f->at + offsetof(struct signal_frame, info);
		user->x[2] = f->at + offsetof(struct signal_frame, uc);
	}
	user->x[29] = f->next;
	user->x[30] = f->action.flags & SA_RESTORER ? f->action.restorer : f->thread->mm->vdso + vdso.sigreturn;
	user->sp = f->at;
	user->pc = f->action.handler;
	if (f->thread->altstack_flags & SS_AUTODISARM) {
		f->thread->altstack_sp = f->thread->altstack_size = 0;
		f->thread->altstack_flags = SS_DISABLE;
	}
	ASYNC_END;
}

/* --- and back --- */

static bool read_user(void *to, u64 from, size_t n, u64 *missing)
{
	size_t left = copy_from_user(to, (const void __user *)from, n);

	if (left)
		*missing = from + n - left;
	return !left;
}

enum restore { RESTORE_OK, RESTORE_FAULT, RESTORE_BAD };

/* The records after the registers: vector state must be there, once; others are known, or the frame is bad. */
static enum restore restore_records(struct user_context *user, u64 at, u64 *missing)
{
	u64 limit = at + sizeof(((struct sigcontext *)0)->__reserved);
	bool found = false;

	for (;;) {
		struct fpsimd_context fp;
		struct _aarch64_ctx head;

		if (limit - at < sizeof(head))
			return RESTORE_BAD;
		if (!read_user(&head, at, sizeof(head), missing))
			return RESTORE_FAULT;
		if (!head.magic && !head.size)
			return found ? RESTORE_OK : RESTORE_BAD;
		if (head.size < sizeof(head) || head.size % 16 || head.size > limit - at)
			return RESTORE_BAD;
		switch (head.magic) {
		case FPSIMD_MAGIC:
			if (found || head.size != sizeof(fp))
				return RESTORE_BAD;
			if (!read_user(&fp, at, sizeof(fp), missing))
				return RESTORE_FAULT;
			found = true;
			memcpy(user->fp.v, fp.vregs, sizeof(fp.vregs));
			user->fp.fpsr = fp.fpsr;
			user->fp.fpcr = fp.fpcr;
			break;
		case ESR_MAGIC:
			break;
		default:
			return RESTORE_BAD;
		}
		at += head.size;
	}
}

/*
 * As Linux does it: the mask, then the registers, then the checks: a handler of the SIGSEGV that a bad frame gives sees what was
 * in it, made harmless.
 */
static enum restore restore_frame(struct thread *thread, u64 at, stack_t *stack, u64 *missing)
{
	struct user_context *user = &thread->user;
	struct signal_frame frame; /* the part up to the records */
	struct sigcontext *sc = &frame.uc.uc_mcontext;
	u64 mask;

	if (at % 16 || !user_range_ok((void __user *)at, sizeof(frame)))
		return RESTORE_BAD;
	if (!read_user(&frame, at, offsetof(struct signal_frame, uc.uc_mcontext.__reserved), missing))
		return RESTORE_FAULT;
	memcpy(&mask, &frame.uc.uc_sigmask, sizeof(mask));
	signal_mask_set(thread, mask);
	memcpy(user->x, sc->regs, sizeof(user->x));
	user->sp = sc->sp;
	user->pc = sc->pc;
	user->pstate = sc->pstate & PSTATE_KEPT;
	/* Only user mode, 64 bit, interrupts on. */
	if (sc->pstate & (PSR_MODE32_BIT | PSR_MODE_MASK | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT))
		return RESTORE_BAD;
	*stack = frame.uc.uc_stack;
	return restore_records(user, at + offsetof(struct signal_frame, uc.uc_mcontext.__reserved), missing);
}

/* Whether anything is mapped there; a tree that somebody changes just now counts as yes. */
static int segv_code(struct mm *mm, u64 address)
{
	int code = SEGV_ACCERR;
	struct vma *vma;

	if (!rwlock_try_read(&mm->lock))
		return code;
	vma = vma_find(mm, address);
	if (!vma || vma->start > address)
		code = SEGV_MAPERR;
	rwlock_read_unlock(&mm->lock);
	return code;
}

SYSCALL_ASYNC(rt_sigreturn, 0, u64 at; u64 missing; stack_t stack;)
{
	struct thread *thread = thread_of(self);
	enum restore outcome;

	ASYNC_BEGIN;
	f->at = thread->user.sp;
	for (;;) {
		outcome = restore_frame(thread, f->at, &f->stack, &f->missing);
		if (outcome != RESTORE_FAULT)
			break;
		AWAIT(fault_in, .address = (void __user *)f->missing, .n = 1);
		if (RESULT < 0) {
			outcome = RESTORE_BAD;
			break;
		}
	}
	thread->restart_fn = NULL;
	thread->syscall = -1; /* x0 is the program's own, whatever it looks like */
	if (outcome == RESTORE_BAD) {
		signal_force(thread, SIGSEGV, segv_code(thread->mm, thread->user.sp), thread->user.sp);
		ASYNC_RETURN(0);
	}
	thread_fp_reload(thread);
	altstack_set(thread, f->stack.ss_flags, (u64)f->stack.ss_sp, f->stack.ss_size);
	ASYNC_END;
}

/* --- exceptions that are the program's own --- */

/* The exceptions that the unit reports as trapped (Arm ARM D19.2.37, ISS encoding for a trapped FP exception). */
static int fp_exception_code(u64 esr)
{
	if (!(esr & (1 << 23))) /* TFV: the bits below say nothing */
		return FPE_FLTUNK;
	if (esr & 1)
		return FPE_FLTINV;
	if (esr & 2)
		return FPE_FLTDIV;
	if (esr & 4)
		return FPE_FLTOVF;
	if (esr & 8)
		return FPE_FLTUND;
	return esr & 16 ? FPE_FLTRES : FPE_FLTUNK;
}

/* What the next signal frames say about the cause. */
static void note_cause(struct thread *thread, u64 address, u64 esr)
{
	thread->fault_address = address;
	thread->fault_syndrome = esr;
}

void thread_exception(struct thread *thread, u64 esr, u64 address)
{
	u64 pc = thread->user.pc;

	switch (ESR_EC(esr)) {
	case EC_BRK:
		signal_force(thread, SIGTRAP, TRAP_BRKPT, pc);
		return;
	case EC_BREAKPOINT_USER:
	case EC_WATCHPOINT_USER:
		signal_force(thread, SIGTRAP, TRAP_HWBKPT, ESR_EC(esr) == EC_BREAKPOINT_USER ? pc : address);
		return;
	case EC_STEP_USER:
		signal_force(thread, SIGTRAP, TRAP_TRACE, pc);
		return;
	case EC_PC_ALIGNMENT:
	case EC_SP_ALIGNMENT:
		note_cause(thread, 0, esr);
		signal_force(thread, SIGBUS, BUS_ADRALN, ESR_EC(esr) == EC_PC_ALIGNMENT ? address : thread->user.sp);
		return;
	case EC_FP_EXCEPTION:
		signal_force(thread, SIGFPE, fp_exception_code(esr), pc);
		return;
	case EC_INSTRUCTION_ABORT_USER:
	case EC_DATA_ABORT_USER:
		note_cause(thread, 0, esr);
		if (ESR_FSC(esr) == 0x21)
			signal_force(thread, SIGBUS, BUS_ADRALN, address);
		else if (ESR_FSC(esr) < 4)
			signal_force(thread, SIGSEGV, SEGV_MAPERR, address);
		else
			signal_force(thread, SIGBUS, BUS_OBJERR, address);
		return;
	case EC_SERROR:
		signal_force(thread, SIGBUS, BUS_OBJERR, pc);
		return;
	default: /* undefined instructions, system registers, illegal state */
		note_cause(thread, 0, 0);
		signal_force(thread, SIGILL, ILL_ILLOPC, pc);
	}
}
