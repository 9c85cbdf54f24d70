/* bench_schedule.c - `cemoe bench schedule`: what a list of requests loses to
 * scheduling
 *
 *   list   steps 1 .. 4   steps 5 .. 8   steps 9 .. 12   ...
 *   plain              step           step             step      as the mean so far
 *
 * The plain steps are made between those of the list, on the same engine, and their
 * time is taken off the list's, so that what else the machine does meets both alike.
 */

#include "tools/bench_schedule.h"

#include "base/clock.h"
#include "comm/collective.h"
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>

enum { PERIOD = 4, CACHED_STEPS = 8, LEAST_CACHE = 1024 };

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    uint64_t dummy_weights;
    bool dummy_given;
    size_t items;
    uint64_t seed;
    size_t max_sequences;
    bool json;
};

struct job {
    const struct values *values;
    struct ce_session session;
    struct ce_schedule_list list;
    struct ce_plain plain;
    uint64_t plain_ns;     /* of the callback, with what is not timed as a step */
    enum ce_status status; /* of the plain steps */
    struct ce_error err;
    struct ce_schedule_result result;
};

static const struct ce_option options[] = {
    {.name = "dummy-weights",
     .kind = CE_OPTION_UINT64,
     .argument = "SEED",
     .field = offsetof(struct values, dummy_weights),
     .given = offsetof(struct values, dummy_given),
     .help = "Random weights of the shapes config.json describes, in its dtype: only "
             "config.json is read."},
    {.name = "items",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, items),
     .initial = "2000",
     .min = 1,
     .max = 1 << 20,
     .help = "Items of the list: questions with four choices, windows and prompts."},
    {.name = "seed",
     .kind = CE_OPTION_UINT64,
     .argument = "N",
     .field = offsetof(struct values, seed),
     .initial = "1",
     .help = "Which list it is: kinds, lengths and ids are drawn from it."},
    {.name = "max-sequences",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, max_sequences),
     .initial = "0",
     .initial_help = "as many as a step has room for",
     .min = 0,
     .max = 1 << 20,
     .help = "Most requests of a rank that run at once."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print the result as JSON."},
    {0}};

/* ---- the list ---- */

/* Only the first result of a generation comes from its prompt. */
static void on_tokens(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish)
{
    struct job *job = context;
    struct ce_step_totals *totals = &job->result.job;

    (void)tokens;
    totals->rows += count;
    if (job->list.requests[request].scored == 0 && finish == CE_FINISH_NONE) {
        totals->decodes++; /* it is fed in a later step */
    }
}

static enum ce_pace pace(void *context)
{
    const struct job *job = context;

    return job->status == CE_OK ? CE_PACE_GO_ON : CE_PACE_QUIT;
}

/* On every rank after the same steps, so that the plain steps are collective too. */
static void on_step(void *context, const struct ce_schedule_state *state)
{
    struct job *job = context;
    struct ce_schedule_result *result = &job->result;
    /* The plain steps' pages have users all the time. */
    const size_t kept =
        ce_plain_cache_tokens(job->session.engine->options.step_tokens) /
        CE_PAGE_TOKENS * (size_t)job->session.transport->ranks;
    const size_t pages = state->pages - kept;
    const uint64_t since = ce_clock_ns();

    result->job.steps++;
    result->job.tokens += state->tokens;
    result->pages += pages;
    result->most_pages = pages > result->most_pages ? pages : result->most_pages;
    result->all_pages = state->all_pages - kept;
    if (job->status == CE_OK && result->job.steps % PERIOD == 0) {
        job->status = ce_plain_run(&job->plain, &result->job, &job->err);
        job->plain_ns += ce_clock_ns() - since;
    }
}

static enum ce_status run_list(struct job *job, struct ce_error *err)
{
    const struct ce_schedule schedule = {.requests = job->list.requests,
                                         .count = job->list.count,
                                         .most_sequences = job->values->max_sequences,
                                         .ignore_stop = true,
                                         .on_tokens = on_tokens,
                                         .pace = pace,
                                         .on_step = on_step,
                                         .context = job};
    const uint64_t since = ce_clock_ns();
    enum ce_status status =
        ce_schedule_run(job->session.engine, &schedule, &job->result.summary, err);

    job->result.job.ns = ce_clock_ns() - since - job->plain_ns;
    if (job->status != CE_OK) {
        *err = job->err;
    }
    return job->status != CE_OK ? job->status : status;
}

/* Buffers that nobody has touched are slow once. */
static enum ce_status warm_up(struct job *job, struct ce_error *err)
{
    const struct ce_engine *engine = job->session.engine;
    const uint64_t all =
        engine->options.step_tokens * (uint64_t)job->session.transport->ranks;
    const struct ce_step_totals full = {.steps = 1, .tokens = all, .rows = all};
    enum ce_status status = ce_plain_run(&job->plain, &full, err);

