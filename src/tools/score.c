/* score.c - `cemoe score`: log-likelihood and perplexity of a text */

#include "base/log.h"
#include "base/streams.h"
#include "comm/collective.h"
#include "engine/scoring.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/commands.h"
#include "tools/held_out.h"
#include "tools/session.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    const char *file;
    size_t window;
    bool per_token;
    bool json;
};

struct job {
    const struct values *values;
    struct ce_session session;
    struct ce_tokenizer *tokenizer;
    struct ce_ids ids;
    double *logprob; /* [ids.count], rank 0 */
    size_t reported; /* tenths of the text already logged */
};

struct summary {
    size_t scored;
    double nll; /* mean over the scored tokens */
};

static const struct ce_option options[] = {
    {.name = "file",
     .short_name = 'f',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, file),
     .required = true,
     .help = "UTF-8 text to score; - is standard input."},
    {.name = "window",
     .short_name = 'w',
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, window),
     .initial = "256",
     .min = 2,
     .max = 1 << 24,
     .help =
         "Tokens of a window. Windows do not overlap; each starts at position 0 and "
         "its first token is not scored."},
    {.name = "per-token",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, per_token),
     .help = "Also give id and log-likelihood of every token."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print {\"tokens\", \"scored\", \"nll\", \"perplexity\", \"window\", "
             "\"compressed\", \"truncated\", \"wire\", \"kv\"}; with --per-token also "
             "\"ids\" and "
             "\"logprobs\" (null where not scored)."},
    {0}};

static enum ce_status take_scores(struct job *job, struct ce_error *err)
{
    job->logprob = calloc(job->ids.count, sizeof(job->logprob[0]));
    return job->logprob == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory for the scores")
                                : CE_OK;
}

static enum ce_status prepare(struct job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    const char *dir = job->values->model.model;
    enum ce_status status = ce_session_watch_files(&job->session, dir, NULL, err);

    if (status == CE_OK) {
        status = ce_tokenizer_open(&job->tokenizer, dir, err);
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = ce_held_out_read(
            &job->session, job->tokenizer, job->values->file, &job->ids, err);
    }
    return status == CE_OK ? ce_agree(transport, take_scores(job, err), err) : status;
}

static enum ce_status load(struct job *job, struct ce_error *err)
{
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &job->values->model);
    char wanted[128];

    ce_held_out_choose_cache(&engine, job->values->window);
    (void)snprintf(wanted,
                   sizeof(wanted),
                   "command=score\nwindow=%zu\ntext-tokens=%zu\n",
                   job->values->window,
                   job->ids.count);
    engine.job = wanted;
    engine.extra_bytes = 3 * job->ids.count * sizeof(job->logprob[0]);
    return ce_session_load(&job->session, &engine, err);
}

/* On a terminal a line that grows, in a log a line every tenth of the text. */
static void on_progress(void *context, size_t scored)
{
    struct job *job = context;
    size_t tenth = scored * 10 / job->ids.count;

    if (!ce_log_is_speaker() || job->values->run.quiet) {
        return;
    }
    if (isatty(STDERR_FILENO) != 0) {
        (void)fprintf(stderr, "\rscored %zu of %zu tokens", scored, job->ids.count);
    } else if (tenth > job->reported) {
        ce_log(CE_LOG_INFO, "scored %zu of %zu tokens", scored, job->ids.count);
    }
    job->reported = tenth;
}

static enum ce_status score(struct job *job, struct ce_error *err)
{
    struct ce_scoring scoring = {.ids = job->ids.id,
                                 .count = job->ids.count,
                                 .window = job->values->window,
                                 .on_progress = on_progress,
                                 .context = job};
    enum ce_status status = ce_score(job->session.engine, &scoring, job->logprob, err);

    if (ce_log_is_speaker() && !job->values->run.quiet && isatty(STDERR_FILENO) != 0) {
        (void)fputc('\n', stderr);
    }
    return status;
}

/* In the order of the text, so that the sum has the same bits on any ranks. */
static struct summary summarize(const struct job *job)
{
    struct summary summary = {0};
    double sum = 0.0;

