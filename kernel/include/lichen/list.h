/* SPDX-License-Identifier: MIT */
/* Intrusive doubly linked circular lists. A removed node points to itself, so that "is it linked?" has an answer. */
#ifndef LICHEN_LIST_H
#define LICHEN_LIST_H

#include <lichen/types.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name) { &(name), &(name) }

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_between(struct list *n, struct list *before, struct list *after)
{
	n->prev = before;
	n->next = after;
	before->next = n;
	after->prev = n;
}

/* At the front of head. */
static inline void list_add(struct list *head, struct list *n)
{
	list_insert_between(n, head, head->next);
}

/* At the back of head. */
static inline void list_add_tail(struct list *head, struct list *n)
{
	list_insert_between(n, head->prev, head);
}

/* Harmless on a node that is not linked (but initialised). */
static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Moves all of `from` to the back of `to`; `from` becomes empty. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(p, type, member)	container_of(p, type, member)
#define list_first(head, type, member)	list_entry((head)->next, type, member)
#define list_last(head, type, member)	list_entry((head)->prev, type, member)
#define list_for_each(pos, head, member)                                                           \
	for (pos = list_first(head, typeof(*pos), member); &pos->member != (head);                 \
	     pos = list_entry(pos->member.next, typeof(*pos), member))
/* pos may be removed (and freed) in the body. */
#define list_for_each_safe(pos, tmp, head, member)                                                 \
	for (pos = list_first(head, typeof(*pos), member),                                         \
	    tmp = list_entry(pos->member.next, typeof(*pos), member);                              \
	     &pos->member != (head);                                                               \
	     pos = tmp, tmp = list_entry(tmp->member.next, typeof(*tmp), member))

#endif
