/* matmul_avx2.c - y = x W^T in tiles of 4 outputs and up to 3 rows
 *
 * One sum is one vector: lane j adds the products of inputs j, j + 8, j + 16 ...
 * in this order by fused multiply-add, missing inputs of the last step being
 * zero, and the lanes are added by one tree. This holds in every tile, so the
 * bits of a sum do not depend on the tile it was in.
 *
 *              w[0] w[1] w[2] w[3]    four rows of W, widened in a register
 *      x[0]     s    s    s    s      12 sums and 3 pieces of x fill the
 *      x[1]     s    s    s    s      registers; a piece of w is used as soon
 *      x[2]     s    s    s    s      as it is widened
 *
 * Four weight rows side by side are four short streams, too short for the CPU to
 * follow. So a tile asks for the weights of the next one, in the order they have in
 * memory. Many rows go in blocks whose x stays in the second-level cache while all
 * outputs pass.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/lanes_avx2.h"

enum { TILE_OUTPUTS = 4, TILE_ROWS = 3, BLOCK_ROWS = 48, LINE_BYTES = 64 };

/* Some rows of x against at most TILE_OUTPUTS outputs. */
struct task {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    size_t inputs;
    size_t outputs;
    const unsigned char *w[TILE_OUTPUTS]; /* the last one again where there are fewer */
    size_t ahead;                         /* bytes from w[0] to what is asked for */
};

struct sums {
    __m256 of[TILE_OUTPUTS][TILE_ROWS];
};

CE_INLINE_AVX2 void
add_products(struct sums *sums, size_t output, size_t rows, const __m256 *x, __m256 w)
{
#pragma GCC unroll 3
    for (size_t t = 0; t < rows; t++) {
        sums->of[output][t] = _mm256_fmadd_ps(x[t], w, sums->of[output][t]);
    }
}

/* Inputs i .. i + n - 1 of all sums, n <= 8. */
CE_INLINE_AVX2 void add_step(struct sums *sums,
                             enum ce_dtype dtype,
                             size_t rows,
                             const struct task *task,
                             size_t i,
                             size_t n)
{
    const size_t offset = i * ce_element_bytes_avx2(dtype);
    __m256 x[TILE_ROWS];

#pragma GCC unroll 3
    for (size_t t = 0; t < rows; t++) {
        x[t] = ce_load_some_avx2(CE_DTYPE_F32, task->x + t * task->ldx + i, n);
    }
#pragma GCC unroll 4
    for (size_t o = 0; o < TILE_OUTPUTS; o++) {
        const __m256 w = ce_load_some_avx2(dtype, task->w[o] + offset, n);

        add_products(sums, o, rows, x, w);
    }
}

/* One step's share of the next tile, also beyond the end of the weights, where it does
 * nothing. */
CE_INLINE_AVX2 void
prefetch_step(enum ce_dtype dtype, const struct task *task, size_t i)
{
    const size_t bytes = TILE_OUTPUTS * ce_element_bytes_avx2(dtype); /* of an input */
    const unsigned char *next = task->w[0] + task->ahead + bytes * i;

    for (size_t at = 0; at < CE_LANES_AVX2 * bytes; at += LINE_BYTES) {
        _mm_prefetch((const void *)(next + at), _MM_HINT_T0);
    }
}

static inline void store_row(float *y, __m128 row, size_t outputs)
{
    float values[TILE_OUTPUTS];

    if (outputs == TILE_OUTPUTS) {
        _mm_storeu_ps(y, row);
        return;
    }
    _mm_storeu_ps(values, row);
    memcpy(y, values, outputs * sizeof(*values));
}

CE_INLINE_AVX2 void
compute_tile(enum ce_dtype dtype, size_t rows, const struct task *task)
{
    const size_t tail = task->inputs % CE_LANES_AVX2;
    struct sums sums;

#pragma GCC unroll 4
    for (size_t o = 0; o < TILE_OUTPUTS; o++) {
#pragma GCC unroll 3
        for (size_t t = 0; t < rows; t++) {
            sums.of[o][t] = _mm256_setzero_ps();
        }
    }
    for (size_t i = 0; i < task->inputs - tail; i += CE_LANES_AVX2) {
        add_step(&sums, dtype, rows, task, i, CE_LANES_AVX2);
        prefetch_step(dtype, task, i);
    }
    if (tail > 0) {
        add_step(&sums, dtype, rows, task, task->inputs - tail, tail);
    }
#pragma GCC unroll 3
    for (size_t t = 0; t < rows; t++) {
        const __m128 row = ce_sum_lanes_avx2(
            sums.of[0][t], sums.of[1][t], sums.of[2][t], sums.of[3][t]);

        store_row(task->y + t * task->ldy, row, task->outputs);
    }
}

/* Four rows are two tiles of two: the four sums of a single row wait for each other. */
CE_INLINE_AVX2 void compute_rows(enum ce_dtype dtype, struct task task, size_t rows)
{
    while (rows > 0) {
        size_t tile = TILE_ROWS;

        if (rows == 1) {
            tile = 1;
            compute_tile(dtype, 1, &task);
        } else if (rows == 2 || rows == 4) {
            tile = 2;
            compute_tile(dtype, 2, &task);
        } else {
            compute_tile(dtype, TILE_ROWS, &task);
        }
        task.x += tile * task.ldx;
        task.y += tile * task.ldy;
        rows -= tile;
    }
}

/* Three copies of everything above, one for each type of weights. */
static void
compute_outputs(struct task task, size_t rows, const struct ce_matrix *w, size_t first)
{
    const size_t row_bytes = w->inputs * ce_dtype_size(w->dtype);

    for (size_t o = 0; o < TILE_OUTPUTS; o++) {
        const size_t output = first + (o < task.outputs ? o : task.outputs - 1);

        task.w[o] = (const unsigned char *)w->data + output * row_bytes;
    }
    if (w->dtype == CE_DTYPE_BF16) {
        compute_rows(CE_DTYPE_BF16, task, rows);
    } else if (w->dtype == CE_DTYPE_F16) {
        compute_rows(CE_DTYPE_F16, task, rows);
    } else {
        compute_rows(CE_DTYPE_F32, task, rows);
    }
}

void ce_matmul_avx2(float *y,
                    size_t ldy,
                    const float *x,
                    size_t ldx,
                    size_t rows,
                    const struct ce_matrix *w,
                    size_t first,
                    size_t count)
{
    struct task task = {.ldy = ldy, .ldx = ldx, .inputs = w->inputs};

    for (size_t t = 0; t < rows; t += BLOCK_ROWS) {
        const size_t block = rows - t < BLOCK_ROWS ? rows - t : BLOCK_ROWS;

        /* Behind the first block weights come from a cache: what would help the first
         * only drives the tile out of the nearest one. */
        task.ahead =
            t == 0 ? TILE_OUTPUTS * w->inputs * ce_element_bytes_avx2(w->dtype) : 0;
        task.x = x + t * ldx;
        for (size_t o = 0; o < count; o += TILE_OUTPUTS) {
            task.y = y + t * ldy + o;
            task.outputs = count - o < TILE_OUTPUTS ? count - o : TILE_OUTPUTS;
            compute_outputs(task, block, w, first + o);
        }
    }
}