    for (size_t i = 0; i < job->ids.count; i++) {
        if (!isnan(job->logprob[i])) {
            sum -= job->logprob[i];
            summary.scored++;
        }
    }
    summary.nll = sum / (double)summary.scored;
    return summary;
}

static void add_tokens(json_t *object, const struct job *job)
{
    json_t *ids = json_array();
    json_t *logprobs = json_array();

    for (size_t i = 0; i < job->ids.count; i++) {
        json_array_append_new(ids, json_integer(job->ids.id[i]));
        json_array_append_new(logprobs,
                              isnan(job->logprob[i]) ? json_null()
                                                     : json_real(job->logprob[i]));
    }
    json_object_set_new(object, "ids", ids);
    json_object_set_new(object, "logprobs", logprobs);
}

static int print_json(const struct job *job, const struct summary *summary)
{
    json_t *object = json_pack("{s:I, s:I, s:f, s:f, s:I, s:I, s:i, s:s, s:s}",
                               "tokens",
                               (json_int_t)job->ids.count,
                               "scored",
                               (json_int_t)summary->scored,
                               "nll",
                               summary->nll,
                               "perplexity",
                               exp(summary->nll),
                               "window",
                               (json_int_t)job->values->window,
                               "compressed",
                               (json_int_t)job->session.engine->compressed,
                               "truncated",
                               job->values->model.truncated,
                               "wire",
                               job->values->model.wire,
                               "kv",
                               job->values->model.kv);

    if (object != NULL && job->values->per_token) {
        add_tokens(object, job);
    }
    return ce_print_json(object);
}

static int print_table(const struct job *job, const struct summary *summary)
{
    if (job->values->per_token) {
        for (size_t i = 0; i < job->ids.count; i++) {
            ce_print("%8zu %8d %12.6f\n", i, job->ids.id[i], job->logprob[i]);
        }
    }
    ce_print("tokens      %zu\nscored      %zu\nnll         %.6f\nperplexity  %.5f\n",
             job->ids.count,
             summary->scored,
             summary->nll,
             exp(summary->nll));
    return ce_finish_output();
}

static int print_scores(const struct job *job)
{
    struct summary summary = summarize(job);

    return job->values->json ? print_json(job, &summary) : print_table(job, &summary);
}

static int run_job(struct job *job)
{
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;
    int printed = CE_EXIT_DONE;
    enum ce_status status =
        ce_session_open(&job->session, "score", &job->values->run, &err);

    if (status == CE_OK) {
        status = prepare(job, &err);
    }
    if (status == CE_OK) {
        status = load(job, &err);
    }
    if (status == CE_OK) {
        status = score(job, &err);
    }
    if (status == CE_OK && job->session.transport->rank == 0) {
        printed = print_scores(job);
    }
    if (status == CE_OK) {
        status = ce_session_report(&job->session, job->ids.count, 0, &err);
    }
    code = ce_session_close(&job->session, status, &err);
    return code != CE_EXIT_DONE ? code : printed;
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    int code = CE_EXIT_USAGE;

    if (ce_check_model_values("score", &job.values->model)) {
        code = run_job(&job);
    }
    free(job.logprob);
    ce_ids_free(&job.ids);
    ce_tokenizer_close(job.tokenizer);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Text", .options = options},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"Perplexity of a text",
     "cemoe score --model deploy/model --file deploy/model/eval/math.txt"},
    {"The same with 2 of 4 experts compressed",
     "cemoe score --model deploy/model --file deploy/model/eval/math.txt "
     "--compressed-experts deploy/model/ces-math.safetensors"},
    {0}};

static const char *const usage[] = {"--model DIR --file FILE [options]", NULL};

const struct ce_command ce_command_score = {
    .name = "score",
    .summary = "Log-likelihood and perplexity of a text",
    .usage = usage,
    .description =
        "Encodes the whole file, cuts it into windows that do not overlap, runs each "
        "from position 0 and averages the negative log-likelihood (natural logarithm) "
        "of all tokens but the first of each window; a last window of one token is "
        "dropped. perplexity = exp(nll).",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
