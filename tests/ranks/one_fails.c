/* one_fails.c - a failure of one rank ends the call on all ranks, alike and soon
 *
 * Before and after it a good step is run on new sequences: the ranks are still in step,
 * and what is not damaged has the same bits.
 */

#include "ranks/one_fails.h"

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "ranks/require.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RANKS        ONE_FAILS_RANKS
#define NAMES        5    /* words of a setting before the kinds */
#define TEXT         1024 /* bytes of a setting */
#define TOKENS       40
#define MOST_SECONDS 10

struct run {
    struct ce_transport *transport;
    struct ce_engine *engine;
    int rank;
    struct ce_error err;
};

static void open_engine(struct run *run, const char *model, char *const *name)
{
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    options.model = model;
    options.wire = name[1];
    options.combine = name[2];
    options.overlap = name[3];
    options.expert_split = name[4];
    options.step_tokens = 2 * TOKENS;
    options.step_logits = TOKENS;
    options.cache_tokens = 64;
    REQUIRE(ce_engine_create(&run->engine, run->transport, &options, &run->err) ==
                CE_OK,
            "%s",
            run->err.text);
}

/* A text of this rank. */
static void write_ids(const struct run *run, int32_t *ids)
{
    for (size_t i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)(((size_t)run->rank * 7919 + i * 104729 + i * i * 31) % 2000);
    }
}

/* `count` new sequences with a text each in one step, which end with it. */
static enum ce_status
step(struct run *run, const int32_t *ids, size_t count, const float **logits)
{
    struct ce_step_item item[2] = {{0}};
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < count; i++) {
        item[i] = (struct ce_step_item){
            NULL, ids, TOKENS, i == 0 ? CE_LOGITS_ALL : CE_LOGITS_NONE};
        REQUIRE(ce_sequence_create(&item[i].sequence, run->engine, &run->err) == CE_OK,
                "%s",
                run->err.text);
    }
    status = ce_engine_step(run->engine, item, count, logits, &run->err);
    for (size_t i = 0; i < count; i++) {
        ce_sequence_destroy(item[i].sequence);
    }
    return status;
}

/* A good step; FNV-1a of its logits. */
static uint64_t hash_step(struct run *run)
{
    int32_t ids[TOKENS];
    const float *logits = NULL;
    uint64_t hash = 14695981039346656037U;
    size_t bytes = TOKENS * ce_engine_vocab_size(run->engine) * sizeof(float);

    write_ids(run, ids);
    REQUIRE(step(run, ids, 1, &logits) == CE_OK, "%s", run->err.text);
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ ((const unsigned char *)logits)[i]) * 1099511628211U;
    }
    return hash;
}

/* Steps with `count` texts on this rank, one token replaced unless it is 0. */
static enum ce_status step_with(struct run *run, int32_t token, size_t count)
{
    int32_t ids[TOKENS];
    const float *logits = NULL;

    write_ids(run, ids);
    if (token != 0) {
        ids[TOKENS / 2] = token;
    }
    return step(run, ids, count, &logits);
}

static enum ce_status fail_batch(struct run *run)
{
    return step_with(run, run->rank == 1 ? 5001 : 0, 1);
}

static enum ce_status fail_two(struct run *run)
{
    return step_with(run, run->rank > 0 ? 5000 + run->rank : 0, 1);
}

static enum ce_status fail_cache(struct run *run)
{
    return step_with(run, 0, run->rank == 1 ? 2 : 1);
}

/* A rank that has nothing to do hears of it, too. */
static enum ce_status fail_idle(struct run *run)
{
    return step_with(run, run->rank == 2 ? -1 : 0, run->rank == 1 ? 0 : 1);
}

/* A step while the first value of a tensor of `rank` is damaged. */
static enum ce_status
step_damaged(struct run *run, int rank, const void *tensor, size_t bytes)
{
    const float nan = NAN;
    unsigned char good[sizeof(nan)];
    unsigned char *at = (unsigned char *)(uintptr_t)tensor; /* not ours to write */
    enum ce_status status = CE_OK;

    if (run->rank != rank) {
        return step_with(run, 0, 1);
    }
    memcpy(good, at, bytes);
    /* The upper half of an F32 is a BF16. */
    memcpy(at, (const unsigned char *)&nan + sizeof(nan) - bytes, bytes);
    status = step_with(run, 0, 1);
    memcpy(at, good, bytes);
    return status;
}

static enum ce_status fail_attention(struct run *run)
{
    return step_damaged(
        run, 1, run->engine->weights.layers[2].attention_norm, sizeof(float));
}

static enum ce_status fail_router(struct run *run)
{
    return step_damaged(run, 2, run->engine->weights.layers[1].moe_norm, sizeof(float));
}

static enum ce_status fail_logits(struct run *run)
{
    return step_damaged(run, 1, run->engine->weights.norm, sizeof(float));
}

/* A matrix that all share: every rank meets the NaN in rows of its own. */
static enum ce_status fail_slice(struct run *run)
{
    return step_damaged(
        run, 2, run->engine->weights.layers[1].k.data, sizeof(uint16_t));
}

static enum ce_status fail_output(struct run *run)
{
    return step_damaged(run, 1, run->engine->weights.output.data, sizeof(uint16_t));
}

