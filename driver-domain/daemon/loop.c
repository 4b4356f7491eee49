// SPDX-License-Identifier: MIT
/* One epoll loop. A source that is removed while events are handled is not called any more. */
#include <errno.h>
#include <sys/epoll.h>
#include "daemon.h"

#define BATCH 16

static int epoll = -1;
static struct epoll_event batch[BATCH];
static int batch_count;

void loop_open(void)
{
	epoll = epoll_create1(EPOLL_CLOEXEC);
}

int loop_add(struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, source->fd, &event) ? -errno : 0;
}

void loop_remove(struct source *source)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < batch_count; i++)
		if (batch[i].data.ptr == source)
			batch[i].data.ptr = NULL;
}

void loop_once(int timeout)
{
	batch_count = epoll_wait(epoll, batch, BATCH, timeout);
	for (int i = 0; i < batch_count; i++) {
		struct source *source = batch[i].data.ptr;

		if (source)
			source->ready(source, batch[i].events);
	}
	batch_count = 0;
}
