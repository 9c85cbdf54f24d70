/* calibrate_job.c - the phases of a calibration, each agreed upon by all ranks */

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/version.h"
#include "calibrate/allocate.h"
#include "comm/collective.h"
#include "kernels/blas/room.h"
#include "model/packed_model.h"
#include "tools/calibrate.h"
#include "tools/watch.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Choosing ranks and writing the file, while the other ranks wait. */
#define FINISHING_DEADLINE_FACTOR 30

/* ---- options that need the model's configuration ---- */

static size_t default_rank(const struct ce_config *config)
{
    const size_t rank = config->hidden_size / 64;
    const size_t least = config->hidden_size < 8 ? config->hidden_size : 8;

    return rank > least ? rank : least;
}

static enum ce_status choose_compressed(struct ce_calibrate_job *job,
                                        struct ce_error *err)
{
    const size_t most = job->config.top_k - 1;
    long compressed = job->values->compressed;

    if (compressed < 0) {
        compressed = (long)job->config.n_ce;
    }
    if (compressed < 1 || (size_t)compressed > most) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--compressed %ld is out of range: 1 to %zu, one less than "
                       "num_experts_per_tok%s",
                       compressed,
                       most,
                       job->values->compressed < 0 ? "; config.json has no n_ce" : "");
    }
    job->layers.compressed = (size_t)compressed;
    return CE_OK;
}

/* The experts of a model in BF16: what a percentage is of. */
static double full_bytes(const struct ce_config *config)
{
    return (double)config->layers * (double)config->experts * 3.0 *
           (double)config->hidden_size * (double)config->intermediate_size * 2.0;
}

/* "12%", "40000000", "40M". */
static enum ce_status
read_budget(struct ce_calibrate_job *job, uint64_t *budget, struct ce_error *err)
{
    static const char suffixes[] = "kMGT";
    const char *text = job->values->budget;
    const struct ce_config *config = &job->config;
    const double least = (double)config->layers * (double)config->experts *
                         (double)ce_allocate_bytes(config->hidden_size, 0, 0);
    char *end = NULL;
    const char *suffix = NULL;
    double value = strtod(text, &end);

    if (end != text && *end == '%') {
        value *= full_bytes(config) / 100.0;
        end++;
    } else if (end != text && *end != '\0' &&
               (suffix = strchr(suffixes, *end)) != NULL) {
        for (long i = 0; i <= suffix - suffixes; i++) {
            value *= 1024.0;
        }
        end++;
    }
    if (end == text || *end != '\0' || !(value >= 1.0 && value < 0x1p63)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--budget \"%s\" is not a number of bytes (40000000, 40M) or of "
                       "percents of the experts' bytes (0.5%%)",
                       text);
    }
    if (value < least) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--budget %s is %.0f bytes; the constants of all experts alone "
                       "take %.0f (%.3f%%)",
                       text,
                       value,
                       least,
                       100.0 * least / full_bytes(config));
    }
    *budget = (uint64_t)value;
    return CE_OK;
}

static enum ce_status choose_ranks(struct ce_calibrate_job *job, struct ce_error *err)
{
    const struct ce_calibrate_values *values = job->values;
    const size_t d = job->config.hidden_size;
    const size_t usual = default_rank(&job->config);
    size_t most = values->most_rank;
    enum ce_status status = CE_OK;

    if (ce_calibrate_is_scaling(job)) {
        job->layers.shape = (struct ce_record_shape){.hidden = d};
        return CE_OK;
    }
    if (values->budget != NULL) {
        status = read_budget(job, &job->choice.budget, err);
        most = most > 0 ? most : 4 * usual;
    } else {
        job->choice.rank = values->rank == SIZE_MAX ? usual : values->rank;
        most = most > job->choice.rank ? most : job->choice.rank;
    }
    if (status == CE_OK && (job->choice.rank > d || values->most_rank > d)) {
        status =
            ce_fail(err,
                    CE_ERR_ARG,
                    "a rank of %zu is over the model's hidden size of %zu (--rank, "
                    "--most-rank)",
                    job->choice.rank > d ? job->choice.rank : values->most_rank,
                    d);
    }
    if (status == CE_OK && values->neurons > job->config.intermediate_size) {
        status =
            ce_fail(err,
                    CE_ERR_ARG,
                    "--neurons %zu is over the %zu that an expert of the model has",
                    values->neurons,
                    job->config.intermediate_size);
    }
    most = most > d ? d : most;
    job->layers.shape =
        (struct ce_record_shape){d, most > 0 ? most : 1, values->neurons};
    return status;
}

