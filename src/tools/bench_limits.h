/* bench_limits.h - what this machine can do at best, measured between other things
 *
 * Two rates limit a model: weights cannot be used faster than memory is read, and not
 * more can be multiplied than by a good matrix product. Both change from minute to
 * minute on a shared machine, so a benchmark takes a sample of them before each of its
 * own; the largest one is the limit.
 *
 *   read   every thread of every rank reads its part of anonymous huge pages, which it
 *          was the first to touch, by kernels->xor_words
 *   sgemm  every rank multiplies two square F32 matrices by OpenBLAS, all its threads
 */

#ifndef CE_TOOLS_BENCH_LIMITS_H
#define CE_TOOLS_BENCH_LIMITS_H

#include "base/options.h"
#include "comm/transport.h"
#include "kernels/kernels.h"

#include <jansson.h>
#include <stddef.h>

struct ce_limits_values {
    size_t read_bytes;
};
extern const struct ce_option ce_limits_options[];

struct ce_limits {
    const struct ce_kernels *kernels;
    struct ce_transport *transport;
    unsigned char *memory; /* NULL: nothing is measured */
    size_t bytes;          /* of this rank */
    float *factors;        /* both, and the product */
    size_t most;
    size_t samples;
    double *read;  /* [most] bytes per second of all ranks */
    double *sgemm; /* [most] FLOP a second of all ranks */
};

/* Takes memory for reading `read_bytes` by all ranks together, or half of what is
 * available where that is less, and touches it; 0 measures nothing. At most `most`
 * samples will be taken. Collective. */
CE_MUST_CHECK enum ce_status ce_limits_open(struct ce_limits *limits,
                                            const struct ce_kernels *kernels,
                                            struct ce_transport *transport,
                                            size_t read_bytes,
                                            size_t most,
                                            struct ce_error *err);
/* One sample of both. Collective. */
CE_MUST_CHECK enum ce_status ce_limits_sample(struct ce_limits *limits,
                                              struct ce_error *err);
void ce_limits_close(struct ce_limits *limits); /* accepts a zeroed object */

/* Largest samples; 0 where nothing was measured. */
struct ce_limit_rates {
    double read;  /* bytes per second */
    double sgemm; /* FLOP a second */
};
struct ce_limit_rates ce_limits_best(const struct ce_limits *limits);

/* New object, or JSON null where nothing was measured. */
json_t *ce_limits_json(struct ce_limits *limits);
void ce_limits_print(struct ce_limits *limits); /* a line on stdout */

#endif
