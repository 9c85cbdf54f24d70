/* layers.c - walking, collecting, fitting and gathering, layer by layer */

#include "calibrate/layers.h"

#include "base/clock.h"
#include "base/memory.h"
#include "calibrate/harvest.h"
#include "calibrate/means.h"
#include "calibrate/solver.h"
#include "calibrate/walk.h"
#include "comm/collective.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A rank with many experts fits for longer than a step takes. */
#define FITTING_DEADLINE_FACTOR 30

struct layers {
    struct ce_calibrate_run *run;
    struct ce_engine *engine;
    struct ce_walk walk;
    struct ce_harvest harvest;
    struct ce_arena arena;
    struct ce_solver *solver;   /* [needs.solvers] */
    unsigned char *records;     /* this rank's, in the order of its experts */
    unsigned char *all_records; /* [experts] on rank 0 */
    unsigned char *have;        /* [experts] on rank 0 */
    size_t *own;                /* [own_count] this rank's experts of the layer */
    size_t own_count;
    unsigned char *message;      /* [own_count] entries of means.h */
    const unsigned char **place; /* [experts] */
    float *layer_mean;           /* [hidden] */
    double
        *norms[CE_TEXT_SETS]; /* |moe_out|^2 of the set's windows, those of others 0 */
    bool measures_outputs;    /* norms are being filled */
    struct ce_part_facts facts;
    size_t last; /* layer that is walked through last */
    struct ce_calibrate_progress progress;
};

/* ---- memory ---- */

static bool take_solvers(struct layers *layers)
{
    bool taken = true;

    for (size_t i = 0; i < layers->run->needs.solvers; i++) {
        taken = taken &&
                ce_solver_take(&layers->solver[i], layers->run->shape, &layers->arena);
    }
    return taken;
}

static size_t arena_bytes(const struct ce_calibrate_run *run, size_t own)
{
    const struct ce_calibrate_sizes sizes = {.shape = run->shape,
                                             .intermediate =
                                                 run->engine->config.intermediate_size,
                                             .experts = run->engine->config.experts,
                                             .own_experts = own,
                                             .threads = (size_t)run->engine->threads};

    return ce_calibrate_harvest_bytes(&sizes, run->needs.slots) +
           run->needs.solvers * ce_calibrate_solver_bytes(run->shape);
}

static bool take_norms(struct layers *layers)
{
    bool taken = true;

    for (int set = 0; set < CE_TEXT_SETS; set++) {
        layers->norms[set] =
            calloc(layers->run->windows->count[set] + 1, sizeof(double));
        taken = taken && layers->norms[set] != NULL;
    }
    return taken;
}

static enum ce_status take(struct layers *layers, struct ce_error *err)
{
    struct ce_calibrate_run *run = layers->run;
    const size_t experts = layers->engine->config.experts;
    const size_t d = run->shape.hidden;
    const size_t record = ce_record_bytes(run->shape);
    const size_t own = run->needs.slots * run->needs.passes;
    const bool gathers = layers->engine->transport->rank == 0;
    enum ce_status status = ce_arena_create(&layers->arena, arena_bytes(run, own), err);

    if (status != CE_OK) {
        return status;
    }
    layers->solver = calloc(run->needs.solvers, sizeof(layers->solver[0]));
    layers->records = calloc(own, record);
    layers->own = calloc(experts, sizeof(layers->own[0]));
    layers->message = calloc(own, ce_means_bytes(d));
    layers->place = calloc(experts, sizeof(layers->place[0]));
    layers->layer_mean = calloc(d, sizeof(layers->layer_mean[0]));
    layers->have = calloc(experts, 1);
    layers->all_records = gathers ? calloc(experts, record) : NULL;
    if (layers->solver == NULL || layers->records == NULL || layers->own == NULL ||
        layers->message == NULL || layers->place == NULL || !take_norms(layers) ||
        layers->layer_mean == NULL || layers->have == NULL ||
        (gathers && layers->all_records == NULL) ||
        !ce_harvest_take(&layers->harvest, &layers->arena) || !take_solvers(layers)) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the moments of a layer");
    }
    return CE_OK;
}

static void give_back(struct layers *layers)
{
    ce_walk_close(&layers->walk);
    ce_arena_destroy(&layers->arena);
    free(layers->solver);
    free(layers->records);
    free(layers->all_records);
    free(layers->have);
    free(layers->own);
    free(layers->message);
    free(layers->place);
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        free(layers->norms[set]);
    }
    free(layers->layer_mean);
}

/* ---- what steps show ---- */

