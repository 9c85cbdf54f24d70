/* generate.c - `cemoe generate`: prompts to continuations */

#include "base/file.h"
#include "base/log.h"
#include "base/streams.h"
#include "comm/collective.h"
#include "engine/generation.h"
#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/commands.h"
#include "tools/prompts.h"
#include "tools/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    struct ce_prompt_values prompt;
    size_t max_tokens;
    double temperature;
    size_t top_k;
    double top_p;
    uint64_t seed;
    bool ignore_stop;
    bool json;
};

/* One prompt and what became of it. Ids of the answer are known on all ranks,
 * those of the prompt too: every rank has the tokenizer. */
struct answer {
    const char *text;
    size_t bytes;
    struct ce_ids prompt;
    struct ce_ids ids;
    enum ce_finish finish;
};

struct job {
    const struct values *values;
    struct ce_session session;
    struct ce_tokenizer *tokenizer;
    char *input; /* all prompts, NUL-terminated, one after the other */
    size_t input_bytes;
    size_t count;
    struct answer *answer;
    struct ce_generation_request *request;
    size_t cache_tokens;
    uint64_t prompt_tokens;
    uint64_t new_tokens;
    struct ce_decode_stream stream; /* of the answer being printed */
    size_t streaming;               /* its index */
    enum ce_status stream_status;
    struct ce_error *err;
};

static const struct ce_option options[] = {
    {.name = "prompt",
     .short_name = 'p',
     .kind = CE_OPTION_LIST,
     .argument = "TEXT",
     .field = offsetof(struct values, prompt.list),
     .help = "One or more prompts, each an argument of its own."},
    {.name = "prompt-file",
     .short_name = 'f',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, prompt.file),
     .help = "Take the whole FILE as one prompt; - is standard input, which is also "
             "read when no prompt is given."},
    {.name = "prompt-lines",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, prompt.lines),
     .help = "Take each line of FILE (or -) that is not empty as a prompt."},
    {.name = "max-tokens",
     .short_name = 'n',
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, max_tokens),
     .initial = "64",
     .min = 1,
     .max = 1 << 24,
     .help = "Most new tokens of each prompt."},
    {.name = "temperature",
     .short_name = 't',
     .kind = CE_OPTION_DOUBLE,
     .argument = "T",
     .field = offsetof(struct values, temperature),
     .initial = "0",
     .min = 0,
     .max = 1000,
     .help = "0 takes the most likely token (greedy); else logits are divided by T "
             "and a token is drawn."},
    {.name = "top-k",
     .kind = CE_OPTION_SIZE,
     .argument = "K",
     .field = offsetof(struct values, top_k),
     .initial = "0",
     .help = "Draw from the K most likely tokens; 0 from all."},
    {.name = "top-p",
     .kind = CE_OPTION_DOUBLE,
     .argument = "P",
     .field = offsetof(struct values, top_p),
     .initial = "1",
     .min = 1e-6,
     .max = 1,
     .help = "Draw from the fewest tokens that together have probability P."},
    {.name = "seed",
     .kind = CE_OPTION_UINT64,
     .argument = "S",
     .field = offsetof(struct values, seed),
     .initial = "0",
     .help = "Key of the random numbers. A draw depends on (seed, prompt, position) "
             "only: the same on any number of ranks."},
    {.name = "ignore-eos",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, ignore_stop),
     .help = "Go on after stop tokens up to --max-tokens."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print one JSON document when all is done: {\"results\":[{\"prompt\", "
             "\"ids\", \"text\", \"finish_reason\"}]}."},
    {0}};

static enum ce_status
read_prompts(const void *values, char **text, size_t *bytes, struct ce_error *err)
{
    return ce_prompts_read(values, text, bytes, err);
}

static enum ce_status encode_prompts(struct job *job, struct ce_error *err)
{
    const char *text = job->input;
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < job->input_bytes; i++) {
        job->count += job->input[i] == '\0';
    }
    job->answer = calloc(job->count + 1, sizeof(job->answer[0]));
    job->request = calloc(job->count + 1, sizeof(job->request[0]));
    if (job->answer == NULL || job->request == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu prompts", job->count);
    }
    for (size_t i = 0; status == CE_OK && i < job->count; i++) {
        struct answer *answer = &job->answer[i];

        answer->text = text;
        answer->bytes = strlen(text);
        status = ce_tokenizer_encode(
            job->tokenizer, text, answer->bytes, false, &answer->prompt, err);
        if (status != CE_OK) {
            ce_error_prefix(
                err, "prompt %zu (%s)", i, ce_prompt_source(&job->values->prompt, i));
        }
        job->request[i] = (struct ce_generation_request){
            answer->prompt.id, answer->prompt.count, job->values->max_tokens};
        job->prompt_tokens += answer->prompt.count;
        text += answer->bytes + 1;
    }
    return status;
}

