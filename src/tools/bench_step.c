/* bench_step.c - `cemoe bench step`: tokens per second of a model's shapes
 *
 * Two questions, each repeated: how long does a prompt take, and how long a step
 * of decoding at a given batch after such a prompt? The time of a repetition is
 * that of the slowest rank; the medians are reported with their spread.
 */

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "comm/collective.h"
#include "tools/commands.h"
#include "tools/report.h"
#include "tools/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    uint64_t dummy_weights;
    bool dummy_given;
    size_t prompt_tokens;
    size_t batch;
    size_t decode_steps;
    size_t repeat;
    bool json;
};

struct job {
    const struct values *values;
    struct ce_session session;
    size_t sequences; /* of this rank */
    struct ce_sequence **sequence;
    int32_t *prompt; /* [prompt_tokens] */
    struct ce_step_item *item;
    double *prompt_seconds; /* [repeat] */
    double *decode_seconds; /* [repeat] */
};

static const struct ce_option options[] = {
    {.name = "dummy-weights",
     .kind = CE_OPTION_UINT64,
     .argument = "SEED",
     .field = offsetof(struct values, dummy_weights),
     .given = offsetof(struct values, dummy_given),
     .help = "Random weights of the shapes config.json describes, in its dtype: only "
             "config.json is read."},
    {.name = "prompt-tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, prompt_tokens),
     .initial = "512",
     .min = 1,
     .max = 1 << 20,
     .help = "Length of each prompt (random ids)."},
    {.name = "batch",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, batch),
     .initial = "1",
     .min = 1,
     .max = 4096,
     .help = "Sequences of all ranks together; sequence i is on rank i mod ranks."},
    {.name = "decode-steps",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, decode_steps),
     .initial = "16",
     .min = 1,
     .max = 1 << 16,
     .help = "Steps of one token a sequence that are timed together."},
    {.name = "repeat",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, repeat),
     .initial = "3",
     .min = 1,
     .max = 1000,
     .help = "Repetitions; one more, not timed, comes first."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print the result as JSON."},
    {0}};

static size_t sequences_of(const struct job *job, int rank)
{
    size_t ranks = (size_t)job->session.transport->ranks;

    return (job->values->batch + ranks - 1 - (size_t)rank) / ranks;
}

static enum ce_status load(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t length = values->prompt_tokens + values->decode_steps + CE_PAGE_TOKENS;
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &values->model);
    char wanted[128];

    engine.dummy_weights = values->dummy_given;
    engine.dummy_seed = values->dummy_weights;
    if (engine.cache_tokens == 0) {
        engine.cache_tokens = length * sequences_of(job, 0);
    }
    (void)snprintf(
        wanted,
        sizeof(wanted),
        "command=bench step\nprompt-tokens=%zu\nbatch=%zu\ndecode-steps=%zu\n"
        "repeat=%zu\n",
        values->prompt_tokens,
        values->batch,
        values->decode_steps,
        values->repeat);
    engine.job = wanted;
    engine.step_logits = sequences_of(job, 0);
    if (engine.step_tokens < engine.step_logits) {
        engine.step_tokens = engine.step_logits;
    }
    return ce_session_load(&job->session, &engine, err);
}

static enum ce_status take_buffers(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t vocab = ce_engine_vocab_size(job->session.engine);

    job->sequences = sequences_of(job, job->session.transport->rank);
    job->sequence = calloc(job->sequences + 1, sizeof(job->sequence[0]));
    job->item = calloc(job->sequences + 1, sizeof(job->item[0]));
    job->prompt = calloc(values->prompt_tokens, sizeof(job->prompt[0]));
    job->prompt_seconds = calloc(values->repeat, sizeof(job->prompt_seconds[0]));
    job->decode_seconds = calloc(values->repeat, sizeof(job->decode_seconds[0]));
    if (job->sequence == NULL || job->item == NULL || job->prompt == NULL ||
        job->prompt_seconds == NULL || job->decode_seconds == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the benchmark");
    }
    for (size_t i = 0; i < values->prompt_tokens; i++) {
        job->prompt[i] =
            (int32_t)(ce_random_unit(1, i, 0) * (double)vocab); /* below vocab */
    }
    return CE_OK;
}

