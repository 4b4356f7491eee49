/* SPDX-License-Identifier: MIT */
/*
 * A PL011 that is always ready to send and never receives (Arm DDI 0183).
 */
#include "log.h"
#include "uart.h"

#define PL011_DR      0x00
#define PL011_FR      0x18
#define PL011_FR_IDLE 0x90 /* both FIFOs are empty */

static struct range uart_window;

void uart_init(const struct range *window)
{
	uart_window = *window;
}

bool uart_access(struct domain *domain, struct mmio *mmio)
{
	char c = mmio->value;

	if (domain != driver_domain || !range_contains(&uart_window, mmio->addr, mmio->size))
		return false;
	mmio->offset = mmio->addr - uart_window.base;
	if (mmio->write && mmio->offset == PL011_DR)
		log_domain(domain, &c, 1);
	mmio->value = mmio->offset == PL011_FR ? PL011_FR_IDLE : 0;
	return true;
}
