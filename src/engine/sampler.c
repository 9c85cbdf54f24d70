/* sampler.c - greedy choice, or temperature, top-k and top-p with a keyed draw */

#include "engine/sampler.h"

#include "base/random.h"

#include <math.h>
#include <stdlib.h>

enum { LANES = 16 };

struct ce_candidate {
    double weight;
    float logit;
    int32_t id;
};

enum ce_status
ce_sampler_create(struct ce_sampler *sampler, size_t vocab, struct ce_error *err)
{
    sampler->capacity = vocab;
    sampler->candidate = calloc(vocab, sizeof(sampler->candidate[0]));
    if (sampler->candidate == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu candidates", vocab);
    }
    return CE_OK;
}

void ce_sampler_destroy(struct ce_sampler *sampler)
{
    free(sampler->candidate);
    *sampler = (struct ce_sampler){0};
}

/* In lanes that do not wait for each other: with a list of scored texts there is a row
 * of logits for every other token. */
static float find_largest(const float *logits, size_t vocab)
{
    float lane[LANES];
    float largest = logits[0];
    size_t i = 0;

    for (size_t l = 0; l < LANES; l++) {
        lane[l] = logits[0];
    }
    for (; i + LANES <= vocab; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lane[l] = logits[i + l] > lane[l] ? logits[i + l] : lane[l];
        }
    }
    for (; i < vocab; i++) {
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (size_t l = 0; l < LANES; l++) {
        largest = lane[l] > largest ? lane[l] : largest;
    }
    return largest;
}

int32_t ce_sample_greedy(const float *logits, size_t vocab)
{
    const float largest = find_largest(logits, vocab);
    size_t best = 0;

    while (best + 1 < vocab && logits[best] != largest) {
        best++;
    }
    return (int32_t)best;
}

/* Descending logit, ascending id: a total order, so the sort is unique. */
static int compare(const void *a, const void *b)
{
    const struct ce_candidate *x = a;
    const struct ce_candidate *y = b;

    if (x->logit != y->logit) {
        return x->logit < y->logit ? 1 : -1;
    }
    return x->id < y->id ? -1 : 1;
}

static void fill(struct ce_candidate *candidate, const float *logits, size_t vocab)
{
    for (size_t i = 0; i < vocab; i++) {
        candidate[i].logit = logits[i];
        candidate[i].id = (int32_t)i;
    }
    qsort(candidate, vocab, sizeof(candidate[0]), compare);
}

/* Weights of the candidates relative to the first; returns their sum. */
static double weigh(struct ce_candidate *candidate, size_t count, double temperature)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; i++) {
        double distance = (double)candidate[i].logit - (double)candidate[0].logit;

        candidate[i].weight = exp(distance / temperature);
        sum += candidate[i].weight;
    }
    return sum;
}

/* How many of the first candidates have at least `mass`, and what they have. */
static size_t
cut(const struct ce_candidate *candidate, size_t count, double mass, double *sum)
{
    double total = 0.0;
    size_t kept = 0;

    while (kept < count && (kept == 0 || total < mass)) {
        total += candidate[kept++].weight;
    }
    *sum = total;
    return kept;
}

int32_t ce_sample(struct ce_sampler *sampler,
                  const struct ce_sampling *sampling,
                  const float *logits,
                  size_t vocab,
                  uint64_t request,
                  uint64_t position)
{
    struct ce_candidate *candidate = sampler->candidate;
    size_t count = vocab;
    double sum = 0.0;
    double left = 0.0;
    size_t i = 0;

    if (sampling->temperature <= 0.0) {
        return ce_sample_greedy(logits, vocab);
    }
    fill(candidate, logits, vocab);
    if (sampling->top_k > 0 && sampling->top_k < count) {
        count = sampling->top_k;
    }
    sum = weigh(candidate, count, sampling->temperature);
    if (sampling->top_p < 1.0) {
        count = cut(candidate, count, sampling->top_p * sum, &sum);
    }
    left = ce_random_unit(sampling->seed, request, position) * sum;
    while (i + 1 < count && left >= candidate[i].weight) {
        left -= candidate[i++].weight;
    }
    return candidate[i].id;
}
