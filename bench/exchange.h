/* exchange.h - what the files of bench/exchange share: the job and its cells
 *
 * A cell is one combination of shape, routing, main experts and tokens. It is either
 * timed (exchange_time.c), with the baselines beside it, or only counted
 * (exchange_count.c).
 */

#ifndef CE_BENCH_EXCHANGE_H
#define CE_BENCH_EXCHANGE_H

#include "base/options.h"
#include "exchange_moe.h"
#include "harness.h"
#include "routing.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange_values {
    struct ce_option_list shape;
    struct ce_option_list routing;
    struct ce_option_list tokens;
    struct ce_option_list transports;
    const char *mains;
    const char *wire;
    const char *combine;
    size_t width; /* 0: the shape's, or a small one for counting */
    bool read;
    size_t repeat;
    double seconds;
    uint64_t seed;
    size_t memory_limit; /* 0: what is there */
    uint64_t deadline_ms;
    const char *json;
    bool count_only;
    size_t count_tokens;
};

#define EXCHANGE_MOST 16 /* of each list */

struct exchange_job {
    const struct exchange_values *values;
    struct exchange_shape shape[EXCHANGE_MOST];
    size_t shapes;
    struct routing_rule routing[EXCHANGE_MOST];
    size_t routings;
    size_t tokens[EXCHANGE_MOST];
    size_t token_counts;
    const char *transport_name[EXCHANGE_MOST];
    size_t transports;
    struct ce_transport *transport[EXCHANGE_MOST]; /* of the cell */
    uint64_t *counted; /* [transports][EXCHANGE_COUNTERS][ranks] of the cells so far */
    enum ce_wire_format format;
    enum ce_combine combine;
    int rank;
    int ranks;
    json_t *cells;
    bool wrong; /* a count is not what it should be */
};

struct exchange_cell {
    struct exchange_case of;
    const struct routing_rule *routing;
    const double *chance; /* [experts] */
};

/* Time and count one cell, add it to job->cells and print it on rank 0. Collective. */
CE_MUST_CHECK enum ce_status exchange_time_cell(struct exchange_job *job,
                                                const struct exchange_cell *cell,
                                                struct ce_error *err);
CE_MUST_CHECK enum ce_status exchange_count_cell(struct exchange_job *job,
                                                 const struct exchange_cell *cell,
                                                 struct ce_error *err);

/* Of all ranks together. */
struct exchange_tally exchange_total(const struct exchange_tally *mine);
/* What was counted beside what uniform routing makes of it. */
json_t *exchange_describe_tally(const struct exchange_tally *total,
                                const struct ce_traffic_estimate *expected);
/* Opens the transports for one cell; closing adds up their counters. Collective. */
CE_MUST_CHECK enum ce_status exchange_open_transports(struct exchange_job *job,
                                                      struct ce_error *err);
void exchange_close_transports(struct exchange_job *job);
/* The traffic of all transports and cells, messages and bytes from each rank to each
 * as both ends counted them; sets job->wrong where they differ. Collective; the
 * document is whole on rank 0 only. */
json_t *exchange_describe_traffic(struct exchange_job *job);

/* Prints the timed cells in which a transport is slower than the first of the list. */
void exchange_print_verdict(const struct exchange_job *job);

/* Shape, routing, mains, tokens and wire of a cell, the beginning of its document. */
json_t *exchange_describe_cell(const struct exchange_cell *cell);

/* Prints on rank 0, where not all of standard output is to be JSON. */
void exchange_print(const struct exchange_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
