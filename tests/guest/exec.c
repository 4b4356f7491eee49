// SPDX-License-Identifier: MIT
// cflags: -Wno-stringop-overread
// execve: what it refuses and why, scripts, arguments and their limits, what survives and what does not.
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

extern char **environ;
static const char *self;

static void put(const char *name, const void *data, size_t n, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);

	CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n && fchmod(fd, mode) == 0);
	close(fd);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text), 0700);
}

/* The error of an execve that should fail, from a process that then goes on. */
static void refuse(const char *what, const char *path, char *const argv[], char *const env[])
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		execve(path, argv, env);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status))
		printf("%s: %s\n", what, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ran");
	else
		printf("%s: killed\n", what);
	fflush(stdout);
}

static char *const no_argv[] = {"name", NULL}, *const no_env[] = {NULL};

static void run(const char *what, const char *path, char *const argv[], char *const env[])
{
	pid_t child;
	int status;

	printf("%s:\n", what);
	fflush(stdout);
	child = fork();
	if (!child) {
		execve(path, argv, env);
		printf("  %s\n", strerrorname_np(errno));
		fflush(stdout);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("  status %#x\n", status);
	fflush(stdout);
}

static void files(void)
{
	char long_name[300];

	memset(long_name, 'x', sizeof(long_name));
	long_name[299] = 0;
	refuse("missing", "no-such-file", no_argv, no_env);
	refuse("empty name", "", no_argv, no_env);
	refuse("bad name", (char *)8, no_argv, no_env);
	refuse("long name", long_name, no_argv, no_env);
	refuse("directory", ".", no_argv, no_env);
	refuse("device", "/dev/null", no_argv, no_env);
	put("plain", "x", 1, 0600);
	refuse("no x", "plain", no_argv, no_env);
	refuse("not a directory", "plain/x", no_argv, no_env);
	put("plain", "", 0, 0700);
	refuse("empty", "plain", no_argv, no_env);
	put("plain", "garbage that is long enough to be a header, but is none, whatever one thinks of it", 80, 0700);
	refuse("garbage", "plain", no_argv, no_env);
	refuse("bad argv", self, (char *const *)8, no_env);
	char *bad[] = {"a", (char *)8, NULL};
	refuse("bad argument", self, bad, no_env);
	refuse("bad environment", self, no_argv, bad);
	symlink("loop", "loop");
	refuse("loop", "loop", no_argv, no_env);
	unlink("loop");
	/* being written */
	int fd = open("plain", O_WRONLY);
	refuse("written to", "plain", no_argv, no_env);
	close(fd);
	unlink("plain");
}

static void scripts(void)
{
	char text[600];
	char *argv[] = {"zero", "one", "two", NULL};

	snprintf(text, sizeof(text), "#!%s --show\n", self);
	put_text("script", text);
	run("script with an argument", "./script", argv, no_env);
	snprintf(text, sizeof(text), "#!  %s   --show  more words \t \nxx", self);
	put_text("script", text);
	run("blanks", "./script", argv, no_env);
	snprintf(text, sizeof(text), "#!./script nested\n");
	put_text("script2", text);
	run("nested", "./script2", argv, no_env);
	put_text("script", "#!./script\n");
	run("endless", "./script", argv, no_env);
	put_text("script", "#!\n");
	run("no interpreter", "./script", argv, no_env);
	put_text("script", "#!   \n");
	run("blank interpreter", "./script", argv, no_env);
	put_text("script", "#!/no/such/interpreter\n");
	run("missing interpreter", "./script", argv, no_env);
	memset(text, 'x', sizeof(text));
	memcpy(text, "#!/", 3);
	text[400] = 0;
	put_text("script", text);
	run("long interpreter", "./script", argv, no_env);
	snprintf(text, sizeof(text), "#!%s --show", self);
	put_text("script", text);
	run("no end of line", "./script", argv, no_env);
	char *none[] = {NULL};
	snprintf(text, sizeof(text), "#!%s --show\n", self);
	put_text("script", text);
	run("script without arguments", "./script", none, no_env);
	unlink("script");
	unlink("script2");
}

/* A program of our own making: exits with 42. */
static struct image {
	Elf64_Ehdr header;
	Elf64_Phdr program[4];
	uint32_t code[4];
	char name[64];
} image;

static void image_make(void)
{
	image = (struct image){
		.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_AARCH64,
			.e_version = EV_CURRENT,
			.e_entry = 0x400000 + offsetof(struct image, code),
			.e_phoff = offsetof(struct image, program),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1},
		.program[0] = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000, .p_filesz = sizeof(image),
			.p_memsz = sizeof(image), .p_align = 0x10000},
		.code = {0xd2800540, 0xd2800ba8, 0xd4000001, 0}, /* mov x0, #42; mov x8, #93; svc #0 */
	};
}

