/* compare_loop.c - every setting on every text, on one engine */

#include "base/clock.h"
#include "base/log.h"
#include "comm/collective.h"
#include "engine/scoring.h"
#include "tools/compare_job.h"
#include "tools/held_out.h"
#include "tools/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* All settings while they run. */
struct loop {
    struct ce_compare_job *job;
    double *logprob; /* [tokens of the longest text], rank 0 */
    uint64_t began_ns;
    uint64_t told_ns; /* when the last line of progress was */
    size_t tokens;    /* of one setting */
    size_t before;    /* tokens of finished texts and settings */
    size_t number;    /* of the setting, from 1 */
    size_t setting;
    size_t text;
};

/* ---- progress ---- */

static bool is_on_terminal(const struct loop *loop)
{
    return ce_log_is_speaker() && !loop->job->values->run.quiet &&
           isatty(STDERR_FILENO) != 0;
}

/* "3 of 9: truncated, n_ce 2" */
static void describe_setting(const struct loop *loop, char *text, size_t bytes)
{
    const struct ce_frontier *frontier = &loop->job->frontier;
    const struct ce_frontier_setting *setting = &frontier->setting[loop->setting];

    (void)snprintf(text,
                   bytes,
                   "%zu of %zu: %.60s, n_ce %zu",
                   loop->number,
                   frontier->settings,
                   setting->name,
                   setting->n_ce);
}

/* Seconds that the rest will take if it is as fast. */
static double seconds_left(const struct loop *loop, size_t scored)
{
    double passed = (double)(ce_clock_ns() - loop->began_ns) / 1e9;
    double all = (double)loop->tokens * (double)loop->job->frontier.settings;
    double done = (double)(loop->before + scored);

    return done > 0 ? passed * (all - done) / done : 0.0;
}

/* On a terminal a line that is written over, in a log one now and then. */
#define NEWS_NS UINT64_C(30000000000)

static void on_progress(void *context, size_t scored)
{
    struct loop *loop = context;
    const struct ce_compare_text *text = &loop->job->text[loop->text];
    uint64_t now_ns = ce_clock_ns();
    char what[128];

    if (!ce_log_is_speaker() || loop->job->values->run.quiet) {
        return;
    }
    describe_setting(loop, what, sizeof(what));
    if (is_on_terminal(loop)) {
        (void)fprintf(stderr,
                      "\r%s, %.40s: %zu of %zu tokens, %.0f s left \033[K",
                      what,
                      text->name,
                      scored,
                      text->ids.count,
                      seconds_left(loop, scored));
    } else if (now_ns - loop->told_ns >= NEWS_NS) {
        loop->told_ns = now_ns;
        ce_log(CE_LOG_INFO,
               "%s, %.40s: %zu of %zu tokens, %.0f s left",
               what,
               text->name,
               scored,
               text->ids.count,
               seconds_left(loop, scored));
    }
}

/* A line that stays, for the log. */
static void report_setting(struct loop *loop)
{
    const struct ce_frontier *frontier = &loop->job->frontier;
    const struct ce_frontier_run *run = &frontier->setting[loop->setting].run;
    char what[128];

    if (is_on_terminal(loop)) {
        (void)fprintf(stderr, "\r\033[K");
    }
    if (!ce_log_is_speaker()) {
        return;
    }
    loop->told_ns = ce_clock_ns();
    describe_setting(loop, what, sizeof(what));
    ce_log(CE_LOG_INFO,
           "%s: NLL %.4f%s, %.0f tokens/s, %.0f bytes moved per token, %.0f s left",
           what,
           ce_frontier_cell(frontier, loop->setting, 0)->nll,
           frontier->texts > 1 ? " on the first text" : "",
           (double)run->tokens / run->seconds,
           (double)run->moved_bytes / (double)run->tokens,
           seconds_left(loop, 0));
}

/* ---- one setting ---- */

static enum ce_status score_text(struct loop *loop, struct ce_error *err)
{
    struct ce_compare_job *job = loop->job;
    struct ce_transport *transport = job->session.transport;
    const struct ce_compare_text *text = &job->text[loop->text];
    const struct ce_scoring scoring = {.ids = text->ids.id,
                                       .count = text->ids.count,
                                       .window = job->values->window,
                                       .on_progress = on_progress,
                                       .context = loop};
    uint64_t began_ns = ce_clock_ns();
    enum ce_status status = ce_score(job->session.engine, &scoring, loop->logprob, err);

    if (status != CE_OK) {
        return status;
    }
    job->frontier.setting[loop->setting].run.seconds +=
        (double)(ce_clock_ns() - began_ns) / 1e9;
    job->frontier.setting[loop->setting].run.tokens += text->ids.count;
    loop->before += text->ids.count;
    if (transport->rank == 0) {
        status = ce_frontier_judge(
            &job->frontier, loop->setting, loop->text, loop->logprob, err);
    }
    return ce_agree(transport, status, err);
}

static enum ce_status run_setting(struct loop *loop, struct ce_error *err)
{
    struct ce_session *session = &loop->job->session;
    struct ce_frontier_setting *setting = &loop->job->frontier.setting[loop->setting];
    bool truncated = setting->kind == CE_FRONTIER_TRUNCATED;
    enum ce_status status = ce_engine_choose_mains(session->engine,
                                                   truncated ? 0 : (int)setting->n_ce,
                                                   truncated ? (int)setting->n_ce : 0,
                                                   err);