/* Room for all requests of the fullest rank, up to 32 of the longest. */
static size_t needed_cache(const struct job *job, size_t max_positions)
{
    size_t ranks = (size_t)job->session.transport->ranks;
    size_t longest = 16;
    size_t fullest = 0;

    for (size_t r = 0; r < ranks; r++) {
        size_t sum = 0;

        for (size_t i = r; i < job->count; i += ranks) {
            size_t tokens = ce_generation_cache_tokens(&job->request[i], max_positions);

            sum += tokens;
            longest = tokens > longest ? tokens : longest;
        }
        fullest = sum > fullest ? sum : fullest;
    }
    fullest = fullest < 32 * longest ? fullest : 32 * longest;
    return fullest > longest ? fullest : longest;
}

static void print_piece(const struct ce_text *piece)
{
    if (piece->bytes > 0) {
        (void)fwrite(piece->data, 1, piece->bytes, ce_results());
        (void)fflush(ce_results());
    }
}

/* Prints ids [from, ...) of the answer being streamed as far as they are text. */
static void stream_ids(struct job *job, size_t from)
{
    const struct answer *answer = &job->answer[job->streaming];
    struct ce_text piece = {0};

    for (size_t i = from; job->stream_status == CE_OK && i < answer->ids.count; i++) {
        job->stream_status =
            ce_decode_stream_push(&job->stream, answer->ids.id[i], &piece, job->err);
    }
    if (job->stream_status == CE_OK && answer->finish != CE_FINISH_NONE) {
        job->stream_status = ce_decode_stream_finish(&job->stream, &piece, job->err);
    }
    print_piece(&piece);
    ce_text_free(&piece);
}

static void start_stream(struct job *job, size_t index)
{
    job->streaming = index;
    if (job->count > 1) {
        ce_print("=== prompt %zu\n", index);
    }
    ce_print("%s", job->answer[index].text);
    ce_decode_stream_fini(&job->stream);
    ce_decode_stream_init(&job->stream, job->tokenizer, true);
}

/* The answers are printed one after the other: the current one as it grows, the
 * others from what has been kept when their turn comes. */
static void stream_token(struct job *job, size_t index)
{
    if (index != job->streaming || job->values->json ||
        job->session.transport->rank != 0) {
        return;
    }
    if (job->answer[index].ids.count == 1) {
        start_stream(job, index);
    }
    stream_ids(job, job->answer[index].ids.count - 1);
    while (job->answer[job->streaming].finish != CE_FINISH_NONE) {
        ce_print("\n");
        if (job->streaming + 1 == job->count) {
            break;
        }
        job->streaming++;
        if (job->answer[job->streaming].ids.count > 0) {
            start_stream(job, job->streaming);
            stream_ids(job, 0);
        }
    }
}

static enum ce_status append_id(struct ce_ids *ids, int32_t id, struct ce_error *err)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity * 2 + 16;
        int32_t *grown = realloc(ids->id, capacity * sizeof(grown[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the answers");
        }
        ids->id = grown;
        ids->capacity = capacity;
    }
    ids->id[ids->count++] = id;
    return CE_OK;
}

static void on_token(void *context, size_t request, int32_t id, enum ce_finish finish)
{
    struct job *job = context;
    struct answer *answer = &job->answer[request];

    if (job->stream_status != CE_OK) {
        return;
    }
    job->stream_status = append_id(&answer->ids, id, job->err);
    answer->finish = finish;
    job->new_tokens++;
    if (job->stream_status == CE_OK) {
        stream_token(job, request);
    }
}

static enum ce_status generate(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    struct ce_generation generation = {.requests = job->request,
                                       .count = job->count,
                                       .sampling = {.temperature = values->temperature,
                                                    .top_k = values->top_k,
                                                    .top_p = values->top_p,
                                                    .seed = values->seed},
                                       .vocab = ce_tokenizer_size(job->tokenizer),
                                       .ignore_stop = values->ignore_stop,
                                       .on_token = on_token,
                                       .context = job};
    enum ce_status status = CE_OK;

    job->err = err;
    status = ce_generate(job->session.engine, &generation, err);
    if (status == CE_OK) {
        status = ce_agree(job->session.transport, job->stream_status, err);
    }
    return status;
}

/* What the ranks must have alike besides the prompts, which rank 0 shares. */
static void describe_sampling(const struct values *values, char *text, size_t size)
{
    (void)snprintf(text,
                   size,
                   "command=generate\nmax-tokens=%zu\ntemperature=%.17g\ntop-k=%zu\n"
                   "top-p=%.17g\nrandom-seed=%" PRIu64 "\nignore-eos=%d\n",
                   values->max_tokens,
                   values->temperature,
                   values->top_k,
                   values->top_p,
                   values->seed,
                   values->ignore_stop);
}

static enum ce_status load(struct job *job, struct ce_error *err)
{
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &job->values->model);
    char sampling[256];

    describe_sampling(job->values, sampling, sizeof(sampling));
    engine.job = sampling;
    if (engine.cache_tokens == 0) {
        engine.cache_tokens = job->cache_tokens;
    }
    if (job->count < engine.step_logits) {
        engine.step_logits = job->count;
    }
    return ce_session_load(&job->session, &engine, err);
}