static void try_image(const char *what)
{
	put("image", &image, sizeof(image), 0700);
	refuse(what, "./image", no_argv, no_env);
	image_make();
}

static void elf(void)
{
	int status;
	pid_t child;

	image_make();
	put("image", &image, sizeof(image), 0700);
	fflush(stdout);
	child = fork();
	if (!child) {
		execve("./image", no_argv, no_env);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("a tiny program: %#x\n", status);
	image.header.e_machine = EM_X86_64;
	try_image("other machine");
	image.header.e_ident[EI_CLASS] = ELFCLASS32;
	image.header.e_machine = EM_ARM;
	try_image("32 bit");
	image.header.e_type = ET_REL;
	try_image("relocatable");
	image.header.e_phentsize = 55;
	try_image("odd header size");
	image.header.e_phnum = 0;
	try_image("no headers");
	image.header.e_phnum = 60000;
	try_image("too many headers");
	image.header.e_phoff = 1 << 20;
	try_image("headers beyond the end");
	image.header.e_phoff = -8;
	try_image("headers nowhere");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 20};
	strcpy(image.name, "/no/such/loader-----");
	try_image("interpreter without end");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 20};
	strcpy(image.name, "/no/such/loader----");
	try_image("missing interpreter");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 1};
	try_image("interpreter without a name");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 1 << 20, .p_filesz = 20};
	try_image("interpreter beyond the end");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 0, .p_filesz = 5000};
	try_image("interpreter with a long name");
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 10};
	strcpy(image.name, "/dev/null");
	try_image("interpreter that is a device");
	put("not-elf", "x", 1, 0700);
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 10};
	strcpy(image.name, "./not-elf");
	try_image("interpreter that is too short");
	put("not-elf", &image, sizeof(image), 0700);
	image.header.e_phnum = 2;
	image.program[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct image, name), .p_filesz = 10};
	strcpy(image.name, "./not-elf");
	unlink("not-elf");
	/* What comes after these is not the same everywhere (Linux finds out when it is too late and kills); here only
	 * that they do not run. */
	static const struct {
		const char *what;
		uint64_t vaddr, offset, filesz, memsz;
	} bad[] = {
		{"memory smaller than file", 0x400000, 0, 4096, 100},
		{"beyond user memory", 0xffff000000000000ul, 0, 100, 100},
		{"wraps", 0xfffffffffffff000ul, 0, 0x2000, 0x2000},
		{"offset does not fit the page", 0x400000, 8, 100, 100},
		{"huge", 0x400000, 0, 1ul << 50, 1ul << 50},
		{"huge memory", 0x400000, 0, 100, 1ul << 47},
		{"page zero", 0, 0, 100, 100},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		image.program[0].p_vaddr = bad[i].vaddr;
		image.program[0].p_offset = bad[i].offset;
		image.program[0].p_filesz = bad[i].filesz;
		image.program[0].p_memsz = bad[i].memsz;
		put("image", &image, sizeof(image), 0700);
		child = fork();
		if (!child) {
			execve("./image", no_argv, no_env);
			_exit(1);
		}
		waitpid(child, &status, 0);
		printf("%s: %s\n", bad[i].what, WIFEXITED(status) && WEXITSTATUS(status) == 42 ? "ran" : "did not run");
		image_make();
	}
	/* bss: the rest of the last page, and more, is zero */
	image.program[0].p_flags = PF_R | PF_W | PF_X;
	image.program[0].p_memsz = 0x5000;
	image.program[0].p_filesz = offsetof(struct image, name);
	strcpy(image.name, "garbage");
	image.code[0] = 0x58000040 + 0; /* replaced below */
	/* ldr w0, [pc, #16]; mov x8, #93; svc: the word at name must be 0 */
	image.code[0] = 0x18000080;
	put("image", &image, sizeof(image), 0700);
	child = fork();
	if (!child) {
		execve("./image", no_argv, no_env);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("bss begins in the file's page: %#x\n", status);
	unlink("image");
}

