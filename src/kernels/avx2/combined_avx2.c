/* combined_avx2.c - y += scale * (factors W) in tiles of 32 columns and up to 3 sums
 *
 * The sum of a column begins at 0 and takes the rows of W from first to last, each by a
 * fused multiply-add; a last one scales it and adds it to y. This holds in every tile,
 * so the bits do not depend on the tile a sum was in.
 *
 *                  w[i][0..7] [8..15] [16..23] [24..31]   widened in a register
 *   factors[0][i]      s        s        s        s       12 sums, 3 factors and a
 * piece factors[1][i]      s        s        s        s       of w fill the registers
 *   factors[2][i]      s        s        s        s
 *
 * A tile is one line of memory of each row of W; the first sums of a call ask for those
 * of the next tile, for the others they are in a cache.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/lanes_avx2.h"

enum { TILE_VECTORS = 4, TILE_SUMS = 3, TILE_COLUMNS = TILE_VECTORS * CE_LANES_AVX2 };

/* Some columns of some sums. */
struct task {
    float *y[TILE_SUMS]; /* the last one again where there are fewer */
    const float *factors[TILE_SUMS];
    float scale[TILE_SUMS];
    const unsigned char *w; /* the first column of the first row */
    size_t row_bytes;
    size_t rows;  /* of W */
    size_t ahead; /* bytes from w to what is asked for, or 0 */
};

CE_INLINE_AVX2 void store_some(float *y, __m256 values, size_t n)
{
    float piece[CE_LANES_AVX2];

    if (n == CE_LANES_AVX2) {
        _mm256_storeu_ps(y, values);
        return;
    }
    _mm256_storeu_ps(piece, values);
    memcpy(y, piece, n * sizeof(*piece));
}

/* `vectors` vectors, the last of them of n <= 8 columns. */
CE_INLINE_AVX2 void compute_tile(
    enum ce_dtype dtype, size_t sums, size_t vectors, size_t n, const struct task *task)
{
    const size_t step = CE_LANES_AVX2 * ce_element_bytes_avx2(dtype);
    const unsigned char *w = task->w;
    __m256 sum[TILE_SUMS][TILE_VECTORS];

#pragma GCC unroll 3
    for (size_t t = 0; t < sums; t++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            sum[t][v] = _mm256_setzero_ps();
        }
    }
    for (size_t i = 0; i < task->rows; i++, w += task->row_bytes) {
        __m256 factor[TILE_SUMS];

#pragma GCC unroll 3
        for (size_t t = 0; t < sums; t++) {
            factor[t] = _mm256_broadcast_ss(task->factors[t] + i);
        }
        if (task->ahead > 0) {
            _mm_prefetch((const void *)(w + task->ahead), _MM_HINT_T0);
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const __m256 piece = ce_load_some_avx2(
                dtype, w + v * step, v + 1 < vectors ? CE_LANES_AVX2 : n);

#pragma GCC unroll 3
            for (size_t t = 0; t < sums; t++) {
                sum[t][v] = _mm256_fmadd_ps(factor[t], piece, sum[t][v]);
            }
        }
    }
#pragma GCC unroll 3
    for (size_t t = 0; t < sums; t++) {
        const __m256 scale = _mm256_set1_ps(task->scale[t]);

#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const size_t columns = v + 1 < vectors ? CE_LANES_AVX2 : n;
            float *y = task->y[t] + v * CE_LANES_AVX2;
            const __m256 old = ce_load_some_avx2(CE_DTYPE_F32, y, columns);

            store_some(y, _mm256_fmadd_ps(scale, sum[t][v], old), columns);
        }
    }
}

/* Whole tiles; what is left is one vector at a time, the last one shorter. */
CE_INLINE_AVX2 void
compute_columns(enum ce_dtype dtype, size_t sums, const struct task *task, size_t count)
{
    if (count == TILE_COLUMNS) {
        compute_tile(dtype, sums, TILE_VECTORS, CE_LANES_AVX2, task);
        return;
    }
    struct task rest = *task;

    while (count >= CE_LANES_AVX2) {
        compute_tile(dtype, sums, 1, CE_LANES_AVX2, &rest);
        for (size_t t = 0; t < TILE_SUMS; t++) {
            rest.y[t] += CE_LANES_AVX2;
        }
        rest.w += CE_LANES_AVX2 * ce_element_bytes_avx2(dtype);
        count -= CE_LANES_AVX2;
    }
    if (count > 0) {
        compute_tile(dtype, sums, 1, count, &rest);
    }
}

/* Copies of the above for each number of sums. */
CE_INLINE_AVX2 void
compute_sums(enum ce_dtype dtype, size_t sums, const struct task *task, size_t count)
{
    if (sums == 1) {
        compute_columns(dtype, 1, task, count);
    } else if (sums == 2) {
        compute_columns(dtype, 2, task, count);
    } else {
        compute_columns(dtype, TILE_SUMS, task, count);
    }
}

static void
compute_group(const struct task *task, enum ce_dtype dtype, size_t sums, size_t count)
{
    if (dtype == CE_DTYPE_BF16) {
        compute_sums(CE_DTYPE_BF16, sums, task, count);
    } else if (dtype == CE_DTYPE_F16) {
        compute_sums(CE_DTYPE_F16, sums, task, count);
    } else {
        compute_sums(CE_DTYPE_F32, sums, task, count);
    }
}

/* Sums t .. t + sums - 1 of the columns that are y[..][0 .. count - 1]. */
static void add_group(float *y,
                      size_t ldy,
                      const struct ce_combination *c,
                      size_t t,
                      struct task *task,
                      enum ce_dtype dtype,
                      size_t count)
{
    const size_t sums = c->sums - t < TILE_SUMS ? c->sums - t : TILE_SUMS;

    for (size_t k = 0; k < TILE_SUMS; k++) {
        const size_t at = t + (k < sums ? k : sums - 1);

        task->y[k] = y + c->row[at] * ldy;
        task->factors[k] = c->factors + at * c->ld;
        task->scale[k] = c->scale[at];
    }
    compute_group(task, dtype, sums, count);
}

void ce_add_combined_avx2(float *y,
                          size_t ldy,
                          const struct ce_combination *c,
                          const struct ce_matrix *w,
                          size_t first,
                          size_t count)
{
    const size_t size = ce_dtype_size(w->dtype);
    struct task task = {.row_bytes = w->inputs * size, .rows = w->outputs};

    for (size_t j = 0; j < count; j += TILE_COLUMNS) {
        const size_t columns = count - j < TILE_COLUMNS ? count - j : TILE_COLUMNS;

        task.w = (const unsigned char *)w->data + (first + j) * size;
        for (size_t t = 0; t < c->sums; t += TILE_SUMS) {
            task.ahead = t == 0 ? TILE_COLUMNS * size : 0;
            add_group(y + j, ldy, c, t, &task, w->dtype, columns);
        }
    }
}
