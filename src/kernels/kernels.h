/* kernels.h - the table of arithmetic operations: the one contract of kernels/
 *
 * Every member works on plain arrays, allocates nothing, does no I/O, starts
 * no threads and may be called from many threads at once. Activations are F32
 * and rows are contiguous unless a stride (ld*, in elements) is given.
 * Weights keep their stored type (F32, BF16 or F16) and are widened exactly, or
 * are of 8 or 4 bits (quantised.h).
 *
 * Row invariance: the bits of one output depend only on the inputs of that
 * output, never on how many other rows or outputs were in the call, nor on
 * where a caller cut the work. All sets keep this; sets differ from each other
 * by rounding, within the tolerances below: relative to the sum of absolute
 * products for matmul, to the value elsewhere, except that results below the
 * normal range may be a few hundred units of the smallest subnormal apart.
 *
 *   matmul        4 * 2^-24 * sqrt(inputs)
 *   matmul_quantised, against the exact product of x and the dequantised weights:
 *                 2^-24 * (blocks + 4) of the sum of absolute products; and for the
 *                 16 bits of x 2^-15.99 of the largest |x| of a block, or 2^-126.99
 *                 if that is more, times the sum of its |weights|. Between sets the
 *                 same bits
 *   rms_norm      1e-6
 *   softmax       2e-6 and the rounding of x - max
 *   silu_multiply 2e-6
 *   attend        1e-5 of the largest |value|
 *   add_combined  2^-24 * (combined rows + 2) of |y| + |scale| * the sum of absolute
 *                 products
 *   rotate, multiply, add_scaled: at most one rounding apart
 *
 * Zero rows, outputs or elements are allowed and do nothing, but where a
 * member says otherwise; zero inputs give zeros. NaN and infinity propagate as
 * the formulas say. No argument but `w->data` may be unaligned for its type.
 *
 * A set is filled from the reference first and then overrides what it does
 * better (see select.c), so a new set may start with one function.
 */

#ifndef CE_KERNELS_KERNELS_H
#define CE_KERNELS_KERNELS_H

#include "base/status.h"
#include "base/tensor.h"
#include "kernels/quantised.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CE_KV_PAGE = 16,     /* positions of a page of the KV cache */
    CE_KV_LANES = 8,     /* rows of values are padded to a multiple of this */
    CE_ATTEND_ROWS = 48, /* queries of one call that make good use of it */
};

/* The keys and values of one kv head of a sequence, F32 or BF16. Page p lies
 * page[p] * page_bytes behind `keys` and `values`, and is readable as a whole:
 *
 *   keys   [head_dim][CE_KV_PAGE]  one dimension of all positions after the other
 *   values [CE_KV_PAGE][head_dim, padded to CE_KV_LANES]
 *
 * What lies behind the last position, and in the padding, may be anything. */
struct ce_kv {
    enum ce_dtype dtype;
    size_t head_dim;
    const void *keys;
    const void *values;
    const uint32_t *page;
    size_t page_bytes;
};

/* The queries of consecutive positions and of the `group` heads that share a kv
 * head. The query at position p attends 0 .. p. */
struct ce_attend {
    struct ce_kv kv;
    size_t first; /* position of the first token */
    size_t tokens;
    size_t group;
    size_t ld;          /* from a token's queries to the next token's */
    const float *query; /* [tokens][group][head_dim] */
    float *out;         /* alike, another array */
    float scale;
};

/* Sums of the rows of one matrix, each with factors of its own, and where they go. */
struct ce_combination {
    size_t sums;
    const uint32_t *row;  /* [sums] of y, all different */
    const float *scale;   /* [sums] */
    const float *factors; /* [sums] times one a row of the matrix, */
    size_t ld;            /* so far apart */
};

struct ce_kernels {
    const char *name; /* "ref", "avx2" */

    /* y[t][o - first] = sum_i x[t][i] * w[o][i] for t < rows and
     * first <= o < first + count. */
    void (*matmul)(float *y,
                   size_t ldy,
                   const float *x,
                   size_t ldx,
                   size_t rows,
                   const struct ce_matrix *w,
                   size_t first,
                   size_t count);

    /* blocks[t] = the quantised x[t] for t < rows, ce_quantised_blocks(inputs) blocks
     * each, rows `ld_blocks` blocks apart. A block with NaN or infinity makes every
     * output of its row NaN. */
    void (*quantise_rows)(struct ce_quantised_block *blocks,
                          size_t ld_blocks,
                          const float *x,
                          size_t ldx,
                          size_t rows,
                          size_t inputs);

    /* y[t][o - 16 * first] as in matmul, for quantised rows and the outputs o of
     * panels first .. first + count - 1, fewer than 16 in the last of w. ldx is in
     * blocks. One task is best some panels in a row: they are read as one stream. */
    void (*matmul_quantised)(float *y,
                             size_t ldy,
                             const struct ce_quantised_block *x,
                             size_t ldx,
                             size_t rows,
                             const struct ce_quantised_matrix *w,
                             size_t first,
                             size_t count);