static void arguments(void)
{
	static char big[200000];
	char *argv[4] = {"zero", big, NULL, NULL};
	struct rlimit limit, old;
	char **many;

	memset(big, 'x', sizeof(big));
	big[131071] = 0;
	argv[0] = "--length";
	run("the longest argument", self, argv, no_env);
	big[131071] = 'x';
	big[131072] = 0;
	refuse("one byte longer", self, argv, no_env);
	big[100000] = 0;
	getrlimit(RLIMIT_STACK, &old);
	many = calloc(100, sizeof(char *));
	many[0] = "--length";
	for (int i = 1; i < 20; i++)
		many[i] = big;
	run("two million", self, many, no_env);
	many[20] = many[21] = big;
	refuse("more than a quarter of the stack", self, many, no_env);
	limit = old;
	limit.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_STACK, &limit);
	many[3] = NULL;
	run("a small stack", self, many, no_env);
	many[3] = big;
	refuse("a small stack's quarter", self, many, no_env);
	setrlimit(RLIMIT_STACK, &old);
	char *none[] = {NULL};
	run("no argv", self, none, no_env);
	run("NULL argv", self, NULL, NULL);
	char *env[] = {"ONE=1", "TWO=2", "", "nonsense", NULL};
	char *show[] = {"--show", "a", "", "c", NULL};
	run("environment", self, show, env);
	free(many);
}

static void handler(int signal)
{
	(void)signal;
}

static void *sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* What survives. */
static void survivors(void)
{
	int status, p[2];
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		sigset_t set;
		stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
		struct itimerval timer = {.it_value = {100, 0}};
		timer_t id;
		char *argv[] = {"--survivors", NULL};
		pthread_t thread;

		CHECK(pipe(p) == 0);
		dup2(p[0], 50);
		dup2(p[1], 51);
		fcntl(51, F_SETFD, FD_CLOEXEC);
		signal(SIGUSR1, SIG_IGN);
		signal(SIGUSR2, handler);
		sigemptyset(&set);
		sigaddset(&set, SIGRTMIN);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		kill(getpid(), SIGTERM);
		sigaltstack(&stack, NULL);
		setitimer(ITIMER_REAL, &timer, NULL);
		timer_create(CLOCK_MONOTONIC, NULL, &id);
		umask(0127);
		setpriority(PRIO_PROCESS, 0, 7);
		prctl(PR_SET_NAME, "other");
		prctl(PR_SET_PDEATHSIG, SIGUSR1);
		pthread_create(&thread, NULL, sleep_on, NULL);
		execv(self, argv);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("survivors: %#x\n", status);
}

static int show_survivors(void)
{
	struct sigaction action;
	sigset_t set;
	stack_t stack;
	struct itimerval timer;
	struct itimerspec spec;
	char name[16];
	int value = 99;
	uint64_t mask;

	printf("descriptors %d %d\n", fcntl(50, F_GETFD), fcntl(51, F_GETFD));
	sigaction(SIGUSR1, NULL, &action);
	printf("ignored stays %d\n", action.sa_handler == SIG_IGN);
	sigaction(SIGUSR2, NULL, &action);
	printf("handled becomes default %d\n", action.sa_handler == SIG_DFL);
	sigprocmask(SIG_BLOCK, NULL, &set);
	memcpy(&mask, &set, 8);
	printf("mask %#lx\n", mask);
	sigpending(&set);
	printf("pending SIGTERM %d\n", sigismember(&set, SIGTERM));
	sigaltstack(NULL, &stack);
	printf("altstack %d\n", stack.ss_flags);
	getitimer(ITIMER_REAL, &timer);
	printf("itimer runs %d\n", timer.it_value.tv_sec > 90);
	printf("posix timer %d\n", (int)syscall(SYS_timer_gettime, 0, &spec));
	printf("umask %#o nice %d\n", umask(0), getpriority(PRIO_PROCESS, 0));
	prctl(PR_GET_NAME, name);
	printf("named after the program %d\n", !strcmp(name, strrchr(self, '/') ? strrchr(self, '/') + 1 : self));
	prctl(PR_GET_PDEATHSIG, &value);
	printf("death signal %d\n", value);
	printf("one thread %d\n", (int)getpid() == (int)gettid());
	return 0;
}

/* The vector on the stack, and what getauxval says of it. */
static int show_arguments(int argc, char **argv)
{
	static const int keys[] = {AT_PHENT, AT_PAGESZ, AT_CLKTCK, AT_FLAGS, AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE,
		AT_MINSIGSTKSZ};

	for (int i = 1; i < argc; i++)
		printf("  argv[%d] = [%s]\n", i, strlen(argv[i]) < 100 && strcmp(argv[i], self) ? argv[i] : "...");
	for (char **e = environ; *e; e++)
		printf("  env [%s]\n", *e);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		printf(" %d=%lu", keys[i], getauxval(keys[i]));
	printf("\n  platform %s, random %d, entry %d, phdr %d, base %d, vdso %d\n", (char *)getauxval(AT_PLATFORM),
		getauxval(AT_RANDOM) != 0, getauxval(AT_ENTRY) != 0, getauxval(AT_PHDR) != 0, getauxval(AT_BASE) == 0,
		getauxval(AT_SYSINFO_EHDR) != 0);
	printf("  path [%s]\n", strcmp((char *)getauxval(AT_EXECFN), self) ? (char *)getauxval(AT_EXECFN) : "...");
	char **after = argv + argc + 1;
	while (*after)
		after++;
	printf("  auxv follows: %d; argc below argv: %d; aligned %d\n", after[1] == (char *)AT_SYSINFO_EHDR,
		((long *)argv)[-1] == argc, (uintptr_t)(argv - 1) % 16 == 0);
	return 0;
}

