/* attend_ref.c - softmax(query keys^T * scale) values, one query after the other
 *
 * Scores are computed again for every piece of the outputs: there is no place to
 * keep them, and an oracle need not be fast.
 */

#include "kernels/ref/exp.h"
#include "kernels/ref/ref.h"

#include <math.h>

enum { PIECE = 256 }; /* outputs summed at a time */

static float load(const struct ce_kv *kv, const void *array, size_t p, size_t at)
{
    const unsigned char *page =
        (const unsigned char *)array + kv->page[p / CE_KV_PAGE] * kv->page_bytes;

    return kv->dtype == CE_DTYPE_BF16
               ? ce_f32_from_bf16(((const uint16_t *)(const void *)page)[at])
               : ((const float *)(const void *)page)[at];
}

static float load_key(const struct ce_kv *kv, size_t p, size_t dim)
{
    return load(kv, kv->keys, p, dim * CE_KV_PAGE + p % CE_KV_PAGE);
}

static float load_value(const struct ce_kv *kv, size_t p, size_t dim)
{
    const size_t width = (kv->head_dim + CE_KV_LANES - 1) / CE_KV_LANES * CE_KV_LANES;

    return load(kv, kv->values, p, p % CE_KV_PAGE * width + dim);
}

static float score(const struct ce_attend *a, const float *query, size_t p)
{
    double sum = 0;

    for (size_t d = 0; d < a->kv.head_dim; d++) {
        sum += (double)query[d] * (double)load_key(&a->kv, p, d);
    }
    return (float)(sum * (double)a->scale);
}

/* Outputs dim .. dim + count - 1 of one query; `largest` is its largest score. */
static void combine(const struct ce_attend *a,
                    float *out,
                    const float *query,
                    size_t positions,
                    float largest,
                    size_t dim,
                    size_t count)
{
    double values[PIECE] = {0};
    double weights = 0;

    for (size_t p = 0; p < positions; p++) {
        const double weight = (double)ce_exp_ref(score(a, query, p) - largest);

        weights += weight;
        for (size_t i = 0; i < count; i++) {
            values[i] += weight * (double)load_value(&a->kv, p, dim + i);
        }
    }
    for (size_t i = 0; i < count; i++) {
        out[dim + i] = (float)(values[i] / weights);
    }
}

static void
attend_one(const struct ce_attend *a, float *out, const float *query, size_t positions)
{
    const size_t head_dim = a->kv.head_dim;
    float largest = -INFINITY;

    for (size_t p = 0; p < positions; p++) {
        const float found = score(a, query, p);

        largest = found > largest ? found : largest;
    }
    for (size_t dim = 0; dim < head_dim; dim += PIECE) {
        const size_t count = head_dim - dim < PIECE ? head_dim - dim : PIECE;

        combine(a, out, query, positions, largest, dim, count);
    }
}

void ce_attend_ref(const struct ce_attend *a)
{
    for (size_t t = 0; t < a->tokens; t++) {
        for (size_t g = 0; g < a->group; g++) {
            const size_t at = t * a->ld + g * a->kv.head_dim;

            attend_one(a, a->out + at, a->query + at, a->first + t + 1);
        }
    }
}