static void see_values(void *context,
                       const char *name,
                       size_t layer,
                       const float *values,
                       size_t tokens,
                       size_t hidden)
{
    struct layers *layers = context;
    const struct ce_walk *walk = &layers->walk;
    double *norms = layers->norms[layers->harvest.set] + walk->first;

    (void)layer;
    (void)tokens;
    if (!layers->measures_outputs || strcmp(name, "moe_out") != 0) {
        return;
    }
    for (size_t w = 0; w < walk->count; w++) {
        const size_t count = walk->item[w].count * hidden;
        double sum = 0.0;

        for (size_t i = 0; i < count; i++) {
            sum += (double)values[i] * (double)values[i];
        }
        norms[w] = sum;
        values += count;
    }
}

static void on_step(void *context)
{
    struct layers *layers = context;

    layers->progress.step++;
    if (layers->run->on_progress != NULL) {
        layers->run->on_progress(layers->run->progress_context, &layers->progress);
    }
}

/* ---- one layer ---- */

/* Passes that it takes: 0 or 1. */
static size_t chooses_neurons(const struct ce_calibrate_run *run)
{
    return run->shape.neurons > 0;
}

static void list_own(struct layers *layers, size_t layer)
{
    const struct ce_layer_weights *weights = &layers->engine->weights.layers[layer];

    layers->own_count = 0;
    for (size_t e = 0; e < layers->engine->config.experts; e++) {
        if (weights->experts[e].gate.data != NULL) {
            layers->own[layers->own_count++] = e;
        }
    }
}

/* The first `sets` sets through the layer; `collects`: what the experts compute is
 * wanted. */
static enum ce_status walk(struct layers *layers,
                           size_t layer,
                           int sets,
                           bool collects,
                           bool advance,
                           struct ce_error *err)
{
    struct ce_engine *engine = layers->engine;
    const struct ce_text_windows *windows = layers->run->windows;
    struct ce_calibrate_counters *counters = &layers->run->counters;
    const uint64_t since = ce_clock_ns();
    const uint64_t before = layers->harvest.ns;
    enum ce_status status = CE_OK;

    layers->progress.step = 0;
    engine->moe.work.observer = collects ? ce_harvest_observer(&layers->harvest)
                                         : (struct ce_expert_observer){.see = NULL};
    for (int set = 0; status == CE_OK && set < sets; set++) {
        layers->harvest.set = (enum ce_text_set)set;
        status =
            ce_walk_layer(&layers->walk, layer, (enum ce_text_set)set, advance, err);
        if (status == CE_OK && collects) {
            status = ce_agree(engine->transport,
                              ce_harvest_end_set(&layers->harvest, layer, err),
                              err);
        }
        counters->tokens += windows->tokens[set];
    }
    engine->moe.work.observer.see = NULL;
    counters->collect_ns += layers->harvest.ns - before;
    counters->walk_ns += ce_clock_ns() - since - (layers->harvest.ns - before);
    return status;
}

/* The rows to fit through the layer, once more, for the neurons that vary most. */
static enum ce_status
choose_neurons(struct layers *layers, size_t layer, struct ce_error *err)
{
    const struct ce_expert_weights *experts =
        layers->engine->weights.layers[layer].experts;
    struct ce_harvest *harvest = &layers->harvest;
    enum ce_status status = CE_OK;

    ce_harvest_begin_group(harvest, NULL, 0);
    layers->progress.pass = 0;
    layers->measures_outputs = false;
    harvest->sums_outputs = false;
    harvest->sums_activations = true;
    status = walk(layers, layer, CE_TEXT_FIT + 1, true, false, err);
    harvest->sums_activations = false;
    for (size_t i = 0; status == CE_OK && i < layers->own_count; i++) {
        ce_neurons_choose(&harvest->neurons, i, &experts[layers->own[i]]);
    }
    return status;
}

/* The mean output of the layer's auxiliary experts, and facts, of all ranks. */
static enum ce_status share_means(struct layers *layers, struct ce_error *err)
{
    struct ce_transport *transport = layers->engine->transport;
    enum ce_status status = ce_means_of_outputs(transport,
                                                &layers->harvest,
                                                layers->own,
                                                layers->own_count,
                                                layers->message,
                                                layers->place,
                                                layers->layer_mean,
                                                err);

    for (int set = 0; status == CE_OK && set < CE_TEXT_SETS; set++) {
        status = ce_means_sum(transport,
                              layers->norms[set],
                              layers->run->windows->count[set],
                              &layers->facts.moe_out[set],
                              err);
    }
    return status;
}

