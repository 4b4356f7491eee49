/* SPDX-License-Identifier: MIT */
/* Included first in every file: all symbols are of this image, so none is reached through a table. */
#pragma GCC visibility push(hidden)
