// SPDX-License-Identifier: MIT
/*
 * A hostile driver domain. Started as its first program: loads physical.ko, then reads and writes
 * what is not its own, with every access size:
 *
 *     RAM that is not in its memory map: the hypervisor's and Lichen's
 *     the redistributors of other CPUs, the hypervisor's UART, holes of the address space
 *     SPIs that belong to others, in the distributor
 *
 * Each access must end in an external abort (SIGBUS here) or have no effect. Then it becomes /init,
 * so that the machine boots, and a child tries everything again while Lichen runs. One line each on
 * the kernel's log: "isolation: PASS ..." or "isolation: FAIL ...".
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RAM_START    0x40000000ul
#define FOREIGN_SPIS 8 /* a frontend has eight slots unless its configuration says otherwise */
#define GICD	     0x08000000ul
#define GICR	     0x080a0000ul
#define GICR_FRAME   0x20000ul
#define UART	     0x09000000ul
#define HOLE	     0x0b000000ul

static int kmsg, physical;
static sigjmp_buf escape;
static unsigned long tried, aborted, failures;
static const char *phase;

static void say(const char *format, ...)
{
	char line[300];
	va_list arguments;
	int n = snprintf(line, sizeof(line), "<5>isolation: ");

	va_start(arguments, format);
	n += vsnprintf(line + n, sizeof(line) - n, format, arguments);
	va_end(arguments);
	if (write(kmsg, line, n) < 0)
		_exit(1);
}

static void fail(const char *format, unsigned long address, unsigned int size)
{
	failures++;
	if (failures <= 20)
		say(format, phase, address, size);
}

static void on_abort(int number)
{
	(void)number;
	siglongjmp(escape, 1);
}

static volatile unsigned char *map(unsigned long address)
{
	void *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, physical, address & ~4095ul);

	if (page == MAP_FAILED) {
		say("FAIL cannot map %lx: %s", address, strerror(errno));
		_exit(1);
	}
	return (volatile unsigned char *)page + (address & 4095);
}

static void unmap(volatile unsigned char *at)
{
	munmap((void *)((uintptr_t)at & ~4095ul), 4096);
}

/* One access; true if it came back. `value` is stored, or loaded. */
static bool access_once(volatile unsigned char *at, unsigned int size, bool write, uint64_t *value)
{
	tried++;
	if (sigsetjmp(escape, 1)) {
		aborted++;
		return false;
	}
	if (write) {
		switch (size) {
		case 1:
			asm volatile("strb %w0, [%1]" ::"r"(*value), "r"(at) : "memory");
			break;
		case 2:
			asm volatile("strh %w0, [%1]" ::"r"(*value), "r"(at) : "memory");
			break;
		case 4:
			asm volatile("str %w0, [%1]" ::"r"(*value), "r"(at) : "memory");
			break;
		case 8:
			asm volatile("str %0, [%1]" ::"r"(*value), "r"(at) : "memory");
			break;
		case 16:
			asm volatile("stp %0, %0, [%1]" ::"r"(*value), "r"(at) : "memory");
			break;
		}
	} else {
		switch (size) {
		case 1:
			asm volatile("ldrb %w0, [%1]" : "=r"(*value) : "r"(at) : "memory");
			break;
		case 2:
			asm volatile("ldrh %w0, [%1]" : "=r"(*value) : "r"(at) : "memory");
			break;
		case 4:
			asm volatile("ldr %w0, [%1]" : "=r"(*value) : "r"(at) : "memory");
			break;
		case 8:
			asm volatile("ldr %0, [%1]" : "=r"(*value) : "r"(at) : "memory");
			break;
		case 16:
			asm volatile("ldp %0, xzr, [%1]" : "=r"(*value) : "r"(at) : "memory");
			break;
		}
	}
	return true;
}

/* Memory: every load and store must abort. */
static void try_memory(unsigned long address)
{
	volatile unsigned char *at = map(address);

	for (unsigned int size = 1; size <= 16; size *= 2) {
		uint64_t value = 0;

		if (access_once(at, size, false, &value))
			fail("FAIL %s: %lx was read, %u bytes", address, size);
		value = 0xdeadbeefdeadbeef;
		if (access_once(at, size, true, &value))
			fail("FAIL %s: %lx was written, %u bytes", address, size);
	}
	unmap(at);
}

/*
 * Devices: loads may answer (zero, an identification), stores must change nothing that loads can
 * see.
 */
static void try_device(unsigned long address)
{
	volatile unsigned char *at = map(address);

	for (unsigned int size = 1; size <= 16; size *= 2) {
		uint64_t before = 0, after = 0, value = 0xffffffffffffffff;
		bool read = access_once(at, size, false, &before);

		access_once(at, size, true, &value);
		if (read && access_once(at, size, false, &after) && before != after)
			fail("FAIL %s: a store changed %lx, %u bytes", address, size);
	}
	unmap(at);
}

