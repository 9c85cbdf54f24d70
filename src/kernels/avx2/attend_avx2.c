/* attend_avx2.c - softmax(query keys^T * scale) values by online softmax
 *
 * Positions are taken in blocks of 64, counted from position 0. For each query:
 *
 *   score[k]  = scale * (sum over the dimensions, in order)      k in the block
 *   largest'  = max(largest, score)
 *   weight[k] = exp(score[k] - largest')
 *   rescale   = exp(largest - largest')
 *   sum       = sum * rescale + (lane j adds the weights j, j + 8, ...; then the tree)
 *   out       = out * rescale + (sum over the block of weight * value, in order)
 *
 * and at last out / sum. That is the order of every sum whatever else is in the
 * call: queries share only the loads of keys and values. Sums of sums of 64 also
 * keep the error of a long context small.
 *
 * Source: Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018;
 * Dao et al., "FlashAttention", 2022.
 */

#include "base/memory.h"
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/exp_avx2.h"
#include "kernels/avx2/lanes_avx2.h"

#include <math.h>

enum {
    BLOCK_PAGES = 4,
    BLOCK = BLOCK_PAGES * CE_KV_PAGE,
    PAGE_VECTORS = CE_KV_PAGE / CE_LANES_AVX2,
    TILE_ROWS = 6,     /* queries in registers at a time */
    TILE_VECTORS = 12, /* sums in registers at a time */
    CACHE_LINE = 64,
};

_Static_assert(CE_KV_LANES % CE_LANES_AVX2 == 0, "rows of values are whole vectors");

/* Queries that go through the blocks together, so that a block is read once. */
struct batch {
    size_t rows;
    const float *query[CE_ATTEND_ROWS];
    float *out[CE_ATTEND_ROWS];
    size_t positions[CE_ATTEND_ROWS]; /* attended; does not fall */
    float largest[CE_ATTEND_ROWS + CE_LANES_AVX2];
    float sum[CE_ATTEND_ROWS + CE_LANES_AVX2];
};

struct block {
    const struct ce_kv *kv;
    float scale;
    size_t first; /* position */
    const unsigned char *keys[BLOCK_PAGES];
    const unsigned char *values[BLOCK_PAGES];
    ptrdiff_t ahead[BLOCK_PAGES]; /* from a page to that of the next block */
};

/* A few rows of a batch in one block. */
struct tile {
    const float *const *query;
    float *const *out;
    size_t keys[TILE_ROWS]; /* of the block, attended: 1 .. BLOCK; does not fall */
    float score[TILE_ROWS][BLOCK]; /* then weights */
    float rescale[CE_LANES_AVX2];
};

/* Pages lie anywhere, so the processor cannot guess the next. Few rows are limited by
 * memory; many use what is in the cache several times, and the loads would cost. */
CE_INLINE_AVX2 void
prefetch_keys(const struct block *block, size_t page, size_t pages, size_t offset)
{
#pragma GCC unroll 4
    for (size_t p = page; p < page + pages; p++) {
        _mm_prefetch(block->keys[p] + block->ahead[p] + offset, _MM_HINT_T0);
    }
}

CE_INLINE_AVX2 void prefetch_values(const unsigned char *at, size_t bytes)
{
#pragma GCC unroll 4
    for (size_t line = 0; line < bytes; line += CACHE_LINE) {
        _mm_prefetch(at + line, _MM_HINT_T0);
    }
}

/* Scores of `rows` queries with all positions of `pages` pages from `page` on. */
CE_INLINE_AVX2 void score_pages(const struct block *block,
                                struct tile *tile,
                                size_t page,
                                enum ce_dtype dtype,
                                size_t rows,
                                size_t pages)
{
    const size_t vectors = pages * PAGE_VECTORS;
    const size_t step = CE_LANES_AVX2 * ce_element_bytes_avx2(dtype);
    const float *query[TILE_ROWS];
    __m256 sum[TILE_VECTORS];

#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
        query[r] = tile->query[r];
    }
#pragma GCC unroll 12
    for (size_t i = 0; i < rows * vectors; i++) {
        sum[i] = _mm256_setzero_ps();
    }
    for (size_t d = 0; d < block->kv->head_dim; d++) {
        __m256 key[BLOCK_PAGES * PAGE_VECTORS];

        if (rows < TILE_ROWS) {
            prefetch_keys(block, page, pages, d * PAGE_VECTORS * step);
        }
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            const size_t at = d * PAGE_VECTORS + v % PAGE_VECTORS;

            key[v] =
                ce_load_avx2(dtype, block->keys[page + v / PAGE_VECTORS] + at * step);
        }
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            const __m256 factor = _mm256_broadcast_ss(query[r] + d);

