/* ways.h - by which transports and devices UCX could send from this host */

#ifndef CE_COMM_WAYS_H
#define CE_COMM_WAYS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* The names are those of UCX_TLS and UCX_NET_DEVICES. */
struct ce_way {
    char transport[16]; /* "tcp", "rc_mlx5", "posix" */
    char device[40];    /* "eth0", "mlx5_0:1", "memory" */
    bool network;       /* reaches other hosts */
};

/* All ways there are, whatever the environment allows. The caller frees *ways.
 * Errors: CE_ERR_COMM where UCX does not answer. */
CE_MUST_CHECK enum ce_status
ce_ways_find(struct ce_way **ways, size_t *count, struct ce_error *err);

#endif
