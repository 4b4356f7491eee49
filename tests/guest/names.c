// SPDX-License-Identifier: MIT
// Names: making, linking, renaming, removing; walking paths; permissions; mounts; reading directories; times.
// cflags: -Wno-nonnull -Wno-stringop-overflow -Wno-stringop-overread
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static char buf[70000];

static void touch(const char *name)
{
	close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void directories(void)
{
	struct stat st;

	SHOW(mkdir("d", 0777));
	SHOW(mkdir("d", 0777));
	SHOW(mkdir("d/", 0777));
	SHOW(mkdir("e/", 0777));
	SHOW(mkdir("missing/x", 0777));
	SHOW(mkdir("", 0777));
	SHOW(mkdir("/", 0777));
	SHOW(mkdir(".", 0777));
	SHOW(mkdir("d/..", 0777));
	touch("f");
	SHOW(mkdir("f", 0777));
	SHOW(mkdir("f/x", 0777));
	symlink("nowhere", "dangling");
	SHOW(mkdir("dangling", 0777));
	SHOW(mkdir("d/s", 07777));
	stat("d/s", &st);
	printf("mode %o, links %d\n", st.st_mode, (int)st.st_nlink);
	stat("d", &st);
	printf("links %d\n", (int)st.st_nlink);
	SHOW(rmdir("d"));
	SHOW(rmdir("d/s/."));
	SHOW(rmdir("d/s/.."));
	SHOW(rmdir("/"));
	SHOW(rmdir("f"));
	SHOW(rmdir("missing"));
	SHOW(rmdir("d/s/"));
	SHOW(unlink("d"));
	SHOW(unlink("d/"));
	SHOW(unlink("f/"));
	SHOW(unlink("missing"));
	SHOW(unlink("missing/"));
	SHOW(unlink("."));
	SHOW(unlink(".."));
	SHOW(unlink("/"));
	SHOW(unlink(""));
	SHOW(unlinkat(AT_FDCWD, "e", AT_REMOVEDIR));
	SHOW(unlinkat(AT_FDCWD, "f", 77));
	SHOW(unlinkat(99, "f", 0));
	/* A working directory that is gone. */
	mkdir("gone", 0755);
	SHOW(chdir("gone"));
	SHOW(rmdir("../gone"));
	SHOW(syscall(SYS_getcwd, buf, sizeof(buf)));
	SHOW(mkdir("x", 0755));
	SHOW(open("y", O_CREAT | O_RDWR, 0644));
	SHOW(access(".", F_OK));
	SHOW(stat(".", &st));
	printf("links %d\n", (int)st.st_nlink);
	int fd = open(".", O_RDONLY);
	SHOW(syscall(SYS_getdents64, fd, buf, 100));
	close(fd);
	SHOW(chdir(".."));
	SHOW(chdir("f"));
	SHOW(chdir("missing"));
	SHOW(fchdir(99));
	SHOW(syscall(SYS_getcwd, buf, 2));
	SHOW(syscall(SYS_getcwd, (char *)1, 4096));
	mode_t old = umask(027);
	mkdir("u", 0777);
	stat("u", &st);
	printf("mode %o\n", st.st_mode);
	umask(old);
	SHOW(umask(02000 | 022));
	SHOW(umask(022));
	rmdir("u");
}

static void links(void)
{
	struct stat st;
	ssize_t n;

	SHOW(symlink("f", "l"));
	SHOW(symlink("f", "l"));
	SHOW(symlink("f", "new/"));
	SHOW(symlink("f", "d/"));
	SHOW(symlink("", "empty"));
	SHOW(symlink("f", ""));
	n = readlink("l", buf, 100);
	printf("%.*s\n", (int)n, buf);
	SHOW(readlink("l", buf, 0));
	SHOW(readlink("f", buf, 10));
	SHOW(readlink("missing", buf, 10));
	SHOW(readlink("d", buf, 10));
	symlink("a-rather-long-target-of-a-link", "long");
	SHOW(readlink("long", buf, 5));
	SHOW(readlink("long", (char *)1, 5));
	SHOW(lstat("l", &st));
	printf("mode %o size %ld\n", st.st_mode, (long)st.st_size);
	SHOW(stat("dangling", &st));
	SHOW(link("f", "hard"));
	stat("hard", &st);
	printf("links %d\n", (int)st.st_nlink);
	SHOW(link("f", "hard"));
	SHOW(link("d", "hard-directory"));
	SHOW(link("missing", "x"));
	SHOW(link("l", "link-to-link"));
	SHOW(lstat("link-to-link", &st));
	printf("a link: %d\n", S_ISLNK(st.st_mode));
	SHOW(linkat(AT_FDCWD, "l", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
	SHOW(lstat("followed", &st));
	printf("a link: %d, links %d\n", S_ISLNK(st.st_mode), (int)st.st_nlink);
	SHOW(link("f", "/proc/x"));
	SHOW(link("f", "new/"));
	SHOW(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 1));
	SHOW(unlink("hard"));
	SHOW(unlink("l"));
	SHOW(access("f", F_OK));
	/* Chains: 40 are followed, 41 are not. */
	symlink("f", "c0");
	for (int i = 1; i <= 41; i++) {
		char from[10], to[10];

		sprintf(from, "c%d", i);
		sprintf(to, "c%d", i - 1);
		symlink(to, from);
	}
	SHOW(access("c39", F_OK));
	SHOW(access("c40", F_OK));
	symlink("c39/", "trailing");
	SHOW(access("trailing", F_OK));
	symlink("/", "root");
	SHOW(access("root/proc/self/stat", F_OK));
	symlink("../d/.././d", "d/dots");
	mkdir("d/in", 0755);
	SHOW(access("d/dots/in", F_OK));
	SHOW(access("d/dots/in/", F_OK));
	symlink("d", "dl");
	SHOW(rmdir("dl"));
	SHOW(unlink("dl/"));
	SHOW(mkdir("dl/made", 0755));
	SHOW(access("d/made", F_OK));
	/* A file made without a name gets one. */
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	fstat(fd, &st);
	printf("links %d\n", (int)st.st_nlink);
	sprintf(buf, "/proc/self/fd/%d", fd);
	SHOW(linkat(AT_FDCWD, buf, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	fstat(fd, &st);
	printf("links %d\n", (int)st.st_nlink);
	unlink("named");
	SHOW(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH));
	close(fd);
}

static void renames(void)
{
	struct stat a, b;

	touch("r1");
	touch("r2");
	mkdir("rd", 0755);
	mkdir("rd/sub", 0755);
	mkdir("re", 0755);
	stat("r1", &a);
	SHOW(rename("r1", "r3"));
	SHOW(access("r1", F_OK));
	stat("r3", &b);
	CHECK(a.st_ino == b.st_ino);
	SHOW(rename("r3", "r2"));
	SHOW(rename("r2", "r2"));
	SHOW(rename("missing", "x"));
	SHOW(rename("r2", "rd"));
	SHOW(rename("rd", "r2"));
	SHOW(rename("rd", "rd/sub/x"));
	SHOW(rename("rd", "rd"));
	SHOW(rename("rd/sub", "rd"));
	SHOW(rename("re", "rd"));
	SHOW(rename("rd", "re"));
	SHOW(access("re/sub", F_OK));
	SHOW(rename("re/sub", "rf"));
	stat("re", &a);
	printf("links %d\n", (int)a.st_nlink);
	SHOW(rename("re", "rf/"));
	SHOW(rename("r2", "r4/"));
	SHOW(rename("r2/", "r4"));
	SHOW(rename(".", "x"));
	SHOW(rename("rf", ".."));
	SHOW(rename("/", "x"));
	SHOW(rename("r2", "rf/."));
	SHOW(rename("r2", ""));
	SHOW(rename("r2", "/proc/x"));
	SHOW(rename("r2", "rf/r2"));
	link("rf/r2", "same");
	SHOW(rename("same", "rf/r2"));
	SHOW(access("same", F_OK));
	touch("x1");
	mkdir("x2", 0755);
	mkdir("x2/in", 0755);
	SHOW(renameat2(AT_FDCWD, "x1", AT_FDCWD, "x2", RENAME_NOREPLACE));
	SHOW(renameat2(AT_FDCWD, "x1", AT_FDCWD, "x3", RENAME_NOREPLACE));
	SHOW(renameat2(AT_FDCWD, "x3", AT_FDCWD, "x2", RENAME_EXCHANGE));
	SHOW(access("x3/in", F_OK));
	SHOW(renameat2(AT_FDCWD, "x3", AT_FDCWD, "missing", RENAME_EXCHANGE));
	SHOW(renameat2(AT_FDCWD, "x3", AT_FDCWD, "x3/in", RENAME_EXCHANGE));
	SHOW(renameat2(AT_FDCWD, "x3", AT_FDCWD, "x2", RENAME_EXCHANGE | RENAME_NOREPLACE));
	SHOW(renameat2(AT_FDCWD, "x3", AT_FDCWD, "x2", 64));
	symlink("x2", "sl");
	SHOW(rename("sl", "sl2"));
	SHOW(readlink("sl2", buf, 10));
	/* An open file lives on under its new name, and without any. */
	int fd = open("x2", O_RDWR);
	rename("x2", "x5");
	unlink("x5");
	SHOW(write(fd, "abc", 3));
	SHOW(pread(fd, buf, 3, 0));
	fstat(fd, &a);
	printf("links %d\n", (int)a.st_nlink);
	close(fd);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void reading(void)
{
	static char *names[3000];
	int count = 0, dots = 0, wrong_type = 0, fd;
	struct dirent *e;
	DIR *d;
	long place = 0;

	mkdir("many", 0755);
	for (int i = 0; i < 2000; i++) {
		sprintf(buf, "many/file-number-%d", i);
		touch(buf);
	}
	mkdir("many/directory", 0755);
	symlink("x", "many/link");
	d = opendir("many");
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			dots++;
		else
			names[count++] = strdup(e->d_name);
		wrong_type += e->d_type != (!strcmp(e->d_name, "link") ? DT_LNK : !strncmp(e->d_name, "file", 4) ? DT_REG : DT_DIR);
		if (count == 100)
			place = telldir(d);
	}
	qsort(names, (size_t)count, sizeof(names[0]), compare);
	printf("%d names, %d dots, %d of a wrong type\n", count, dots, wrong_type);
	for (int i = 1; i < count; i++)
		CHECK(strcmp(names[i - 1], names[i]));
	rewinddir(d);
	count = 0;
	while (readdir(d))
		count++;
	printf("%d after rewinddir\n", count);
	seekdir(d, place);
	count = 0;
	while (readdir(d))
		count++;
	CHECK(count > 1500 && count < 2002);
	/* Removing while reading misses nothing. */
	rewinddir(d);
	count = 0;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, "file", 4))
			continue;
		sprintf(buf, "many/%s", e->d_name);
		count += !unlink(buf);
	}
	closedir(d);
	printf("%d removed\n", count);
	fd = open("many", O_RDONLY);
	SHOW(syscall(SYS_getdents64, fd, buf, 10));
	SHOW(syscall(SYS_getdents64, fd, (char *)1, 1000));
	SHOW(syscall(SYS_getdents64, fd, buf, 24));
	SHOW(syscall(SYS_getdents64, fd, buf, 24));
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(syscall(SYS_getdents64, fd, buf, 1000) > 100);
	SHOW(syscall(SYS_getdents64, fd, buf, 1000));
	close(fd);
	fd = open("f", O_RDONLY);
	SHOW(syscall(SYS_getdents64, fd, buf, 1000));
	close(fd);
	SHOW(syscall(SYS_getdents64, 99, buf, 1000));
}

