// SPDX-License-Identifier: MIT
// System V shared memory and membarrier.
#include "check.h"
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILS(call, error) (errno = 0, (long)(call) == -1 && errno == (error))

static void segments(void)
{
	key_t key = 0x4c494348;
	int id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600), private = shmget(IPC_PRIVATE, 4096, 0600), status;
	struct shmid_ds ds;
	char *a, *b;
	pid_t pid;

	CHECK(id >= 0 && private >= 0 && id != private);
	CHECK(FAILS(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600), EEXIST));
	CHECK(shmget(key, 5000, 0) == id);
	CHECK(FAILS(shmget(key, 20000, 0), EINVAL));
	CHECK(FAILS(shmget(key + 1, 4096, 0), ENOENT));
	CHECK(FAILS(shmget(key + 1, 0, IPC_CREAT), EINVAL));
	CHECK(FAILS(shmat(9999, NULL, 0), EINVAL));
	CHECK(FAILS(shmat(id, (void *)1, 0), EINVAL));
	a = shmat(id, NULL, 0);
	b = shmat(id, NULL, SHM_RDONLY);
	CHECK(a != (void *)-1 && b != (void *)-1 && a != b);
	strcpy(a + 8192, "there");
	CHECK(!strcmp(b + 8192, "there"));
	CHECK(!shmctl(id, IPC_STAT, &ds) && ds.shm_segsz == 10000 && ds.shm_nattch == 2 && ds.shm_cpid == getpid() &&
		(ds.shm_perm.mode & 0777) == 0600);
	pid = fork();
	if (!pid) {
		strcpy(a, "child");
		_exit(shmdt(a) || shmdt(b));
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status && !strcmp(b, "child"));
	CHECK(!shmdt(b) && FAILS(shmdt(b), EINVAL));
	CHECK(!shmctl(id, IPC_RMID, NULL));
	CHECK(FAILS(shmget(key, 10000, 0), ENOENT));
	CHECK(!strcmp(a, "child"));
	munmap(a + 4096, 4096); /* a hole: detaching takes what is left */
	CHECK(!shmdt(a));
	CHECK(FAILS(shmctl(id, IPC_STAT, &ds), EINVAL));
	a = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(FAILS(shmat(private, a, 0), EINVAL));
	CHECK(shmat(private, a + 4096 + 5, SHM_RND | SHM_REMAP) == a + 4096);
	CHECK(!a[4096]);
	CHECK(!shmctl(private, IPC_RMID, NULL) && !shmdt(a + 4096));
}

/* Dekker's test with a barrier on one side only: without it both may read 0. */
static _Atomic int go, x, y, seen;

static void *fast_side(void *arg)
{
	(void)arg;
	while (atomic_load(&go) != -1) {
		int one = 1;

		if (!atomic_compare_exchange_strong(&go, &one, 0))
			continue;
		atomic_store_explicit(&x, 1, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		atomic_store(&seen, 2 + atomic_load_explicit(&y, memory_order_relaxed));
	}
	return NULL;
}

static long barrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static void barriers(void)
{
	pthread_t thread;
	int both = 0;

	CHECK(barrier(MEMBARRIER_CMD_QUERY) & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	CHECK(FAILS(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), EPERM));
	CHECK(FAILS(barrier(3), EINVAL));
	CHECK(FAILS(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 1, 0), EINVAL));
	CHECK(!barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && !barrier(MEMBARRIER_CMD_GLOBAL));
	CHECK(!pthread_create(&thread, NULL, fast_side, NULL));
	for (int i = 0; i < 500; i++) {
		atomic_store(&x, 0), atomic_store(&y, 0), atomic_store(&seen, 0);
		atomic_store(&go, 1);
		atomic_store_explicit(&y, 1, memory_order_relaxed);
		CHECK(!barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
		int mine = atomic_load_explicit(&x, memory_order_relaxed), theirs;

		while (!(theirs = atomic_load(&seen)))
			;
		both += !mine && theirs == 2;
	}
	atomic_store(&go, -1);
	pthread_join(thread, NULL);
	CHECK(!both);
}

int main(void)
{
	segments();
	barriers();
	return CHECK_RESULT();
}
