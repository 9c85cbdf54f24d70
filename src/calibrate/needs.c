/* needs.c - adding up, and how many experts fit at a time */

#include "calibrate/needs.h"

#include "base/memory.h"
#include "calibrate/means.h"
#include "calibrate/solver.h"

size_t ce_calibrate_harvest_bytes(const struct ce_calibrate_sizes *sizes, size_t slots)
{
    struct ce_harvest harvest = {.hidden = sizes->shape.hidden,
                                 .neurons = {.intermediate = sizes->intermediate,
                                             .most = sizes->shape.neurons,
                                             .own = sizes->own_experts},
                                 .experts = sizes->experts,
                                 .slots = slots,
                                 .own = sizes->own_experts,
                                 .threads = sizes->threads};
    struct ce_arena measure = {0};

    ce_arena_measure(&measure);
    (void)ce_harvest_take(&harvest, &measure);
    return measure.used;
}

size_t ce_calibrate_solver_bytes(struct ce_record_shape shape)
{
    struct ce_solver solver;
    struct ce_arena measure = {0};

    ce_arena_measure(&measure);
    (void)ce_solver_take(&solver, shape, &measure);
    return measure.used;
}

static size_t least_solvers(const struct ce_calibrate_sizes *sizes)
{
    return ce_size_min(2, sizes->threads);
}

static void add_up(struct ce_calibrate_needs *needs,
                   const struct ce_calibrate_sizes *sizes)
{
    const size_t gathered = sizes->gathers ? sizes->experts : 0;

    needs->tokens = sizes->all_tokens * sizeof(int32_t) +
                    sizes->windows * (sizeof(struct ce_text_window) + sizeof(double));
    needs->residual = sizes->own_tokens * sizes->shape.hidden * sizeof(float);
    needs->moments = ce_calibrate_harvest_bytes(sizes, needs->slots);
    needs->solve = needs->solvers * ce_calibrate_solver_bytes(sizes->shape);
    needs->records =
        (sizes->own_experts + gathered) * ce_record_bytes(sizes->shape) +
        (sizes->own_experts + sizes->experts) * ce_means_bytes(sizes->shape.hidden);
    needs->total = needs->tokens + needs->residual + needs->moments + needs->solve +
                   needs->records;
}

void ce_calibrate_needs_spread(struct ce_calibrate_needs *needs,
                               const struct ce_calibrate_sizes *sizes,
                               size_t passes)
{
    needs->passes = passes;
    needs->slots = (sizes->own_experts + passes - 1) / passes;
    needs->slots += needs->slots == 0;
    add_up(needs, sizes);
}

static double mebibytes(size_t bytes)
{
    return (double)bytes / 0x1p20;
}

enum ce_status ce_calibrate_needs_find(struct ce_calibrate_needs *needs,
                                       const struct ce_calibrate_sizes *sizes,
                                       size_t limit,
                                       struct ce_error *err)
{
    const size_t most_passes = sizes->own_experts > 0 ? sizes->own_experts : 1;

    *needs = (struct ce_calibrate_needs){.solvers = sizes->threads};
    ce_calibrate_needs_spread(needs, sizes, 1);
    for (size_t passes = 1; passes <= most_passes && needs->total > limit; passes++) {
        needs->solvers = sizes->threads;
        ce_calibrate_needs_spread(needs, sizes, passes);
        while (needs->total > limit && needs->solvers > least_solvers(sizes)) {
            needs->solvers--;
            add_up(needs, sizes);
        }
    }
    if (needs->total <= limit) {
        return CE_OK;
    }
    return ce_fail(
        err,
        CE_ERR_NOMEM,
        "calibration needs %.1f MiB per rank beside the model even with one expert at "
        "a "
        "time, and %.1f MiB are left: residual stream %.1f (fewer --tokens, more "
        "ranks), "
        "moments and rows %.1f, fits %.1f (a lower --most-rank or --neurons), solving "
        "%.1f (fewer "
        "OMP_NUM_THREADS), tokens %.1f",
        mebibytes(needs->total),
        mebibytes(limit),
        mebibytes(needs->residual),
        mebibytes(needs->moments),
        mebibytes(needs->records),
        mebibytes(needs->solve),
        mebibytes(needs->tokens));
}