static void at_calls(void)
{
	char *show[] = {"--show", NULL};
	int fd = open(self, O_PATH | O_CLOEXEC), status;
	pid_t child;

	for (int way = 0; way < 4; way++) {
		printf("execveat %d\n", way);
		fflush(stdout);
		child = fork();
		if (!child) {
			switch (way) {
			case 0:
				syscall(SYS_execveat, AT_FDCWD, self, show, no_env, 0);
				break;
			case 1:
				syscall(SYS_execveat, fd, "", show, no_env, AT_EMPTY_PATH);
				break;
			case 2:
				syscall(SYS_execveat, fd, "", show, no_env, 0);
				break;
			case 3:
				syscall(SYS_execveat, fd, "", show, no_env, 0x12345);
				break;
			}
			printf("  %s\n", strerrorname_np(errno));
			fflush(stdout);
			_exit(1);
		}
		waitpid(child, &status, 0);
	}
	symlink(self, "link");
	refuse("through a link", "./link", show, no_env);
	child = fork();
	if (!child)
		_exit(syscall(SYS_execveat, AT_FDCWD, "link", show, no_env, AT_SYMLINK_NOFOLLOW) ? errno : 0);
	waitpid(child, &status, 0);
	printf("not through a link: %s\n", strerrorname_np(WEXITSTATUS(status)));
	unlink("link");
	close(fd);
}

static void credentials(void)
{
	static char copy[4 << 20];
	char *argv[] = {"--ids", NULL};
	int fd = open(self, O_RDONLY), status;
	ssize_t n = read(fd, copy, sizeof(copy));
	pid_t child;

	close(fd);
	CHECK(n > 0);
	for (int way = 0; way < 4; way++) {
		put("set-id", copy, n, 0755);
		CHECK(chown("set-id", 1234, 4321) == 0);
		CHECK(chmod("set-id", way == 0 ? 0755 : way == 1 ? 06755 : way == 2 ? 02745 : 06755) == 0);
		chmod(".", 0777);
		fflush(stdout);
		child = fork();
		if (!child) {
			setresgid(50, 50, 50);
			setresuid(60, 60, 60);
			if (way == 3)
				prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			execve("./set-id", argv, no_env);
			printf("  %s\n", strerrorname_np(errno));
			fflush(stdout);
			_exit(1);
		}
		waitpid(child, &status, 0);
	}
	unlink("set-id");
}

int main(int argc, char **argv)
{
	static char path[300];

	if (argc == 0 || !argv[0])
		return 77;
	if (!strcmp(argv[0], ""))
		return argc == 1 && environ && !*environ ? 78 : 79;
	self = (char *)getauxval(AT_EXECFN);
	if (!strcmp(argv[0], "--length")) {
		size_t sum = 0;

		for (int i = 0; i < argc; i++)
			sum += strlen(argv[i]) + 1;
		printf("  %d arguments, %zu bytes\n", argc, sum);
		return 0;
	}
	if (!strcmp(argv[0], "--survivors"))
		return show_survivors();
	if (!strcmp(argv[0], "--ids")) {
		uid_t r, e, s;
		gid_t g[3];

		getresuid(&r, &e, &s);
		getresgid(&g[0], &g[1], &g[2]);
		printf("  %d %d %d, %d %d %d, secure %lu\n", r, e, s, g[0], g[1], g[2], getauxval(AT_SECURE));
		return 0;
	}
	if (!strcmp(argv[0], "--show") || (argc > 1 && !strcmp(argv[1], "--show")) || (argc > 1 && strstr(argv[1], "--show ")))
		return show_arguments(argc, argv);
	CHECK(realpath(argv[0], path) || readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	self = path;
	char directory[] = "/tmp/exec-XXXXXX";
	CHECK(mkdtemp(directory) && chdir(directory) == 0);
	files();
	scripts();
	elf();
	arguments();
	survivors();
	at_calls();
	credentials();
	chdir("/");
	rmdir(directory);
	return CHECK_RESULT();
}
