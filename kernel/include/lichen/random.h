/* SPDX-License-Identifier: MIT */
/* Random numbers; random_bytes and random_add are in irq.h. */
#ifndef LICHEN_RANDOM_H
#define LICHEN_RANDOM_H

#include <lichen/types.h>

/* Enough entropy has come in: what random_bytes gives cannot be guessed. */
bool random_ready(void);

#endif
