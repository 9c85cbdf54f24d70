/* attend_ref.c - softmax(query keys^T * scale) values of one query */

#include "kernels/ref/ref.h"

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)y[i];
    }
    return sum;
}

static double weighted_sum(const struct ce_attend *a, size_t dim)
{
    double sum = 0;

    for (size_t p = 0; p < a->positions; p++) {
        const float *page = a->values[p / a->page_tokens];
        const float value = page[p % a->page_tokens * a->head_dim + dim];

        sum += (double)a->scores[p] * (double)value;
    }
    return sum;
}

void ce_attend_ref(const struct ce_attend *a)
{
    for (size_t p = 0; p < a->positions; p++) {
        const float *page = a->keys[p / a->page_tokens];
        const float *key = page + p % a->page_tokens * a->head_dim;

        a->scores[p] = (float)(dot(a->query, key, a->head_dim) * (double)a->scale);
    }
    ce_softmax_ref(a->scores, a->positions);
    for (size_t d = 0; d < a->head_dim; d++) {
        a->out[d] = (float)weighted_sum(a, d);
    }
}