#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++) {
                sum[r * vectors + v] =
                    _mm256_fmadd_ps(factor, key[v], sum[r * vectors + v]);
            }
        }
    }

    const __m256 scale = _mm256_set1_ps(block->scale);

#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            _mm256_storeu_ps(tile->score[r] + page * CE_KV_PAGE + v * CE_LANES_AVX2,
                             _mm256_mul_ps(sum[r * vectors + v], scale));
        }
    }
}

/* The largest of 8 * vectors scores; NaN is passed over. */
static inline float largest_score(const float *score, size_t vectors)
{
    __m256 lanes = _mm256_set1_ps(-INFINITY);

    for (size_t v = 0; v < vectors; v++) {
        lanes = _mm256_max_ps(_mm256_loadu_ps(score + v * CE_LANES_AVX2), lanes);
    }

    __m128 half =
        _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));

    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/* score = exp(score - shift); returns the sum. */
static inline float exponentiate(float *score, size_t vectors, float shift)
{
    const __m256 subtrahend = _mm256_set1_ps(shift);
    __m256 lanes = _mm256_setzero_ps();

    for (size_t v = 0; v < vectors; v++) {
        const __m256 piece = _mm256_loadu_ps(score + v * CE_LANES_AVX2);
        const __m256 weight = ce_exp_avx2(_mm256_sub_ps(piece, subtrahend));

        _mm256_storeu_ps(score + v * CE_LANES_AVX2, weight);
        lanes = _mm256_add_ps(lanes, weight);
    }
    return _mm_cvtss_f32(ce_sum_lanes_avx2(lanes, lanes, lanes, lanes));
}

/* From scores to weights. Rows behind the last are computed and not used. */
static void weigh(struct tile *tile, float *largest, float *sum, size_t rows)
{
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    float found[CE_LANES_AVX2] = {0};
    float shift[CE_LANES_AVX2];
    float weights[CE_LANES_AVX2] = {0};
    size_t vectors[TILE_ROWS];

    for (size_t r = 0; r < rows; r++) {
        vectors[r] = (tile->keys[r] + CE_LANES_AVX2 - 1) / CE_LANES_AVX2;
        for (size_t k = tile->keys[r]; k < vectors[r] * CE_LANES_AVX2; k++) {
            tile->score[r][k] = -INFINITY;
        }
        found[r] = largest_score(tile->score[r], vectors[r]);
    }

    const __m256 before = _mm256_loadu_ps(largest);
    const __m256 after = _mm256_max_ps(_mm256_loadu_ps(found), before);
    /* While there is nothing but -inf, weights are to be 0 and not NaN. */
    const __m256 nothing = _mm256_cmp_ps(after, lowest, _CMP_EQ_OQ);
    const __m256 subtrahend = _mm256_andnot_ps(nothing, after);
    const __m256 rescale = ce_exp_avx2(_mm256_sub_ps(before, subtrahend));

    _mm256_storeu_ps(shift, subtrahend);
    for (size_t r = 0; r < rows; r++) {
        weights[r] = exponentiate(tile->score[r], vectors[r], shift[r]);
        largest[r] = found[r] > largest[r] ? found[r] : largest[r];
    }
    _mm256_storeu_ps(tile->rescale, rescale);
    for (size_t r = 0; r < rows; r++) {
        sum[r] = sum[r] * tile->rescale[r] + weights[r];
    }
}

/* Adds the values of one position to the rows of which it is one of the keys. */
CE_INLINE_AVX2 void add_position(__m256 *sum,
                                 const struct tile *tile,
                                 size_t k,
                                 const unsigned char *values,
                                 bool all,
                                 enum ce_dtype dtype,
                                 size_t rows,
                                 size_t vectors)
{
    const size_t step = CE_LANES_AVX2 * ce_element_bytes_avx2(dtype);
    __m256 value[CE_LANES_AVX2];

#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) {
        value[v] = ce_load_avx2(dtype, values + v * step);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
        if (all || k < tile->keys[r]) {
            const __m256 weight = _mm256_broadcast_ss(tile->score[r] + k);

#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++) {
                sum[r * vectors + v] =
                    _mm256_fmadd_ps(weight, value[v], sum[r * vectors + v]);
            }
        }
    }
}