    /* y = weight * x / sqrt(mean(x^2) + eps); y may be x. */
    void (*rms_norm)(
        float *y, const float *x, const float *weight, size_t n, float eps);

    /* In place p = exp(x - max) / sum; n >= 1. -inf gives 0; a row with NaN or
     * +inf, or of nothing but -inf, gives NaN throughout. */
    void (*softmax)(float *x, size_t n);

    /* h = silu(gate) * up, times scale where scale is not NULL; h may be gate or up. */
    void (*silu_multiply)(
        float *h, const float *gate, const float *up, const float *scale, size_t n);

    /* y = x * w; y may be x. */
    void (*multiply)(float *y, const float *x, const float *w, size_t n);

    /* y += a * x. */
    void (*add_scaled)(float *y, const float *x, float a, size_t n);

    /* y[row[t]][j - first] += scale[t] * sum_i factors[t][i] * w[i][j] for t < sums and
     * first <= j < first + count; w is [outputs][inputs], i counts its outputs, and is
     * not packed. */
    void (*add_combined)(float *y,
                         size_t ldy,
                         const struct ce_combination *c,
                         const struct ce_matrix *w,
                         size_t first,
                         size_t count);

    /* Half-rotation RoPE of one head in place: pairs (i, i + n/2), i < n/2, with
     * cosine[i] and sine[i]. */
    void (*rotate)(float *x, const float *cosine, const float *sine, size_t n);

    /* out = softmax(query keys^T * scale) values. A score of -inf has no weight; a
     * query with a score of NaN or +inf, or of nothing but -inf, gives NaN. */
    void (*attend)(const struct ce_attend *a);

    /* True when all n values are finite. */
    bool (*all_finite)(const float *x, size_t n);

    /* XXH3 of the bytes at any address, 64 bits, no seed: the same of every set. */
    uint64_t (*checksum)(const void *data, size_t bytes);

    /* The exclusive or of all words: reads memory and does nothing else, for measuring
     * how fast that can be. */
    uint64_t (*xor_words)(const uint64_t *words, size_t n);
};

/* Sets from the most portable to the fastest; what a machine supports is a
 * prefix of this order. */
enum ce_isa { CE_ISA_REF = 0, CE_ISA_AVX2, CE_ISA_COUNT };

/* The fastest set this CPU and operating system support. */
enum ce_isa ce_isa_detect(void);
/* The set to use: what the environment variable CEMOE_ISA names, or the fastest
 * when it is unset or empty. Errors: CE_ERR_ARG for an unknown name,
 * CE_ERR_UNSUPPORTED for a set this machine lacks; the text lists the choices. */
CE_MUST_CHECK enum ce_status ce_isa_choose(enum ce_isa *isa, struct ce_error *err);
const char *ce_isa_name(enum ce_isa isa);
/* By name; CE_ISA_COUNT when unknown. */
enum ce_isa ce_isa_by_name(const char *name);
/* The table of a set, filled once, never freed. `isa` must be supported here. */
const struct ce_kernels *ce_kernels_get(enum ce_isa isa);

/* matmul of all outputs, cut into tasks that the threads of the calling rank
 * share; the bits are those of one matmul call. Not to be called inside a
 * parallel region. */
void ce_matmul_parallel(const struct ce_kernels *kernels,
                        float *y,
                        size_t ldy,
                        const float *x,
                        size_t ldx,
                        size_t rows,
                        const struct ce_matrix *w);

/* Rows of activations for products with weights of any type. */
struct ce_rows {
    const float *values; /* [rows] rows `stride` elements apart */
    size_t stride;
    const struct ce_quantised_block *blocks; /* the same quantised, or NULL: then the */
    size_t block_stride;                     /* weights may not be packed */
};

/* The rows from `row` on. */
struct ce_rows ce_rows_from(const struct ce_rows *x, size_t row);

/* Quantises rows of `inputs` elements into blocks [rows][x->block_stride], which x then
 * refers to, shared by the threads. Not to be called inside a parallel region. */
void ce_rows_quantise(const struct ce_kernels *kernels,
                      struct ce_rows *x,
                      struct ce_quantised_block *blocks,
                      size_t rows,
                      size_t inputs);

/* As kernels->matmul for weights of any type; `first` is a multiple of 16, and so is
 * `count` unless it ends with the last output. */
void ce_product(const struct ce_kernels *kernels,
                float *y,
                size_t ldy,
                const struct ce_rows *x,
                size_t rows,
                const struct ce_matrix *w,
                size_t first,
                size_t count);

/* The same of all outputs, shared by the threads as ce_matmul_parallel does. */
void ce_product_parallel(const struct ce_kernels *kernels,
                         float *y,
                         size_t ldy,
                         const struct ce_rows *x,
                         size_t rows,
                         const struct ce_matrix *w);

#endif
