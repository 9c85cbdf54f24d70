/* eval_loop.c - the scheduler's tokens become outcomes, variant by variant */

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collective.h"
#include "eval/collector.h"
#include "eval/stop_text.h"
#include "tools/eval_job.h"
#include "tools/eval_signals.h"
#include "tools/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Unless --cache-tokens says otherwise, the KV cache of a rank takes at most so much,
 * or what the longest request needs. */
#define CACHE_BYTES ((size_t)4 << 30)
#define CACHE_SHARE 16 /* of the memory that is free */

/* One variant while it runs. */
struct loop {
    struct ce_eval_job *job;
    size_t variant;
    struct ce_sampling *sampling;        /* [settings] */
    struct ce_schedule_request *request; /* [count] */
    uint32_t *index;                     /* [count] of the table's requests */
    size_t count;
    struct ce_stop **stop; /* [count] of requests that run here; NULL: not yet */
    size_t *seen;          /* [count] ids that were pushed there */
    struct ce_collector collector; /* rank 0 */
    enum ce_status status;         /* of this rank's callbacks */
    struct ce_error err;
};

/* ---- what is left of the variant ---- */

/* One byte a request, 1: to be run. NULL: no memory. */
static unsigned char *mark_requests(const struct ce_eval_job *job, size_t variant)
{
    const struct ce_outcome *outcome = ce_sheet_variant(&job->sheet, variant);
    unsigned char *mask = calloc(job->table.count + 1, 1);

    for (size_t i = 0; mask != NULL && i < job->table.count; i++) {
        mask[i] = !outcome[job->table.request[i].query].done;
    }
    return mask;
}

static struct ce_schedule_request schedule_request(const struct loop *loop,
                                                   const struct ce_token_request *from)
{
    return (struct ce_schedule_request){
        .tokens = from->tokens,
        .count = from->count,
        .scored = from->scored,
        .max_new_tokens = from->max_new_tokens,
        .key = from->key,
        .group = from->group,
        .sampling = from->scored == 0 ? &loop->sampling[from->settings] : NULL};
}

static enum ce_status take_arrays(struct loop *loop, struct ce_error *err)
{
    const struct ce_request_table *table = &loop->job->table;
    size_t count = table->count + 1;

    loop->sampling = calloc(table->settings_count + 1, sizeof(loop->sampling[0]));
    loop->request = calloc(count, sizeof(loop->request[0]));
    loop->index = calloc(count, sizeof(loop->index[0]));
    loop->stop = calloc(count, sizeof(loop->stop[0]));
    loop->seen = calloc(count, sizeof(loop->seen[0]));
    if (loop->sampling == NULL || loop->request == NULL || loop->index == NULL ||
        loop->stop == NULL || loop->seen == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu requests", table->count);
    }
    for (size_t i = 0; i < table->settings_count; i++) {
        loop->sampling[i] =
            (struct ce_sampling){.temperature = table->settings[i].temperature,
                                 .top_p = table->settings[i].top_p,
                                 .seed = table->settings[i].seed};
    }
    return CE_OK;
}

static enum ce_status
select_requests(struct loop *loop, struct ce_bytes mask, struct ce_error *err)
{
    const struct ce_request_table *table = &loop->job->table;
    const unsigned char *wanted = mask.data;

    if (mask.bytes != table->count) {
        return ce_fail(err, CE_ERR_COMM, "rank 0 sent a list of another size");
    }
    for (size_t i = 0; i < table->count; i++) {
        if (wanted[i] != 0) {
            loop->index[loop->count] = (uint32_t)i;
            loop->request[loop->count++] = schedule_request(loop, &table->request[i]);
        }
    }
    return CE_OK;
}

/* Rank 0 knows which requests the variant has left. */
static enum ce_status open_loop(struct loop *loop, struct ce_error *err)
{
    struct ce_eval_job *job = loop->job;
    struct ce_transport *transport = job->session.transport;
    bool first = transport->rank == 0;
    unsigned char *mask = first ? mark_requests(job, loop->variant) : NULL;
    struct ce_bytes shared = {0};
    enum ce_status status = take_arrays(loop, err);

    if (status == CE_OK && first && mask == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the requests");
    }
    if (status == CE_OK && first) {
        const struct ce_collector_parts parts = {
            &job->inputs, &job->table, job->tokenizer, job->journal};

        status =
            ce_collector_open(&loop->collector, &parts, (uint32_t)loop->variant, err);
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = ce_broadcast(transport,
                              (struct ce_bytes){mask, first ? job->table.count : 0},
                              &shared,
                              err);
    }
    if (status == CE_OK) {
        status = ce_agree(transport, select_requests(loop, shared, err), err);
    }
    free(mask);
    return status;
}

static void close_stop(struct loop *loop, size_t request)
{
    if (loop->stop[request] != NULL) {
        ce_stop_fini(loop->stop[request]);
        free(loop->stop[request]);
        loop->stop[request] = NULL;
    }
}

