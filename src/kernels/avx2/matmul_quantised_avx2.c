/* matmul_quantised_avx2.c - y = x W^T of quantised rows and packed panels
 *
 * The canonical order is that of quantised_ref.c: the sum of a block is exact,
 * blocks are added one after the other. A tile is up to 6 rows by the 16 outputs
 * of a panel; two inputs at a time:
 *
 *               w low    w high     8 outputs x 2 inputs of 16 bits each
 *      x[0]      s         s        12 integer sums, two vectors of weights,
 *       :        :         :        the pair of x and its product fill the
 *      x[5]      s         s        registers; sums over blocks are in memory
 *
 * Codes are widened in registers again for every tile.
 */

#include "base/memory.h"
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/lanes_avx2.h"

enum {
    PANEL = CE_QUANTISED_PANEL,
    BLOCK = CE_QUANTISED_BLOCK,
    TILE_ROWS = 6,
    BLOCK_ROWS = 16 * TILE_ROWS, /* whose x stays in the second-level cache */
    GROUP_PAIRS = 4,             /* pairs of inputs whose codes are read together */
    GROUPS = BLOCK / 2 / GROUP_PAIRS,
    SCALES_BYTES = PANEL * 2,
    LINE_BYTES = 64,
    /* How far ahead to ask for weights: with some rows the CPU alone waits for memory
     * as long as it computes. */
    AHEAD_BLOCKS = 16,
};

CE_INLINE_AVX2 size_t group_bytes(enum ce_quantisation q)
{
    const size_t codes = (size_t)2 * GROUP_PAIRS * PANEL;

    return q == CE_QUANTISATION_Q8 ? codes : codes / 2;
}

CE_INLINE_AVX2 size_t block_bytes(enum ce_quantisation q)
{
    return SCALES_BYTES + GROUPS * group_bytes(q);
}

/* The weights of two inputs: of outputs 0..7 and of 8..15. */
struct pair {
    __m256i of[2];
};

CE_INLINE_AVX2 __m256i widen_q8(const unsigned char *group, size_t pair, size_t half)
{
    const unsigned char *at = group + (2 * pair + half) * sizeof(__m128i);

    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)at));
}

/* Plus 8. */
CE_INLINE_AVX2 __m256i widen_q4(const unsigned char *group, size_t pair, size_t half)
{
    const unsigned char *at = group + half * sizeof(__m256i);
    const __m256i codes =
        _mm256_srli_epi16(_mm256_loadu_si256((const void *)at), (int)(4 * pair));
    const bool topmost = pair + 1 == GROUP_PAIRS;

    return topmost ? codes : _mm256_and_si256(codes, _mm256_set1_epi16(15));
}

CE_INLINE_AVX2 struct pair
load_pair(enum ce_quantisation q, const unsigned char *group, size_t pair)
{
    if (q == CE_QUANTISATION_Q8) {
        return (struct pair){{widen_q8(group, pair, 0), widen_q8(group, pair, 1)}};
    }
    return (struct pair){{widen_q4(group, pair, 0), widen_q4(group, pair, 1)}};
}

/* A row tile of x, at the first of `blocks` blocks, and their weights. */
struct tile {
    const struct ce_quantised_block *x;
    size_t ldx;
    const unsigned char *w;
    size_t blocks;
};

/* Sums over blocks. */
struct sums {
    __m256 of[TILE_ROWS][2];
};

/* Sums over the inputs of a block. */
struct integers {
    __m256i of[TILE_ROWS][2];
};

static inline __m256i broadcast_pair(const int16_t *values)
{
    int32_t both;

    memcpy(&both, values, sizeof(both));
    return _mm256_set1_epi32(both);
}

/* sum + product, at once: the compiler may not see a chain of additions here, or it
 * makes a tree of them, whose parts do not fit into the registers. */
CE_INLINE_AVX2 __m256i add_integers(__m256i sum, __m256i product)
{
    sum = _mm256_add_epi32(sum, product);
    __asm__("" : "+x"(sum));
    return sum;
}

CE_INLINE_AVX2 void add_pair(struct integers *sums,
                             size_t rows,
                             const struct tile *tile,
                             size_t input,
                             struct pair w)
{
#pragma GCC unroll 6
    for (size_t t = 0; t < rows; t++) {
        const __m256i x = broadcast_pair(tile->x[t * tile->ldx].values + input);

#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++) {
            sums->of[t][half] =
                add_integers(sums->of[t][half], _mm256_madd_epi16(w.of[half], x));
        }
    }
}

/* Also beyond the end of the weights, where it does nothing. */
CE_INLINE_AVX2 void prefetch_group(enum ce_quantisation q, const unsigned char *group)
{
    for (size_t i = 0; i < group_bytes(q); i += LINE_BYTES) {
        _mm_prefetch((const void *)(group + i), _MM_HINT_T0);
    }
}

