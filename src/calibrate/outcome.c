/* outcome.c - curves, chosen ranks, and the file */

#include "calibrate/outcome.h"

#include "calibrate/allocate.h"

#include <math.h>
#include <stdlib.h>

static size_t ranks_of(const struct ce_calibrate_outcome *outcome)
{
    return outcome->shape.most_rank + 1;
}

/* Errors of one expert. */
static size_t curve_of(const struct ce_calibrate_outcome *outcome)
{
    return outcome->fits.count * ranks_of(outcome);
}

static size_t
index_of(const struct ce_calibrate_outcome *outcome, size_t layer, size_t e)
{
    return layer * outcome->experts + e;
}

/* ---- curves ---- */

static enum ce_status take(struct ce_calibrate_outcome *outcome, struct ce_error *err)
{
    const size_t all = outcome->layers * outcome->experts;
    const size_t curve = curve_of(outcome);
    bool taken = true;

    outcome->layer = calloc(outcome->layers, sizeof(outcome->layer[0]));
    outcome->expert = calloc(all, sizeof(outcome->expert[0]));
    outcome->expected = calloc(all * curve, sizeof(double));
    outcome->ridges = calloc(all * outcome->fits.count, sizeof(double));
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        outcome->errors[set] = calloc(all * curve, sizeof(double));
        taken = taken && outcome->errors[set] != NULL;
        for (size_t l = 0; outcome->layer != NULL && l < outcome->layers; l++) {
            outcome->layer[l].error[set] = calloc(curve, sizeof(double));
            taken = taken && outcome->layer[l].error[set] != NULL;
        }
    }
    if (!taken || outcome->layer == NULL || outcome->expert == NULL ||
        outcome->expected == NULL || outcome->ridges == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the error curves");
    }
    return CE_OK;
}

void ce_calibrate_outcome_free(struct ce_calibrate_outcome *outcome)
{
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        for (size_t l = 0; outcome->layer != NULL && l < outcome->layers; l++) {
            free(outcome->layer[l].error[set]);
        }
        free(outcome->errors[set]);
    }
    free(outcome->layer);
    free(outcome->expert);
    free(outcome->expected);
    free(outcome->ridges);
    *outcome = (struct ce_calibrate_outcome){0};
}

/* What is the same for all fits of an expert. */
static void add_expert(struct ce_calibrate_outcome *outcome,
                       size_t layer,
                       size_t expert,
                       const struct ce_fit *fit)
{
    struct ce_outcome_layer *whole = &outcome->layer[layer];

    outcome->expert[index_of(outcome, layer, expert)] =
        (struct ce_outcome_expert){.status = fit->status,
                                   .rows = fit->rows,
                                   .heldout_rows = fit->heldout_rows,
                                   .effective_rows = fit->effective_rows,
                                   .ridge = fit->ridge,
                                   .rank = fit->rank};
    whole->statuses[fit->status]++;
    whole->dropped[CE_TEXT_FIT] += fit->total;
    whole->dropped[CE_TEXT_HELDOUT] += fit->heldout_total;
}

static void add_fit(struct ce_calibrate_outcome *outcome,
                    size_t layer,
                    size_t expert,
                    size_t index,
                    const struct ce_fit *fit)
{
    const size_t ranks = ranks_of(outcome);
    const size_t at = index_of(outcome, layer, expert) * outcome->fits.count + index;
    struct ce_outcome_layer *whole = &outcome->layer[layer];

    outcome->ridges[at] = fit->ridge;
    for (size_t r = 0; r < ranks; r++) {
        const size_t rank = r < fit->rank ? r : fit->rank;
        const double error[CE_TEXT_SETS] = {fit->error[rank], fit->heldout_error[rank]};

        outcome->expected[at * ranks + r] = ce_fit_expected_error(fit, rank);
        for (int set = 0; set < CE_TEXT_SETS; set++) {
            outcome->errors[set][at * ranks + r] = error[set];
            whole->error[set][index * ranks + r] += error[set];
        }
    }
}

static enum ce_status read_expert(struct ce_calibrate_outcome *outcome,
                                  const struct ce_parts *parts,
                                  size_t layer,
                                  size_t expert,
                                  void *record,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < outcome->fits.count; i++) {
        struct ce_fit fit;

        status = ce_record_read(&fit, record, parts->shape, expert, i, err);
        if (status == CE_OK && i == 0) {
            add_expert(outcome, layer, expert, &fit);
        } else if (status == CE_OK &&
                   fit.rank != outcome->expert[index_of(outcome, layer, expert)].rank) {
            status = ce_fail(
                err, CE_ERR_FORMAT, "the fits of expert %zu differ in rank", expert);
        }
        if (status == CE_OK) {
            add_fit(outcome, layer, expert, i, &fit);
        }
    }
    return status;
}