    job->plain.totals = (struct ce_step_totals){0};
    ce_engine_reset_counters(job->session.engine);
    ce_transport_reset_counters(job->session.transport);
    job->session.began_ns = ce_clock_ns();
    return status;
}

/* ---- the command ---- */

static enum ce_status load(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &values->model);
    char wanted[256];

    engine.dummy_weights = values->dummy_given;
    engine.dummy_seed = values->dummy_weights;
    if (engine.cache_tokens == 0) {
        engine.cache_tokens = CACHED_STEPS * engine.step_tokens;
        if (engine.cache_tokens < LEAST_CACHE) {
            engine.cache_tokens = LEAST_CACHE;
        }
    }
    engine.cache_tokens += ce_plain_cache_tokens(engine.step_tokens);
    (void)snprintf(
        wanted,
        sizeof(wanted),
        "command=bench schedule\nitems=%zu\nlist-seed=%llu\nmax-sequences=%zu\n",
        values->items,
        (unsigned long long)values->seed,
        values->max_sequences);
    engine.job = wanted;
    return ce_session_load(&job->session, &engine, err);
}

static enum ce_status prepare(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    enum ce_status status =
        ce_schedule_list_make(&job->list,
                              values->items,
                              values->seed,
                              ce_engine_vocab_size(job->session.engine),
                              err);

    if (status == CE_OK) {
        /* A chunk of n tokens from position 0 has (n + 1) / 2 of them a token. */
        status = ce_plain_open(&job->plain,
                               job->session.engine,
                               (size_t)(2 * job->list.attended / job->list.fed),
                               err);
    }
    return ce_agree(job->session.transport, status, err);
}

static enum ce_status work(struct job *job, struct ce_error *err)
{
    enum ce_status status = load(job, err);

    if (status == CE_OK) {
        status = prepare(job, err);
    }
    if (status == CE_OK) {
        status = warm_up(job, err);
    }
    if (status == CE_OK) {
        status = run_list(job, err);
    }
    if (status != CE_OK) {
        return status;
    }
    job->result.plain = job->plain.totals;
    job->result.requests = job->list.count;
    return ce_session_report(&job->session,
                             job->result.job.tokens - job->result.job.decodes,
                             job->result.job.decodes,
                             err);
}

static int run(const void *untyped)
{
    const struct values *values = untyped;
    struct job job = {.values = values};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;
    int printed = CE_EXIT_DONE;
    enum ce_status status = CE_OK;

    if (!ce_check_model_values("bench schedule", &values->model)) {
        return CE_EXIT_USAGE;
    }
    job.result.items = values->items;
    job.result.seed = values->seed;
    status = ce_session_open(&job.session, "bench schedule", &values->run, &err);
    if (status == CE_OK) {
        status = work(&job, &err);
    }
    if (status == CE_OK && job.session.transport->rank == 0) {
        printed = values->json ? ce_schedule_print_json(&job.result, &job.session)
                               : ce_schedule_print_table(&job.result, &job.session);
    }
    ce_plain_close(&job.plain);
    ce_schedule_list_free(&job.list);
    code = ce_session_close(&job.session, status, &err);
    return code != CE_EXIT_DONE ? code : printed;
}

static const struct ce_option_group groups[] = {
    {.title = "What to measure", .options = options},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"How much of a model's speed an evaluation can use on two ranks",
     "mpirun -n 2 cemoe bench schedule --model olmoe/ --items 200"},
    {0}};

static const char *const usage[] = {"--model DIR [--dummy-weights SEED] [options]",
                                    NULL};

const struct ce_command ce_command_bench_schedule = {
    .name = "bench schedule",
    .summary = "Compare a list of mixed requests with plain steps",
    .usage = usage,
    .description =
        "Runs a list of random items as cemoe eval would: of ten, seven are questions "
        "(a context of 40 to 120 tokens that four scored choices of 3 to 20 share), "
        "two windows of 256 tokens that are scored, one a prompt of 60 tokens and 32 "
        "new ones. After every fourth step comes a plain step with as many tokens, "
        "single ones and rows of logits as the list's steps had in the mean so far, "
        "and "
        "prompt chunks so long that a token attends to as many. The efficiency is the "
        "list's tokens per second over those of the plain "
        "steps; tokens that were found in the cache do not count. What is missing to "
        "100 % are requests that are looked for, admitted, scored and sampled, results "
        "that all ranks tell each other, and steps that are not full, as the last "
        "ones. Occupancy is tokens over the room for them.\n\n"
        "--cache-tokens is what the list may use; by default 8 times --step-tokens, "
        "and at least 1024.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
