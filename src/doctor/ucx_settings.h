/* ucx_settings.h - do UCX_TLS and UCX_NET_DEVICES name what this host has?
 *
 * UCX itself only warns, if it was built to log at all, and goes on with what is left.
 */

#ifndef CE_DOCTOR_UCX_SETTINGS_H
#define CE_DOCTOR_UCX_SETTINGS_H

#include "comm/ways.h"

struct ce_ucx_settings {
    bool known;             /* UCX answered */
    char no_transport[48];  /* first word of UCX_TLS that names nothing here, or "" */
    char no_device[48];     /* the same of UCX_NET_DEVICES */
    bool has_device;        /* UCX_NET_DEVICES leaves some */
    bool reaches_hosts;     /* a way to other hosts is left by both */
    bool reaches_ranks;     /* a way to another rank of this host is */
    char devices[120];      /* of the network, as UCX calls them: "eth0, lo" */
    char unused_fabric[48]; /* an InfiniBand device UCX has no transport for, or "" */
};

/* `tls` and `net_devices` are the values of the variables, NULL where unset; `fabrics`
 * is the folder with an entry for each InfiniBand device of the host. */
void ce_ucx_settings_judge(struct ce_ucx_settings *settings,
                           const char *tls,
                           const char *net_devices,
                           const struct ce_way *ways,
                           size_t count,
                           const char *fabrics);

#endif