static void drop_sequences(struct job *job)
{
    for (size_t i = 0; job->sequence != NULL && i < job->sequences; i++) {
        ce_sequence_destroy(job->sequence[i]);
        job->sequence[i] = NULL;
    }
}

static enum ce_status new_sequences(struct job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    drop_sequences(job);
    for (size_t i = 0; status == CE_OK && i < job->sequences; i++) {
        status = ce_sequence_create(&job->sequence[i], job->session.engine, err);
    }
    return ce_agree(job->session.transport, status, err);
}

/* One step for the prompts' next tokens: sequence after sequence, as room allows.
 * Every rank makes as many steps as the fullest one needs. */
static enum ce_status run_prompts(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t total = values->prompt_tokens * sequences_of(job, 0);
    size_t limit = job->session.engine->options.step_tokens;
    size_t next = 0;
    enum ce_status status = CE_OK;

    for (size_t done = 0; status == CE_OK && done < total; done += limit) {
        const float *logits = NULL;
        size_t items = 0;
        size_t room = limit;

        while (room > 0 && next < job->sequences) {
            size_t fed = ce_sequence_length(job->sequence[next]);
            size_t left = values->prompt_tokens - fed;
            size_t count = left < room ? left : room;

            job->item[items++] = (struct ce_step_item){
                .sequence = job->sequence[next],
                .tokens = job->prompt + fed,
                .count = count,
                .logits = count == left ? CE_LOGITS_LAST : CE_LOGITS_NONE};
            room -= count;
            if (count < left) {
                break;
            }
            next++;
        }
        status = ce_engine_step(job->session.engine, job->item, items, &logits, err);
    }
    return status;
}

static enum ce_status run_decode(struct job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t step = 0; status == CE_OK && step < job->values->decode_steps; step++) {
        const float *logits = NULL;

        for (size_t i = 0; i < job->sequences; i++) {
            size_t at = (step + i) % job->values->prompt_tokens;

            job->item[i] = (struct ce_step_item){.sequence = job->sequence[i],
                                                 .tokens = job->prompt + at,
                                                 .count = 1,
                                                 .logits = CE_LOGITS_LAST};
        }
        status = ce_engine_step(
            job->session.engine, job->item, job->sequences, &logits, err);
    }
    return status;
}

static double seconds_since(uint64_t ns)
{
    return (double)(ce_clock_ns() - ns) / 1e9;
}

/* A step ends with an agreement of all ranks, so any rank's time is the job's. */
static enum ce_status measure(struct job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i <= job->values->repeat; i++) {
        uint64_t since = 0;
        double prompt = 0.0;

        status = new_sequences(job, err);
        since = ce_clock_ns();
        if (status == CE_OK) {
            status = run_prompts(job, err);
        }
        prompt = seconds_since(since);
        since = ce_clock_ns();
        if (status == CE_OK) {
            status = run_decode(job, err);
        }
        if (status == CE_OK && i > 0) {
            job->prompt_seconds[i - 1] = prompt;
            job->decode_seconds[i - 1] = seconds_since(since);
        }
        if (status == CE_OK && i == 0) {
            ce_engine_reset_counters(job->session.engine);
            ce_transport_reset_counters(job->session.transport);
            job->session.began_ns = ce_clock_ns();
        }
    }
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts the samples. */
static json_t *describe(double *seconds, size_t repeat, double tokens)
{
    qsort(seconds, repeat, sizeof(seconds[0]), compare);
    return json_pack("{s:f, s:f, s:f, s:f, s:f}",
                     "tokens",
                     tokens,
                     "median_seconds",
                     seconds[repeat / 2],
                     "min_seconds",
                     seconds[0],
                     "max_seconds",
                     seconds[repeat - 1],
                     "tokens_per_second",
                     tokens / seconds[repeat / 2]);
}