    loop->number++;
    ce_engine_reset_counters(session->engine);
    ce_transport_reset_counters(session->transport);
    for (loop->text = 0; status == CE_OK && loop->text < loop->job->texts;
         loop->text++) {
        status = score_text(loop, err);
    }
    if (status == CE_OK) {
        status = ce_report_moved_bytes(session, &setting->run.moved_bytes, err);
    }
    if (status == CE_OK && session->transport->rank == 0) {
        report_setting(loop);
    }
    return status;
}

/* ---- compressed experts ---- */

/* A file that was made for another model is to be known before the work. */
static enum ce_status check_model(const struct ce_compare_job *job,
                                  const struct ce_compare_source *source,
                                  struct ce_error *err)
{
    const struct ce_engine *engine = job->session.engine;
    struct ce_safetensors file = {.path = NULL};
    struct ce_compressed_experts plan = {.kind = CE_COMPRESSED_NONE};
    enum ce_status status = CE_OK;

    if (source->path == NULL) {
        return CE_OK;
    }
    status = ce_safetensors_open(&file, source->path, err);
    if (status == CE_OK) {
        status = ce_compressed_experts_plan(&plan, &file, &engine->config, err);
    }
    if (status == CE_OK) {
        status = ce_engine_check_compressed_model(engine, &plan, source->path, err);
    }
    ce_compressed_experts_destroy(&plan);
    ce_safetensors_close(&file);
    return status;
}

static enum ce_status check_models(const struct ce_compare_job *job,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t s = 0; status == CE_OK && s < job->sources; s++) {
        status = check_model(job, &job->source[s], err);
    }
    return ce_agree(job->session.transport, status, err);
}

/* What a checkpoint's own tables take is known when they are loaded. */
static enum ce_status
use_source(struct ce_compare_job *job, size_t source, struct ce_error *err)
{
    struct ce_engine *engine = job->session.engine;
    struct ce_compare_source *used = &job->source[source];
    enum ce_status status = ce_engine_use_compressed(engine, used->path, err);

    if (used->path == NULL) {
        used->bytes = engine->weights.compressed_bytes;
    }
    for (size_t s = 0; s < job->frontier.settings; s++) {
        if (job->source_of[s] == source) {
            job->frontier.setting[s].replica_bytes = used->bytes;
        }
    }
    return status;
}

/* The settings of one source, or those without one. */
static enum ce_status run_source(struct loop *loop, size_t source, struct ce_error *err)
{
    const struct ce_compare_job *job = loop->job;
    enum ce_status status = CE_OK;

    if (source != CE_COMPARE_NO_SOURCE) {
        status = use_source(loop->job, source, err);
    }
    for (size_t s = 0; status == CE_OK && s < job->frontier.settings; s++) {
        if (job->source_of[s] == source) {
            loop->setting = s;
            status = run_setting(loop, err);
        }
    }
    return status;
}

/* ---- the engine ---- */

static size_t longest_text(const struct ce_compare_job *job)
{
    size_t most = 0;

    for (size_t t = 0; t < job->texts; t++) {
        size_t count = job->text[t].ids.count;

        most = count > most ? count : most;
    }
    return most;
}

static size_t count_tokens(const struct ce_compare_job *job)
{
    size_t tokens = 0;

    for (size_t t = 0; t < job->texts; t++) {
        tokens += job->text[t].ids.count;
    }
    return tokens;
}

static enum ce_status load(struct ce_compare_job *job, struct ce_error *err)
{
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &job->values->model);
    size_t results = job->frontier.settings * count_tokens(job) / job->values->window;
    char wanted[160];

    ce_held_out_choose_cache(&engine, job->values->window);
    (void)snprintf(wanted,
                   sizeof(wanted),
                   "command=compare\nwindow=%zu\ntexts=%zu\ntokens=%zu\nsettings=%zu\n",
                   job->values->window,
                   job->texts,
                   count_tokens(job),
                   job->frontier.settings);
    engine.job = wanted;
    engine.compressed = 0;
    engine.switchable = true;
    engine.extra_bytes = (3 * longest_text(job) + results) * sizeof(double) +
                         count_tokens(job) * sizeof(int32_t);
    return ce_session_load(&job->session, &engine, err);
}

static enum ce_status run_all(struct ce_compare_job *job, struct ce_error *err)
{
    struct loop loop = {.job = job,
                        .logprob = calloc(longest_text(job) + 1, sizeof(double)),
                        .began_ns = ce_clock_ns(),
                        .told_ns = ce_clock_ns(),
                        .tokens = count_tokens(job)};
    enum ce_status status = CE_OK;

    if (loop.logprob == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the scores");
    }
    status = ce_agree(job->session.transport, status, err);
    if (status == CE_OK) {
        status = run_source(&loop, CE_COMPARE_NO_SOURCE, err);
    }
    for (size_t s = 0; status == CE_OK && s < job->sources; s++) {
        status = run_source(&loop, s, err);
    }
    free(loop.logprob);
    return status;
}

enum ce_status ce_compare_job_run(struct ce_compare_job *job, struct ce_error *err)
{
    enum ce_status status = load(job, err);

    if (status == CE_OK) {
        status = check_models(job, err);
    }
    return status == CE_OK ? run_all(job, err) : status;
}
