/* calibrate_scaling.c - what is different about --kind scaling: its memory, file and
 * report */

#include "base/log.h"
#include "base/streams.h"
#include "base/version.h"
#include "moe/placement_file.h"
#include "tools/calibrate.h"
#include "tools/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool ce_calibrate_is_scaling(const struct ce_calibrate_job *job)
{
    return strcmp(job->values->kind, "scaling") == 0;
}

/* ---- memory ---- */

/* The engine's block, as far as memory depends on it. */
static struct ce_moe foresee_block(const struct ce_calibrate_job *job,
                                   const struct ce_placement *placement,
                                   size_t step_tokens)
{
    const struct ce_config *config = &job->config;

    return (struct ce_moe){.transport = job->session.transport,
                           .placement = placement,
                           .hidden = config->hidden_size,
                           .intermediate = config->intermediate_size,
                           .experts = config->experts,
                           .top_k = config->top_k,
                           .wire = ce_wire_for(CE_WIRE_F32, config->hidden_size),
                           .max_tokens = step_tokens};
}

enum ce_status ce_calibrate_scaling_needs(struct ce_calibrate_job *job,
                                          size_t limit,
                                          struct ce_error *err)
{
    const struct ce_engine_options options = ce_calibrate_engine_options(job);
    const struct ce_transport *transport = job->session.transport;
    struct ce_scaling_needs *needs = &job->scaling_needs;
    struct ce_placement placement = {0};
    struct ce_moe moe;
    const struct ce_scaling_sizes sizes = {
        .full = &moe,
        .compressed = job->layers.compressed,
        .layers = job->config.layers,
        .windows = &job->windows,
        .limits = {.step_tokens = options.step_tokens,
                   .cache_tokens = options.cache_tokens,
                   .ranks = transport->ranks},
        .rank = transport->rank};
    enum ce_status status = ce_placement_open(&placement,
                                              job->values->run.placement,
                                              job->config.layers,
                                              job->config.experts,
                                              transport->ranks,
                                              err);

    if (status == CE_OK) {
        moe = foresee_block(job, &placement, options.step_tokens);
        status = ce_scaling_needs_find(needs, &sizes, limit, err);
    }
    ce_placement_destroy(&placement);
    job->needs = (struct ce_calibrate_needs){.tokens = needs->tokens,
                                             .residual = needs->residual,
                                             .records = needs->records,
                                             .total = needs->total,
                                             .passes = 1};
    return status;
}

int ce_calibrate_scaling_print_plan(const struct ce_calibrate_job *job)
{
    const struct ce_scaling_needs *needs = &job->scaling_needs;
    const struct ce_calibrate_need own[] = {
        {"input_bytes", "inputs of a layer", needs->inputs, ""},
        {"block_bytes", "block and vectors", needs->block, ""},
        {"gathered_bytes", "sums of all ranks", needs->gathered, ""},
        {"record_bytes", "tables", needs->records, ""}};
    const size_t count = sizeof(own) / sizeof(own[0]);

    if (job->values->json) {
        return ce_print_json(ce_calibrate_describe_needs(job, own, count));
    }
    ce_calibrate_print_needs(job, own, count);
    return ce_finish_output();
}

/* ---- the file ---- */

enum { PROVENANCE = 7, TEXT_CHARS = 64 };

/* Where the file comes from: nothing that differs from run to run. */
static void describe(const struct ce_calibrate_job *job,
                     char text[PROVENANCE][TEXT_CHARS],
                     struct ce_safetensors_text *pairs)
{
    static const char *const keys[PROVENANCE] = {
        "program", "text", "tokens", "heldout_tokens", "window", "ridge", "weights"};
    const struct ce_text_windows *windows = &job->windows;

    (void)snprintf(text[0], TEXT_CHARS, "cemoe %s", CE_VERSION);
    (void)snprintf(text[1], TEXT_CHARS, "%016" PRIx64, job->text_hash);
    (void)snprintf(text[2], TEXT_CHARS, "%zu", windows->tokens[CE_TEXT_FIT]);
    (void)snprintf(text[3], TEXT_CHARS, "%zu", windows->tokens[CE_TEXT_HELDOUT]);
    (void)snprintf(text[4], TEXT_CHARS, "%zu", job->values->window);
    (void)snprintf(text[5], TEXT_CHARS, "%g", job->values->ridge);
    (void)snprintf(text[6],
                   TEXT_CHARS,
                   "%s",
                   ce_weight_format_name(job->session.engine->formats.experts));
    for (size_t i = 0; i < PROVENANCE; i++) {
        pairs[i] = (struct ce_safetensors_text){keys[i], text[i]};
    }
}

