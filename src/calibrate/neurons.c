/* neurons.c - sums of activations to the neurons that vary most */

#include "calibrate/neurons.h"

#include "base/memory.h"
#include "base/tensor.h"

#include <string.h>

/* Rows times columns; too large for any arena when it overflows. */
static size_t product(size_t rows, size_t columns)
{
    size_t count = 0;

    return ce_size_mul(rows, columns, &count) == CE_OK ? count : SIZE_MAX;
}

bool ce_neurons_take(struct ce_neurons *neurons, struct ce_arena *arena)
{
    struct ce_neurons *n = neurons;
    const size_t sums = product(n->own, n->intermediate);

    if (n->most == 0) {
        return true;
    }
    n->weight = ce_arena_take(arena, n->own, sizeof(*n->weight));
    n->sums = ce_arena_take(arena, sums, sizeof(*n->sums));
    n->squares = ce_arena_take(arena, sums, sizeof(*n->squares));
    n->scores = ce_arena_take(arena, n->intermediate, sizeof(*n->scores));
    n->chosen = ce_arena_take(arena, product(n->own, n->most), sizeof(*n->chosen));
    return n->weight != NULL && n->sums != NULL && n->squares != NULL &&
           n->scores != NULL && n->chosen != NULL;
}

void ce_neurons_clear(struct ce_neurons *neurons)
{
    struct ce_neurons *n = neurons;

    if (n->most == 0) {
        return;
    }
    memset(n->weight, 0, n->own * sizeof(*n->weight));
    memset(n->sums, 0, n->own * n->intermediate * sizeof(*n->sums));
    memset(n->squares, 0, n->own * n->intermediate * sizeof(*n->squares));
}

void ce_neurons_add(struct ce_neurons *neurons, size_t own, const float *h, double a)
{
    const double w = a * a;
    double *sums = neurons->sums + own * neurons->intermediate;
    double *squares = neurons->squares + own * neurons->intermediate;

    for (size_t i = 0; i < neurons->intermediate; i++) {
        const double weighted = w * (double)h[i];

        sums[i] += weighted;
        squares[i] += weighted * (double)h[i];
    }
    neurons->weight[own] += w;
}

static float value_at(const struct ce_matrix *matrix, size_t row, size_t column)
{
    const size_t at = row * matrix->inputs + column;
    const unsigned char *data = matrix->data;
    float value = 0;

    ce_tensor_widen(&value, data + at * ce_dtype_size(matrix->dtype), matrix->dtype, 1);
    return value;
}

/* |down_n|^2 of every neuron. */
static void square_columns(double *norms, const struct ce_matrix *down)
{
    memset(norms, 0, down->inputs * sizeof(*norms));
    for (size_t j = 0; j < down->outputs; j++) {
        for (size_t i = 0; i < down->inputs; i++) {
            const double value = (double)value_at(down, j, i);

            norms[i] += value * value;
        }
    }
}

void ce_neurons_choose(struct ce_neurons *neurons,
                       size_t own,
                       const struct ce_expert_weights *weights)
{
    const double *sums = neurons->sums + own * neurons->intermediate;
    const double *squares = neurons->squares + own * neurons->intermediate;
    const double weight = neurons->weight[own];
    double *scores = neurons->scores;
    uint32_t *chosen = neurons->chosen + own * neurons->most;

    square_columns(scores, &weights->down);
    for (size_t i = 0; i < neurons->intermediate; i++) {
        const double mean = weight > 0 ? sums[i] / weight : 0;
        const double variance = squares[i] - sums[i] * mean;

        /* Not below 0 by rounding, which would be lower than what is taken. */
        scores[i] *= variance > 0 ? variance : 0;
    }
    for (size_t k = 0; k < neurons->most; k++) {
        size_t best = 0;

        for (size_t i = 1; i < neurons->intermediate; i++) {
            best = scores[i] > scores[best] ? i : best;
        }
        chosen[k] = (uint32_t)best;
        scores[best] = -1;
    }
}

void ce_neurons_read(float *gate,
                     float *up,
                     float *down,
                     const struct ce_expert_weights *weights,
                     const uint32_t *chosen,
                     size_t count)
{
    const size_t d = weights->gate.inputs;

    for (size_t k = 0; k < count; k++) {
        for (size_t j = 0; j < d; j++) {
            const size_t at = k * d + j;
            const float values[] = {value_at(&weights->gate, chosen[k], j),
                                    value_at(&weights->up, chosen[k], j),
                                    value_at(&weights->down, j, chosen[k])};

            gate[at] = ce_f32_from_bf16(ce_bf16_from_f32(values[0]));
            up[at] = ce_f32_from_bf16(ce_bf16_from_f32(values[1]));
            down[at] = ce_f32_from_bf16(ce_bf16_from_f32(values[2]));
        }
    }
}
