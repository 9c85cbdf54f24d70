/* calibrate_finish.c - from the parts to the file, and what is said of both */

#include "base/clock.h"
#include "base/log.h"
#include "base/streams.h"
#include "base/version.h"
#include "calibrate/solver.h"
#include "kernels/blas/sgemm.h"
#include "tools/calibrate.h"
#include "tools/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* ---- the file ---- */

enum { PROVENANCE = 10, TEXT_CHARS = 128 };

/* Where the file comes from: nothing that differs from run to run. Gives how many; the
 * last is for kept neurons only. */
static size_t describe(const struct ce_calibrate_job *job,
                       char text[PROVENANCE][TEXT_CHARS],
                       struct ce_safetensors_text *pairs)
{
    static const char *const keys[PROVENANCE] = {"program",
                                                 "text",
                                                 "tokens",
                                                 "heldout_tokens",
                                                 "window",
                                                 "ridges",
                                                 "ranks",
                                                 "most_rank",
                                                 "weights",
                                                 "neurons"};
    const struct ce_text_windows *windows = &job->windows;
    size_t used = 0;

    (void)snprintf(text[0], TEXT_CHARS, "cemoe %s", CE_VERSION);
    (void)snprintf(text[1], TEXT_CHARS, "%016" PRIx64, job->text_hash);
    (void)snprintf(text[2], TEXT_CHARS, "%zu", windows->tokens[CE_TEXT_FIT]);
    (void)snprintf(text[3], TEXT_CHARS, "%zu", windows->tokens[CE_TEXT_HELDOUT]);
    (void)snprintf(text[4], TEXT_CHARS, "%zu", job->values->window);
    text[5][0] = '\0';
    for (size_t i = 0; i < ce_calibrate_ridge_count; i++) {
        used += (size_t)snprintf(text[5] + used,
                                 TEXT_CHARS - used,
                                 "%s%g",
                                 i > 0 ? " " : "",
                                 ce_calibrate_ridges[i]);
    }
    if (job->choice.budget > 0) {
        (void)snprintf(
            text[6], TEXT_CHARS, "budget of %" PRIu64 " bytes", job->choice.budget);
    } else {
        (void)snprintf(text[6], TEXT_CHARS, "%zu", job->choice.rank);
    }
    (void)snprintf(text[7], TEXT_CHARS, "%zu", job->layers.shape.most_rank);
    (void)snprintf(text[8],
                   TEXT_CHARS,
                   "%s",
                   ce_weight_format_name(job->session.engine->formats.experts));
    (void)snprintf(text[9], TEXT_CHARS, "%zu", job->layers.shape.neurons);
    for (size_t i = 0; i < PROVENANCE; i++) {
        pairs[i] = (struct ce_safetensors_text){keys[i], text[i]};
    }
    return job->layers.shape.neurons > 0 ? PROVENANCE : PROVENANCE - 1;
}

static enum ce_status write_file(const struct ce_calibrate_job *job,
                                 struct ce_error *err)
{
    char text[PROVENANCE][TEXT_CHARS];
    struct ce_safetensors_text pairs[PROVENANCE];
    const size_t count = describe(job, text, pairs);
    const struct ce_compressed_file_facts facts = {
        .n_ce = job->layers.compressed,
        .model = job->session.engine->identity.model,
        .provenance = pairs,
        .provenance_count = count};

    return ce_calibrate_write(
        &job->outcome, &job->parts, job->values->out, &facts, err);
}

/* ---- experts that could not be fitted in full ---- */

enum { MOST_LISTED = 8 };

/* The first experts of a layer with this status, as "3 7 12 ...". */
static void list_experts(const struct ce_calibrate_outcome *outcome,
                         size_t layer,
                         enum ce_fit_status status,
                         char *text,
                         size_t size)
{
    size_t used = 0;
    size_t listed = 0;

    text[0] = '\0';
    for (size_t e = 0; e < outcome->experts; e++) {
        if (outcome->expert[layer * outcome->experts + e].status != status) {
            continue;
        }
        if (listed == MOST_LISTED) {
            (void)snprintf(text + used, size - used, " ...");
            return;
        }
        used += (size_t)snprintf(text + used, size - used, " %zu", e);
        listed++;
    }
}

