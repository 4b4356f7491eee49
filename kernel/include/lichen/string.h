/* SPDX-License-Identifier: MIT */
/* The C library's string functions, as far as the kernel uses them. */
#ifndef LICHEN_STRING_H
#define LICHEN_STRING_H
#include <lichen/types.h>
#ifdef LICHEN_HOST_BUILD
#include <string.h>
#include <strings.h>
#else
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t n);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *s, const char *what);
unsigned long strtoul(const char *s, char **end, int base);
#endif
/* Always terminated; true if it fitted. */
bool string_copy(char *to, size_t bytes, const char *from);
void page_copy(void *to, const void *from); /* one page */
void page_zero(void *to);
#endif