CE_INLINE_AVX2 void add_products(enum ce_quantisation q,
                                 struct integers *sums,
                                 size_t rows,
                                 const struct tile *tile)
{
#pragma GCC unroll 6
    for (size_t t = 0; t < rows; t++) {
        const int32_t start =
            q == CE_QUANTISATION_Q4 ? tile->x[t * tile->ldx].offset : 0;

        sums->of[t][0] = _mm256_set1_epi32(start);
        sums->of[t][1] = sums->of[t][0];
    }
    for (size_t g = 0; g < GROUPS; g++) {
        const unsigned char *group = tile->w + SCALES_BYTES + g * group_bytes(q);

        prefetch_group(q, group + AHEAD_BLOCKS * block_bytes(q));
#pragma GCC unroll 4
        for (size_t pair = 0; pair < GROUP_PAIRS; pair++) {
            const size_t input = 2 * (GROUP_PAIRS * g + pair);

            add_pair(sums, rows, tile, input, load_pair(q, group, pair));
        }
    }
}

CE_INLINE_AVX2 void add_block(enum ce_quantisation q,
                              struct sums *sums,
                              size_t rows,
                              const struct tile *tile)
{
    const __m256i words = _mm256_loadu_si256((const void *)tile->w);
    const __m256i high = _mm256_and_si256(words, _mm256_set1_epi32(-0x10000));
    const __m256 scales[2] = {_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)),
                              _mm256_castsi256_ps(high)};
    struct integers integers;

    add_products(q, &integers, rows, tile);
#pragma GCC unroll 6
    for (size_t t = 0; t < rows; t++) {
        const __m256 x_scale = _mm256_set1_ps(tile->x[t * tile->ldx].scale);

#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++) {
            const __m256 integer = _mm256_cvtepi32_ps(integers.of[t][half]);
            const __m256 product = _mm256_mul_ps(integer, scales[half]);

            sums->of[t][half] = _mm256_fmadd_ps(product, x_scale, sums->of[t][half]);
        }
    }
}

CE_INLINE_AVX2 void
add_blocks(enum ce_quantisation q, struct sums *sums, size_t rows, struct tile tile)
{
    for (size_t b = 0; b < tile.blocks; b++) {
        add_block(q, sums, rows, &tile);
        tile.x++;
        tile.w += block_bytes(q);
    }
}

/* Six copies of everything above for each format. */
CE_INLINE_AVX2 void add_tile(enum ce_quantisation q,
                             struct sums *sums,
                             size_t rows,
                             const struct tile *tile)
{
    switch (rows) {
    case 1:
        add_blocks(q, sums, 1, *tile);
        break;
    case 2:
        add_blocks(q, sums, 2, *tile);
        break;
    case 3:
        add_blocks(q, sums, 3, *tile);
        break;
    case 4:
        add_blocks(q, sums, 4, *tile);
        break;
    case 5:
        add_blocks(q, sums, 5, *tile);
        break;
    default:
        add_blocks(q, sums, TILE_ROWS, *tile);
        break;
    }
}

static void
store_tile(float *y, size_t ldy, const struct sums *sums, size_t rows, size_t outputs)
{
    for (size_t t = 0; t < rows; t++) {
        float values[PANEL];

        _mm256_storeu_ps(values, sums->of[t][0]);
        _mm256_storeu_ps(values + CE_LANES_AVX2, sums->of[t][1]);
        memcpy(y + t * ldy, values, outputs * sizeof(*y));
    }
}

/* Some rows against one panel. */
struct task {
    float *y;
    size_t ldy;
    const struct ce_quantised_block *x;
    size_t ldx;
    size_t rows;
    enum ce_quantisation q;
    const unsigned char *w;
    size_t blocks;
    size_t outputs; /* at most PANEL */
};

static void compute_panel(const struct task *task)
{
    for (size_t t = 0; t < task->rows; t += TILE_ROWS) {
        const size_t rows = ce_size_min(TILE_ROWS, task->rows - t);
        const struct tile tile = {
            task->x + t * task->ldx, task->ldx, task->w, task->blocks};
        struct sums sums = {0};

        if (task->q == CE_QUANTISATION_Q8) {
            add_tile(CE_QUANTISATION_Q8, &sums, rows, &tile);
        } else {
            add_tile(CE_QUANTISATION_Q4, &sums, rows, &tile);
        }
        store_tile(task->y + t * task->ldy, task->ldy, &sums, rows, task->outputs);
    }
}

static void compute_panels(struct task task,
                           const struct ce_quantised_matrix *w,
                           size_t first,
                           size_t count)
{
    const size_t bytes = ce_quantised_panel_bytes(w->quantisation, w->inputs);

    for (size_t panel = first; panel < first + count; panel++) {
        task.w = (const unsigned char *)w->data + panel * bytes;
        task.outputs = ce_size_min(PANEL, w->outputs - panel * PANEL);
        compute_panel(&task);
        task.y += PANEL;
    }
}

void ce_matmul_quantised_avx2(float *y,
                              size_t ldy,
                              const struct ce_quantised_block *x,
                              size_t ldx,
                              size_t rows,
                              const struct ce_quantised_matrix *w,
                              size_t first,
                              size_t count)
{
    struct task task = {
        .ldy = ldy,
        .ldx = ldx,
        .q = w->quantisation,
        .blocks = ce_quantised_blocks(w->inputs),
    };

    for (size_t t = 0; t < rows; t += BLOCK_ROWS) {
        task.y = y + t * ldy;
        task.x = x + t * ldx;
        task.rows = ce_size_min(BLOCK_ROWS, rows - t);
        compute_panels(task, w, first, count);
    }
}
