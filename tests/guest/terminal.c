// SPDX-License-Identifier: MIT
// The line discipline of a terminal, with input that the program types itself (TIOCSTI): /dev/hvc0, which nobody else uses
// while a command runs.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "check.h"

static int tty;

static void type(const char *bytes)
{
	for (; *bytes; bytes++)
		CHECK(ioctl(tty, TIOCSTI, bytes) == 0);
}

/* One read, shown with its control characters. */
static void show_read(size_t n)
{
	unsigned char buf[300];
	ssize_t got;

	errno = 0;
	got = read(tty, buf, n);
	printf("read %zd%s: ", got, got < 0 ? strerrorname_np(errno) : "");
	for (ssize_t i = 0; i < got; i++)
		printf(buf[i] < 32 || buf[i] > 126 ? "\\%03o" : "%c", buf[i]);
	printf("\n");
}

static int pending(void)
{
	int n = -1;

	ioctl(tty, FIONREAD, &n);
	return n;
}

static int readable(void)
{
	struct pollfd pfd = {.fd = tty, .events = POLLIN};

	return poll(&pfd, 1, 0);
}

static struct termios sane;

static void set(struct termios *t)
{
	CHECK(tcsetattr(tty, TCSANOW, t) == 0);
}

static void defaults(void)
{
	struct winsize w = {33, 99, 1, 2};
	int n;

	CHECK(tcgetattr(tty, &sane) == 0);
	sane.c_iflag = ICRNL | IXON | IUTF8;
	sane.c_oflag = OPOST | ONLCR;
	sane.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
	set(&sane);
	printf("iflag %o oflag %o lflag %o\n", sane.c_iflag, sane.c_oflag, sane.c_lflag);
	for (int i = 0; i < 17; i++)
		printf("%d ", sane.c_cc[i]);
	printf("\n");
	SHOW(ioctl(tty, TIOCSWINSZ, &w));
	memset(&w, 0, sizeof(w));
	SHOW(ioctl(tty, TIOCGWINSZ, &w));
	printf("%d %d\n", w.ws_row, w.ws_col);
	SHOW(isatty(tty));
	SHOW(ioctl(tty, TIOCGETD, &n));
	SHOW(tcgetpgrp(tty));
	SHOW(ioctl(tty, TIOCGWINSZ, 8));
	SHOW(ioctl(tty, 0x1234, 0));
	SHOW(lseek(tty, 0, SEEK_CUR));
}

static void canonical(void)
{
	type("abc");
	printf("readable %d, pending %d\n", readable(), pending());
	type("\r");
	printf("readable %d, pending %d\n", readable(), pending());
	show_read(100);
	type("one\ntwo\n");
	printf("pending %d\n", pending());
	show_read(100);
	show_read(2);
	show_read(100);
	/* erase, word erase, kill, literal next */
	type("abx\177c\n");
	show_read(100);
	type("first second\027third\n");
	show_read(100);
	type("a, b..\027\027z\n");
	show_read(100);
	type("wrong\025right\n");
	show_read(100);
	type("a\026\177b\026\003\n");
	show_read(100);
	type("\303\251\303\251\177x\n");
	show_read(100);
	type("\177\177\025\027ok\n");
	show_read(100);
	/* end of file: after bytes, and alone */
	type("half\004");
	printf("readable %d, pending %d\n", readable(), pending());
	show_read(100);
	type("\004");
	printf("readable %d, pending %d\n", readable(), pending());
	show_read(100);
	type("12345\004");
	show_read(5);
	type("next\n");
	show_read(100);
	/* EOL characters */
	struct termios t = sane;

	t.c_cc[VEOL] = ';';
	t.c_cc[VEOL2] = '|';
	set(&t);
	type("a;b|c\n");
	show_read(100);
	show_read(100);
	show_read(100);
	t = sane;
	t.c_iflag = INLCR | ISTRIP;
	set(&t);
	type("\201\n\004");
	show_read(100);
	t.c_iflag = IGNCR;
	set(&t);
	type("a\rb\n");
	show_read(100);
	set(&sane);
}

