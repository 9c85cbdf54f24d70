/* bench_step.c - `cemoe bench step`: tokens per second of a model's shapes
 *
 * Two questions for each batch, each repeated: how long do the prompts take, and how
 * long steps of decoding after them? Batches take turns, and before each the machine's
 * limits are sampled, so that what else the machine does meets all alike:
 *
 *   repetition 0 (not timed)   limits  batch 1   limits  batch 8 | 1   limits  batch 1
 * ...
 */

#include "tools/bench_step.h"

#include "base/clock.h"
#include "base/random.h"
#include "comm/collective.h"
#include "tools/commands.h"
#include "tools/size_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BATCH = 4096 };

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    struct ce_limits_values limits;
    uint64_t dummy_weights;
    bool dummy_given;
    size_t prompt_tokens;
    struct ce_option_list batch;
    size_t decode_steps;
    size_t repeat;
    bool json;
};

struct job {
    const struct values *values;
    struct ce_session session;
    struct ce_step_result result;
    size_t largest;                /* batch */
    size_t sequences;              /* of this rank in the batch at hand */
    struct ce_sequence **sequence; /* [sequences of the largest batch] */
    int32_t *prompt;               /* [prompt_tokens] */
    struct ce_step_item *item;
    struct ce_work *work; /* where steps are counted; NULL: nowhere */
    struct ce_work unused;
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
     .kind = CE_OPTION_LIST,
     .argument = "N",
     .field = offsetof(struct values, batch),
     .initial_help = "1",
     .help =
         "Sequences of all ranks together; sequence i is on rank i mod ranks. Several "
         "numbers are measured in turn."},
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

static size_t sequences_of(const struct job *job, size_t batch, int rank)
{
    size_t ranks = (size_t)job->session.transport->ranks;

    return (batch + ranks - 1 - (size_t)rank) / ranks;
}

/* What all ranks must want alike. */
static void describe_job(const struct job *job, char *text, size_t size)
{
    const struct values *values = job->values;
    int used = snprintf(text,
                        size,
                        "command=bench step\nprompt-tokens=%zu\ndecode-steps=%zu\n"
                        "repeat=%zu\nread-bytes=%zu\nbatch=",
                        values->prompt_tokens,
                        values->decode_steps,
                        values->repeat,
                        values->limits.read_bytes);

    for (size_t i = 0; i < job->result.batches; i++) {
        used += snprintf(text + used,
                         size - (size_t)used,
                         "%zu%c",
                         job->result.batch[i].size,
                         i + 1 < job->result.batches ? ',' : '\n');
    }
}

static enum ce_status load(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t length = values->prompt_tokens + values->decode_steps + CE_PAGE_TOKENS;
    size_t most = sequences_of(job, job->largest, 0);
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &values->model);
    char wanted[512];

    engine.dummy_weights = values->dummy_given;
    engine.dummy_seed = values->dummy_weights;
    if (engine.cache_tokens == 0) {
        engine.cache_tokens = length * most;
    }
    describe_job(job, wanted, sizeof(wanted));
    engine.job = wanted;
    engine.step_logits = most;
    if (engine.step_tokens < engine.step_logits) {
        engine.step_tokens = engine.step_logits;
    }
    return ce_session_load(&job->session, &engine, err);
}

