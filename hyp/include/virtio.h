/* SPDX-License-Identifier: MIT */
/*
 * The virtio-mmio transport between a frontend and the driver domain (virtio 1.2, 4.2; lichen/abi.h). The hypervisor runs the status
 * and queue-setup state machine; it never reads a ring and never waits for either side.
 */
#ifndef HYP_VIRTIO_H
#define HYP_VIRTIO_H

#include "domain.h"
#include "dt.h"
#include "gic.h"

/* Allocates the backend's window and one slot for each that a domain may have; takes the SPIs. False: too few spare SPIs. */
u32 virtio_spis_needed(void);
void virtio_init(const struct range_list *pool);

/* Stage-2 mappings of `domain`'s side. */
void virtio_map(struct domain *domain);

/* For the trees. `all`: also slots without a device. */
void virtio_describe_backend(struct dt_backend *backend);
void virtio_describe_frontend(const struct domain *domain, bool all, struct dt_frontend *frontend);

/*
 * The fast path of every kick: a store to QueueNotify. True: it was one and is done. `value` is the stored register.
 */
bool virtio_notify(struct cpu *cpu, u64 ipa, u32 value);
/* That of the interrupts of a driver that has no completion SGI: a store to InterruptACK. */
bool virtio_acknowledge(struct cpu *cpu, u64 ipa, u32 value);

/* Any other access to a register page of this domain. True: it was one and is done. */
bool virtio_access(struct cpu *cpu, struct mmio *mmio);

/* The backend's hypercalls (LICHEN_HVC_DEVICE_ATTACH .. LICHEN_HVC_QUEUE_CHANNEL). Return 0 or a negative errno. */
long virtio_attach(u64 slot, u64 device_id, u64 queues, u64 queue_size, u64 features);
long virtio_detach(u64 slot);
long virtio_reset_done(u64 slot, u64 generation);
long virtio_signal(u64 slot, u64 bits);
long virtio_needs_reset(u64 slot);
long virtio_queue_channel(u64 slot, u64 queue, u64 channel);

/* LICHEN_MACHINE_* for the backend. 0, or -ENODEV: the driver domain does not run. */
long virtio_post_machine(u64 bits);
/* The driver domain is gone: every reset is complete, no kick goes anywhere, every device needs a reset. */
void virtio_backend_gone(void);
/* A frontend is gone: its devices are reset. */
void virtio_frontend_gone(const struct domain *domain);

#endif
