/* SPDX-License-Identifier: MIT */
/*
 * Alarms: a moment on some clock, once or again and again. setitimer, timer_create and timerfd are built on them. The owner's
 * lock guards an alarm's fields; `ring` is called in interrupt context without it, takes it, and asks alarm_due().
 */
#ifndef PROC_ALARM_H
#define PROC_ALARM_H

#include <lichen/process.h>
#include <lichen/timer.h>

struct alarm {
	struct timer timer;
	void (*ring)(struct alarm *alarm);
	int clock; /* CLOCK_*; ALARM_CPU: what `now` says */
	/* CPU clocks: the time now, ns; the owner's lock is held. */
	nsec_t (*now)(struct alarm *alarm);
	nsec_t next, interval; /* on the clock; next 0: not set */
	struct list realtime_node; /* alarms that a clock_settime may move */
};
enum { ALARM_CPU = -1 };

void alarm_init(struct alarm *alarm, int clock, void (*ring)(struct alarm *alarm));
/* Sets it to ring `value` ns from now, or at `value` if absolute; 0 turns it off. The owner's lock held. */
void alarm_set(struct alarm *alarm, nsec_t value, nsec_t interval, bool absolute);
/* What is left, ns: at least 1 while it is set; 0: off. */
nsec_t alarm_left(struct alarm *alarm);
/*
 * In `ring`: has it come? False: not yet (CPU time, a clock set back, or it was changed meanwhile); it is armed again. True: a
 * single one is off now, a periodic one waits for alarm_forward.
 */
bool alarm_due(struct alarm *alarm);
/* A periodic one goes on: how many periods have passed (at least 1), and it is armed for the next. 0: off. */
u64 alarm_forward(struct alarm *alarm);
/* It will not ring any more, and is not ringing. Without the owner's lock. */
void alarm_cancel(struct alarm *alarm);

#endif
