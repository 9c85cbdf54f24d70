/* calibrate.c - `cemoe calibrate`: compressed experts from what the experts compute */

#include "tools/calibrate.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/version.h"
#include "calibrate/allocate.h"
#include "comm/collective.h"
#include "tools/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
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
    most = most > d ? d : most;
    job->layers.shape = (struct ce_record_shape){d, most > 0 ? most : 1};
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
    enum ce_status status = ce_config_load(&job->config, job->values->model, err);

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

/* What all ranks must want alike, and what a directory of parts is of; malloc'ed. */
static char *describe_work(const struct ce_calibrate_job *job)
{
    const struct ce_calibrate_values *values = job->values;
    char *text = NULL;

    return asprintf(&text,
                    "text=%016" PRIx64 "\ntokens=%zu\nheldout-tokens=%zu\nwindow=%zu\n"
                    "fitted-compressed=%zu\nkind=%s\nmost-rank=%zu\n",
                    job->text_hash,
                    job->windows.tokens[CE_TEXT_FIT],
                    job->windows.tokens[CE_TEXT_HELDOUT],
                    values->window,
                    job->layers.compressed,
                    values->kind,
                    job->layers.shape.most_rank) < 0
               ? NULL
               : text;
}

static enum ce_status load(struct ce_calibrate_job *job, struct ce_error *err)
{
    struct ce_engine_options options = ce_calibrate_engine_options(job);
    char *work = describe_work(job);
    enum ce_status status =
        work == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job")
                     : CE_OK;

    options.job = work;
    status = ce_agree(job->session.transport, status, err);
    if (status == CE_OK) {
        status = ce_session_load(&job->session, &options, err);
    }
    free(work);
    return status;
}

/* The directory's job: also what the engine knows. malloc'ed. */
static char *describe_parts(const struct ce_calibrate_job *job)
{
    const struct ce_engine *engine = job->session.engine;
    char *work = describe_work(job);
    char *text = NULL;
    int length = -1;

    if (work != NULL) {
        length = asprintf(&text,
                          "cemoe=%s\nmodel=%016" PRIx64 "\nweights=%s\n"
                          "dense-weights=%s\nkv=%s\n%s",
                          CE_VERSION,
                          ce_weights_fingerprint(&engine->weights, &job->config),
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
        status =
            ce_agree(job->session.transport, ce_calibrate_dump_open(job, err), err);
    }
    job->layers.engine = job->session.engine;
    job->layers.windows = &job->windows;
    job->layers.on_progress = on_progress;
    job->layers.progress_context = job;
    job->began_ns = job->said_ns = ce_clock_ns();
    if (status == CE_OK) {
        status = ce_calibrate_layers(&job->layers, err);
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

static enum ce_status run_all(struct ce_calibrate_job *job, struct ce_error *err)
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
    if (status == CE_OK) {
        status = run_layers(job, err);
    }
    if (status == CE_OK) {
        status = finish(job, err);
    }
    return status;
}

static int print(const struct ce_calibrate_job *job)
{
    return job->values->plan ? ce_calibrate_print_plan(job) : ce_calibrate_print(job);
}

static int run_job(struct ce_calibrate_job *job)
{
    struct ce_error err = {.text = ""};
    int printed = CE_EXIT_DONE;
    enum ce_status status =
        ce_session_open(&job->session, "calibrate", &job->values->run, &err);

    if (status == CE_OK) {
        status = run_all(job, &err);
    }
    if (status == CE_OK && job->session.transport->rank == 0) {
        printed = print(job);
    }
    if (status == CE_OK && !job->values->plan) {
        status = ce_session_report(&job->session, job->layers.counters.tokens, 0, &err);
    }
    const int code = ce_session_close(&job->session, status, &err);

    return code != CE_EXIT_DONE ? code : printed;
}

/* ---- the command ---- */

static int refuse(const char *what)
{
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR, "calibrate: %s; see cemoe calibrate --help", what);
    }
    return CE_EXIT_USAGE;
}

static int check_usage(const struct ce_calibrate_values *values)
{
    if (values->data.count == 0 && !values->dummy_given) {
        return refuse("--data FILE is missing");
    }
    if (values->out == NULL && !values->plan) {
        return refuse("--out FILE is missing");
    }
    if (values->budget != NULL && values->rank != SIZE_MAX) {
        return refuse("--rank and --budget exclude each other");
    }
    if (values->rank != SIZE_MAX && values->most_rank > 0 &&
        values->most_rank < values->rank) {
        return refuse("--most-rank is less than --rank");
    }
    if (values->heldout_every == 1) {
        return refuse("--heldout-every 1 leaves nothing to fit; 0 holds nothing out");
    }
    if (strcmp(values->run.expert_split, "none") != 0) {
        return refuse("--expert-split node cuts experts apart: it cannot be used here");
    }
    if ((values->dump == NULL) != (values->dump_layer == SIZE_MAX)) {
        return refuse("--dump FILE and --dump-layer L belong together");
    }
    return CE_EXIT_DONE;
}