static double relative(double error, double of)
{
    return of > 0 ? error / of : 0.0;
}

/* A fit that does not hold on other text is worth a word. */
static void warn_layers(const struct ce_scaling_outcome *outcome)
{
    for (size_t l = 0; l < outcome->layers; l++) {
        const struct ce_scaling_facts *facts = &outcome->facts[l];

        if (facts->fitted[CE_TEXT_HELDOUT] > facts->truncated[CE_TEXT_HELDOUT]) {
            ce_log(CE_LOG_WARN,
                   "layer %zu: the vectors make the held-out error larger than "
                   "truncation alone does; more --tokens or a larger --ridge may help",
                   l);
        }
    }
}

enum ce_status ce_calibrate_scaling_finish(struct ce_calibrate_job *job,
                                           struct ce_error *err)
{
    char text[PROVENANCE][TEXT_CHARS];
    struct ce_safetensors_text pairs[PROVENANCE];
    const struct ce_compressed_file_facts facts = {
        .n_ce = job->layers.compressed,
        .model = job->session.engine->identity.model,
        .provenance = pairs,
        .provenance_count = PROVENANCE};
    enum ce_status status = CE_OK;

    job->scaling =
        (struct ce_scaling_outcome){.layers = job->config.layers,
                                    .experts = job->config.experts,
                                    .hidden = job->config.hidden_size,
                                    .intermediate = job->config.intermediate_size};
    status = ce_scaling_outcome_read(&job->scaling, &job->parts, err);
    if (status == CE_OK) {
        describe(job, text, pairs);
        status = ce_scaling_outcome_write(&job->scaling, job->values->out, &facts, err);
    }
    if (status == CE_OK) {
        warn_layers(&job->scaling);
    }
    return status;
}

/* ---- the report ---- */

void ce_calibrate_scaling_describe(const struct ce_calibrate_job *job, json_t *object)
{
    const struct ce_scaling_outcome *outcome = &job->scaling;
    json_t *layers = json_array();

    for (size_t l = 0; l < outcome->layers; l++) {
        const struct ce_scaling_facts *facts = &outcome->facts[l];
        json_t *layer = json_object();

        for (int set = 0; set < CE_TEXT_SETS; set++) {
            const double all = facts->full[set];
            json_t *errors = json_object();

            json_object_set_new(errors, "moe_out", json_real(all));
            json_object_set_new(
                errors, "truncated", json_real(relative(facts->truncated[set], all)));
            json_object_set_new(
                errors, "fitted", json_real(relative(facts->fitted[set], all)));
            json_object_set_new(layer, ce_text_set_name((enum ce_text_set)set), errors);
        }
        json_object_set_new(layer, "lambda", json_real(facts->lambda));
        ce_json_set_integer(layer, "steps", facts->steps);
        json_array_append_new(layers, layer);
    }
    json_object_set_new(object, "ridge", json_real(job->values->ridge));
    ce_json_set_integer(object, "bytes", ce_scaling_outcome_bytes(outcome));
    json_object_set_new(object, "layers", layers);
}

int ce_calibrate_scaling_print(const struct ce_calibrate_job *job)
{
    const struct ce_scaling_outcome *outcome = &job->scaling;
    const enum ce_text_set set =
        job->windows.count[CE_TEXT_HELDOUT] > 0 ? CE_TEXT_HELDOUT : CE_TEXT_FIT;

    ce_print("squared error of the block's output over |moe_out|^2, %s tokens\n",
             set == CE_TEXT_HELDOUT ? "held-out" : "fitted");
    ce_print("layer  truncated    fitted  recovered  steps\n");
    for (size_t l = 0; l < outcome->layers; l++) {
        const struct ce_scaling_facts *facts = &outcome->facts[l];
        const double truncated = facts->truncated[set];

        ce_print("%5zu  %9.5f  %8.5f  %7.2f %%  %5" PRIu64 "\n",
                 l,
                 relative(truncated, facts->full[set]),
                 relative(facts->fitted[set], facts->full[set]),
                 100.0 * relative(truncated - facts->fitted[set], truncated),
                 facts->steps);
    }
    ce_print("%s: %zu bytes for %zu of %zu experts per token\n",
             job->values->out,
             ce_scaling_outcome_bytes(outcome),
             job->layers.compressed,
             job->config.top_k);
    return ce_finish_output();
}