static int print_result(struct job *job)
{
    const struct values *values = job->values;
    const struct ce_engine *engine = job->session.engine;
    json_t *result = json_pack("{s:s, s:i, s:i, s:s, s:I, s:I, s:I, s:I, s:I}",
                               "kernels",
                               engine->kernels->name,
                               "ranks",
                               job->session.transport->ranks,
                               "threads",
                               engine->threads,
                               "transport",
                               job->session.transport->ops->name,
                               "batch",
                               (json_int_t)values->batch,
                               "prompt_tokens",
                               (json_int_t)values->prompt_tokens,
                               "decode_steps",
                               (json_int_t)values->decode_steps,
                               "main_experts",
                               (json_int_t)engine->mains,
                               "compressed",
                               (json_int_t)engine->compressed);
    json_t *prompt = describe(job->prompt_seconds,
                              values->repeat,
                              (double)(values->batch * values->prompt_tokens));
    json_t *decode = describe(job->decode_seconds,
                              values->repeat,
                              (double)(values->batch * values->decode_steps));

    json_object_set_new(result, "prompt", prompt);
    json_object_set_new(result, "decode", decode);
    json_object_set_new(result, "stage_seconds", ce_report_stages(engine));
    if (values->json) {
        return ce_print_json(result);
    }
    (void)printf("prompt  %10.1f tokens/s  (batch %zu x %zu tokens, median of %zu)\n"
                 "decode  %10.1f tokens/s  (batch %zu x %zu steps)\n",
                 json_real_value(json_object_get(prompt, "tokens_per_second")),
                 values->batch,
                 values->prompt_tokens,
                 values->repeat,
                 json_real_value(json_object_get(decode, "tokens_per_second")),
                 values->batch,
                 values->decode_steps);
    json_decref(result);
    return ce_finish_output();
}

static enum ce_status work(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    uint64_t repeats = values->repeat * values->batch;
    enum ce_status status = load(job, err);

    if (status == CE_OK) {
        status = ce_agree(job->session.transport, take_buffers(job, err), err);
    }
    if (status == CE_OK) {
        status = measure(job, err);
    }
    if (status == CE_OK) {
        status = ce_session_report(&job->session,
                                   repeats * values->prompt_tokens,
                                   repeats * values->decode_steps,
                                   err);
    }
    return status;
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;
    int printed = CE_EXIT_DONE;
    enum ce_status status = CE_OK;

    if (!ce_check_model_values("bench step", &job.values->model)) {
        return CE_EXIT_USAGE;
    }
    status = ce_session_open(&job.session, "bench step", &job.values->run, &err);

    if (status == CE_OK) {
        status = work(&job, &err);
    }
    if (status == CE_OK && job.session.transport->rank == 0) {
        printed = print_result(&job);
    }
    drop_sequences(&job);
    code = ce_session_close(&job.session, status, &err);
    free(job.sequence);
    free(job.item);
    free(job.prompt);
    free(job.prompt_seconds);
    free(job.decode_seconds);
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
    {"A real model's shapes without its weights: prompts of 512 tokens, batch 4",
     "cemoe bench step --model olmoe/ --dummy-weights 1 --batch 4 --json"},
    {0}};

static const char *const usage[] = {"--model DIR [--dummy-weights SEED] [options]",
                                    NULL};

const struct ce_command ce_command_bench_step = {
    .name = "bench step",
    .summary = "Measure prompt and decode speed of a model's shapes",
    .usage = usage,
    .description =
        "Times whole steps of the engine: a prompt for every sequence of the "
        "batch, then steps of one token each. Times of stages are those of "
        "rank 0.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