static enum ce_status check_window(const struct ce_calibrate_job *job,
                                   struct ce_error *err)
{
    if (job->values->window > job->config.max_positions) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--window %zu is over the model's context of %zu "
                       "(max_position_embeddings)",
                       job->values->window,
                       job->config.max_positions);
    }
    return CE_OK;
}

/* A file that cannot be written is better known now than after hours. */
static enum ce_status check_output(const struct ce_calibrate_job *job,
                                   struct ce_error *err)
{
    const char *const paths[] = {
        job->values->out, job->values->report, job->values->dump};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct ce_file_writer writer = {0};

        if (paths[i] == NULL || job->session.transport->rank != 0) {
            continue;
        }
        status = ce_file_writer_open(&writer, paths[i], err);
        ce_file_writer_close(&writer);
    }
    return status;
}

static enum ce_status check_dump(const struct ce_calibrate_job *job,
                                 struct ce_error *err)
{
    if (job->values->dump == NULL) {
        return CE_OK;
    }
    if (job->session.transport->ranks > 1) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "--dump needs all experts on one rank");
    }
    if (job->values->dump_layer >= job->config.layers) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--dump-layer %zu: the model has layers 0 to %zu",
                       job->values->dump_layer,
                       job->config.layers - 1);
    }
    return CE_OK;
}

static enum ce_status prepare(struct ce_calibrate_job *job, struct ce_error *err)
{
    enum ce_status status =
        ce_session_watch_files(&job->session, job->values->model, NULL, err);

    if (status == CE_OK) {
        status = ce_config_load(&job->config, job->values->model, err);
    }

    if (status == CE_OK) {
        status = choose_compressed(job, err);
    }
    if (status == CE_OK) {
        status = choose_ranks(job, err);
    }
    if (status == CE_OK) {
        status = check_window(job, err);
    }
    if (status == CE_OK) {
        status = check_dump(job, err);
    }
    if (status == CE_OK && !job->values->plan) {
        status = check_output(job, err);
    }
    return ce_agree(job->session.transport, status, err);
}

/* ---- the engine, and what is there of the job ---- */

/* What all ranks must want alike, and what a directory of parts is of; the name of the
 * first line is the caller's. malloc'ed. */
static char *describe_work(const struct ce_calibrate_job *job, const char *compressed)
{
    const struct ce_calibrate_values *values = job->values;
    char ridge[64] = "";
    char *text = NULL;

    if (ce_calibrate_is_scaling(job)) {
        (void)snprintf(ridge, sizeof(ridge), "ridge=%.17g\n", values->ridge);
    }
    return asprintf(&text,
                    "%s=%zu\nkind=%s\n%smost-rank=%zu\nneurons=%zu\nwindow=%zu\n"
                    "heldout-every=%zu\ntext-tokens=%zu\ntext=%016" PRIx64 "\n",
                    compressed,
                    job->layers.compressed,
                    values->kind,
                    ridge,
                    job->layers.shape.most_rank,
                    job->layers.shape.neurons,
                    values->window,
                    values->heldout_every,
                    job->windows.tokens[CE_TEXT_FIT] +
                        job->windows.tokens[CE_TEXT_HELDOUT],
                    job->text_hash) < 0
               ? NULL
               : text;
}

/* Rows of packed panels would have to be taken apart, and their experts round inputs.
 */
static enum ce_status check_neurons(const struct ce_calibrate_job *job,
                                    struct ce_error *err)
{
    const enum ce_weight_format format = job->session.engine->formats.experts;

    if (job->layers.shape.neurons > 0 && ce_weight_format_is_packed(format)) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "--neurons %zu: the experts are %s; neurons are kept of weights "
                       "as stored or in BF16 (--weights)",
                       job->layers.shape.neurons,
                       ce_weight_format_name(format));
    }
    return CE_OK;
}