static void close_loop(struct loop *loop)
{
    for (size_t i = 0; loop->stop != NULL && i < loop->count; i++) {
        close_stop(loop, i);
    }
    ce_collector_close(&loop->collector);
    free(loop->sampling);
    free(loop->request);
    free(loop->index);
    free(loop->stop);
    free(loop->seen);
}

/* ---- what the scheduler calls ---- */

/* The first failure counts; the pace then ends the job. */
static bool has_failed(struct loop *loop, enum ce_status status)
{
    if (loop->status == CE_OK) {
        loop->status = status;
    }
    return loop->status != CE_OK;
}

static void on_tokens(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish)
{
    struct loop *loop = context;

    if (finish != CE_FINISH_NONE) {
        close_stop(loop, request);
    }
    if (loop->job->session.transport->rank == 0 && loop->status == CE_OK) {
        (void)has_failed(loop,
                         ce_collector_take(&loop->collector,
                                           loop->index[request],
                                           tokens,
                                           count,
                                           finish,
                                           &loop->err));
    }
}

static enum ce_status open_stop(struct loop *loop, size_t request)
{
    const struct ce_request_table *table = &loop->job->table;
    const struct ce_request_settings *settings =
        &table->settings[table->request[loop->index[request]].settings];

    loop->stop[request] = calloc(1, sizeof(*loop->stop[request]));
    if (loop->stop[request] == NULL) {
        return ce_fail(&loop->err, CE_ERR_NOMEM, "no memory for the stop strings");
    }
    ce_stop_init(
        loop->stop[request], loop->job->tokenizer, settings->stop, settings->stops);
    return CE_OK;
}

static bool on_stop(void *context, size_t request, const int32_t *ids, size_t count)
{
    struct loop *loop = context;
    enum ce_status status = CE_OK;

    if (loop->status != CE_OK) {
        return true;
    }
    if (loop->stop[request] == NULL) {
        status = open_stop(loop, request);
    }
    while (status == CE_OK && loop->seen[request] < count) {
        status =
            ce_stop_push(loop->stop[request], ids[loop->seen[request]++], &loop->err);
    }
    return has_failed(loop, status) || loop->stop[request]->found;
}

static enum ce_pace on_pace(void *context)
{
    struct loop *loop = context;

    return loop->status != CE_OK ? CE_PACE_QUIT : ce_eval_signals_pace();
}

static void on_step(void *context, const struct ce_schedule_state *state)
{
    struct loop *loop = context;

    ce_eval_progress_step(&loop->job->progress, state);
}

/* ---- cost ---- */

static enum ce_status add_cost(struct loop *loop,
                               const struct ce_schedule_summary *summary,
                               uint64_t ns,
                               struct ce_error *err)
{
    struct ce_eval_cost *cost = &loop->job->cost[loop->variant];

    *cost = (struct ce_eval_cost){.queries = loop->collector.recorded,
                                  .steps = summary->steps,
                                  .tokens = summary->tokens,
                                  .room = summary->room,
                                  .reused = summary->reused,
                                  .ns = ns};
    return ce_report_moved_bytes(&loop->job->session, &cost->bytes, err);
}

/* ---- a variant ---- */

static enum ce_status choose_mains(struct loop *loop, struct ce_error *err)
{
    struct ce_eval_job *job = loop->job;
    const struct ce_eval_mains *mains = &job->variants.mains[loop->variant];

    if (job->variants.count > 1) {
        return ce_engine_choose_mains(
            job->session.engine, mains->compressed, mains->truncated, err);
    }
    return CE_OK;
}

static enum ce_status run_schedule(struct loop *loop, struct ce_error *err)
{
    struct ce_eval_job *job = loop->job;
    const struct ce_schedule schedule = {.requests = loop->request,
                                         .count = loop->count,
                                         .most_sequences = job->values->max_sequences,
                                         .vocab = ce_tokenizer_size(job->tokenizer),
                                         .unshared = !job->values->share_prefixes,
                                         .on_tokens = on_tokens,
                                         .stop = on_stop,
                                         .pace = on_pace,
                                         .on_step = on_step,
                                         .context = loop};
    struct ce_schedule_summary summary = {.done = 0};
    uint64_t began = 0;
    enum ce_status status = CE_OK;

    ce_engine_reset_counters(job->session.engine);
    ce_transport_reset_counters(job->session.transport);
    began = ce_clock_ns();
    ce_eval_signals_enter_loop();
    status = ce_schedule_run(job->session.engine, &schedule, &summary, err);
    ce_eval_signals_leave_loop();
    if (status != CE_OK) {
        return status;
    }
    if (loop->status != CE_OK) {
        *err = loop->err;
    } else if (job->journal != NULL) {
        loop->status = ce_journal_sync(job->journal, err);
    }
    job->stopped = summary.pace != CE_PACE_GO_ON;
    job->progress.before += summary.done;
    status = ce_agree(job->session.transport, loop->status, err);
    return status == CE_OK ? add_cost(loop, &summary, ce_clock_ns() - began, err)
                           : status;
}