static void as_nobody(void (*what)(void))
{
	int status;

	fflush(stdout);
	if (!fork()) {
		CHECK(!setgroups(1, (gid_t[]){1234}) && !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
		what();
		fflush(stdout);
		_exit(CHECK_RESULT());
	}
	wait(&status);
	CHECK(!status);
}

static void forbidden(void)
{
	struct stat st;

	SHOW(access("p/none", R_OK));
	SHOW(access("p/none", F_OK));
	SHOW(access("p/group", R_OK));
	SHOW(access("p/group", W_OK));
	SHOW(access("p/mine", R_OK | W_OK));
	SHOW(access("p/mine", X_OK));
	SHOW(access("p/mine", 8));
	SHOW(open("p/none", O_RDONLY));
	SHOW(open("p/read", O_RDONLY) >= 0);
	SHOW(open("p/read", O_WRONLY));
	SHOW(open("p/read", O_RDONLY | O_TRUNC));
	SHOW(open("p/read", O_RDONLY | O_NOATIME));
	SHOW(open("p/read", O_PATH) >= 0);
	SHOW(open("p/new", O_RDWR | O_CREAT, 0644));
	SHOW(open("p/closed/x", O_RDONLY));
	SHOW(stat("p/closed/x", &st));
	SHOW(stat("p/closed", &st));
	SHOW(chdir("p/closed"));
	SHOW(chmod("p/read", 0666));
	SHOW(chown("p/read", 65534, -1));
	SHOW(chown("p/mine", 0, -1));
	SHOW(chown("p/mine", 65534, 1234));
	SHOW(chown("p/mine", -1, 4321));
	SHOW(chown("p/mine", -1, -1));
	SHOW(chmod("p/mine", 06755));
	stat("p/mine", &st);
	printf("mode %o group %d\n", st.st_mode, (int)st.st_gid);
	int fd = open("p/mine", O_WRONLY);
	write(fd, "x", 1);
	close(fd);
	stat("p/mine", &st);
	printf("mode %o after a write\n", st.st_mode);
	SHOW(truncate("p/read", 0));
	SHOW(utimensat(AT_FDCWD, "p/read", NULL, 0));
	SHOW(utimensat(AT_FDCWD, "p/written", NULL, 0));
	SHOW(utimensat(AT_FDCWD, "p/written", (struct timespec[]){{1, 2}, {3, 4}}, 0));
	SHOW(unlink("p/read"));
	SHOW(mkdir("p/x", 0755));
	SHOW(unlink("sticky/others"));
	SHOW(rename("sticky/others", "sticky/x"));
	SHOW(unlink("sticky/mine"));
	SHOW(mknod("sticky/null", S_IFCHR | 0666, makedev(1, 3)));
	SHOW(mknod("sticky/fifo", S_IFIFO | 0666, 0));
	SHOW(chroot("."));
	SHOW(mount("none", "p", "tmpfs", 0, NULL));
	SHOW(umount("/proc"));
	SHOW(mkdir("setgid/sub", 0755));
	stat("setgid/sub", &st);
	printf("mode %o group %d\n", st.st_mode, (int)st.st_gid);
	SHOW(rmdir("setgid/sub"));
	SHOW(link("p/read", "sticky/hard"));
	SHOW(unlink("sticky/hard"));
	fd = open("p/read", O_RDONLY);
	SHOW(fchmod(fd, 0600));
	SHOW(fchown(fd, 65534, 65534));
	close(fd);
}

static void permissions(void)
{
	struct stat st;

	mkdir("p", 0755);
	mkdir("p/closed", 0700);
	touch("p/closed/x");
	mkdir("sticky", 0777);
	SHOW(chmod("sticky", 01777));
	mkdir("setgid", 0777);
	SHOW(chown("setgid", -1, 555));
	SHOW(chmod("setgid", 02777));
	touch("sticky/others");
	touch("sticky/mine");
	chown("sticky/mine", 65534, 65534);
	touch("p/none");
	chmod("p/none", 0);
	touch("p/read");
	touch("p/written");
	chmod("p/written", 0666);
	touch("p/group");
	chmod("p/group", 0040);
	chown("p/group", 0, 1234);
	touch("p/mine");
	chown("p/mine", 65534, 65534);
	chmod(".", 0755);
	as_nobody(forbidden);
	SHOW(access("p/none", R_OK | W_OK));
	SHOW(access("p/none", X_OK));
	SHOW(syscall(SYS_faccessat, AT_FDCWD, "p/none", 8));
	SHOW(faccessat(AT_FDCWD, "p/none", R_OK, AT_EACCESS));
	SHOW(chmod("missing", 0644));
	SHOW(fchmodat(AT_FDCWD, "p/none", 0644, 0));
	SHOW(fchmod(99, 0644));
	touch("suid");
	chmod("suid", 06755);
	SHOW(chown("suid", 1, 1));
	stat("suid", &st);
	printf("mode %o owner %d:%d\n", st.st_mode, (int)st.st_uid, (int)st.st_gid);
	symlink("suid", "sl3");
	SHOW(lchown("sl3", 5, 6));
	lstat("sl3", &st);
	printf("owner %d:%d\n", (int)st.st_uid, (int)st.st_gid);
	SHOW(fchownat(AT_FDCWD, "suid", 1, 1, 77));
	SHOW(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	stat("null", &st);
	printf("device %d:%d\n", major(st.st_rdev), minor(st.st_rdev));
	int fd = open("null", O_RDWR);
	SHOW(write(fd, "x", 1));
	SHOW(read(fd, buf, 1));
	close(fd);
	SHOW(mknod("unknown", S_IFCHR | 0666, makedev(77, 77)));
	SHOW(open("unknown", O_RDONLY));
	SHOW(mknod("sock", S_IFSOCK | 0666, 0));
	SHOW(open("sock", O_RDONLY));
	SHOW(mknod("directory", S_IFDIR | 0755, 0));
	SHOW(mknod("plain", 0644, 0));
	SHOW(mknod("plain", 0644, 0));
	SHOW(mknod("strange", 0130000, 0));
}

static void times(void)
{
	struct timespec t[2] = {{100, 5}, {200, 6}};
	struct stat st, before;
	struct statx x;

	/* Where no clock says what time it is. */
	if (time(NULL) < 1000000)
		clock_settime(CLOCK_REALTIME, &(struct timespec){1700000000, 0});
	touch("t");
	SHOW(utimensat(AT_FDCWD, "t", t, 0));
	stat("t", &st);
	printf("%ld.%ld %ld.%ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_sec = 300;
	SHOW(utimensat(AT_FDCWD, "t", t, 0));
	stat("t", &st);
	printf("%ld %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
	t[0].tv_nsec = UTIME_NOW;
	SHOW(utimensat(AT_FDCWD, "t", t, 0));
	stat("t", &st);
	printf("%d %ld\n", st.st_atim.tv_sec > 1000, (long)st.st_mtim.tv_sec);
	t[0].tv_nsec = 1000000000;
	SHOW(utimensat(AT_FDCWD, "t", t, 0));
	SHOW(utimensat(AT_FDCWD, "t", NULL, 77));
	SHOW(utimensat(AT_FDCWD, "missing", NULL, 0));
	int fd = open("t", O_RDWR);
	t[0].tv_nsec = 1;
	SHOW(futimens(fd, t));
	stat("t", &before);
	write(fd, "x", 1);
	stat("t", &st);
	printf("a write: mtime %d ctime %d\n", st.st_mtim.tv_sec > before.st_mtim.tv_sec, st.st_ctim.tv_sec >= before.st_ctim.tv_sec);
	pread(fd, buf, 1, 0);
	stat("t", &before);
	printf("a read: atime %d\n", before.st_atim.tv_sec > 200);
	close(fd);
	stat("d", &before);
	usleep(20000);
	touch("d/new");
	stat("d", &st);
	printf("a new name: mtime %d\n", st.st_mtim.tv_sec > before.st_mtim.tv_sec || st.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
	SHOW(statx(AT_FDCWD, "t", 0, STATX_ALL & ~0x1000, &x));
	printf("mask %x size %ld mode %o\n", x.stx_mask & 0xfff, (long)x.stx_size, x.stx_mode);
	CHECK(x.stx_ino == 0 || x.stx_btime.tv_sec > 1000);
	SHOW(statx(AT_FDCWD, "t", 0x100000, STATX_ALL, &x));
	SHOW(statx(AT_FDCWD, "t", 0, 0x80000000, &x));
	SHOW(statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_ALL, &x));
	SHOW(statx(AT_FDCWD, "", 0, STATX_ALL, &x));
	SHOW(fstatat(AT_FDCWD, "t", &st, 0x8));
	SHOW(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
	SHOW(stat("t", (void *)1));
	SHOW(fstat(99, &st));
}

static long how(const char *name, __u64 flags, __u64 resolve)
{
	struct open_how h = {.flags = flags, .resolve = resolve};
	int dir = open("d", O_RDONLY), fd = (int)syscall(SYS_openat2, dir, name, &h, sizeof(h)), error = errno;

	close(dir);
	if (fd >= 0)
		close(fd);
	errno = error;
	return fd < 0 ? -1 : 0;
}

static void resolving(void)
{
	struct open_how h = {.flags = O_RDONLY};

	symlink("../f", "d/up");
	symlink("/proc", "d/absolute");
	symlink("in", "d/down");
	SHOW(how("in", O_RDONLY, 0));
	SHOW(how("../f", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("up", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("down", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("in/../in", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("/in", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("/in", O_RDONLY, RESOLVE_IN_ROOT));
	SHOW(how("/../../in", O_RDONLY, RESOLVE_IN_ROOT));
	SHOW(how("absolute", O_RDONLY, RESOLVE_IN_ROOT));
	SHOW(how("absolute", O_RDONLY, RESOLVE_BENEATH));
	SHOW(how("down", O_RDONLY, RESOLVE_NO_SYMLINKS));
	SHOW(how("down", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
	SHOW(how("absolute", O_RDONLY, RESOLVE_NO_XDEV));
	SHOW(how("/proc/self/cwd", O_RDONLY, RESOLVE_NO_MAGICLINKS));
	SHOW(how("/proc/self/cwd", O_RDONLY, 0));
	SHOW(how("in", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
	SHOW(how("in", O_RDONLY, 0x1000));
	SHOW(how("in", 0x100000000, 0));
	SHOW(how("in", O_RDONLY, RESOLVE_CACHED));
	h.mode = 0644;
	SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &h, sizeof(h)));
	h.mode = 0;
	SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &h, 10));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &h, 100000));
}

static void mounts(void)
{
	struct statfs fs;
	int fd;

	mkdir("m", 0755);
	mkdir("b", 0755);
	SHOW(mount("none", "m", "tmpfs", 0, "size=64k,mode=700,uid=7"));
	struct stat st;
	stat("m", &st);
	printf("mode %o owner %d\n", st.st_mode, (int)st.st_uid);
	statfs("m", &fs);
	printf("type %lx blocks %ld free %ld namelen %ld flags %lx\n", (long)fs.f_type, (long)fs.f_blocks, (long)fs.f_bfree, (long)fs.f_namelen, (long)fs.f_flags);
	fd = open("m/full", O_RDWR | O_CREAT, 0644);
	memset(buf, 'x', sizeof(buf));
	SHOW(write(fd, buf, 40000));
	SHOW(write(fd, buf, 40000));
	SHOW(write(fd, buf, 1));
	SHOW(umount("m"));
	close(fd);
	SHOW(rmdir("m"));
	SHOW(rename("m", "m2"));
	SHOW(unlink("m/full"));
	SHOW(mount("m", "b", NULL, MS_BIND, NULL));
	touch("m/seen");
	SHOW(access("b/seen", F_OK));
	SHOW(link("m/seen", "b/hard"));
	SHOW(rename("m/seen", "b/moved"));
	SHOW(rename("m/seen", "elsewhere"));
	SHOW(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	SHOW(open("b/seen", O_WRONLY));
	SHOW(open("b/new", O_WRONLY | O_CREAT, 0644));
	SHOW(open("m/seen", O_WRONLY) >= 0);
	SHOW(mkdir("b/x", 0755));
	SHOW(unlink("b/seen"));
	SHOW(chmod("b/seen", 0600));
	SHOW(access("b/seen", W_OK));
	SHOW(truncate("b/seen", 0));
	syscall(SYS_close_range, 3, ~0u, 0);
	SHOW(umount("b"));
	SHOW(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	SHOW(open("m/seen", O_WRONLY));
	SHOW(mount(NULL, "m", NULL, MS_REMOUNT, NULL));
	fd = open("m/seen", O_WRONLY);
	SHOW(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	close(fd);
	SHOW(mount(NULL, "m", NULL, MS_REMOUNT | MS_NODEV | MS_NOEXEC | MS_NOSUID, NULL));
	SHOW(mknod("m/null", S_IFCHR | 0666, makedev(1, 3)));
	SHOW(open("m/null", O_RDONLY));
	chmod("m/seen", 0755);
	SHOW(execl("m/seen", "x", NULL));
	SHOW(mount("m", "b", NULL, MS_MOVE, NULL));
	SHOW(access("b/seen", F_OK));
	SHOW(access("m/seen", F_OK));
	SHOW(chdir("b"));
	SHOW(chdir(".."));
	SHOW(access("m", F_OK));
	SHOW(mount("none", "b/../m", "tmpfs", 0, NULL));
	SHOW(mount("none", "m", "tmpfs", 0, NULL));
	SHOW(umount("m"));
	SHOW(umount("m"));
	SHOW(umount("m"));
	fd = open("b/seen", O_RDONLY);
	SHOW(umount("b"));
	SHOW(umount2("b", MNT_DETACH));
	SHOW(access("b/seen", F_OK));
	SHOW(read(fd, buf, 1));
	close(fd);
	SHOW(mount("none", "missing", "tmpfs", 0, NULL));
	SHOW(mount("none", "f", "tmpfs", 0, NULL));
	SHOW(mount("none", "m", "nothing", 0, NULL));
	SHOW(mount("none", "m", "tmpfs", 0, "size=x"));
	SHOW(umount2("m", 64));
	SHOW(umount("missing"));
	/* chroot */
	fflush(stdout);
	if (!fork()) {
		mkdir("jail", 0755);
		mkdir("jail/in", 0755);
		symlink("/in", "jail/abs");
		int out = open(".", O_RDONLY);
		SHOW(chroot("jail"));
		SHOW(chdir("/"));
		SHOW(access("/abs", F_OK));
		SHOW(access("../../in", F_OK));
		SHOW(access("/proc", F_OK));
		SHOW(syscall(SYS_getcwd, buf, 100));
		puts(buf);
		SHOW(fchdir(out));
		SHOW(access("jail", F_OK));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void attributes(void)
{
	SHOW(getxattr("f", "user.x", buf, 10));
	SHOW(listxattr("f", buf, 10));
	SHOW(setxattr("f", "user.x", "value", 5, 0));
	SHOW(getxattr("f", "user.x", buf, 10));
	SHOW(getxattr("f", "user.x", buf, 4));
	SHOW(getxattr("f", "user.x", NULL, 0));
	SHOW(setxattr("f", "user.x", "v", 1, XATTR_CREATE));
	SHOW(setxattr("f", "user.y", "v", 1, XATTR_REPLACE));
	SHOW(setxattr("f", "user.y", "", 0, XATTR_CREATE));
	SHOW(setxattr("f", "user.y", "", 0, 77));
	SHOW(setxattr("f", "strange", "v", 1, 0));
	SHOW(setxattr("f", "", "v", 1, 0));
	SHOW(listxattr("f", buf, 100));
	SHOW(listxattr("f", buf, 10));
	SHOW(listxattr("f", NULL, 0));
	SHOW(removexattr("f", "user.x"));
	SHOW(removexattr("f", "user.x"));
	SHOW(listxattr("f", buf, 100));
	SHOW(lsetxattr("sl2", "user.x", "v", 1, 0));
	SHOW(lgetxattr("sl2", "user.x", buf, 10));
	SHOW(setxattr("d", "trusted.x", "v", 1, 0));
	SHOW(getxattr("d", "trusted.x", buf, 10));
	SHOW(getxattr("missing", "user.x", buf, 10));
	SHOW(fgetxattr(99, "user.x", buf, 10));
}

static void watching(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), wd, file, other;
	struct inotify_event *e;
	ssize_t n;

	mkdir("w", 0755);
	touch("w/file");
	wd = inotify_add_watch(fd, "w", IN_ALL_EVENTS);
	other = inotify_add_watch(fd, "w/file", IN_MODIFY | IN_DELETE_SELF | IN_ATTRIB);
	printf("watches %d %d\n", wd, other);
	SHOW(inotify_add_watch(fd, "missing", IN_CREATE));
	SHOW(inotify_add_watch(fd, "w", 0));
	SHOW(inotify_add_watch(0, "w", IN_CREATE));
	SHOW(inotify_add_watch(fd, "w/file", IN_ONLYDIR | IN_CREATE));
	SHOW(read(fd, buf, 1000));
	file = open("w/file", O_RDWR);
	write(file, "x", 1);
	write(file, "x", 1);
	pread(file, buf, 1, 0);
	close(file);
	mkdir("w/sub", 0755);
	rename("w/file", "w/renamed");
	chmod("w/renamed", 0600);
	unlink("w/renamed");
	rmdir("w/sub");
	SHOW(read(fd, buf, 10));
	n = read(fd, buf, sizeof(buf));
	for (char *at = buf; at < buf + n; at += sizeof(*e) + e->len) {
		e = (struct inotify_event *)at;
		printf("  %d %x %d %s\n", e->wd, e->mask, !!e->cookie, e->len ? e->name : "-");
	}
	SHOW(inotify_rm_watch(fd, wd));
	SHOW(inotify_rm_watch(fd, wd));
	SHOW(inotify_rm_watch(fd, other));
	SHOW(read(fd, buf, sizeof(buf)));
	close(fd);
}

int main(void)
{
	char work[] = "/tmp/names-XXXXXX";

	umask(022);
	CHECK(mkdtemp(work) && !chdir(work));
	directories();
	links();
	renames();
	reading();
	permissions();
	times();
	resolving();
	mounts();
	attributes();
	watching();
	return CHECK_RESULT();
}
