/* SPDX-License-Identifier: MIT */
/* linux/shm.h includes it for a default of SHMALL that nothing here uses. */