/* out[i] = out[i] * rescale + sum[i], i < n <= 8 */
CE_INLINE_AVX2 void update(float *out, __m256 rescale, __m256 sum, size_t n)
{
    const __m256 old = ce_load_some_avx2(CE_DTYPE_F32, out, n);
    float piece[CE_LANES_AVX2];

    sum = _mm256_fmadd_ps(old, rescale, sum);
    if (n == CE_LANES_AVX2) {
        _mm256_storeu_ps(out, sum);
    } else {
        _mm256_storeu_ps(piece, sum);
        memcpy(out, piece, n * sizeof(*out));
    }
}

/* Outputs dim .. dim + 8 * vectors - 1, or of one vector the first `last`. */
CE_INLINE_AVX2 void add_values(const struct block *block,
                               const struct tile *tile,
                               size_t dim,
                               size_t last,
                               enum ce_dtype dtype,
                               size_t rows,
                               size_t vectors)
{
    const size_t element = ce_element_bytes_avx2(dtype);
    const size_t bytes = vectors * CE_LANES_AVX2 * element;
    const size_t width =
        (block->kv->head_dim + CE_KV_LANES - 1) / CE_KV_LANES * CE_KV_LANES;
    const size_t common = tile->keys[0];
    __m256 sum[TILE_VECTORS];

#pragma GCC unroll 12
    for (size_t i = 0; i < rows * vectors; i++) {
        sum[i] = _mm256_setzero_ps();
    }
    for (size_t k = 0; k < common;) {
        const unsigned char *at = block->values[k / CE_KV_PAGE] + dim * element;
        const size_t end = ce_size_min(k + CE_KV_PAGE, common);
        const ptrdiff_t ahead = block->ahead[k / CE_KV_PAGE];

        for (; k < end; k++, at += width * element) {
            if (rows < TILE_ROWS) {
                prefetch_values(at + ahead, bytes);
            }
            add_position(sum, tile, k, at, true, dtype, rows, vectors);
        }
    }
    for (size_t k = common; k < tile->keys[rows - 1]; k++) {
        const unsigned char *page = block->values[k / CE_KV_PAGE];
        const unsigned char *at = page + (k % CE_KV_PAGE * width + dim) * element;

        add_position(sum, tile, k, at, false, dtype, rows, vectors);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
        const __m256 rescale = _mm256_set1_ps(tile->rescale[r]);

#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) {
            update(tile->out[r] + dim + v * CE_LANES_AVX2,
                   rescale,
                   sum[r * vectors + v],
                   v + 1 < vectors ? CE_LANES_AVX2 : last);
        }
    }
}

/* One block for `rows` rows from `row` on, `pages` pages of scores and `vectors`
 * vectors of outputs at a time. */
CE_INLINE_AVX2 void run_tile(struct batch *batch,
                             const struct block *block,
                             size_t row,
                             enum ce_dtype dtype,
                             size_t rows,
                             size_t pages,
                             size_t vectors)
{
    const size_t head_dim = block->kv->head_dim;
    const size_t most = vectors * CE_LANES_AVX2;
    struct tile tile = {.query = batch->query + row, .out = batch->out + row};
    size_t page = 0;
    size_t dim = 0;

    for (size_t r = 0; r < rows; r++) {
        tile.keys[r] = ce_size_min(BLOCK, batch->positions[row + r] - block->first);
    }

    const size_t wanted = (tile.keys[rows - 1] + CE_KV_PAGE - 1) / CE_KV_PAGE;

    for (; page + pages <= wanted; page += pages) {
        score_pages(block, &tile, page, dtype, rows, pages);
    }
    for (; page < wanted; page++) {
        score_pages(block, &tile, page, dtype, rows, 1);
    }
    weigh(&tile, batch->largest + row, batch->sum + row, rows);
    for (; dim + most <= head_dim; dim += most) {
        add_values(block, &tile, dim, CE_LANES_AVX2, dtype, rows, vectors);
    }
    for (; dim + CE_LANES_AVX2 <= head_dim; dim += CE_LANES_AVX2) {
        add_values(block, &tile, dim, CE_LANES_AVX2, dtype, rows, 1);
    }
    if (dim < head_dim) {
        add_values(block, &tile, dim, head_dim - dim, dtype, rows, 1);
    }
}