/* malloc'ed; NULL when out of memory. */
static char *name_parts(const struct ce_calibrate_values *values)
{
    char *name = NULL;

    if (values->parts != NULL || values->out == NULL) {
        return strdup(values->parts != NULL ? values->parts : "");
    }
    return asprintf(&name, "%s.parts", values->out) < 0 ? NULL : name;
}

static int run(const void *untyped)
{
    struct ce_calibrate_job job = {.values = untyped};
    int code = check_usage(job.values);

    job.parts_dir = name_parts(job.values);
    if (code == CE_EXIT_DONE && job.parts_dir == NULL) {
        code = refuse("no memory");
    }
    if (code == CE_EXIT_DONE) {
        code = run_job(&job);
    }
    ce_calibrate_dump_close(job.dump);
    ce_calibrate_outcome_free(&job.outcome);
    ce_parts_close(&job.parts);
    ce_text_windows_close(&job.windows);
    free(job.layers.solved);
    free(job.parts_dir);
    return code;
}

static const struct ce_option text_options[] = {
    {.name = "data",
     .short_name = 'd',
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, data),
     .help = "UTF-8 texts like those the model will see: plain text, or JSON Lines in "
             "a file that ends in .jsonl, a document a line. Several files have equal "
             "shares of --tokens."},
    {.name = "field",
     .kind = CE_OPTION_STRING,
     .argument = "NAME",
     .field = offsetof(struct ce_calibrate_values, field),
     .initial = "text",
     .help = "The field of a line's object that has its text."},
    {.name = "tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, tokens),
     .initial = "256k",
     .min = 2,
     .max = 1 << 30,
     .help = "How many tokens to use, in windows spread evenly over the texts. Each "
             "expert should be auxiliary for some times the hidden size of them."},
    {.name = "window",
     .short_name = 'w',
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, window),
     .initial = "256",
     .min = 2,
     .max = 65536,
     .help = "Most tokens of a window; each starts at position 0 and sees no other."},
    {.name = "heldout-every",
     .kind = CE_OPTION_SIZE,
     .argument = "H",
     .field = offsetof(struct ce_calibrate_values, heldout_every),
     .initial = "8",
     .min = 0,
     .max = 1 << 20,
     .help = "Every H-th window is not fitted to: ridges and ranks are chosen by the "
             "errors there. 0 uses all to fit, with a fixed ridge."},
    {0}};

static const struct ce_option fit_options[] = {
    {.name = "compressed",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, compressed),
     .initial = "-1",
     .initial_help = "n_ce of config.json",
     .min = 1,
     .max = INT_MAX,
     .help =
         "How many of a token's experts will be compressed, those with the lowest "
         "routing weights: an expert is fitted on the tokens for which it is one of "
         "them."},
    {.name = "kind",
     .kind = CE_OPTION_STRING,
     .argument = "KIND",
     .field = offsetof(struct ce_calibrate_values, kind),
     .initial = "affine",
     .choices = (const char *const[]){"affine", NULL},
     .help = "What stands in for an expert: affine, a constant and a map of low rank, "
             "E(x) ~ U V x + b."},
    {.name = "rank",
     .short_name = 'r',
     .kind = CE_OPTION_SIZE,
     .argument = "R",
     .field = offsetof(struct ce_calibrate_values, rank),
     .initial = "18446744073709551615",
     .initial_help = "without --budget a 64th of the hidden size, at least 8",
     .min = 0,
     .max = 65536,
     .help = "The same rank for all experts; 0 leaves the constants."},
    {.name = "budget",
     .kind = CE_OPTION_STRING,
     .argument = "BYTES|PERCENT%",
     .field = offsetof(struct ce_calibrate_values, budget),
     .help = "Give every expert of every layer a rank of its own, so that the held-out "
             "errors are least within so many bytes (suffix k, M, G), or percents of "
             "what the full experts take in BF16."},
    {.name = "most-rank",
     .kind = CE_OPTION_SIZE,
     .argument = "R",
     .field = offsetof(struct ce_calibrate_values, most_rank),
     .initial = "0",
     .initial_help = "--rank, or with --budget four times its default",
     .min = 0,
     .max = 65536,
     .help = "Fit all ranks up to R: the largest that --budget may choose, and the end "
             "of the error curves in the report."},
    {0}};

static const struct ce_option output_options[] = {
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, out),
     .help = "The compressed experts, for --compressed-experts of other commands. "
             "Replaced as a whole, at the end. Required but for --plan."},
    {.name = "parts",
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_calibrate_values, parts),
     .initial_help = "the name of --out with .parts",
     .help = "Where the layers that are done are kept until the end."},
    {.name = "keep-parts",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, keep_parts),
     .help = "Keep them: another --rank or --budget up to the same --most-rank then "
             "takes seconds with the same --parts."},
    {.name = "report",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, report),
     .help = "Write errors by rank of every layer, what became of every expert, times "
             "and memory to FILE as JSON."},
    {.name = "dump-layer",
     .kind = CE_OPTION_SIZE,
     .argument = "L",
     .field = offsetof(struct ce_calibrate_values, dump_layer),
     .initial = "18446744073709551615",
     .initial_help = "none",
     .min = 0,
     .max = 1 << 20,
     .help = "Write the rows that the experts of layer L were fitted to, to --dump; on "
             "one rank, from the beginning."},
    {.name = "dump",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, dump),
     .help = "Safetensors file for --dump-layer: of each expert E the rows E.fit.x, "
             "E.fit.y and weights E.fit.a, and E.heldout alike."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, json),
     .help = "Print the result as JSON instead of a table."},
    {0}};