static enum ce_status take_buffers(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t vocab = ce_engine_vocab_size(job->session.engine);
    size_t most = sequences_of(job, job->largest, 0);
    bool taken = true;

    job->sequence = calloc(most, sizeof(job->sequence[0]));
    job->item = calloc(most, sizeof(job->item[0]));
    job->prompt = calloc(values->prompt_tokens, sizeof(job->prompt[0]));
    for (size_t i = 0; i < job->result.batches; i++) {
        for (int phase = 0; phase < CE_STEP_PHASES; phase++) {
            struct ce_step_phase *at = &job->result.batch[i].phase[phase];

            at->seconds = calloc(values->repeat, sizeof(at->seconds[0]));
            taken = taken && at->seconds != NULL;
        }
    }
    if (job->sequence == NULL || job->item == NULL || job->prompt == NULL || !taken) {
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
    for (size_t i = 0; i < job->sequences; i++) {
        ce_sequence_destroy(job->sequence[i]);
        job->sequence[i] = NULL;
    }
    job->sequences = 0;
}

static void free_buffers(struct job *job)
{
    drop_sequences(job);
    for (size_t i = 0; i < job->result.batches; i++) {
        for (int phase = 0; phase < CE_STEP_PHASES; phase++) {
            free(job->result.batch[i].phase[phase].seconds);
        }
    }
    free(job->sequence);
    free(job->item);
    free(job->prompt);
    ce_limits_close(&job->result.limits);
}

static enum ce_status new_sequences(struct job *job, size_t batch, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    drop_sequences(job);
    job->sequences = sequences_of(job, batch, job->session.transport->rank);
    for (size_t i = 0; status == CE_OK && i < job->sequences; i++) {
        status = ce_sequence_create(&job->sequence[i], job->session.engine, err);
    }
    return ce_agree(job->session.transport, status, err);
}

static enum ce_status step(struct job *job, size_t items, struct ce_error *err)
{
    const float *logits = NULL;

    ce_work_count(job->work, job->item, items);
    return ce_engine_step(job->session.engine, job->item, items, &logits, err);
}

/* One step for the prompts' next tokens: sequence after sequence, as room allows.
 * Every rank makes as many steps as the fullest one needs. */
static enum ce_status run_prompts(struct job *job, size_t batch, struct ce_error *err)
{
    const struct values *values = job->values;
    size_t total = values->prompt_tokens * sequences_of(job, batch, 0);
    size_t limit = job->session.engine->options.step_tokens;
    size_t next = 0;
    enum ce_status status = CE_OK;

    for (size_t done = 0; status == CE_OK && done < total; done += limit) {
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
        status = step(job, items, err);
    }
    return status;
}

static enum ce_status run_decode(struct job *job, size_t batch, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    (void)batch;
    for (size_t i = 0; status == CE_OK && i < job->values->decode_steps; i++) {
        for (size_t s = 0; s < job->sequences; s++) {
            size_t at = (i + s) % job->values->prompt_tokens;

            job->item[s] = (struct ce_step_item){.sequence = job->sequence[s],
                                                 .tokens = job->prompt + at,
                                                 .count = 1,
                                                 .logits = CE_LOGITS_LAST};
        }
        status = step(job, job->sequences, err);
    }
    return status;
}

typedef enum ce_status
phase_function(struct job *job, size_t batch, struct ce_error *err);

static phase_function *const run_phase[CE_STEP_PHASES] = {
    [CE_STEP_PROMPT] = run_prompts,
    [CE_STEP_DECODE] = run_decode,
};

/* Both phases at one batch. Repetition 0 is counted nowhere. A step ends with an
 * agreement of all ranks, so any rank's time is the job's. */
static enum ce_status measure_batch(struct job *job,
                                    struct ce_step_batch *batch,
                                    size_t repetition,
                                    struct ce_error *err)
{
    enum ce_status status = new_sequences(job, batch->size, err);

    for (int i = 0; status == CE_OK && i < CE_STEP_PHASES; i++) {
        struct ce_step_phase *phase = &batch->phase[i];
        const struct ce_work_mark mark = ce_work_mark(job->session.engine);

        job->work = repetition > 0 ? &phase->work : &job->unused;
        const uint64_t since = ce_clock_ns();
        status = run_phase[i](job, batch->size, err);
        const double seconds = (double)(ce_clock_ns() - since) / 1e9;

        ce_work_add(job->work, job->session.engine, &mark);
        if (repetition > 0) {
            phase->seconds[repetition - 1] = seconds;
        }
    }
    return status;
}

static enum ce_status measure(struct job *job, struct ce_error *err)
{
    struct ce_step_result *result = &job->result;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i <= job->values->repeat; i++) {
        for (size_t b = 0; status == CE_OK && b < result->batches; b++) {
            status = ce_limits_sample(&result->limits, err);
            if (status == CE_OK) {
                status = measure_batch(job, &result->batch[b], i, err);
            }
        }
        if (status == CE_OK && i == 0) {
            ce_engine_reset_counters(job->session.engine);
            ce_transport_reset_counters(job->session.transport);
            job->session.began_ns = ce_clock_ns();
        }
    }
    return status;
}

/* The work of all ranks, on rank 0. */
static enum ce_status
join_work(struct job *job, struct ce_step_batch *batch, struct ce_error *err)
{
    const struct ce_transport *transport = job->session.transport;
    const struct ce_bytes *all = NULL;
    struct ce_work mine[CE_STEP_PHASES];

    for (int i = 0; i < CE_STEP_PHASES; i++) {
        mine[i] = batch->phase[i].work;
        mine[i].bytes = ce_work_bytes(&mine[i], job->session.engine);
        batch->phase[i].work = mine[i];
    }
    enum ce_status status = ce_gather(
        job->session.transport, (struct ce_bytes){mine, sizeof(mine)}, &all, err);
    for (int r = 1; status == CE_OK && all != NULL && r < transport->ranks; r++) {
        struct ce_work other[CE_STEP_PHASES];

        if (all[r].bytes != sizeof(other)) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent bad counts", r);
        }
        memcpy(other, all[r].data, sizeof(other));
        for (int i = 0; i < CE_STEP_PHASES; i++) {
            ce_work_join(&batch->phase[i].work, &other[i]);
        }
    }
    return status;
}

