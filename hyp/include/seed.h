/* SPDX-License-Identifier: MIT */
/*
 * Turns the firmware's one random seed into one for each domain, so that no domain can tell another's.
 */
#ifndef HYP_SEED_H
#define HYP_SEED_H

#include "types.h"

/* `size` up to 64 bytes for `stream`, from a key of up to 32 bytes: a block of ChaCha20 (RFC 8439, 2.3). */
void seed_expand(const u8 *key, size_t key_size, u32 stream, u8 *to, size_t size);

#endif