static enum ce_status fit_slot(const struct layers *layers,
                               size_t layer,
                               size_t index,
                               unsigned char *record,
                               struct ce_error *err)
{
    const size_t expert = layers->harvest.slot[index].expert;
    const enum ce_status status =
        ce_solver_fit(&layers->solver[omp_get_thread_num()],
                      &layers->harvest,
                      index,
                      &layers->engine->weights.layers[layer].experts[expert],
                      layers->layer_mean,
                      record,
                      err);

    if (status != CE_OK) {
        ce_error_prefix(err, "layer %zu, expert %zu", layer, expert);
    }
    return status;
}

/* Fits the group at hand, whose first expert is number `first` of this rank's. */
static enum ce_status
fit_group(struct layers *layers, size_t layer, size_t first, struct ce_error *err)
{
    const size_t record = ce_record_bytes(layers->run->shape);
    const size_t used = layers->harvest.used;
    const uint64_t since = ce_clock_ns();
    size_t failed = SIZE_MAX;
    enum ce_status status = CE_OK;

#pragma omp parallel for schedule(dynamic) num_threads((int)layers->run->needs.solvers)
    for (size_t i = 0; i < used; i++) {
        struct ce_error mine = {.text = ""};
        const enum ce_status slot_status =
            fit_slot(layers, layer, i, layers->records + (first + i) * record, &mine);

#pragma omp critical(ce_layers_failed)
        if (slot_status != CE_OK && i < failed) {
            failed = i;
            status = slot_status;
            *err = mine;
        }
    }
    layers->run->counters.solve_ns += ce_clock_ns() - since;
    return status;
}

/* One pass: the windows through the layer, and the fits of a group of experts. */
static enum ce_status
run_pass(struct layers *layers, size_t layer, size_t pass, struct ce_error *err)
{
    const struct ce_calibrate_needs *needs = &layers->run->needs;
    struct ce_transport *transport = layers->engine->transport;
    const size_t first = ce_size_min(pass * needs->slots, layers->own_count);
    const size_t count = ce_size_min(needs->slots, layers->own_count - first);
    const bool is_last = pass + 1 == needs->passes;
    enum ce_status status = CE_OK;

    layers->progress.pass = pass + chooses_neurons(layers->run);
    layers->measures_outputs = pass == 0;
    layers->harvest.sums_outputs = pass == 0;
    ce_harvest_begin_group(&layers->harvest, layers->own + first, count);
    status =
        walk(layers, layer, CE_TEXT_SETS, true, is_last && layer < layers->last, err);
    if (status == CE_OK && pass == 0) {
        status = share_means(layers, err);
    }
    if (status != CE_OK) {
        return status;
    }
    status = ce_transport_enter(transport, "fit", status, err);
    if (status == CE_OK) {
        status = fit_group(layers, layer, first, err);
    }
    return ce_agree(transport, status, err);
}

/* Puts the records of one rank in their places. */
static enum ce_status place_records(struct layers *layers,
                                    const struct ce_bytes *sent,
                                    int rank,
                                    struct ce_error *err)
{
    const size_t record = ce_record_bytes(layers->run->shape);
    const unsigned char *from = sent->data;

    for (size_t at = 0; at < sent->bytes; at += record) {
        uint64_t expert = 0; /* the first word of a record */

        if (sent->bytes - at >= record) {
            memcpy(&expert, from + at, sizeof(expert));
        }
        if (sent->bytes - at < record || expert >= layers->engine->config.experts ||
            layers->have[expert] != 0) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent fits that cannot be", rank);
        }
        memcpy(layers->all_records + expert * record, from + at, record);
        layers->have[expert] = 1;
    }
    return CE_OK;
}

static enum ce_status write_part(struct layers *layers,
                                 size_t layer,
                                 const struct ce_bytes *all,
                                 struct ce_error *err)
{
    const size_t experts = layers->engine->config.experts;
    enum ce_status status = CE_OK;

    memset(layers->have, 0, experts);
    for (int r = 0; status == CE_OK && r < layers->engine->transport->ranks; r++) {
        status = place_records(layers, &all[r], r, err);
    }
    if (status == CE_OK && memchr(layers->have, 0, experts) != NULL) {
        status = ce_fail(err, CE_ERR_COMM, "layer %zu: a fit did not come", layer);
    }
    return status == CE_OK ? ce_parts_write(layers->run->parts,
                                            layer,
                                            &layers->facts,
                                            layers->all_records,
                                            err)
                           : status;
}