static enum ce_status
run_variant(struct ce_eval_job *job, size_t variant, struct ce_error *err)
{
    struct loop loop = {.job = job, .variant = variant};
    enum ce_status status = open_loop(&loop, err);

    job->progress.variant =
        job->variants.count > 1 ? job->variants.name[variant] : NULL;
    if (status == CE_OK && loop.count > 0) {
        status = choose_mains(&loop, err);
        if (status == CE_OK) {
            status = run_schedule(&loop, err);
        }
    }
    close_loop(&loop);
    return status;
}

/* ---- the engine ---- */

static size_t tokens_of(const struct ce_token_request *request, size_t max_positions)
{
    size_t tokens = request->count + request->max_new_tokens;

    tokens = tokens < max_positions ? tokens : max_positions;
    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS * CE_PAGE_TOKENS;
}

/* All that a rank may get at once, within bounds: there may be several ranks here. */
static size_t needed_cache(const struct ce_eval_job *job)
{
    const struct ce_config *config = &job->config;
    size_t token_bytes = 2 * config->layers * config->kv_heads * config->head_dim *
                         (strcmp(job->values->model.kv, "bf16") == 0 ? 2 : 4);
    uint64_t share = ce_memory_available() / CACHE_SHARE;
    size_t bound = (share < CACHE_BYTES ? (size_t)share : CACHE_BYTES) / token_bytes;
    size_t longest = CE_PAGE_TOKENS;
    size_t all = 0;

    for (size_t i = 0; i < job->table.count; i++) {
        size_t tokens = tokens_of(&job->table.request[i], config->max_positions);

        all += tokens;
        longest = tokens > longest ? tokens : longest;
    }
    bound = all < bound ? all : bound;
    return bound > longest ? bound : longest;
}

static size_t count_left(const struct ce_eval_job *job)
{
    size_t left = 0;

    for (size_t v = 0; v < job->sheet.variants; v++) {
        for (size_t i = 0; i < job->table.count; i++) {
            left += !ce_sheet_variant(&job->sheet, v)[job->table.request[i].query].done;
        }
    }
    return left;
}

/* `wanted` has room for what all ranks must want alike. */
static struct ce_engine_options
engine_options(const struct ce_eval_job *job, char *wanted, size_t size)
{
    struct ce_engine_options options =
        ce_session_engine_options(&job->session, &job->values->model);
    const struct ce_eval_mains *mains = job->variants.mains;

    (void)snprintf(wanted,
                   size,
                   "command=eval\nmax-sequences=%zu\nmax-length=%zu\nvariants=%zu\n",
                   job->values->max_sequences,
                   job->max_length,
                   job->variants.count);
    options.job = wanted;
    options.compressed = mains[0].compressed;
    options.truncated = mains[0].truncated;
    if (job->variants.count > 1) {
        options.compressed = mains[CE_VARIANT_COMPRESSED].compressed;
        options.switchable = true;
    }
    if (options.cache_tokens == 0) {
        options.cache_tokens = needed_cache(job);
    }
    options.extra_bytes =
        job->byte_count + 2 * job->table.count * sizeof(struct ce_schedule_request);
    return options;
}

/* The journal is of this model, or of none yet; only then anything is written. */
static enum ce_status confirm(struct ce_eval_job *job,
                              const struct ce_engine_identity *model,
                              struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (job->session.transport->rank == 0) {
        status = ce_eval_identity_complete(&job->identity, &job->config, model, err);
        if (status == CE_OK) {
            status = ce_journal_confirm(job->journal, &job->identity.header, err);
        }
    }
    return ce_agree(job->session.transport, status, err);
}

enum ce_status ce_eval_job_load(struct ce_eval_job *job, struct ce_error *err)
{
    char wanted[128];
    const struct ce_engine_options options =
        engine_options(job, wanted, sizeof(wanted));
    struct ce_engine_identity model = {.model = 0};
    enum ce_status status = CE_OK;

    if (job->table.count > 0) {
        status = ce_session_load(&job->session, &options, err);
        if (status == CE_OK) {
            model = job->session.engine->identity;
        }
    } else {
        status = ce_engine_find_identity(&model, job->session.transport, &options, err);
    }
    return status == CE_OK ? confirm(job, &model, err) : status;
}

enum ce_status ce_eval_job_run(struct ce_eval_job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    ce_eval_progress_start(&job->progress, job->values->run.quiet, count_left(job));
    for (size_t v = 0; status == CE_OK && !job->stopped && v < job->variants.count;
         v++) {
        status = run_variant(job, v, err);
    }
    ce_eval_progress_end(&job->progress);
    return status;
}
