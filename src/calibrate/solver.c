/* solver.c - one expert's moments to its record */

#include "calibrate/solver.h"

const double ce_calibrate_ridges[] = {0.003, 0.01, 0.03, 0.1, 0.3, 1.0};
const size_t ce_calibrate_ridge_count =
    sizeof(ce_calibrate_ridges) / sizeof(ce_calibrate_ridges[0]);

bool ce_solver_take(struct ce_solver *solver,
                    struct ce_record_shape shape,
                    struct ce_arena *arena)
{
    const size_t bytes =
        ce_fit_workspace_bytes(shape.hidden, shape.most_rank, shape.neurons);
    const bool taken = ce_fit_take(&solver->fit, shape.hidden, shape.most_rank, arena);

    solver->shape = shape;
    solver->workspace = ce_arena_take(arena, bytes, 1);
    return taken && solver->workspace != NULL;
}

/* The weights of the neurons that were chosen, into the record. */
static struct ce_record_neurons read_neurons(const struct ce_solver *solver,
                                             const struct ce_harvest *harvest,
                                             size_t expert,
                                             const struct ce_expert_weights *weights,
                                             void *record)
{
    const struct ce_neurons *neurons = &harvest->neurons;
    const struct ce_record_neurons to = ce_record_neurons(record, solver->shape);

    if (neurons->most > 0) {
        const size_t own = (size_t)harvest->own_of[expert];

        ce_neurons_read(to.gate,
                        to.up,
                        to.down,
                        weights,
                        neurons->chosen + own * neurons->most,
                        neurons->most);
    }
    return to;
}

enum ce_status ce_solver_fit(struct ce_solver *solver,
                             const struct ce_harvest *harvest,
                             size_t index,
                             const struct ce_expert_weights *weights,
                             const float *layer_mean,
                             void *record,
                             struct ce_error *err)
{
    const struct ce_record_fits fits = ce_record_fits(solver->shape);
    const struct ce_harvest_slot *slot = &harvest->slot[index];
    const struct ce_record_neurons neurons =
        read_neurons(solver, harvest, slot->expert, weights, record);
    const struct ce_fit_options options = {.most_rank = solver->shape.most_rank,
                                           .ridges = ce_calibrate_ridges,
                                           .ridge_count = ce_calibrate_ridge_count,
                                           .layer_mean = layer_mean};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < fits.count; i++) {
        const struct ce_fit_neurons kept = {
            .count = fits.neurons[i], .kept = harvest->columns, .down = neurons.down};

        status = ce_fit_solve(&solver->fit,
                              &slot->moments[CE_TEXT_FIT],
                              &slot->moments[CE_TEXT_HELDOUT],
                              &kept,
                              &options,
                              solver->workspace,
                              err);
        if (status == CE_OK) {
            ce_record_write(record, solver->shape, slot->expert, i, &solver->fit);
        }
    }
    return status;
}
