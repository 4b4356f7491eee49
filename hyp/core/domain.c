/* SPDX-License-Identifier: MIT */
/*
 * The life of domains: start, stop, power.
 */
#include <string.h>

#include "boot.h"
#include "domain.h"
#include "gic.h"
#include "log.h"
#include "mmu.h"
#include "psci.h"
#include "text.h"
#include "virtio.h"

#define COMPLAINTS_ALL 24 /* then only every power of two */
#define OFF_PATIENCE_S 10

struct domain domains[HYP_DOMAINS];
u32 domain_count;
struct domain *driver_domain;

static bool backend_ready;
static bool
	end_requested; /* the frontends asked for the machine's end: the driver domain may bring it */

static struct cpu *boot_cpu(const struct domain *domain)
{
	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i))
			return &cpus[i];
	return NULL; /* config_parse saw to it that there is one */
}

void domain_start(struct domain *domain)
{
	struct cpu *cpu = boot_cpu(domain);
	long err;

	spin_lock(&domain->lock);
	if (domain->state != DOMAIN_WAITING) {
		spin_unlock(&domain->lock);
		return;
	}
	if (domain != driver_domain && !boot_make_tree(domain)) {
		domain->state = DOMAIN_DOWN;
		spin_unlock(&domain->lock);
		log_line("%s: its device tree does not fit", domain->config->name);
		return;
	}
	domain->state = DOMAIN_RUNNING;
	cpu->entry = domain->entry;
	cpu->context = domain->dtb;
	cpu->state = CPU_STARTING;
	spin_unlock(&domain->lock);
	if (cpu == this_cpu())
		cpu_enter_domain(cpu);
	err = cpu_start(cpu);
	if (err) {
		cpu->state = CPU_OFF;
		domain->state = DOMAIN_DOWN;
		log_line("%s: the firmware did not start CPU %u (%ld)", domain->config->name,
			cpu->index, err);
	}
}

void domain_backend_ready(void)
{
	if (!backend_ready)
		log_line("%s: serves, %lu us after reset", driver_domain->config->name,
			microseconds());
	backend_ready = true;
	for (u32 i = 0; i < domain_count; i++)
		domain_start(&domains[i]);
}

static bool frontend_runs(void)
{
	for (u32 i = 0; i < domain_count; i++)
		if (&domains[i] != driver_domain && domains[i].state == DOMAIN_RUNNING)
			return true;
	return false;
}

static void machine_end(bool reset)
{
	if (reset)
		machine_reset();
	machine_off();
}

static void driver_power(bool reset)
{
	if (end_requested || !frontend_runs())
		machine_end(reset);
	log_line("%s: the driver domain turned itself off: its devices are gone",
		driver_domain->config->name);
	domain_stop(driver_domain);
	virtio_backend_gone();
}

/* The driver domain has work to finish (caches of disks) before the machine may go. This CPU has none left. */
static void wait_for_driver(bool reset)
{
	virtio_post_machine(reset ? LICHEN_MACHINE_REBOOT : LICHEN_MACHINE_OFF);
	gic_sleep(OFF_PATIENCE_S);
	log_line("%s did not end the machine in %u s", driver_domain->config->name, OFF_PATIENCE_S);
	machine_end(reset);
}

void domain_power(struct domain *domain, bool reset)
{
	if (domain == driver_domain) {
		driver_power(reset);
		return;
	}
	log_line("%s: %s", domain->config->name, reset ? "reset" : "power off");
	domain_stop(domain);
	virtio_frontend_gone(domain);
	if (frontend_runs())
		return;
	end_requested = true;
	if (!backend_ready || driver_domain->state != DOMAIN_RUNNING)
		machine_end(reset);
	wait_for_driver(reset);
}

void domain_complain(struct domain *domain, const char *format, ...)
{
	u32 n = __atomic_add_fetch(&domain->faults, 1, __ATOMIC_RELAXED);
	char text[160];
	va_list args;

	if (n > COMPLAINTS_ALL && n & (n - 1))
		return;
	va_start(args, format);
	text_vformat(text, sizeof(text), format, args);
	va_end(args);
	if (n >= COMPLAINTS_ALL)
		log_line(
			"%s: %s (complaint %u; most are not shown)", domain->config->name, text, n);
	else
		log_line("%s: %s", domain->config->name, text);
}
