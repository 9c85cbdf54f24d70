/* logits.c - `cemoe logits`: the model's output for given ids, as a file */

#include "base/hash.h"
#include "comm/collective.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "tools/commands.h"
#include "tools/id_list.h"
#include "tools/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    const char *ids;
    const char *out;
};

struct job {
    const struct values *values;
    struct ce_session session;
    int32_t *id;
    size_t count;
    float *logits; /* [count][vocab], rank 0 */
};

static const struct ce_option options[] = {
    {.name = "ids",
     .kind = CE_OPTION_STRING,
     .argument = "LIST",
     .field = offsetof(struct values, ids),
     .required = true,
     .help = "Token ids separated by commas, e.g. 1,2,3."},
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, out),
     .required = true,
     .help = "Safetensors file to write: \"logits\" F32 [tokens, vocab]."},
    {0}};

static enum ce_status load(struct job *job, struct ce_error *err)
{
    struct ce_engine_options engine =
        ce_session_engine_options(&job->session, &job->values->model);
    struct ce_config config;
    char wanted[128];
    enum ce_status status = ce_config_load(&config, job->values->model.model, err);

    if (status == CE_OK && job->count > config.max_positions) {
        status = ce_fail(err,
                         CE_ERR_ARG,
                         "--ids has %zu tokens; the model's context is %zu "
                         "(max_position_embeddings)",
                         job->count,
                         config.max_positions);
    }
    status = ce_agree(job->session.transport, status, err);
    if (status != CE_OK) {
        return status;
    }
    if (engine.cache_tokens == 0) {
        engine.cache_tokens = job->count;
    }
    if (engine.step_tokens > job->count) {
        engine.step_tokens = job->count;
        engine.step_logits = job->count;
    }
    (void)snprintf(
        wanted,
        sizeof(wanted),
        "command=logits\nids=%016" PRIx64 "\n",
        ce_hash_bytes(CE_HASH_START, job->id, job->count * sizeof(job->id[0])));
    engine.job = wanted;
    if (job->session.transport->rank == 0) {
        engine.extra_bytes = job->count * config.vocab_size * sizeof(float);
    }
    return ce_session_load(&job->session, &engine, err);
}

/* The sequence lives on rank 0; the other ranks take part with their experts. */
static enum ce_status run_steps(struct job *job, struct ce_error *err)
{
    struct ce_engine *engine = job->session.engine;
    bool mine = job->session.transport->rank == 0;
    size_t vocab = ce_engine_vocab_size(engine);
    struct ce_sequence *sequence = NULL;
    enum ce_status status = CE_OK;

    if (mine) {
        job->logits = calloc(job->count, vocab * sizeof(job->logits[0]));
        status = job->logits == NULL
                     ? ce_fail(err, CE_ERR_NOMEM, "no memory for the logits")
                     : ce_sequence_create(&sequence, engine, err);
    }
    status = ce_agree(job->session.transport, status, err);
    for (size_t at = 0; status == CE_OK && at < job->count;) {
        size_t left = job->count - at;
        size_t chunk = engine->options.step_tokens;
        struct ce_step_item item = {.sequence = sequence,
                                    .tokens = job->id + at,
                                    .count = left < chunk ? left : chunk,
                                    .logits = CE_LOGITS_ALL};
        const float *rows = NULL;

        status = ce_engine_step(engine, &item, mine ? 1 : 0, &rows, err);
        if (status == CE_OK && mine) {
            memcpy(
                job->logits + at * vocab, rows, item.count * vocab * sizeof(rows[0]));
        }
        at += item.count;
    }
    ce_sequence_destroy(sequence);
    return status;
}

static enum ce_status write_logits(const struct job *job, struct ce_error *err)
{
    static char name[] = "logits";
    size_t vocab = ce_engine_vocab_size(job->session.engine);
    struct ce_safetensors_entry entry = {
        .name = name,
        .tensor = {.dtype = CE_DTYPE_F32,
                   .dims = 2,
                   .shape = {job->count, vocab},
                   .bytes = job->count * vocab * sizeof(float),
                   .data = job->logits}};

    return ce_safetensors_write(job->values->out, &entry, 1, err);
}

static enum ce_status work(struct job *job, struct ce_error *err)
{
    enum ce_status status = load(job, err);

    if (status == CE_OK) {
        status = run_steps(job, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (job->session.transport->rank == 0) {
        status = write_logits(job, err);
    }
    status = ce_agree(job->session.transport, status, err);
    if (status == CE_OK) {
        status = ce_session_report(&job->session, job->count, 0, err);
    }
    return status;
}

static int run_job(struct job *job)
{
    struct ce_error err = {.text = ""};
    enum ce_status status =
        ce_session_open(&job->session, "logits", &job->values->run, &err);

    if (status == CE_OK) {
        status = work(job, &err);
    }
    return ce_session_close(&job->session, status, &err);
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_USAGE;

    if (ce_id_list_parse(job.values->ids, "--ids", &job.id, &job.count, &err) !=
        CE_OK) {
        (void)ce_report_failure("logits", &err);
    } else if (ce_check_model_values("logits", &job.values->model)) {
        code = run_job(&job);
    }
    free(job.id);
    free(job.logits);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Input and output", .options = options},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"Logits of four tokens, to compare with another implementation",
     "cemoe logits --model deploy/model --ids 50,60,70,80 --out logits.safetensors"},
    {0}};

static const char *const usage[] = {"--model DIR --ids LIST --out FILE [options]",
                                    NULL};

const struct ce_command ce_command_logits = {
    .name = "logits",
    .summary = "Write the logits of given token ids to a file",
    .usage = usage,
    .description =
        "Runs one sequence from position 0 and writes the logits after every "
        "token, before any sampling.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
