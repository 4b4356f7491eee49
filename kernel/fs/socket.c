// SPDX-License-Identifier: MIT
/*
 * The socket calls of a kernel that has no address family yet: a socket cannot be made (EAFNOSUPPORT, which the C
 * library, PAM and the shell take for what it is), so no descriptor is one (ENOTSOCK).
 */
#include <lichen/syscall.h>
#include <lichen/vfs.h>
#include <linux/net.h>

#define SOCKET_FAMILIES 46
#define SOCKET_TYPES 11
#define SOCKET_TYPE_MASK 0xf
#define SOCKET_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* In Linux's order. */
static long socket_make(int family, int type)
{
	if (type & ~(SOCKET_TYPE_MASK | SOCKET_FLAGS))
		return -EINVAL;
	if (family < 0 || family >= SOCKET_FAMILIES)
		return -EAFNOSUPPORT;
	if ((type & SOCKET_TYPE_MASK) >= SOCKET_TYPES)
		return -EINVAL;
	return -EAFNOSUPPORT;
}

SYSCALL(socket, int, family, int, type, int, protocol)
{
	return socket_make(family, type);
}

SYSCALL(socketpair, int, family, int, type, int, protocol, int __user *, pair)
{
	return socket_make(family, type);
}

ASYNC_STATIC(socket_refuse, int number; struct fd_use fd;);
ASYNC_STATIC_DEFINE(socket_refuse)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	FD_END(f->fd);
	ASYNC_RETURN(-ENOTSOCK);
	ASYNC_END;
}

/* A call whose first argument would be a socket, and whose `n` arguments do not matter then. */
#define SOCKET_CALL(name, n)                                                                       \
	SYSCALL_ASYNC(name, n, SYS_ARG(int, fd))                                                   \
	{                                                                                          \
		ASYNC_BEGIN;                                                                       \
		AWAIT(socket_refuse, .number = f->fd);                                             \
		ASYNC_RETURN(RESULT);                                                              \
		ASYNC_END;                                                                         \
	}

SOCKET_CALL(bind, 3)
SOCKET_CALL(listen, 2)
SOCKET_CALL(accept, 3)
SOCKET_CALL(accept4, 4)
SOCKET_CALL(connect, 3)
SOCKET_CALL(getsockname, 3)
SOCKET_CALL(getpeername, 3)
SOCKET_CALL(sendto, 6)
SOCKET_CALL(recvfrom, 6)
SOCKET_CALL(setsockopt, 5)
SOCKET_CALL(getsockopt, 5)
SOCKET_CALL(shutdown, 2)
SOCKET_CALL(sendmsg, 3)
SOCKET_CALL(recvmsg, 3)
SOCKET_CALL(recvmmsg, 5)
SOCKET_CALL(sendmmsg, 4)