/* What is made here names its model, and is good for that one only. */
static enum ce_status check_identity(const struct ce_calibrate_job *job,
                                     struct ce_error *err)
{
    return job->session.engine->identity.model != 0
               ? CE_OK
               : ce_fail(err,
                         CE_ERR_UNSUPPORTED,
                         "%s: a packed model of an earlier version does not say which "
                         "checkpoint it was made of: pack the checkpoint again",
                         job->values->model);
}

static enum ce_status load(struct ce_calibrate_job *job, struct ce_error *err)
{
    struct ce_engine_options options = ce_calibrate_engine_options(job);
    /* The engine's own "compressed" is 0: all run in full. */
    char *work = describe_work(job, "calibrated-for");
    enum ce_status status =
        work == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job")
                     : CE_OK;

    options.job = work;
    status = ce_agree(job->session.transport, status, err);
    if (status == CE_OK) {
        status = ce_session_load(&job->session, &options, err);
    }
    if (status == CE_OK && ce_calibrate_is_scaling(job)) {
        status = ce_scaling_check_engine(job->session.engine, err);
    }
    if (status == CE_OK) {
        status = check_identity(job, err); /* the same on all ranks */
    }
    if (status == CE_OK) {
        status = check_neurons(job, err);
    }
    free(work);
    return status;
}

/* The directory's job: also what the engine knows. malloc'ed. */
static char *describe_parts(const struct ce_calibrate_job *job)
{
    const struct ce_engine *engine = job->session.engine;
    char *work = describe_work(job, "compressed");
    char *text = NULL;
    int length = -1;

    if (work != NULL) {
        length = asprintf(&text,
                          "cemoe=%s\nmodel=%016" PRIx64 "\n"
                          "configuration=%016" PRIx64 "\nweights=%s\n"
                          "dense-weights=%s\nkv=%s\n%s",
                          CE_VERSION,
                          engine->identity.model,
                          ce_packed_config_hash(&engine->config),
                          ce_weight_format_name(engine->formats.experts),
                          ce_weight_format_name(engine->formats.dense),
                          ce_kv_dtype_name(engine->kv),
                          work);
    }
    free(work);
    return length < 0 ? NULL : text;
}

static enum ce_status open_parts(struct ce_calibrate_job *job, struct ce_error *err)
{
    char *text = describe_parts(job);
    enum ce_status status = CE_OK;

    job->parts = (struct ce_parts){.kernels = job->session.engine->kernels,
                                   .layers = job->config.layers,
                                   .experts = job->config.experts,
                                   .shape = job->layers.shape};
    if (ce_calibrate_is_scaling(job)) {
        job->parts.body_bytes =
            ce_scaling_body_bytes(job->config.experts, job->config.intermediate_size);
    }
    if (text == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job");
    }
    status = ce_parts_open(&job->parts, job->parts_dir, text, err);
    for (size_t l = 0; status == CE_OK && l < job->config.layers; l++) {
        job->layers.solved[l] = ce_parts_has(&job->parts, l);
        job->resumed += job->layers.solved[l];
    }
    if (status == CE_OK && job->resumed > 0) {
        ce_log(CE_LOG_INFO,
               "%s has %zu of %zu layers already",
               job->parts_dir,
               job->resumed,
               job->config.layers);
    }
    free(text);
    job->layers.parts = &job->parts;
    return status;
}

/* Rank 0 opens the directory; all learn which layers it has. */
static enum ce_status find_solved(struct ce_calibrate_job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    const size_t layers = job->config.layers;
    struct ce_bytes solved = {NULL, 0};
    enum ce_status status = CE_OK;

    job->layers.solved = calloc(layers, 1);
    if (job->layers.solved == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the list of layers");
    } else if (transport->rank == 0) {
        status = open_parts(job, err);
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = ce_broadcast(
            transport, (struct ce_bytes){job->layers.solved, layers}, &solved, err);
    }
    if (status == CE_OK && solved.bytes != layers) {
        ce_transport_fail(transport);
        status = ce_fail(err, CE_ERR_COMM, "rank 0 sent no list of layers");
    }
    if (status == CE_OK && transport->rank != 0) {
        memcpy(job->layers.solved, solved.data, layers);
    }
    return status;
}

/* ---- the run ---- */

/* A line when a layer is done, and one in a minute. */
#define SAY_AFTER_NS (60 * UINT64_C(1000000000))

