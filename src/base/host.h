/* host.h - which processes are on one host
 *
 * A name does not tell: nodes of a cluster may all be called "localhost", and
 * containers of one machine have names of their own or the same. The kernel's boot_id
 * is another on every machine; the namespace of control groups tells its containers
 * apart.
 */

#ifndef CE_BASE_HOST_H
#define CE_BASE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sent between ranks as it is. */
struct ce_host {
    char name[72];    /* for people; NUL-terminated */
    uint64_t machine; /* equal where memory and processors are the same */
    uint64_t id;      /* equal where also name and limits of memory are */
};

void ce_host_self(struct ce_host *host);

bool ce_host_is_same(const struct ce_host *a, const struct ce_host *b);

/* Gives hosts with one name but different ids the names "NAME#2", "NAME#3", in the
 * order of the list. The hosts lie `stride` bytes apart; of none is read beyond its
 * name. */
void ce_host_number(struct ce_host *first, size_t stride, size_t count);

/* The kernel's boot_id, cut to `bytes`; "unknown" where the system does not tell. */
void ce_host_read_boot(char *boot, size_t bytes);

/* How much of `available` bytes one host has left of a machine with `machine_available`
 * bytes, where hosts on it together want `machine_bytes` and this one `bytes`. */
uint64_t ce_host_memory_left(uint64_t available,
                             uint64_t machine_available,
                             uint64_t machine_bytes,
                             uint64_t bytes);

#endif
