/* scheduler.c - the loop of steps, and what is checked and taken before it */

#include "comm/collective.h"
#include "engine/scheduler_parts.h"

#include <stdlib.h>

const char *ce_finish_name(enum ce_finish finish)
{
    switch (finish) {
    case CE_FINISH_NONE:
        return "none";
    case CE_FINISH_STOP:
        return "stop";
    case CE_FINISH_LENGTH:
        return "length";
    case CE_FINISH_SCORED:
        return "scored";
    }
    return "none";
}

size_t ce_schedule_end(const struct ce_schedule_request *request)
{
    return request->scored > 0 ? request->count - 1 : request->count;
}

size_t ce_schedule_new_most(const struct ce_schedule_request *request,
                            size_t max_positions)
{
    size_t room = max_positions > request->count ? max_positions - request->count : 0;

    return request->max_new_tokens < room ? request->max_new_tokens : room;
}

size_t ce_schedule_pages(const struct ce_schedule_request *request,
                         size_t max_positions)
{
    size_t tokens =
        ce_schedule_end(request) + ce_schedule_new_most(request, max_positions);

    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
}

/* ---- before the loop ---- */

static enum ce_status check_shape(const struct ce_engine *engine,
                                  const struct ce_schedule_request *request,
                                  size_t index,
                                  struct ce_error *err)
{
    size_t positions = engine->config.max_positions;

    if (request->count == 0 || request->scored >= request->count ||
        (request->scored > 0) == (request->max_new_tokens > 0)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "request %zu: of %zu tokens %zu are to be scored, and %zu to be "
                       "generated; one of these must be 0, and a first token is needed",
                       index,
                       request->count,
                       request->scored,
                       request->max_new_tokens);
    }
    if (ce_schedule_end(request) + (request->scored == 0) > positions) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "request %zu has %zu tokens, more than the model's context of "
                       "%zu (max_position_embeddings) has room for",
                       index,
                       request->count,
                       positions);
    }
    return CE_OK;
}

static enum ce_status check_ids(const struct ce_engine *engine,
                                const struct ce_schedule_request *request,
                                size_t index,
                                struct ce_error *err)
{
    size_t vocab = engine->config.vocab_size;

    for (size_t i = 0; i < request->count; i++) {
        if (request->tokens[i] < 0 || (size_t)request->tokens[i] >= vocab) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "request %zu: token %d is outside the vocabulary of %zu",
                           index,
                           request->tokens[i],
                           vocab);
        }
    }
    return CE_OK;
}

static enum ce_status check_request(const struct ce_engine *engine,
                                    const struct ce_schedule_request *request,
                                    size_t index,
                                    struct ce_error *err)
{
    size_t pages = 0;
    enum ce_status status = check_shape(engine, request, index, err);

    if (status == CE_OK) {
        status = check_ids(engine, request, index, err);
    }
    if (status != CE_OK) {
        return status;
    }
    pages = ce_schedule_pages(request, engine->config.max_positions);
    if (pages > engine->cache.free_pages) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "request %zu may take %zu tokens of the KV cache, %zu are "
                       "there; raise --cache-tokens",
                       index,
                       pages * CE_PAGE_TOKENS,
                       engine->cache.free_pages * CE_PAGE_TOKENS);
    }
    return CE_OK;
}

static enum ce_status check_requests(struct ce_scheduler *s, struct ce_error *err)
{
    const struct ce_schedule *schedule = s->schedule;
    enum ce_status status = CE_OK;

    if (schedule->count > INT32_MAX) {
        return ce_fail(err, CE_ERR_ARG, "%zu requests are too many", schedule->count);
    }
    for (size_t i = 0; status == CE_OK && i < schedule->count; i++) {
        const struct ce_schedule_request *request = &schedule->requests[i];

        status = check_request(s->engine, request, i, err);
        if (status == CE_OK) {
            size_t most =
                ce_schedule_new_most(request, s->engine->config.max_positions);

            s->most_new = most > s->most_new ? most : s->most_new;
            s->draws |= request->sampling != NULL && request->sampling->temperature > 0;
        }
    }
    return status;
}

/* As many as could get a token and a row in a step, and a page. */
static size_t count_places(const struct ce_scheduler *s)
{
    const struct ce_engine *engine = s->engine;
    size_t places = s->schedule->count;

    places = s->schedule->most_sequences > 0 && s->schedule->most_sequences < places
                 ? s->schedule->most_sequences
                 : places;
    places =
        engine->options.step_tokens < places ? engine->options.step_tokens : places;
    places =
        engine->options.step_logits < places ? engine->options.step_logits : places;
    return engine->cache.pages < places ? engine->cache.pages : places;
}

static enum ce_status take_places(struct ce_scheduler *s, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < s->places; i++) {
        status = ce_sequence_create(&s->running[i].sequence, s->engine, err);
        s->vacant[s->vacants++] = (uint32_t)(s->places - 1 - i);
    }
    return status;
}

static enum ce_status take_samplers(struct ce_scheduler *s, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (int i = 0; status == CE_OK && s->draws && i < s->engine->threads; i++) {
        status = ce_sampler_create(&s->sampler[i], s->engine->config.vocab_size, err);
    }
    return status;
}