static enum ce_status read_layer(struct ce_calibrate_outcome *outcome,
                                 const struct ce_parts *parts,
                                 size_t layer,
                                 struct ce_error *err)
{
    const size_t record = ce_record_bytes(parts->shape);
    struct ce_part part = {.image = NULL};
    enum ce_status status = ce_parts_read(parts, layer, &part, err);

    for (int set = 0; status == CE_OK && set < CE_TEXT_SETS; set++) {
        outcome->layer[layer].moe_out[set] = part.facts.moe_out[set];
    }
    for (size_t e = 0; status == CE_OK && e < outcome->experts; e++) {
        status = read_expert(outcome, parts, layer, e, part.records + e * record, err);
        if (status != CE_OK) {
            ce_error_prefix(err, "%s: layer %zu", parts->dir, layer);
        }
    }
    ce_part_free(&part);
    return status;
}

enum ce_status ce_calibrate_outcome_read(struct ce_calibrate_outcome *outcome,
                                         const struct ce_parts *parts,
                                         struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *outcome = (struct ce_calibrate_outcome){.layers = parts->layers,
                                             .experts = parts->experts,
                                             .shape = parts->shape,
                                             .fits = ce_record_fits(parts->shape)};
    status = take(outcome, err);
    for (size_t l = 0; status == CE_OK && l < outcome->layers; l++) {
        status = read_layer(outcome, parts, l, err);
    }
    return status;
}

/* ---- ranks and neurons ---- */

/* Halfway between errors relative to what truncating the layer costs and errors
 * relative to the expert's own as a constant, see README.md. */
static double error_factor(const struct ce_outcome_layer *layer, double constant)
{
    const double dropped =
        layer->dropped[CE_TEXT_FIT] + layer->dropped[CE_TEXT_HELDOUT];
    const double product = dropped * constant;

    return product > 0 ? 1.0 / sqrt(product) : 1.0;
}

/* Fits that an expert may be given: one that is a constant, of the layer's mean in
 * part, has no rows to say which neurons it needs. */
static size_t fits_of(const struct ce_calibrate_outcome *outcome, size_t at)
{
    const enum ce_fit_status status = outcome->expert[at].status;

    return status == CE_FIT_CONSTANT || status == CE_FIT_UNSEEN ? 1
                                                                : outcome->fits.count;
}

static void list_choices(const struct ce_calibrate_outcome *outcome,
                         size_t layer,
                         size_t expert,
                         struct ce_allocate_choice *choices,
                         struct ce_allocate_item *item)
{
    const size_t at = index_of(outcome, layer, expert);
    const double *expected = outcome->expected + at * curve_of(outcome);
    const size_t own_ranks = outcome->expert[at].rank + 1;
    const size_t fits = fits_of(outcome, at);

    *item = (struct ce_allocate_item){
        .choices = choices,
        .count = fits * own_ranks,
        .factor = error_factor(&outcome->layer[layer], expected[0])};
    for (size_t i = 0; i < fits; i++) {
        for (size_t r = 0; r < own_ranks; r++) {
            const size_t neurons = outcome->fits.neurons[i];

            choices[i * own_ranks + r] = (struct ce_allocate_choice){
                .bytes = ce_allocate_bytes(outcome->shape.hidden, r, neurons),
                .error = expected[i * ranks_of(outcome) + r],
                .rank = r,
                .neurons = neurons};
        }
    }
}

/* Which fit keeps so many. */
static size_t fit_of(const struct ce_calibrate_outcome *outcome, size_t neurons)
{
    size_t fit = 0;

    while (outcome->fits.neurons[fit] != neurons) {
        fit++;
    }
    return fit;
}

static void take_expert(struct ce_calibrate_outcome *outcome,
                        size_t at,
                        const struct ce_allocate_item *item)
{
    struct ce_outcome_expert *expert = &outcome->expert[at];

    expert->chosen = item->choices[item->chosen].rank;
    expert->neurons = item->choices[item->chosen].neurons;
    expert->fit = fit_of(outcome, expert->neurons);
    expert->ridge = outcome->ridges[at * outcome->fits.count + expert->fit];
}

