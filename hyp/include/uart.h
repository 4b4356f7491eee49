/* SPDX-License-Identifier: MIT */
/*
 * The console's PL011 as the driver domain sees it: it can be written to, so that an early console works. Its characters join the domain's log.
 */
#ifndef HYP_UART_H
#define HYP_UART_H

#include "domain.h"
#include "gic.h"

void uart_init(const struct range *window);
/* True: the access was the UART's and is done. */
bool uart_access(struct domain *domain, struct mmio *mmio);

#endif