/* All memory the loop works in. */
static enum ce_status create(struct ce_scheduler *s, struct ce_error *err)
{
    size_t count = s->schedule->count + 1;
    size_t rows = s->engine->options.step_logits;
    enum ce_status status = check_requests(s, err);

    if (status != CE_OK) {
        return status;
    }
    s->places = count_places(s);
    s->message_bytes = sizeof(struct ce_report);
    s->progress = calloc(count, sizeof(s->progress[0]));
    s->report = calloc((size_t)s->engine->transport->ranks, sizeof(s->report[0]));
    s->given = calloc((size_t)s->engine->transport->ranks, sizeof(s->given[0]));
    s->running = calloc(s->places + 1, sizeof(s->running[0]));
    s->active = calloc(s->places + 1, sizeof(s->active[0]));
    s->vacant = calloc(s->places + 1, sizeof(s->vacant[0]));
    s->ids = calloc(s->places * s->most_new + 1, sizeof(s->ids[0]));
    s->queue = calloc(count, sizeof(s->queue[0]));
    s->item = calloc(s->places + 1, sizeof(s->item[0]));
    s->of_item = calloc(s->places + 1, sizeof(s->of_item[0]));
    s->row = calloc(rows, sizeof(s->row[0]));
    s->sampler = calloc((size_t)s->engine->threads, sizeof(s->sampler[0]));
    s->message = calloc(1, ce_schedule_message_bytes(rows));
    if (s->progress == NULL || s->report == NULL || s->given == NULL ||
        s->running == NULL || s->active == NULL || s->vacant == NULL ||
        s->ids == NULL || s->queue == NULL || s->item == NULL || s->of_item == NULL ||
        s->row == NULL || s->sampler == NULL || s->message == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu requests", count - 1);
    }
    for (size_t i = 0; i < s->schedule->count; i++) {
        s->progress[i].rank = -1;
    }
    status = take_places(s, err);
    return status == CE_OK ? take_samplers(s, err) : status;
}

static void destroy(struct ce_scheduler *s)
{
    for (size_t i = 0; s->running != NULL && i < s->places; i++) {
        ce_sequence_destroy(s->running[i].sequence);
    }
    for (int i = 0; s->sampler != NULL && i < s->engine->threads; i++) {
        ce_sampler_destroy(&s->sampler[i]);
    }
    free(s->progress);
    free(s->report);
    free(s->given);
    free(s->running);
    free(s->active);
    free(s->vacant);
    free(s->ids);
    free(s->queue);
    free(s->item);
    free(s->of_item);
    free(s->row);
    free(s->sampler);
    free(s->message);
}

/* ---- the loop ---- */

/* After an exchange: hands out more; whether any rank has something to do. */
static bool go_on(struct ce_scheduler *s)
{
    size_t left = 0;

    if (s->summary.pace == CE_PACE_QUIT || s->stands_still) {
        return false;
    }
    if (s->summary.pace == CE_PACE_DRAIN) {
        ce_schedule_drop_queue(s);
    } else {
        left = ce_schedule_hand_out(s);
    }
    for (int r = 0; r < s->engine->transport->ranks; r++) {
        left += s->report[r].running;
        left += s->summary.pace == CE_PACE_DRAIN ? 0 : s->report[r].waiting;
    }
    return left > 0;
}

/* A list that ends early without having been told to would look like one that is done,
 * and steps without a token would go on for ever. Neither happens unless somebody takes
 * pages while the list runs. All ranks see the same, so all fail. */
static enum ce_status check_end(const struct ce_scheduler *s, struct ce_error *err)
{
    if (s->summary.pace != CE_PACE_GO_ON || s->summary.done == s->schedule->count) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_NOMEM,
                   "%zu of %zu requests are done, and no rank has room for another in "
                   "its KV cache",
                   s->summary.done,
                   s->schedule->count);
}

static enum ce_status run_step(struct ce_scheduler *s, struct ce_error *err)
{
    const float *logits = NULL;
    enum ce_status status = CE_OK;

    ce_schedule_fill(s);
    status = ce_engine_step(s->engine, s->item, s->items, &logits, err);
    if (status == CE_OK) {
        /* The rows are the engine's, and nobody needs them after this. */
        ce_schedule_take_results(s, s->engine->act.logits);
        s->stepped = true;
        status = ce_schedule_exchange(s, err);
    }
    return status;
}

enum ce_status ce_schedule_run(struct ce_engine *engine,
                               const struct ce_schedule *schedule,
                               struct ce_schedule_summary *summary,
                               struct ce_error *err)
{
    struct ce_scheduler s = {.engine = engine, .schedule = schedule};
    enum ce_status status = ce_agree(engine->transport, create(&s, err), err);

    if (status == CE_OK) {
        status = ce_schedule_exchange(&s, err);
    }
    while (status == CE_OK && go_on(&s)) {
        status = run_step(&s, err);
    }
    if (status == CE_OK) {
        status = check_end(&s, err);
    }
    if (s.summary.done == schedule->count) {
        s.summary.pace = CE_PACE_GO_ON; /* too late to stop anything */
    }
    if (summary != NULL) {
        *summary = s.summary;
    }
    destroy(&s);
    return status;
}
