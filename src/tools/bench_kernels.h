/* bench_kernels.h - the parts of `cemoe bench kernels`
 *
 * A format is a way to keep weights and to multiply with them; the list of formats
 * is a table, to which a new one adds a line. Every product is measured in all formats,
 * which take turns, with weights that are not in a cache: copies of the matrix,
 * together more than four times the last-level cache, are used one after the other.
 */

#ifndef CE_TOOLS_BENCH_KERNELS_H
#define CE_TOOLS_BENCH_KERNELS_H

#include "base/arena.h"
#include "base/tensor.h"
#include "engine/kv_cache.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "tools/bench_limits.h"
#include "tools/bench_samples.h"
#include "tools/size_list.h"

#include <stddef.h>

/* y [rows][outputs] = x [rows][inputs] times weights [outputs][inputs]. */
struct ce_bench_product {
    const struct ce_kernels *kernels;
    size_t outputs;
    size_t inputs;
    size_t rows;
    const float *x;
    struct ce_quantised_block *blocks; /* scratch [rows][blocks of inputs] */
    float *y;
};

struct ce_bench_format {
    const char *name;
    enum ce_dtype dtype;
    /* What the weights take, and making them from F32. */
    size_t (*bytes)(const struct ce_bench_format *format,
                    size_t outputs,
                    size_t inputs);
    void (*pack)(const struct ce_bench_format *format,
                 void *packed,
                 const float *weights,
                 size_t outputs,
                 size_t inputs);
    /* By all threads; what it does to x first is part of it. */
    void (*multiply)(const struct ce_bench_format *format,
                     const struct ce_bench_product *product,
                     const void *packed);
};

/* The formats of the kernel table, and at last OpenBLAS to compare with. */
enum { CE_BENCH_FORMATS = 6 };
extern const struct ce_bench_format ce_bench_formats[CE_BENCH_FORMATS];

/* ---- attention (bench_kernels_attend.c) ---- */

struct ce_bench_attend {
    const struct ce_kernels *kernels;
    const struct ce_config *config;
    size_t positions;
    size_t queries; /* of each head, at the last positions */
    size_t bytes;   /* of keys and values of all heads, once */
    size_t next;    /* copy */
    struct ce_arena arena;
    struct ce_kv_cache cache;
    uint32_t *page; /* [pages] */
    float *query;   /* [queries][heads][head_dim] */
    float *out;     /* alike */
};

/* Keys and values in turn from copies of `cold_bytes` together. `queries` are as many
 * as there are positions where those are fewer. */
CE_MUST_CHECK enum ce_status ce_bench_attend_open(struct ce_bench_attend *attend,
                                                  const struct ce_kernels *kernels,
                                                  const struct ce_config *config,
                                                  enum ce_dtype dtype,
                                                  size_t positions,
                                                  size_t queries,
                                                  size_t cold_bytes,
                                                  struct ce_error *err);
double ce_bench_attend_flops(const struct ce_bench_attend *attend);
/* All queries of all heads once, by all threads; takes a struct ce_bench_attend. */
void ce_bench_attend_run(void *untyped);
void ce_bench_attend_close(
    struct ce_bench_attend *attend); /* accepts a zeroed object */

/* ---- results (bench_kernels_print.c) ---- */

/* One thing that was timed. */
struct ce_bench_result {
    char name[32]; /* "gate, up", "attention" */
    const char *format;
    size_t outputs; /* attention: positions */
    size_t inputs;  /* attention: values of a position, keys alone */
    size_t rows;    /* attention: queries of a head */
    double bytes;   /* of weights or of keys and values */
    double flops;
    struct ce_spread seconds;
};

struct ce_bench_results {
    const char *kernels;
    int threads;
    size_t cold_bytes;
    size_t count;
    size_t most;
    struct ce_bench_result *result; /* [most] */
    struct ce_limits limits;
};

/* On stdout; return the exit code. */
int ce_bench_kernels_print_json(struct ce_bench_results *results);
int ce_bench_kernels_print_table(struct ce_bench_results *results);

/* Numbers between -1 and 1. */
void ce_bench_fill(float *x, size_t n);

/* So many copies of something of `bytes` are together at least `cold_bytes`. */
size_t ce_bench_copies(size_t cold_bytes, size_t bytes);

#endif