static json_t *describe_answer(const struct job *job, const struct answer *answer)
{
    struct ce_text text = {0};
    struct ce_error err;
    json_t *ids = json_array();
    json_t *object = NULL;

    for (size_t i = 0; i < answer->ids.count; i++) {
        json_array_append_new(ids, json_integer(answer->ids.id[i]));
    }
    if (ce_tokenizer_decode(
            job->tokenizer, answer->ids.id, answer->ids.count, true, &text, &err) ==
        CE_OK) {
        object = json_pack("{s:s, s:o, s:s%, s:s}",
                           "prompt",
                           answer->text,
                           "ids",
                           ids,
                           "text",
                           text.data != NULL ? text.data : "",
                           text.bytes,
                           "finish_reason",
                           ce_finish_name(answer->finish));
    } else {
        json_decref(ids);
    }
    ce_text_free(&text);
    return object;
}

static int print_answers(const struct job *job)
{
    json_t *results = NULL;

    if (!job->values->json) {
        return ce_finish_output();
    }
    results = json_array();
    for (size_t i = 0; i < job->count; i++) {
        if (json_array_append_new(results, describe_answer(job, &job->answer[i])) !=
            0) {
            json_decref(results);
            ce_log(CE_LOG_ERROR, "generate: answer %zu cannot be written as JSON", i);
            return CE_EXIT_FAILED;
        }
    }
    return ce_print_json(json_pack("{s:o}", "results", results));
}

static void free_job(struct job *job)
{
    for (size_t i = 0; job->answer != NULL && i < job->count; i++) {
        ce_ids_free(&job->answer[i].prompt);
        ce_ids_free(&job->answer[i].ids);
    }
    free(job->answer);
    free(job->request);
    free(job->input);
    ce_decode_stream_fini(&job->stream);
    ce_tokenizer_close(job->tokenizer);
}

/* Prompts against the model's context, before anything large is taken. */
static enum ce_status check_prompts(struct job *job, struct ce_error *err)
{
    struct ce_config config;
    enum ce_status status = ce_config_load(&config, job->values->model.model, err);

    for (size_t i = 0; status == CE_OK && i < job->count; i++) {
        status =
            ce_generation_check_prompt(&job->request[i], i, config.max_positions, err);
    }
    if (status == CE_OK) {
        job->cache_tokens = needed_cache(job, config.max_positions);
    }
    return status;
}

/* What the command needs before the engine, each phase agreed upon. */
static enum ce_status prepare(struct job *job, struct ce_error *err)
{
    /* Rank 0 reads, all ranks get: files and standard input need be only there. */
    enum ce_status status = ce_session_share(&job->session,
                                             read_prompts,
                                             &job->values->prompt,
                                             &job->input,
                                             &job->input_bytes,
                                             err);

    if (status != CE_OK) {
        return status;
    }
    status = ce_session_watch_files(&job->session, job->values->model.model, NULL, err);
    if (status == CE_OK) {
        status = ce_tokenizer_open(&job->tokenizer, job->values->model.model, err);
    }
    if (status == CE_OK) {
        status = encode_prompts(job, err);
    }
    if (status == CE_OK) {
        status = check_prompts(job, err);
    }
    return ce_agree(job->session.transport, status, err);
}

static int run_job(struct job *job)
{
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;
    int printed = CE_EXIT_DONE;
    enum ce_status status =
        ce_session_open(&job->session, "generate", &job->values->run, &err);

    if (status == CE_OK) {
        status = prepare(job, &err);
    }
    if (status == CE_OK) {
        status = load(job, &err);
    }
    if (status == CE_OK) {
        status = generate(job, &err);
    }
    if (status == CE_OK && job->session.transport->rank == 0) {
        printed = print_answers(job);
    }
    if (status == CE_OK) {
        status =
            ce_session_report(&job->session, job->prompt_tokens, job->new_tokens, &err);
    }
    code = ce_session_close(&job->session, status, &err);
    return code != CE_EXIT_DONE ? code : printed;
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    int code = CE_EXIT_USAGE;

    if (ce_check_model_values("generate", &job.values->model)) {
        code = run_job(&job);
    }
    free_job(&job);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Prompts and sampling", .options = options},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"Continue a text, streaming it as it comes",
     "cemoe generate --model deploy/model --prompt \"Question: A farmer has 3\""},
    {"The same on two ranks, each with half of the experts, 2 of 4 compressed",
     "mpirun -n 2 --bind-to none cemoe generate --model deploy/model "
     "--compressed-experts deploy/model/ces-math.safetensors --prompt \"Question:\""},
    {"Three samples of a prompt from a file, as JSON",
     "cemoe generate -m deploy/model --prompt-lines prompts.txt --temperature 0.8 "
     "--top-p 0.95 --seed 7 --json"},
    {0}};

static const char *const usage[] = {
    "--model DIR --prompt TEXT... [options]", "--model DIR < FILE [options]", NULL};

const struct ce_command ce_command_generate = {
    .name = "generate",
    .summary = "Continue prompts",
    .usage = usage,
    .description =
        "Continues each prompt and prints prompt and continuation as the text "
        "comes. Under mpirun the prompts are spread over the ranks and every "
        "rank runs its shard of the experts for all of them; what is printed "
        "does not depend on the number of ranks.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