static void raw(void)
{
	struct termios t = sane;

	t.c_lflag &= ~(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	set(&t);
	type("a\177\004b");
	show_read(100);
	t.c_cc[VMIN] = 0;
	set(&t);
	show_read(100);
	t.c_cc[VTIME] = 1;
	set(&t);
	show_read(100);
	type("q");
	show_read(100);
	t.c_cc[VMIN] = 5;
	set(&t);
	type("123");
	printf("readable %d\n", readable());
	show_read(100);
	type("1234567");
	show_read(100);
	t.c_cc[VTIME] = 0;
	t.c_cc[VMIN] = 3;
	set(&t);
	type("ab");
	printf("readable %d\n", readable());
	type("c");
	printf("readable %d\n", readable());
	show_read(100);
	/* typed ahead raw, then read as lines */
	t.c_cc[VMIN] = 1;
	set(&t);
	type("ahead");
	set(&sane);
	type("more\n");
	show_read(100);
	show_read(pending() ? 100 : 0);
	/* and the other way round */
	type("line");
	set(&t);
	show_read(100);
	fcntl(tty, F_SETFL, O_NONBLOCK);
	show_read(100);
	fcntl(tty, F_SETFL, 0);
	type("gone");
	SHOW(tcflush(tty, TCIFLUSH));
	printf("pending %d\n", pending());
	SHOW(ioctl(tty, TCFLSH, 7));
	set(&sane);
}

static volatile int got[65];

static void count(int signal)
{
	got[signal]++;
}

/* A session of its own with jobs in front and behind. */
static int session(void)
{
	struct sigaction action = {.sa_handler = count};
	int status, p[2];
	pid_t child;
	char c;

	SHOW(setsid() == getpid());
	SHOW(tcgetpgrp(tty));
	SHOW(ioctl(tty, TIOCSCTTY, 0));
	CHECK(tcgetpgrp(tty) == getpid());
	CHECK(tcgetsid(tty) == getpid());
	CHECK(open("/dev/tty", O_RDWR) >= 0);
	SHOW(tcsetpgrp(tty, 1));
	SHOW(tcsetpgrp(tty, 99999));
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGQUIT, &action, NULL);
	sigaction(SIGTSTP, &action, NULL);
	sigaction(SIGWINCH, &action, NULL);
	type("lost\003");
	type("\034\032");
	printf("INT %d QUIT %d TSTP %d pending %d\n", got[SIGINT], got[SIGQUIT], got[SIGTSTP], pending());
	SHOW(ioctl(tty, TIOCSWINSZ, &(struct winsize){10, 20, 0, 0}));
	SHOW(ioctl(tty, TIOCSWINSZ, &(struct winsize){10, 20, 0, 0}));
	printf("WINCH %d\n", got[SIGWINCH]);
	/* a background job reads: stopped by SIGTTIN, goes on in front */
	pipe(p);
	child = fork();
	if (!child) {
		char buf[10];

		setpgid(0, 0);
		CHECK(write(p[1], "r", 1) == 1);
		_exit(read(tty, buf, 10) == 3 ? 42 : 1);
	}
	CHECK(read(p[0], &c, 1) == 1);
	SHOW(waitpid(child, &status, WUNTRACED) == child);
	printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
	SHOW(tcsetpgrp(tty, child));
	SHOW(kill(child, SIGCONT));
	SHOW(waitpid(child, &status, WUNTRACED | WCONTINUED) == child);
	printf("continued %d\n", WIFCONTINUED(status));
	type("hi\n");
	SHOW(waitpid(child, &status, WUNTRACED) == child);
	printf("exited %d\n", WEXITSTATUS(status));
	/* we are behind now: tcsetpgrp stops us unless SIGTTOU is ignored */
	signal(SIGTTOU, SIG_IGN);
	SHOW(tcsetpgrp(tty, getpid()));
	signal(SIGTTOU, SIG_DFL);
	/* a background job writes: only TOSTOP stops it */
	struct termios t = sane;

	t.c_lflag |= TOSTOP;
	set(&t);
	child = fork();
	if (!child) {
		setpgid(0, 0);
		_exit(write(tty, "x", 1) == 1 ? 43 : 1);
	}
	SHOW(waitpid(child, &status, WUNTRACED) == child);
	printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
	set(&sane);
	kill(child, SIGCONT);
	SHOW(waitpid(child, &status, 0) == child);
	printf("exited %d\n", WEXITSTATUS(status));
	/* an orphaned background group gets EIO */
	child = fork();
	if (!child) {
		if (!fork()) {
			char buf[10];

			setpgid(0, 0);
			while (getppid() != 1 && getppid() == getpgid(getppid()))
				usleep(1000);
			usleep(50000);
			errno = 0;
			CHECK(read(tty, buf, 10) == -1 && errno == EIO);
			CHECK(write(p[1], "o", 1) == 1);
			_exit(0);
		}
		_exit(0);
	}
	waitpid(child, &status, 0);
	CHECK(read(p[0], &c, 1) == 1);
	SHOW(ioctl(tty, TIOCNOTTY));
	errno = 0;
	CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
	return CHECK_RESULT();
}

int main(void)
{
	int status, child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	tty = open("/dev/hvc0", O_RDWR | O_NOCTTY);
	if (tty < 0)
		return 1;
	defaults();
	canonical();
	raw();
	child = fork();
	if (!child) {
		signal(SIGHUP, SIG_IGN);
		_exit(session());
	}
	waitpid(child, &status, 0);
	printf("session: %d\n", status);
	return CHECK_RESULT();
}