static void warn_layer(const struct ce_calibrate_outcome *outcome, size_t layer)
{
    static const char *const notes[CE_FIT_STATUSES] = {
        [CE_FIT_SHRUNK] = "have rows for a smaller rank than asked for",
        [CE_FIT_CONSTANT] = "have too few rows for a map: a constant",
        [CE_FIT_UNSEEN] = "were never auxiliary: the layer's mean"};
    char list[128];

    for (int s = CE_FIT_SHRUNK; s < CE_FIT_STATUSES; s++) {
        const size_t count = outcome->layer[layer].statuses[s];

        if (count > 0) {
            list_experts(outcome, layer, (enum ce_fit_status)s, list, sizeof(list));
            ce_log(CE_LOG_WARN,
                   "layer %zu: %zu expert(s) %s; more --tokens may help:%s",
                   layer,
                   count,
                   notes[s],
                   list);
        }
    }
}

enum ce_status ce_calibrate_finish(struct ce_calibrate_job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (ce_calibrate_is_scaling(job)) {
        return ce_calibrate_scaling_finish(job, err);
    }
    status = ce_calibrate_outcome_read(&job->outcome, &job->parts, err);
    if (status == CE_OK) {
        status = ce_calibrate_choose(&job->outcome, &job->choice, err);
    }
    if (status == CE_OK) {
        status = write_file(job, err);
    }
    for (size_t l = 0; status == CE_OK && l < job->outcome.layers; l++) {
        warn_layer(&job->outcome, l);
    }
    return status;
}

/* ---- the report ---- */

static double relative(double error, double of)
{
    return of > 0 ? error / of : 0.0;
}

/* By rank, with the neurons of fit number `index` kept. */
static json_t *describe_curve(const struct ce_calibrate_outcome *outcome,
                              const struct ce_outcome_layer *layer,
                              enum ce_text_set set,
                              size_t index)
{
    const size_t ranks = outcome->shape.most_rank + 1;
    const double *error = layer->error[set] + index * ranks;
    json_t *curve = json_array();

    for (size_t r = 0; r < ranks; r++) {
        json_array_append_new(curve,
                              json_real(relative(error[r], layer->moe_out[set])));
    }
    return curve;
}

static json_t *describe_errors(const struct ce_calibrate_outcome *outcome,
                               const struct ce_outcome_layer *layer,
                               enum ce_text_set set)
{
    json_t *object = json_object();
    json_t *others = json_array();

    json_object_set_new(object, "moe_out", json_real(layer->moe_out[set]));
    json_object_set_new(object,
                        "truncated",
                        json_real(relative(layer->dropped[set], layer->moe_out[set])));
    json_object_set_new(object, "by_rank", describe_curve(outcome, layer, set, 0));
    for (size_t i = 1; i < outcome->fits.count; i++) {
        json_array_append_new(others,
                              json_pack("{s:I, s:o}",
                                        "neurons",
                                        (json_int_t)outcome->fits.neurons[i],
                                        "by_rank",
                                        describe_curve(outcome, layer, set, i)));
    }
    json_object_set_new(object, "by_neurons", others);
    json_object_set_new(
        object, "chosen", json_real(relative(layer->chosen[set], layer->moe_out[set])));
    return object;
}

static json_t *describe_expert(const struct ce_outcome_expert *expert)
{
    return json_pack("{s:s, s:I, s:I, s:f, s:f, s:I, s:I, s:I}",
                     "status",
                     ce_fit_status_name(expert->status),
                     "rows",
                     (json_int_t)expert->rows,
                     "heldout_rows",
                     (json_int_t)expert->heldout_rows,
                     "effective_rows",
                     expert->effective_rows,
                     "ridge",
                     expert->ridge,
                     "fitted_rank",
                     (json_int_t)expert->rank,
                     "rank",
                     (json_int_t)expert->chosen,
                     "neurons",
                     (json_int_t)expert->neurons);
}