/* The last expert is resident on the last rank only, or a slice of it on each. */
static enum ce_status fail_experts(struct run *run)
{
    const struct ce_config *config = &run->engine->config;
    const struct ce_matrix *gate =
        &run->engine->weights.layers[1].experts[config->experts - 1].gate;

    REQUIRE((gate->data != NULL) ==
                (run->rank == RANKS - 1 || run->engine->split == CE_EXPERT_SPLIT_NODE),
            "a shard is not as said");
    REQUIRE(gate->data == NULL || gate->dtype == CE_DTYPE_BF16, "not a BF16 expert");
    return step_damaged(run, RANKS - 1, gate->data, sizeof(uint16_t));
}

/* ---- a failure when some results have left already ---- */

#define LATE_LAYER 1
#define TRIES      20
#define DELAY_NS   100000000L

/* Rank 0 is slow to send its rows, so rank 2 runs its experts before they come; then it
 * fails, on rows of rank 0, when its results for rank 1 have left. */
static enum ce_status
fail_when_answered(void *context, const struct ce_activity *now, struct ce_error *err)
{
    const struct timespec delay = {.tv_nsec = DELAY_NS};
    const struct run *run = context;

    if (now->layer != LATE_LAYER) {
        return CE_OK;
    }
    if (run->rank == 0 && strcmp(now->stage, "dispatch") == 0) {
        (void)nanosleep(&delay, NULL);
    }
    if (run->rank == 2 && strcmp(now->stage, "experts") == 0 &&
        run->engine->moe.answered[1]) {
        return ce_fail(err, CE_ERR_NUMERIC, "failed when rank 1 was answered");
    }
    return CE_OK;
}

/* Again when rank 1 was slow, too, and all rows came at once. Needs overlap "on". */
static enum ce_status fail_late(struct run *run)
{
    struct ce_activity *now = &run->transport->activity;
    enum ce_status status = CE_OK;

    now->on_enter = fail_when_answered;
    now->context = run;
    for (int i = 0; i < TRIES && status == CE_OK; i++) {
        status = step_with(run, 0, 1);
    }
    now->on_enter = NULL;
    return status;
}

static void on_token(void *context, size_t request, int32_t id, enum ce_finish finish)
{
    (void)context, (void)request, (void)id, (void)finish;
    REQUIRE(false, "a token was generated");
}

static enum ce_status fail_prompt(struct run *run)
{
    int32_t ids[TOKENS];
    struct ce_generation_request request[RANKS];
    struct ce_generation generation = {.requests = request,
                                       .count = RANKS,
                                       .vocab = ce_engine_vocab_size(run->engine),
                                       .on_token = on_token};

    write_ids(run, ids);
    for (int i = 0; i < RANKS; i++) {
        request[i] = (struct ce_generation_request){ids, i == 1 ? 0 : TOKENS, 4};
    }
    return ce_generate(run->engine, &generation, &run->err);
}

static const struct {
    const char *name;
    enum ce_status (*fail)(struct run *run);
} kinds[] = {
    {"batch", fail_batch},
    {"two", fail_two},
    {"cache", fail_cache},
    {"idle", fail_idle},
    {"experts", fail_experts},
    {"router", fail_router},
    {"attention", fail_attention},
    {"logits", fail_logits},
    {"slice", fail_slice},
    {"output", fail_output},
    {"prompt", fail_prompt},
    {"late", fail_late},
};

static void run_kind(struct run *run, struct one_fails_end *end)
{
    const size_t count = sizeof(kinds) / sizeof(kinds[0]);
    size_t kind = 0;

    while (kind < count && strcmp(end->kind, kinds[kind].name) != 0) {
        kind++;
    }
    REQUIRE(kind < count, "no such kind: %s", end->kind);
    uint64_t wanted = hash_step(run);
    uint64_t since = ce_clock_ns();
    end->status = kinds[kind].fail(run);
    end->err = run->err;
    double seconds = (double)(ce_clock_ns() - since) / 1e9;

    REQUIRE(seconds < MOST_SECONDS, "the failure took %.1f s", seconds);
    REQUIRE(hash_step(run) == wanted, "a step after the failure has other bits");
}

void one_fails_run(struct ce_transport *transport,
                   const char *model,
                   const char *words,
                   one_fails_report *report,
                   void *context)
{
    struct run run = {.transport = transport, .rank = transport->rank};
    char text[TEXT];
    char *name[NAMES] = {NULL};
    char *rest = NULL;

    REQUIRE(transport->ranks == RANKS, "run it on %d ranks", RANKS);
    REQUIRE(strlen(words) < sizeof(text), "a setting of %zu bytes", strlen(words));
    require_doing = words;
    (void)snprintf(text, sizeof(text), "%s", words);
    for (size_t i = 0; i < NAMES; i++) {
        name[i] = strtok_r(i == 0 ? text : NULL, " ", &rest);
        REQUIRE(name[i] != NULL, "setting '%s' is short", words);
    }
    open_engine(&run, model, name);
    for (char *kind = strtok_r(NULL, " ", &rest); kind != NULL;
         kind = strtok_r(NULL, " ", &rest)) {
        struct one_fails_end end = {.rank = run.rank, .setting = name[0], .kind = kind};

        run_kind(&run, &end);
        report(context, &end);
    }
    ce_engine_destroy(run.engine);
}
