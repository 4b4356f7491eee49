/* SPDX-License-Identifier: MIT */
/* Cyclic redundancy checks, as file systems and partition tables use them. Any context. */
#ifndef LICHEN_CRC_H
#define LICHEN_CRC_H

#include <lichen/types.h>

/* CRC-32 (IEEE 802.3) of bytes that follow those with checksum `crc`; 0 to begin. */
u32 crc32(u32 crc, const void *bytes, size_t n);
/* CRC-32C (Castagnoli) without its final inversion: begin with ~0. */
u32 crc32c(u32 crc, const void *bytes, size_t n);

#endif