static json_t *describe_layers(const struct ce_calibrate_outcome *outcome)
{
    json_t *layers = json_array();

    for (size_t l = 0; l < outcome->layers; l++) {
        const struct ce_outcome_layer *layer = &outcome->layer[l];
        json_t *object = json_object();
        json_t *experts = json_array();

        for (int set = 0; set < CE_TEXT_SETS; set++) {
            json_object_set_new(object,
                                ce_text_set_name((enum ce_text_set)set),
                                describe_errors(outcome, layer, (enum ce_text_set)set));
        }
        for (size_t e = 0; e < outcome->experts; e++) {
            json_array_append_new(
                experts, describe_expert(&outcome->expert[l * outcome->experts + e]));
        }
        json_object_set_new(object, "experts", experts);
        json_array_append_new(layers, object);
    }
    return layers;
}

/* What does not depend on the run. */
static json_t *describe_result(const struct ce_calibrate_job *job)
{
    const struct ce_text_windows *windows = &job->windows;
    const struct ce_calibrate_outcome *outcome = &job->outcome;
    char text[32];
    json_t *object = json_object();

    (void)snprintf(text, sizeof(text), "%016" PRIx64, job->text_hash);
    json_object_set_new(object, "text", json_string(text));
    ce_json_set_integer(object, "tokens", windows->tokens[CE_TEXT_FIT]);
    ce_json_set_integer(object, "heldout_tokens", windows->tokens[CE_TEXT_HELDOUT]);
    ce_json_set_integer(object, "window", job->values->window);
    ce_json_set_integer(object, "compressed", job->layers.compressed);
    json_object_set_new(object, "kind", json_string(job->values->kind));
    if (ce_calibrate_is_scaling(job)) {
        ce_calibrate_scaling_describe(job, object);
        return object;
    }
    ce_json_set_integer(object, "most_rank", outcome->shape.most_rank);
    ce_json_set_integer(object, "neurons", outcome->shape.neurons);
    if (job->choice.budget > 0) {
        ce_json_set_integer(object, "budget", job->choice.budget);
    } else {
        ce_json_set_integer(object, "rank", job->choice.rank);
    }
    ce_json_set_integer(object, "bytes", outcome->bytes);
    json_object_set_new(object, "layers", describe_layers(outcome));
    return object;
}

