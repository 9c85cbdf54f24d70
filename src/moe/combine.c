/* combine.c - summing a token's results */

#include "moe/combine.h"

#include <string.h>

static const char *const names[CE_COMBINES] = {"ordered", "partial"};

const char *ce_combine_name(enum ce_combine combine)
{
    return names[combine];
}

enum ce_status
ce_combine_by_name(enum ce_combine *combine, const char *name, struct ce_error *err)
{
    for (int i = 0; i < CE_COMBINES; i++) {
        if (name == NULL || strcmp(name, names[i]) == 0) {
            *combine = (enum ce_combine)i;
            return CE_OK;
        }
    }
    return ce_fail(
        err, CE_ERR_ARG, "unknown combine \"%s\"; there are ordered, partial", name);
}

size_t ce_combine_rows(const struct ce_plan *plan, enum ce_combine combine, size_t rank)
{
    const size_t *begin =
        combine == CE_COMBINE_PARTIAL ? plan->row_begin : plan->assignment_begin;

    return begin[rank + 1] - begin[rank];
}

/* The row of results of assignment `index`. */
static const unsigned char *find_result(const struct ce_plan *plan,
                                        const unsigned char *const *results,
                                        size_t index,
                                        const struct ce_wire *wire)
{
    size_t rank = 0;

    while (index >= plan->assignment_begin[rank + 1]) {
        rank++;
    }
    return results[rank] + (index - plan->assignment_begin[rank]) * wire->row_bytes;
}

static void sum_ordered(const struct ce_plan *plan,
                        const unsigned char *const *results,
                        float *y,
                        const struct ce_wire *wire)
{
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < plan->tokens; t++) {
        for (size_t i = 0; i < plan->mains; i++) {
            size_t index = plan->result[t * plan->mains + i];

            ce_wire_add(
                wire, y + t * wire->width, find_result(plan, results, index, wire));
        }
    }
}

/* A token has at most one row from a rank, so the rows of a rank do not meet. */
static void sum_partial(const struct ce_plan *plan,
                        const unsigned char *const *results,
                        float *y,
                        const struct ce_wire *wire)
{
    for (size_t r = 0; r < plan->ranks; r++) {
        const uint32_t *token = plan->row_token + plan->row_begin[r];
        size_t rows = plan->row_begin[r + 1] - plan->row_begin[r];

#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < rows; i++) {
            ce_wire_add(
                wire, y + token[i] * wire->width, results[r] + i * wire->row_bytes);
        }
    }
}

void ce_combine_sum(const struct ce_plan *plan,
                    enum ce_combine combine,
                    const unsigned char *const *results,
                    float *y,
                    const struct ce_wire *wire)
{
    memset(y, 0, plan->tokens * wire->width * sizeof(y[0]));
    if (combine == CE_COMBINE_PARTIAL) {
        sum_partial(plan, results, y, wire);
    } else {
        sum_ordered(plan, results, y, wire);
    }
}

void ce_combine_reduce(const struct ce_dispatch_view *view,
                       float *results,
                       unsigned char *out,
                       const struct ce_wire *wire,
                       size_t *first)
{
    size_t assignments = 0;

    for (size_t i = 0; i < view->rows; i++) {
        first[i] = assignments;
        assignments += view->row_mains[i];
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < view->rows; i++) {
        float *sum = results + first[i] * wire->width;

        for (size_t j = 1; j < view->row_mains[i]; j++) {
            const float *next = sum + j * wire->width;

            for (size_t c = 0; c < wire->width; c++) {
                sum[c] += next[c];
            }
        }
        ce_wire_encode(wire, out + i * wire->row_bytes, sum);
    }
}
