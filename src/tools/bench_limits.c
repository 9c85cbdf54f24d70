/* bench_limits.c - reading memory and multiplying, as fast as it goes here */

#include "tools/bench_limits.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/streams.h"
#include "comm/collective.h"
#include "kernels/blas/core.h"
#include "kernels/blas/sgemm.h"
#include "tools/bench_samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ORDER = 2048,      /* of the matrices that are multiplied */
    PIECE = 256 << 10, /* bytes between two looks at the loop's end */
};

const struct ce_option ce_limits_options[] = {
    {.name = "read-bytes",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_limits_values, read_bytes),
     .initial = "4G",
     .min = 0,
     .max = 0x1p40,
     .help = "Memory that all ranks together read to find the limit, before every "
             "sample; less where memory is short. 0 measures no limits."},
    {0}};

/* All ranks leave at the same time, as nearly as messages allow. */
static enum ce_status meet(struct ce_transport *transport, struct ce_error *err)
{
    const struct ce_bytes *all = NULL;

    return ce_allgather(transport, (struct ce_bytes){NULL, 0}, &all, err);
}

/* Same static cut as read_all, so that a page lies near the thread that reads it. */
static void touch_all(unsigned char *memory, size_t bytes)
{
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < bytes; at += PIECE) {
        memset(memory + at, (int)(at / PIECE % 251), PIECE);
    }
}

static uint64_t
read_all(const struct ce_kernels *kernels, const unsigned char *memory, size_t bytes)
{
    uint64_t all = 0;

#pragma omp parallel for schedule(static) reduction(^ : all)
    for (size_t at = 0; at < bytes; at += PIECE) {
        all ^=
            kernels->xor_words((const void *)(memory + at), PIECE / sizeof(uint64_t));
    }
    return all;
}

static void fill_factors(float *factors)
{
    for (size_t i = 0; i < (size_t)3 * ORDER * ORDER; i++) {
        factors[i] = (float)(i % 251) / 256.0F - 0.5F;
    }
}

enum ce_status ce_limits_open(struct ce_limits *limits,
                              const struct ce_kernels *kernels,
                              struct ce_transport *transport,
                              size_t read_bytes,
                              size_t most,
                              struct ce_error *err)
{
    const size_t factors = (size_t)3 * ORDER * ORDER * sizeof(float);
    uint64_t fits = ce_memory_available() / 2;
    size_t mine = 0;

    *limits = (struct ce_limits){.kernels = kernels, .transport = transport};
    if (read_bytes == 0) {
        return CE_OK;
    }
    /* Nobody takes memory before all have looked. */
    enum ce_status status = meet(transport, err);
    if (status != CE_OK) {
        return status;
    }
    mine = (fits < read_bytes ? (size_t)fits : read_bytes) / (size_t)transport->ranks;
    limits->bytes = (mine + PIECE - 1) / PIECE * PIECE;
    limits->most = most;
    limits->memory = ce_memory_map(limits->bytes);
    limits->factors = ce_memory_map(factors);
    limits->read = calloc(most, sizeof(limits->read[0]));
    limits->sgemm = calloc(most, sizeof(limits->sgemm[0]));
    if (limits->memory == NULL || limits->factors == NULL || limits->read == NULL ||
        limits->sgemm == NULL) {
        status = ce_fail(
            err, CE_ERR_NOMEM, "no memory for reading %zu bytes", limits->bytes);
    } else {
        touch_all(limits->memory, limits->bytes);
        fill_factors(limits->factors);
    }
    return ce_agree(transport, status, err);
}

void ce_limits_close(struct ce_limits *limits)
{
    ce_memory_unmap(limits->memory, limits->bytes);
    ce_memory_unmap(limits->factors, (size_t)3 * ORDER * ORDER * sizeof(float));
    free(limits->read);
    free(limits->sgemm);
    *limits = (struct ce_limits){0};
}

static void read_memory(const struct ce_limits *limits)
{
    static volatile uint64_t sink; /* so that the compiler keeps the loop */

    sink = read_all(limits->kernels, limits->memory, limits->bytes);
    (void)sink;
}

static void multiply(const struct ce_limits *limits)
{
    const size_t values = (size_t)ORDER * ORDER;
    float *product = limits->factors + 2 * values;

    ce_sgemm_blas(
        product, limits->factors, limits->factors + values, ORDER, ORDER, ORDER);
}

/* Seconds until all ranks have done it. */
static enum ce_status time_together(const struct ce_limits *limits,
                                    void (*work)(const struct ce_limits *limits),
                                    double *seconds,
                                    struct ce_error *err)
{
    enum ce_status status = meet(limits->transport, err);
    const uint64_t since = ce_clock_ns();

    if (status == CE_OK) {
        work(limits);
        status = meet(limits->transport, err);
    }
    *seconds = (double)(ce_clock_ns() - since) / 1e9;
    return status;
}

enum ce_status ce_limits_sample(struct ce_limits *limits, struct ce_error *err)
{
    const double ranks = limits->transport->ranks;
    const double order = ORDER;
    double multiplying = 0.0;
    double reading = 0.0;

    if (limits->memory == NULL || limits->samples == limits->most) {
        return CE_OK;
    }
    enum ce_status status = time_together(limits, multiply, &multiplying, err);
    if (status == CE_OK) {
        status = time_together(limits, read_memory, &reading, err);
    }
    if (status == CE_OK) {
        limits->sgemm[limits->samples] =
            ranks * 2 * order * order * order / multiplying;
        limits->read[limits->samples] = ranks * (double)limits->bytes / reading;
        limits->samples++;
    }
    return status;
}

struct ce_limit_rates ce_limits_best(const struct ce_limits *limits)
{
    struct ce_limit_rates best = {0.0, 0.0};

    for (size_t i = 0; i < limits->samples; i++) {
        best.read = limits->read[i] > best.read ? limits->read[i] : best.read;
        best.sgemm = limits->sgemm[i] > best.sgemm ? limits->sgemm[i] : best.sgemm;
    }
    return best;
}

json_t *ce_limits_json(struct ce_limits *limits)
{
    if (limits->samples == 0) {
        return json_null();
    }
    return json_pack("{s:I, s:o, s:i, s:s, s:o, s:I}",
                     "read_bytes",
                     (json_int_t)limits->bytes * limits->transport->ranks,
                     "read_bytes_per_second",
                     ce_spread_json(ce_spread_of(limits->read, limits->samples)),
                     "sgemm_order",
                     ORDER,
                     "sgemm_core",
                     ce_blas_core(),
                     "sgemm_flops_per_second",
                     ce_spread_json(ce_spread_of(limits->sgemm, limits->samples)),
                     "samples",
                     (json_int_t)limits->samples);
}

void ce_limits_print(struct ce_limits *limits)
{
    if (limits->samples == 0) {
        return;
    }
    struct ce_spread read = ce_spread_of(limits->read, limits->samples);
    struct ce_spread sgemm = ce_spread_of(limits->sgemm, limits->samples);

    ce_print("\nread   %7.1f GB/s    (median %.1f, least %.1f) of %.2f GiB\n"
             "sgemm  %7.1f GFLOP/s (median %.1f, least %.1f) of order %d by "
             "OpenBLAS for %s, in turn with the rest: %zu samples\n",
             read.max / 1e9,
             read.median / 1e9,
             read.min / 1e9,
             (double)limits->bytes * limits->transport->ranks / 0x1p30,
             sgemm.max / 1e9,
             sgemm.median / 1e9,
             sgemm.min / 1e9,
             ORDER,
             ce_blas_core(),
             limits->samples);
}
