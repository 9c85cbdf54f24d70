/* attend_avx2.c - softmax(query keys^T * scale) values of one query
 *
 * A score is a sum as in matmul_avx2.c, and an output adds its values position
 * by position, so neither depends on where a page ends.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/lanes_avx2.h"

enum { TILE_KEYS = 4, TILE_VECTORS = 4 };

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Dimensions i .. i + n - 1 of four dot products, n <= 8. */
CE_INLINE_AVX2 void
add_step(__m256 *sum, const float *query, const float *const *key, size_t i, size_t n)
{
    const __m256 q = ce_load_some_avx2(CE_DTYPE_F32, query + i, n);

#pragma GCC unroll 4
    for (size_t k = 0; k < TILE_KEYS; k++) {
        const __m256 piece = ce_load_some_avx2(CE_DTYPE_F32, key[k] + i, n);

        sum[k] = _mm256_fmadd_ps(q, piece, sum[k]);
    }
}

/* scores[k] = scale * dot(query, keys[k]) for k < count <= TILE_KEYS */
static void
score_tile(const struct ce_attend *a, float *scores, const float *keys, size_t count)
{
    const size_t tail = a->head_dim % CE_LANES_AVX2;
    const float *key[TILE_KEYS]; /* the last one again where there are fewer */
    __m256 sum[TILE_KEYS];
    float values[TILE_KEYS];

    for (size_t k = 0; k < TILE_KEYS; k++) {
        key[k] = keys + min_size(k, count - 1) * a->head_dim;
        sum[k] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < a->head_dim - tail; i += CE_LANES_AVX2) {
        add_step(sum, a->query, key, i, CE_LANES_AVX2);
    }
    if (tail > 0) {
        add_step(sum, a->query, key, a->head_dim - tail, tail);
    }

    const __m128 dots = ce_sum_lanes_avx2(sum[0], sum[1], sum[2], sum[3]);

    _mm_storeu_ps(values, _mm_mul_ps(dots, _mm_set1_ps(a->scale)));
    memcpy(scores, values, count * sizeof(*values));
}

static void compute_scores(const struct ce_attend *a)
{
    for (size_t start = 0; start < a->positions; start += a->page_tokens) {
        const float *keys = a->keys[start / a->page_tokens];
        const size_t count = min_size(a->page_tokens, a->positions - start);

        for (size_t p = 0; p < count; p += TILE_KEYS) {
            score_tile(a,
                       a->scores + start + p,
                       keys + p * a->head_dim,
                       min_size(TILE_KEYS, count - p));
        }
    }
}

/* Adds the values of one page to `vectors` vectors of outputs from `dim` on. */
CE_INLINE_AVX2 void add_page(__m256 *sum,
                             size_t vectors,
                             const float *weights,
                             const float *values,
                             size_t count,
                             size_t head_dim)
{
    for (size_t p = 0; p < count; p++) {
        const __m256 weight = _mm256_set1_ps(weights[p]);

#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const __m256 value =
                _mm256_loadu_ps(values + p * head_dim + v * CE_LANES_AVX2);

            sum[v] = _mm256_fmadd_ps(weight, value, sum[v]);
        }
    }
}

/* Outputs dim .. dim + 8 * vectors - 1. */
CE_INLINE_AVX2 void combine(const struct ce_attend *a, size_t dim, size_t vectors)
{
    __m256 sum[TILE_VECTORS];

    for (size_t v = 0; v < vectors; v++) {
        sum[v] = _mm256_setzero_ps();
    }
    for (size_t start = 0; start < a->positions; start += a->page_tokens) {
        const float *values = a->values[start / a->page_tokens] + dim;
        const size_t count = min_size(a->page_tokens, a->positions - start);

        add_page(sum, vectors, a->scores + start, values, count, a->head_dim);
    }
    for (size_t v = 0; v < vectors; v++) {
        _mm256_storeu_ps(a->out + dim + v * CE_LANES_AVX2, sum[v]);
    }
}

/* One output of the last head_dim % 8. */
static void combine_one(const struct ce_attend *a, size_t dim)
{
    float sum = 0;

    for (size_t start = 0; start < a->positions; start += a->page_tokens) {
        const float *values = a->values[start / a->page_tokens] + dim;
        const size_t count = min_size(a->page_tokens, a->positions - start);

        for (size_t p = 0; p < count; p++) {
            sum += a->scores[start + p] * values[p * a->head_dim];
        }
    }
    a->out[dim] = sum;
}

void ce_attend_avx2(const struct ce_attend *a)
{
    const size_t tile = (size_t)TILE_VECTORS * CE_LANES_AVX2;
    size_t dim = 0;

    compute_scores(a);
    ce_softmax_avx2(a->scores, a->positions);
    for (; dim + tile <= a->head_dim; dim += tile) {
        combine(a, dim, TILE_VECTORS);
    }
    for (; dim + CE_LANES_AVX2 <= a->head_dim; dim += CE_LANES_AVX2) {
        combine(a, dim, 1);
    }
    for (; dim < a->head_dim; dim++) {
        combine_one(a, dim);
    }
}