/* Functions of their own: in one the constants of all would take registers. */
#define DEFINE_TILE(name, dtype, rows, pages, vectors)                                 \
    static void name(struct batch *batch, const struct block *block, size_t row)       \
    {                                                                                  \
        run_tile(batch, block, row, dtype, rows, pages, vectors);                      \
    }

DEFINE_TILE(run_6_f32, CE_DTYPE_F32, 6, 1, 2)
DEFINE_TILE(run_4_f32, CE_DTYPE_F32, 4, 1, 2)
DEFINE_TILE(run_2_f32, CE_DTYPE_F32, 2, 2, 4)
DEFINE_TILE(run_1_f32, CE_DTYPE_F32, 1, 4, 8)
DEFINE_TILE(run_6_bf16, CE_DTYPE_BF16, 6, 1, 2)
DEFINE_TILE(run_4_bf16, CE_DTYPE_BF16, 4, 1, 2)
DEFINE_TILE(run_2_bf16, CE_DTYPE_BF16, 2, 2, 4)
DEFINE_TILE(run_1_bf16, CE_DTYPE_BF16, 1, 4, 8)

/* As large as the registers allow. Which tiles a batch is cut into does not show in
 * the result. */
static const struct {
    size_t rows;
    void (*f32)(struct batch *batch, const struct block *block, size_t row);
    void (*bf16)(struct batch *batch, const struct block *block, size_t row);
} shapes[] = {
    {6, run_6_f32, run_6_bf16},
    {4, run_4_f32, run_4_bf16},
    {2, run_2_f32, run_2_bf16},
    {1, run_1_f32, run_1_bf16},
};

static void run_rows(struct batch *batch, const struct block *block, size_t row)
{
    const bool narrow = block->kv->dtype == CE_DTYPE_BF16;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        for (; row + shapes[i].rows <= batch->rows; row += shapes[i].rows) {
            (narrow ? shapes[i].bf16 : shapes[i].f32)(batch, block, row);
        }
    }
}

static struct block
find_block(const struct ce_attend *a, size_t first, size_t positions)
{
    const struct ce_kv *kv = &a->kv;
    struct block block = {.kv = kv, .scale = a->scale, .first = first};

    for (size_t p = 0; p < BLOCK_PAGES && first + p * CE_KV_PAGE < positions; p++) {
        const uint32_t *page = kv->page + first / CE_KV_PAGE + p;
        const size_t offset = *page * kv->page_bytes;

        block.keys[p] = (const unsigned char *)kv->keys + offset;
        block.values[p] = (const unsigned char *)kv->values + offset;
        if (first + BLOCK + p * CE_KV_PAGE < positions) {
            block.ahead[p] =
                ((ptrdiff_t)page[BLOCK_PAGES] - *page) * (ptrdiff_t)kv->page_bytes;
        }
    }
    return block;
}

static void start_batch(struct batch *batch, const struct ce_attend *a, size_t first)
{
    batch->rows = ce_size_min(CE_ATTEND_ROWS, a->tokens * a->group - first);
    for (size_t r = 0; r < batch->rows; r++) {
        const size_t token = (first + r) / a->group;
        const size_t at = token * a->ld + (first + r) % a->group * a->kv.head_dim;

        batch->query[r] = a->query + at;
        batch->out[r] = a->out + at;
        batch->positions[r] = a->first + token + 1;
        batch->largest[r] = -INFINITY;
        batch->sum[r] = 0;
        memset(batch->out[r], 0, a->kv.head_dim * sizeof(float));
    }
}

static void finish_batch(const struct batch *batch, size_t head_dim)
{
    for (size_t r = 0; r < batch->rows; r++) {
        for (size_t d = 0; d < head_dim; d++) {
            batch->out[r][d] /= batch->sum[r];
        }
    }
}

void ce_attend_avx2(const struct ce_attend *a)
{
    struct batch batch = {.largest = {0}};

    for (size_t first = 0; first < a->tokens * a->group; first += CE_ATTEND_ROWS) {
        size_t row = 0; /* the first that goes on behind the block before */

        start_batch(&batch, a, first);

        const size_t positions = batch.positions[batch.rows - 1];

        for (size_t start = 0; start < positions; start += BLOCK) {
            const struct block block = find_block(a, start, positions);

            while (batch.positions[row] <= start) {
                row++;
            }
            run_rows(&batch, &block, row);
        }
        finish_batch(&batch, a->kv.head_dim);
    }
}