struct range {
	unsigned long start, end; /* inclusive */
};

/* Every range that Linux knows as its own: those of /proc/iomem at top level. */
static unsigned int iomem(struct range *ranges, unsigned int most)
{
	FILE *file = fopen("/proc/iomem", "r");
	unsigned int n = 0;
	char line[256];

	while (file && n < most && fgets(line, sizeof(line), file))
		if (line[0] != ' ' &&
			sscanf(line, "%lx-%lx", &ranges[n].start, &ranges[n].end) == 2)
			n++;
	if (file)
		fclose(file);
	/*
	 * The window that the hypervisor shares with us, before its driver claims it: pairs of
	 * address and size.
	 */
	file = fopen("/sys/firmware/devicetree/base/lichen-backend/reg", "r");
	for (uint64_t pair[2]; file && n < most && fread(pair, sizeof(pair), 1, file) == 1; n++) {
		ranges[n].start = be64toh(pair[0]);
		ranges[n].end = ranges[n].start + be64toh(pair[1]) - 1;
	}
	if (file)
		fclose(file);
	return n;
}

static bool ours(const struct range *ranges, unsigned int n, unsigned long address)
{
	for (unsigned int i = 0; i < n; i++)
		if (address >= ranges[i].start && address <= ranges[i].end)
			return true;
	return false;
}

static void try_all(const char *name, unsigned long ram, unsigned int cpus)
{
	static struct range ranges[256];
	unsigned int n = iomem(ranges, 256);
	unsigned long foreign = 0, refused = 0;

	phase = name;
	failures = tried = aborted = 0;
	/* In steps that meet every range of 64 KiB, and both ends of the RAM. */
	for (unsigned long address = RAM_START; address < RAM_START + ram; address += 65536) {
		unsigned long page = address + (address >> 16) % 16 * 4096;

		if (ours(ranges, n, page))
			continue;
		foreign++;
		try_memory(page);
	}
	if (!foreign)
		say("FAIL %s: all RAM is said to be ours", phase);
	try_memory(RAM_START + ram); /* behind it */
	for (unsigned int cpu = 1; cpu < cpus; cpu++) {
		try_device(GICR + cpu * GICR_FRAME + 0x0014);		/* GICR_WAKER */
		try_device(GICR + cpu * GICR_FRAME + 0x10000 + 0x0100); /* GICR_ISENABLER0 */
		try_device(GICR + cpu * GICR_FRAME + 0x10000 + 0x0200); /* GICR_ISPENDR0 */
	}
	try_device(UART + 0x24); /* baud rate */
	try_device(HOLE);
	try_device(HOLE + 0x12340);
	/*
	 * SPIs that we do not own read as zero, and stay it: at least those of the frontend's
	 * devices.
	 */
	for (unsigned long reg = 0x104; reg < 0x104 + 8 * 4; reg += 4) {
		volatile unsigned char *at = map(GICD + reg);
		uint64_t before = 0, all = 0xffffffff, after = 0;

		if (access_once(at, 4, false, &before) && access_once(at, 4, true, &all) &&
			access_once(at, 4, false, &after))
			refused += 32 - __builtin_popcount(after);
		/* What we enabled and did not use before is put back. */
		all = after & ~before;
		unmap(at);
		at = map(GICD + reg + 0x80);
		access_once(at, 4, true, &all);
		unmap(at);
	}
	if (refused < FOREIGN_SPIS)
		fail("FAIL %s: only %lu SPIs cannot be enabled (%u bytes)", refused, 4);
	say("%s %s: %lu places of foreign memory, %lu accesses, %lu aborts, %lu failures",
		failures ? "FAIL" : "PASS", phase, foreign, tried, aborted, failures);
}

/* What Linux's command line has and Linux does not know is init's environment. */
static unsigned long parameter(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

int main(void)
{
	unsigned long ram = parameter("isolation_ram", 1ul << 30);
	unsigned int cpus = parameter("isolation_cpus", 2);
	int module;

	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mkdir("/sys", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	module = open("/test/physical.ko", O_RDONLY | O_CLOEXEC);
	if (module < 0 || syscall(SYS_finit_module, module, "", 0))
		say("FAIL physical.ko: %s", strerror(errno));
	physical = open("/dev/physical", O_RDWR | O_CLOEXEC);
	if (physical < 0)
		say("FAIL /dev/physical: %s", strerror(errno));
	signal(SIGBUS, on_abort);
	signal(SIGSEGV, on_abort);
	try_all("before Lichen runs", ram, cpus);
	if (!fork()) {
		sleep(1);
		try_all("while Lichen runs", ram, cpus);
		_exit(0);
	}
	execl("/init", "/init", NULL);
	say("FAIL /init: %s", strerror(errno));
	return 1;
}