static void on_progress(void *context, const struct ce_calibrate_progress *progress)
{
    struct ce_calibrate_job *job = context;
    const uint64_t now = ce_clock_ns();
    const size_t steps = progress->steps * progress->passes;
    const size_t step = progress->pass * progress->steps + progress->step;
    const double done = (double)progress->layer + (double)step / (double)steps;
    const double seconds = (double)(now - job->began_ns) / 1e9;
    const double tokens = done * (double)(job->windows.tokens[CE_TEXT_FIT] +
                                          job->windows.tokens[CE_TEXT_HELDOUT]);

    if (!ce_log_is_speaker() || (step < steps && now - job->said_ns < SAY_AFTER_NS)) {
        return;
    }
    job->said_ns = now;
    ce_log(CE_LOG_INFO,
           "layer %zu of %zu, step %zu of %zu: %.0f tokens/s through a layer, about "
           "%.0f s left",
           progress->layer + 1,
           progress->layers,
           step,
           steps,
           tokens / seconds,
           seconds * ((double)progress->layers - done) / done);
}

static enum ce_status run_layers(struct ce_calibrate_job *job, struct ce_error *err)
{
    enum ce_status status = find_solved(job, err);

    if (status == CE_OK) {
        status = ce_calibrate_dump_open(job, err);
        if (status == CE_OK) {
            status = ce_blas_check_room((size_t)omp_get_max_threads(), err);
        }
        status = ce_agree(job->session.transport, status, err);
    }
    job->layers.engine = job->session.engine;
    job->layers.windows = &job->windows;
    job->layers.on_progress = on_progress;
    job->layers.progress_context = job;
    job->began_ns = job->said_ns = ce_clock_ns();
    if (status == CE_OK) {
        status = ce_calibrate_is_scaling(job)
                     ? ce_scaling_layers(&job->layers, job->values->ridge, err)
                     : ce_calibrate_layers(&job->layers, err);
    }
    job->ended_ns = ce_clock_ns();
    return status;
}

static void say_times(const struct ce_calibrate_job *job)
{
    const struct ce_calibrate_counters *counters = &job->layers.counters;

    ce_log(
        CE_LOG_INFO,
        "forward %.1f s, moments %.1f s (%.1f Gflop/s), solving %.1f s, writing %.1f "
        "s",
        (double)counters->walk_ns / 1e9,
        (double)counters->collect_ns / 1e9,
        counters->collect_ns > 0 ? counters->flops / (double)counters->collect_ns : 0.0,
        (double)counters->solve_ns / 1e9,
        (double)counters->write_ns / 1e9);
}

static enum ce_status finish_here(struct ce_calibrate_job *job, struct ce_error *err)
{
    enum ce_status status = ce_calibrate_dump_write(job, err);

    if (status == CE_OK) {
        status = ce_calibrate_finish(job, err);
    }
    if (status == CE_OK && job->values->report != NULL) {
        status = ce_calibrate_write_report(job, err);
    }
    if (status == CE_OK) {
        say_times(job);
    }
    return status;
}

static enum ce_status finish(struct ce_calibrate_job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    const uint64_t deadline_ms = transport->deadline_ms;
    enum ce_status status = CE_OK;

    if (deadline_ms < UINT64_MAX / FINISHING_DEADLINE_FACTOR) {
        transport->deadline_ms = deadline_ms * FINISHING_DEADLINE_FACTOR;
    }
    if (transport->rank == 0) {
        status = finish_here(job, err);
    }
    status = ce_agree(transport, status, err);
    transport->deadline_ms = deadline_ms;
    if (status == CE_OK && transport->rank == 0 && !job->values->keep_parts) {
        ce_parts_remove(&job->parts);
    }
    return status;
}

enum ce_status ce_calibrate_job_run(struct ce_calibrate_job *job, struct ce_error *err)
{
    enum ce_status status = prepare(job, err);

    if (status == CE_OK) {
        status = ce_calibrate_read_text(job, err);
    }
    if (status == CE_OK) {
        status = ce_calibrate_find_needs(job, err);
    }
    if (status != CE_OK || job->values->plan) {
        return status;
    }
    status = load(job, err);
    ce_session_watch(&job->session, "fit");
    if (status == CE_OK) {
        status = run_layers(job, err);
    }
    if (status == CE_OK) {
        status = finish(job, err);
    }
    ce_watch_end();
    return status;
}