/* The fits of all ranks to rank 0, and there to a file. */
static enum ce_status gather(struct layers *layers, size_t layer, struct ce_error *err)
{
    struct ce_transport *transport = layers->engine->transport;
    const struct ce_bytes mine = {
        layers->records, layers->own_count * ce_record_bytes(layers->run->shape)};
    const uint64_t since = ce_clock_ns();
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_gather(transport, mine, &all, err);

    if (status != CE_OK) {
        return status;
    }
    if (all != NULL) {
        status = write_part(layers, layer, all, err);
    }
    status = ce_agree(transport, status, err);
    layers->run->counters.write_ns += ce_clock_ns() - since;
    return status;
}

static enum ce_status
solve_layer(struct layers *layers, size_t layer, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    list_own(layers, layer);
    ce_harvest_begin_layer(&layers->harvest, layers->own, layers->own_count);
    if (chooses_neurons(layers->run) > 0) {
        status = choose_neurons(layers, layer, err);
    }
    for (size_t pass = 0; status == CE_OK && pass < layers->run->needs.passes; pass++) {
        status = run_pass(layers, layer, pass, err);
    }
    if (status == CE_OK) {
        status = gather(layers, layer, err);
    }
    if (status == CE_OK) {
        layers->run->solved[layer] = 1;
    }
    return status;
}

/* ---- all layers ---- */

bool ce_calibrate_find_last(const struct ce_calibrate_run *run,
                            size_t layers,
                            size_t *last)
{
    bool found = false;

    for (size_t l = 0; l < layers; l++) {
        if (run->solved[l] == 0) {
            *last = l;
            found = true;
        }
    }
    return found;
}

static enum ce_status prepare(struct layers *layers, struct ce_error *err)
{
    const struct ce_calibrate_run *run = layers->run;
    const size_t own = run->needs.slots * run->needs.passes;
    enum ce_status status =
        ce_walk_open(&layers->walk, layers->engine, run->windows, err);

    layers->harvest = (struct ce_harvest){
        .hidden = run->shape.hidden,
        .experts = layers->engine->config.experts,
        .first_auxiliary = layers->engine->config.top_k - run->compressed,
        .slots = run->needs.slots,
        .own = own,
        .neurons = {.intermediate = layers->engine->config.intermediate_size,
                    .most = run->shape.neurons,
                    .own = own},
        .threads = (size_t)layers->engine->threads};
    layers->walk.on_step = on_step;
    layers->walk.context = layers;
    layers->progress = (struct ce_calibrate_progress){
        .layers = layers->last + 1,
        .steps = layers->walk.steps[CE_TEXT_FIT] + layers->walk.steps[CE_TEXT_HELDOUT]};
    return status == CE_OK ? take(layers, err) : status;
}

static enum ce_status run_layers(struct layers *layers, struct ce_error *err)
{
    struct ce_calibrate_run *run = layers->run;
    enum ce_status status = CE_OK;

    for (size_t layer = 0; status == CE_OK && layer <= layers->last; layer++) {
        const bool solves = run->solved[layer] == 0;

        layers->progress.layer = layer;
        layers->progress.passes = solves ? run->needs.passes + chooses_neurons(run) : 1;
        layers->progress.pass = 0;
        layers->harvest.tee = layer == run->tee_layer ? run->tee : NULL;
        layers->harvest.tee_context = run->tee_context;
        layers->measures_outputs = false;
        status = solves ? solve_layer(layers, layer, err)
                        : walk(layers, layer, CE_TEXT_SETS, false, true, err);
    }
    return status;
}

enum ce_status ce_calibrate_layers(struct ce_calibrate_run *run, struct ce_error *err)
{
    struct ce_transport *transport = run->engine->transport;
    const uint64_t deadline_ms = transport->deadline_ms;
    struct layers layers = {.run = run, .engine = run->engine};
    enum ce_status status = CE_OK;

    if (!ce_calibrate_find_last(
            layers.run, layers.engine->config.layers, &layers.last)) {
        return CE_OK;
    }
    if (deadline_ms < UINT64_MAX / FITTING_DEADLINE_FACTOR) {
        transport->deadline_ms = deadline_ms * FITTING_DEADLINE_FACTOR;
    }
    run->engine->observer = (struct ce_observer){.see = see_values, .context = &layers};
    status = ce_agree(transport, prepare(&layers, err), err);
    if (status == CE_OK) {
        status = run_layers(&layers, err);
    }
    run->engine->observer.see = NULL;
    run->engine->moe.work.observer.see = NULL;
    run->counters.rows = layers.harvest.rows;
    run->counters.flops = layers.harvest.flops;
    give_back(&layers);
    transport->deadline_ms = deadline_ms;
    return status;
}
