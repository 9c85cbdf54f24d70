/* hello.h - at start: do all ranks want the same thing, and who are they? */

#ifndef CE_COMM_HELLO_H
#define CE_COMM_HELLO_H

#include "comm/transport.h"

struct ce_hello {
    const char *version;
    const char *options; /* those that must be equal: "name=value" lines */
    uint64_t config_hash;
    int isa; /* best kernel set of this rank; larger includes smaller */
    int threads;
    const char *host;
    uint64_t host_id; /* tells hosts with one name apart (base/host.h) */
};

#define CE_HELLO_MAX_OPTIONS 64

/* Compares all ranks with rank 0. CE_ERR_MISMATCH, with the same text on all
 * ranks, names the first rank that differs, both hosts, the field and both values.
 * *lowest_isa is what all ranks can run. `summary`, for the log, names hosts,
 * ranks and threads, cut to `size`: "3 ranks: alpha 0-1 (4 threads each), ...".
 * Ranks: collective, also for a rank whose own hello is not valid (CE_ERR_ARG). */
CE_MUST_CHECK enum ce_status ce_hello_exchange(struct ce_transport *transport,
                                               const struct ce_hello *mine,
                                               int *lowest_isa,
                                               char *summary,
                                               size_t size,
                                               struct ce_error *err);

#endif