static void take_chosen(struct ce_calibrate_outcome *outcome,
                        const struct ce_allocate_item *items)
{
    for (size_t l = 0; l < outcome->layers; l++) {
        struct ce_outcome_layer *layer = &outcome->layer[l];

        layer->chosen[CE_TEXT_FIT] = layer->chosen[CE_TEXT_HELDOUT] = 0;
        for (size_t e = 0; e < outcome->experts; e++) {
            const size_t at = index_of(outcome, l, e);
            const struct ce_outcome_expert *expert = &outcome->expert[at];

            take_expert(outcome, at, &items[at]);
            for (int set = 0; set < CE_TEXT_SETS; set++) {
                layer->chosen[set] +=
                    outcome
                        ->errors[set][at * curve_of(outcome) +
                                      expert->fit * ranks_of(outcome) + expert->chosen];
            }
        }
    }
}

enum ce_status ce_calibrate_choose(struct ce_calibrate_outcome *outcome,
                                   const struct ce_calibrate_choice *choice,
                                   struct ce_error *err)
{
    const size_t all = outcome->layers * outcome->experts;
    const size_t curve = curve_of(outcome);
    struct ce_allocate_item *items = calloc(all, sizeof(*items));
    struct ce_allocate_choice *choices = calloc(all * curve, sizeof(*choices));
    struct ce_allocate_sum sum = {0};
    enum ce_status status = CE_OK;

    if (items == NULL || choices == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to choose ranks");
    }
    for (size_t i = 0; status == CE_OK && i < all; i++) {
        list_choices(outcome,
                     i / outcome->experts,
                     i % outcome->experts,
                     choices + i * curve,
                     &items[i]);
    }
    if (status == CE_OK && choice->budget > 0) {
        status = ce_allocate_budget(items, all, choice->budget, &sum, err);
    } else if (status == CE_OK) {
        ce_allocate_uniform(items, all, choice->rank, outcome->shape.neurons, &sum);
    }
    if (status == CE_OK) {
        take_chosen(outcome, items);
        outcome->bytes = sum.bytes;
    }
    free(choices);
    free(items);
    return status;
}

/* ---- the file ---- */

static enum ce_status add_to_file(const struct ce_calibrate_outcome *outcome,
                                  struct ce_record_shape shape,
                                  size_t layer,
                                  size_t expert,
                                  void *record,
                                  struct ce_compressed_file *file,
                                  struct ce_error *err)
{
    const struct ce_outcome_expert *chosen =
        &outcome->expert[index_of(outcome, layer, expert)];
    const struct ce_record_neurons weights = ce_record_neurons(record, shape);
    const struct ce_compressed_file_neurons neurons = {.count = chosen->neurons,
                                                       .gate = weights.gate,
                                                       .up = weights.up,
                                                       .down = weights.down};
    struct ce_fit fit;
    enum ce_status status =
        ce_record_read(&fit, record, shape, expert, chosen->fit, err);

    return status == CE_OK
               ? ce_compressed_file_add(
                     file, layer, expert, &fit, chosen->chosen, &neurons, err)
               : status;
}

static enum ce_status add_layer(const struct ce_calibrate_outcome *outcome,
                                const struct ce_parts *parts,
                                size_t layer,
                                struct ce_compressed_file *file,
                                struct ce_error *err)
{
    const size_t record = ce_record_bytes(parts->shape);
    struct ce_part part = {.image = NULL};
    enum ce_status status = ce_parts_read(parts, layer, &part, err);

    for (size_t e = 0; status == CE_OK && e < outcome->experts; e++) {
        status = add_to_file(
            outcome, parts->shape, layer, e, part.records + e * record, file, err);
    }
    ce_part_free(&part);
    return status;
}

enum ce_status ce_calibrate_write(const struct ce_calibrate_outcome *outcome,
                                  const struct ce_parts *parts,
                                  const char *path,
                                  const struct ce_compressed_file_facts *facts,
                                  struct ce_error *err)
{
    struct ce_compressed_file *file = NULL;
    enum ce_status status =
        ce_compressed_file_create(&file, outcome->shape.hidden, err);

    for (size_t l = 0; status == CE_OK && l < outcome->layers; l++) {
        status = add_layer(outcome, parts, l, file, err);
    }
    if (status == CE_OK) {
        status = ce_compressed_file_write(file, path, facts, err);
    }
    ce_compressed_file_destroy(file);
    return status;
}