static enum ce_status report(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    uint64_t sequences = 0;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < job->result.batches; i++) {
        sequences += job->result.batch[i].size;
        status = ce_agree(
            job->session.transport, join_work(job, &job->result.batch[i], err), err);
    }
    if (status == CE_OK) {
        status = ce_session_report(&job->session,
                                   values->repeat * sequences * values->prompt_tokens,
                                   values->repeat * sequences * values->decode_steps,
                                   err);
    }
    return status;
}

static enum ce_status work(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    enum ce_status status = load(job, err);

    if (status == CE_OK) {
        status = ce_agree(job->session.transport, take_buffers(job, err), err);
    }
    if (status == CE_OK) {
        status = ce_limits_open(&job->result.limits,
                                job->session.engine->kernels,
                                job->session.transport,
                                values->limits.read_bytes,
                                (values->repeat + 1) * job->result.batches,
                                err);
    }
    if (status == CE_OK) {
        status = measure(job, err);
    }
    if (status == CE_OK) {
        status = report(job, err);
    }
    return status;
}

static bool read_values(struct job *job, const struct values *values)
{
    struct ce_size_list list = {.item = {1}, .count = values->batch.count == 0};

    job->values = values;
    if (!ce_check_model_values("bench step", &values->model) ||
        !ce_size_list_read(
            &list, &values->batch, MOST_BATCH, "bench step", "--batch")) {
        return false;
    }
    job->result.prompt_tokens = values->prompt_tokens;
    job->result.decode_steps = values->decode_steps;
    job->result.repeat = values->repeat;
    job->result.batches = list.count;
    for (size_t i = 0; i < list.count; i++) {
        job->result.batch[i].size = list.item[i];
        job->largest = list.item[i] > job->largest ? list.item[i] : job->largest;
    }
    return true;
}

static int run(const void *untyped)
{
    const struct values *values = untyped;
    struct job job = {0};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;
    int printed = CE_EXIT_DONE;
    enum ce_status status = CE_OK;

    if (!read_values(&job, values)) {
        return CE_EXIT_USAGE;
    }
    status = ce_session_open(&job.session, "bench step", &values->run, &err);
    if (status == CE_OK) {
        status = work(&job, &err);
    }
    if (status == CE_OK && job.session.transport->rank == 0) {
        printed = values->json ? ce_step_print_json(&job.result, &job.session)
                               : ce_step_print_table(&job.result, &job.session);
    }
    free_buffers(&job);
    code = ce_session_close(&job.session, status, &err);
    return code != CE_EXIT_DONE ? code : printed;
}

static const struct ce_option_group groups[] = {
    {.title = "What to measure", .options = options},
    {.title = "Limits",
     .options = ce_limits_options,
     .offset = offsetof(struct values, limits)},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"A real model's shapes without its weights, several batches after prompts of 64 "
     "tokens",
     "cemoe bench step --model olmoe/ --dummy-weights 1 --prompt-tokens 64 "
     "--batch 1 4 8 16 32"},
    {0}};

static const char *const usage[] = {"--model DIR [--dummy-weights SEED] [options]",
                                    NULL};

const struct ce_command ce_command_bench_step = {
    .name = "bench step",
    .summary = "Measure prompt and decode speed of a model's shapes",
    .usage = usage,
    .description =
        "Times whole steps of the engine: a prompt for every sequence of a batch, then "
        "steps of one token each. Before each batch it samples how fast this machine "
        "reads memory and multiplies F32 matrices (OpenBLAS); the largest samples are "
        "the limits that speeds are compared with.\n\n"
        "Bytes are those of the weights that steps read: dense matrices once per step, "
        "the output matrix where logits are wanted, and an expert once for each batch "
        "of rows of a layer that has a row for it; ranks that split matrices read a "
        "slice each. FLOP are 2 per weight and row, and 4 x heads x head size per "
        "layer for each pair of tokens that attend. Neither counts "
        "the KV cache or compressed experts. A time cannot be less than bytes over the "
        "read rate nor than FLOP over the sgemm rate: the larger of both is the limit. "
        "Times of stages are those of rank 0.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .uses_blas = true,
    .run = run};