static const struct ce_option memory_options[] = {
    {.name = "memory",
     .kind = CE_OPTION_SIZE,
     .argument = "BYTES",
     .field = offsetof(struct ce_calibrate_values, memory),
     .initial = "0",
     .initial_help = "0: the rank's part of what its host has left",
     .min = 0,
     .max = 0x1p52,
     .help = "What each rank may take, model included. With less, the windows pass "
             "through each layer several times, for some of its experts at a time."},
    {.name = "plan",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, plan),
     .help = "Only say what memory it would take; loads no weights."},
    {0}};

static const struct ce_option model_options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_calibrate_values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it, or what cemoe pack makes "
             "of one. All of a token's experts are run in full."},
    {.name = "weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_calibrate_values, weights),
     .initial_help = "stored, or as the model was packed",
     .choices = (const char *const[]){"stored", "bf16", "q8", "q4", NULL},
     .help = "The experts' weights in memory, as for cemoe score: use what the "
             "compressed experts will be used with."},
    {.name = "dense-weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_calibrate_values, dense_weights),
     .initial_help = "stored, or as the model was packed",
     .choices = (const char *const[]){"stored", "bf16", "q8", "q4", NULL},
     .help = "The same for the matrices of attention and the output layer."},
    {.name = "mmap",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, map_weights),
     .help = "Use a packed model where the page cache has it."},
    {.name = "kv",
     .kind = CE_OPTION_STRING,
     .argument = "TYPE",
     .field = offsetof(struct ce_calibrate_values, kv),
     .initial = "f32",
     .choices = (const char *const[]){"f32", "bf16", NULL},
     .help = "How keys and values are kept."},
    {.name = "dummy-weights",
     .kind = CE_OPTION_UINT64,
     .argument = "SEED",
     .field = offsetof(struct ce_calibrate_values, dummy_weights),
     .given = offsetof(struct ce_calibrate_values, dummy_given),
     .help = "Random weights and random ids, from config.json alone: to see what a "
             "model would take."},
    {0}};

static const struct ce_option_group groups[] = {
    {.title = "Text", .options = text_options},
    {.title = "Fit", .options = fit_options},
    {.title = "Output", .options = output_options},
    {.title = "Memory", .options = memory_options},
    {.title = "Model", .options = model_options},
    {.title = "Run",
     .options = ce_run_options,
     .offset = offsetof(struct ce_calibrate_values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"Substitutes of rank 8 for 2 of 4 experts, and what they are worth",
     "cemoe calibrate --model deploy/model --data deploy/model/calibration/math.txt "
     "--compressed 2 --rank 8 --out math.safetensors\n"
     "cemoe score --model deploy/model --compressed-experts math.safetensors --file "
     "deploy/model/eval/math.txt"},
    {"Ranks chosen expert by expert, within half a percent of the experts' bytes, on 8 "
     "ranks",
     "mpirun -n 8 cemoe calibrate --model DIR --data wiki.jsonl code.jsonl "
     "--compressed 4 --budget 0.5% --out compressed.safetensors"},
    {"What memory it would take",
     "cemoe calibrate --model DIR --dummy-weights 1 --compressed 4 --plan"},
    {0}};

static const char *const usage[] = {"--model DIR --data FILE... --out FILE "
                                    "[--compressed N] [--rank R | --budget BYTES]",
                                    "--model DIR --data FILE... --plan",
                                    NULL};

const struct ce_command ce_command_calibrate = {
    .name = "calibrate",
    .summary = "Fit compressed experts to what a model's experts compute on a text",
    .usage = usage,
    .description =
        "Runs the full model over the texts, layer by layer, and fits for every expert "
        "an affine map that stands in for it where its routing weight is among the N "
        "lowest of a token: E(x) ~ U V x + b with U V of low rank, by weighted least "
        "squares in closed form, from sums of products. Nothing is trained. Each rank "
        "collects and fits its own experts; one file comes out. Give it texts of the "
        "kind the model will be used for.\n\n"
        "Every layer that is done is on disk, whole: whatever ends the job (SIGTERM, a "
        "killed node), the same command goes on there and gives the same file, byte by "
        "byte with the same ranks and threads. What is in --parts of another text, "
        "model or option is refused, naming it. --out is replaced at the very end.\n\n"
        "The table has, layer by layer, the squared error of what auxiliary experts "
        "add "
        "to a held-out token's output, expert by expert, over that of the whole "
        "output: truncated, then by rank. Errors of one token's experts may cancel or "
        "add up; that is left out. cemoe score says what it means for the model. "
        "Experts with few rows get a smaller rank or a constant, and are named.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct ce_calibrate_values),
    .run = run};
