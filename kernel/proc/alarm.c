/* SPDX-License-Identifier: MIT */
#include "alarm.h"
#include "proc.h"
#include <linux/time.h>

/*
 * A kernel timer knows the monotonic clock alone. Alarms on CLOCK_REALTIME are in a list and armed anew when it is set. CPU
 * time passes at most as fast as all CPUs together: the timer rings when it could have come, and looks.
 */
static spinlock_t realtime_lock = SPINLOCK_INIT;
static struct list realtime_alarms = LIST_INIT(realtime_alarms);
struct wait_queue clock_set_queue = WAIT_QUEUE_INIT(clock_set_queue);

#define CPU_CHECK_MIN 1000000 /* ns */

static void alarm_expire(struct timer *timer)
{
	struct alarm *alarm = container_of(timer, struct alarm, timer);

	alarm->ring(alarm);
}

void alarm_init(struct alarm *alarm, int clock, void (*ring)(struct alarm *alarm))
{
	timer_init(&alarm->timer, alarm_expire);
	alarm->ring = ring;
	alarm->clock = clock;
	alarm->next = alarm->interval = 0;
	list_init(&alarm->realtime_node);
}

static nsec_t alarm_now(struct alarm *alarm)
{
	if (alarm->clock == ALARM_CPU)
		return alarm->now(alarm);
	return clock_is_realtime(alarm->clock) ? time_realtime() : time_monotonic();
}

static void alarm_arm(struct alarm *alarm, nsec_t now)
{
	nsec_t left = alarm->next > now ? alarm->next - now : 0;

	if (alarm->clock == ALARM_CPU)
		left = max_t(nsec_t, left / cpu_count(), CPU_CHECK_MIN);
	timer_start(&alarm->timer, deadline_after(left));
}

static void realtime_link(struct alarm *alarm, bool in)
{
	unsigned long flags;

	if (!clock_is_realtime(alarm->clock))
		return;
	flags = spin_lock_irqsave(&realtime_lock);
	list_remove(&alarm->realtime_node);
	if (in)
		list_add(&realtime_alarms, &alarm->realtime_node);
	spin_unlock_irqrestore(&realtime_lock, flags);
}

void alarm_set(struct alarm *alarm, nsec_t value, nsec_t interval, bool absolute)
{
	nsec_t now = alarm_now(alarm);

	alarm->interval = interval;
	if (!value) {
		alarm->next = 0; /* a timer that is armed still finds nothing due */
		realtime_link(alarm, false);
		return;
	}
	alarm->next = absolute ? value : value >= TIME_FOREVER - now ? TIME_FOREVER : now + value;
	realtime_link(alarm, absolute);
	alarm_arm(alarm, now);
}

nsec_t alarm_left(struct alarm *alarm)
{
	nsec_t now;

	if (!alarm->next)
		return 0;
	now = alarm_now(alarm);
	return alarm->next > now ? alarm->next - now : 1;
}

bool alarm_due(struct alarm *alarm)
{
	nsec_t now;

	if (!alarm->next)
		return false;
	now = alarm_now(alarm);
	if (now < alarm->next) {
		alarm_arm(alarm, now);
		return false;
	}
	if (!alarm->interval) {
		alarm->next = 0;
		realtime_link(alarm, false);
	}
	return true;
}

u64 alarm_forward(struct alarm *alarm)
{
	nsec_t now;
	u64 periods = 1;

	if (!alarm->next || !alarm->interval)
		return 0;
	now = alarm_now(alarm);
	if (now > alarm->next)
		periods += (now - alarm->next) / alarm->interval;
	alarm->next += periods * alarm->interval;
	alarm_arm(alarm, now);
	return periods;
}

void alarm_cancel(struct alarm *alarm)
{
	realtime_link(alarm, false);
	timer_cancel(&alarm->timer);
}

void alarms_clock_was_set(void)
{
	unsigned long flags = spin_lock_irqsave(&realtime_lock);
	struct alarm *alarm;

	list_for_each(alarm, &realtime_alarms, realtime_node)
		timer_start(&alarm->timer, time_monotonic()); /* rings now, looks, and is armed for what is left */
	spin_unlock_irqrestore(&realtime_lock, flags);
	wait_wake_all(&clock_set_queue);
}