static uint64_t peak_bytes(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* Rows of a product like those of moments. */
#define PROBE_ROWS 512
#define PROBE_NS   (100 * UINT64_C(1000000))

/* Flops a nanosecond of products of OpenBLAS of the moments' sizes: what there is to
 * reach. 0 without memory. */
static double probe_sgemm(size_t d)
{
    float *x = calloc(PROBE_ROWS * d, sizeof(*x));
    float *w = calloc(d * d, sizeof(*w));
    float *y = calloc(PROBE_ROWS * d, sizeof(*y));
    double flops = 0.0;
    uint64_t ns = 0;

    if (x != NULL && w != NULL && y != NULL) {
        ce_sgemm_blas(y, x, w, PROBE_ROWS, d, d); /* wakes its threads */
        for (const uint64_t since = ce_clock_ns(); ns < PROBE_NS;) {
            ce_sgemm_blas(y, x, w, PROBE_ROWS, d, d);
            flops += 2.0 * PROBE_ROWS * (double)d * (double)d;
            ns = ce_clock_ns() - since;
        }
    }
    free(y);
    free(w);
    free(x);
    return ns > 0 ? flops / (double)ns : 0.0;
}

static json_t *describe_run(const struct ce_calibrate_job *job)
{
    const struct ce_calibrate_counters *counters = &job->layers.counters;
    const double seconds = (double)(job->ended_ns - job->began_ns) / 1e9;
    json_t *object = ce_report_head(&job->session);

    ce_json_set_integer(object, "ranks", (uint64_t)job->session.transport->ranks);
    ce_json_set_integer(object, "threads", (uint64_t)job->session.engine->threads);
    json_object_set_new(object, "seconds", json_real(seconds));
    ce_json_set_seconds(object, "forward_seconds", counters->walk_ns);
    ce_json_set_seconds(object, "moment_seconds", counters->collect_ns);
    ce_json_set_seconds(object, "solve_seconds", counters->solve_ns);
    ce_json_set_seconds(object, "write_seconds", counters->write_ns);
    ce_json_set_integer(object, "layers_resumed", job->resumed);
    ce_json_set_integer(object, "passes", job->needs.passes);
    ce_json_set_integer(object, "rows", counters->rows);
    json_object_set_new(object, "moment_flops", json_real(counters->flops));
    json_object_set_new(
        object,
        "moment_gflops_per_second",
        json_real(relative(counters->flops, (double)counters->collect_ns)));
    json_object_set_new(object,
                        "sgemm_gflops_per_second",
                        json_real(probe_sgemm(job->config.hidden_size)));
    json_object_set_new(
        object,
        "tokens_per_second",
        json_real(
            relative((double)counters->tokens / (double)job->config.layers, seconds)));
    ce_json_set_integer(object, "planned_bytes", ce_calibrate_planned_bytes(job));
    ce_json_set_integer(object, "peak_resident_bytes", peak_bytes());
    return object;
}

enum ce_status ce_calibrate_write_report(const struct ce_calibrate_job *job,
                                         struct ce_error *err)
{
    json_t *object = describe_result(job);

    json_object_set_new(object, "run", describe_run(job));
    return ce_report_write(job->values->report, object, err);
}

/* ---- the table ---- */

/* 0, the powers of two below the largest rank, and that. */
static size_t next_rank(size_t rank, size_t most)
{
    const size_t next = rank == 0 ? 1 : 2 * rank;

    if (rank == most) {
        return SIZE_MAX;
    }
    return next < most ? next : most;
}

static void print_head(const struct ce_calibrate_outcome *outcome)
{
    const size_t most = outcome->shape.most_rank;

    ce_print("layer  truncated");
    for (size_t r = 0; r != SIZE_MAX; r = next_rank(r, most)) {
        char name[32];

        (void)snprintf(name, sizeof(name), "rank %zu", r);
        ce_print("  %8s", name);
    }
    ce_print("  %8s  mean rank%s\n",
             "chosen",
             outcome->shape.neurons > 0 ? "  mean neurons" : "");
}

static void print_layer(const struct ce_calibrate_outcome *outcome,
                        size_t index,
                        enum ce_text_set set)
{
    const struct ce_outcome_layer *layer = &outcome->layer[index];
    const size_t most = outcome->shape.most_rank;
    const double all = layer->moe_out[set];
    double ranks = 0.0;
    double neurons = 0.0;

    for (size_t e = 0; e < outcome->experts; e++) {
        const struct ce_outcome_expert *expert =
            &outcome->expert[index * outcome->experts + e];

        ranks += (double)expert->chosen;
        neurons += (double)expert->neurons;
    }
    ce_print("%5zu  %9.5f", index, relative(layer->dropped[set], all));
    for (size_t r = 0; r != SIZE_MAX; r = next_rank(r, most)) {
        ce_print("  %8.5f", relative(layer->error[set][r], all));
    }
    ce_print("  %8.5f  %9.1f",
             relative(layer->chosen[set], all),
             ranks / (double)outcome->experts);
    if (outcome->shape.neurons > 0) {
        ce_print("  %12.1f", neurons / (double)outcome->experts);
    }
    ce_print("\n");
}

static int print_table(const struct ce_calibrate_job *job)
{
    const enum ce_text_set set =
        job->windows.count[CE_TEXT_HELDOUT] > 0 ? CE_TEXT_HELDOUT : CE_TEXT_FIT;

    ce_print("squared error of the auxiliary experts' outputs, one by one, over "
             "|moe_out|^2, %s tokens\n",
             set == CE_TEXT_HELDOUT ? "held-out" : "fitted");
    print_head(&job->outcome);
    for (size_t l = 0; l < job->outcome.layers; l++) {
        print_layer(&job->outcome, l, set);
    }
    ce_print("%s: %" PRIu64 " bytes for %zu of %zu experts per token\n",
             job->values->out,
             job->outcome.bytes,
             job->layers.compressed,
             job->config.top_k);
    return ce_finish_output();
}

int ce_calibrate_print(const struct ce_calibrate_job *job)
{
    if (job->values->json) {
        return ce_print_json(describe_result(job));
    }
    return ce_calibrate_is_scaling(job) ? ce_calibrate_scaling_print(job)
                                        : print_table(job);
}
