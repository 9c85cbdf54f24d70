/* harness.h - what benchmarks share: fair samples, cold memory, the machine
 *
 * A race times several ways to do the same thing, its lanes. Every sample runs
 * all of them, in turn and each time another one first, so that whatever else the
 * machine does meets them alike. All ranks begin a run together and its time is
 * that of the slowest rank.
 *
 *   sample 0   mpi  ucx  memcpy  | sample 1   ucx  memcpy  mpi  | ...
 *
 * Memory that a lane reads or writes comes from pools larger than the last-level
 * cache, a new piece for each run, so that no lane finds what another has warmed.
 */

#ifndef CE_BENCH_HARNESS_H
#define CE_BENCH_HARNESS_H

#include "base/options.h"
#include "base/status.h"
#include "comm/transport.h"

#include <jansson.h>
#include <stddef.h>

/* Reads the command line of a program that is one command and runs it. */
int bench_main(const struct ce_command *command, int argc, char **argv);

/* ---- samples ---- */

struct bench_lane {
    const char *name;
    void *context;
    /* One run of one phase, its parts in order. */
    enum ce_status (*run)(void *context, size_t phase, struct ce_error *err);
    double *seconds; /* [phases][most], filled by the race */
};

struct bench_race {
    struct ce_transport *transport; /* where the ranks meet */
    struct bench_lane *lane;
    size_t lanes;
    size_t phases;
    size_t warm_up; /* samples before the first that counts */
    size_t least;   /* samples at least, at most, and between: as many as fit */
    size_t most;    /* into the budget */
    double budget_s;
    size_t samples; /* taken */
};

/* Collective. Afterwards seconds[phase * most + i] are those of the slowest rank. */
CE_MUST_CHECK enum ce_status bench_race_run(struct bench_race *race,
                                            struct ce_error *err);

struct bench_summary {
    double min;
    double median;
    double p99; /* nearest rank: with fewer than 100 samples the largest */
};

/* Sorts the samples, of which there is at least one. */
struct bench_summary bench_summarize(double *seconds, size_t samples);

/* ---- memory ---- */

/* Twice the last-level cache. */
size_t bench_rotation_bytes(void);

struct bench_pool {
    unsigned char *memory;
    size_t bytes;
    size_t next; /* where the next piece begins */
};

/* What a pool for pieces of `bytes` takes. */
size_t bench_pool_bytes(size_t bytes);
/* A pool for pieces of up to `bytes`, filled with floats and all of it touched. */
CE_MUST_CHECK enum ce_status
bench_pool_open(struct bench_pool *pool, size_t bytes, struct ce_error *err);
void bench_pool_close(struct bench_pool *pool); /* accepts a zeroed pool */
/* The memory that was used the longest ago, 64-byte aligned. */
void *bench_pool_next(struct bench_pool *pool, size_t bytes);

/* Reads all bytes, of which only whole words of 8 count, and forgets them. */
void bench_read(const void *data, size_t bytes);

/* ---- results ---- */

/* Processor, cache, memory, kernel, MPI library, ranks and threads. */
json_t *bench_machine(void);

#endif
