/* generation.c - the loop of steps that turns prompts into continuations */

#include "engine/generation.h"

#include "base/memory.h"
#include "comm/collective.h"

#include <stdlib.h>
#include <string.h>

/* A request of this rank while it runs. */
struct running {
    size_t index;
    const struct ce_generation_request *request;
    struct ce_sequence *sequence; /* NULL after the end */
    bool admitted;                /* its cache tokens are reserved */
    size_t fed;                   /* prompt tokens already in the cache */
    size_t generated;
    size_t limit; /* tokens to generate at most */
    int32_t last; /* newest token, not in the cache yet */
    enum ce_finish finish;
};

/* What a rank tells the others of one new token. */
struct news {
    uint32_t request;
    int32_t id;
    uint32_t finish;
};

struct loop {
    struct ce_engine *engine;
    const struct ce_generation *generation;
    struct ce_sampler sampler;
    struct running *running; /* this rank's requests */
    size_t count;
    size_t reserved;  /* cache tokens promised to admitted requests */
    size_t remaining; /* requests of this rank that have not finished */
    struct ce_step_item *item;
    struct running **of_item;
    size_t items;
    unsigned char *message; /* u32 remaining, then news */
    size_t news;
};

static size_t generation_limit(const struct ce_generation_request *request,
                               size_t max_positions)
{
    size_t room = max_positions > request->prompt_tokens
                      ? max_positions - request->prompt_tokens
                      : 0;

    return request->max_tokens < room ? request->max_tokens : room;
}

size_t ce_generation_cache_tokens(const struct ce_generation_request *request,
                                  size_t max_positions)
{
    size_t tokens = request->prompt_tokens + generation_limit(request, max_positions);

    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS * CE_PAGE_TOKENS;
}

enum ce_status ce_generation_check_prompt(const struct ce_generation_request *request,
                                          size_t index,
                                          size_t max_positions,
                                          struct ce_error *err)
{
    if (request->prompt_tokens == 0) {
        return ce_fail(err, CE_ERR_ARG, "prompt %zu is empty: it has no tokens", index);
    }
    if (request->prompt_tokens >= max_positions) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "prompt %zu has %zu tokens; the model's context of %zu "
                       "(max_position_embeddings) leaves no room for a continuation",
                       index,
                       request->prompt_tokens,
                       max_positions);
    }
    return CE_OK;
}

static enum ce_status
check_request(const struct loop *loop, size_t index, struct ce_error *err)
{
    const struct ce_generation_request *request = &loop->generation->requests[index];
    size_t context = loop->engine->config.max_positions;
    size_t capacity = loop->engine->cache.pages * CE_PAGE_TOKENS;
    enum ce_status status = ce_generation_check_prompt(request, index, context, err);

    if (status != CE_OK || ce_generation_cache_tokens(request, context) <= capacity) {
        return status;
    }
    return ce_fail(
        err,
        CE_ERR_NOMEM,
        "prompt %zu and its continuation may take %zu tokens of cache, %zu are "
        "there; raise --cache-tokens or lower --max-tokens",
        index,
        ce_generation_cache_tokens(request, context),
        capacity);
}

static enum ce_status start_requests(struct loop *loop, struct ce_error *err)
{
    const struct ce_generation *generation = loop->generation;
    size_t ranks = (size_t)loop->engine->transport->ranks;

    for (size_t i = (size_t)loop->engine->transport->rank; i < generation->count;
         i += ranks) {
        const struct ce_generation_request *request = &generation->requests[i];
        enum ce_status status = check_request(loop, i, err);

        if (status == CE_OK) {
            loop->running[loop->count++] = (struct running){
                .index = i,
                .request = request,
                .limit = generation_limit(request, loop->engine->config.max_positions)};
            status = ce_sequence_create(
                &loop->running[loop->count - 1].sequence, loop->engine, err);
        }
        if (status != CE_OK) {
            return status;
        }
    }
    loop->remaining = loop->count;
    return CE_OK;
}

static enum ce_status create_loop(struct loop *loop, struct ce_error *err)
{
    size_t count = loop->generation->count + 1;
    size_t message_bytes = count * sizeof(struct news); /* more than the u32 before */

    loop->running = calloc(count, sizeof(loop->running[0]));
    loop->item = calloc(count, sizeof(loop->item[0]));
    loop->of_item = calloc(count, sizeof(loop->of_item[0]));
    loop->message = calloc(1, message_bytes);
    if (loop->running == NULL || loop->item == NULL || loop->of_item == NULL ||
        loop->message == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu requests", count - 1);
    }
    return ce_sampler_create(&loop->sampler, loop->engine->config.vocab_size, err);
}

static void destroy_loop(struct loop *loop)
{
    for (size_t i = 0; i < loop->count; i++) {
        ce_sequence_destroy(loop->running[i].sequence);
    }
    ce_sampler_destroy(&loop->sampler);
    free(loop->running);
    free(loop->item);
    free(loop->of_item);
    free(loop->message);
}

/* Admits a waiting request when all it may become fits into the cache. */
static bool admit(struct loop *loop, struct running *r)
{
    size_t capacity = loop->engine->cache.pages * CE_PAGE_TOKENS;
    size_t wanted =
        ce_generation_cache_tokens(r->request, loop->engine->config.max_positions);

    if (!r->admitted && loop->reserved + wanted <= capacity) {
        loop->reserved += wanted;
        r->admitted = true;
    }
    return r->admitted;
}

/* The next tokens of a running request, at most `room`. */
static struct ce_step_item
next_item(const struct loop *loop, struct running *r, size_t room)
{
    struct ce_step_item item = {.sequence = r->sequence};
    size_t left = r->request->prompt_tokens - r->fed;
    size_t chunk = loop->generation->chunk;

    if (left == 0) {
        item.tokens = &r->last;
        item.count = 1;
        item.logits = CE_LOGITS_LAST;
        return item;
    }
    item.tokens = r->request->prompt + r->fed;
    item.count = ce_size_min(left, room);
    if (chunk > 0) {
        item.count = ce_size_min(item.count, chunk);
    }
    item.logits = item.count == left ? CE_LOGITS_LAST : CE_LOGITS_NONE;
    return item;
}

static void add_item(struct loop *loop, struct running *r, size_t *room, size_t *rows)
{
    struct ce_step_item item = next_item(loop, r, *room);

    *room -= item.count;
    *rows -= item.logits == CE_LOGITS_LAST;
    loop->item[loop->items] = item;
    loop->of_item[loop->items++] = r;
}

/* Running requests first, each with one token, then prompts as room allows. */
static void fill_step(struct loop *loop)
{
    size_t room = loop->engine->options.step_tokens;
    size_t rows = loop->engine->options.step_logits;

    loop->items = 0;
    for (int prompts = 0; prompts < 2; prompts++) {
        for (size_t i = 0; i < loop->count && room > 0 && rows > 0; i++) {
            struct running *r = &loop->running[i];
            bool in_prompt = r->fed < r->request->prompt_tokens;

            if (r->finish != CE_FINISH_NONE || in_prompt != (prompts == 1)) {
                continue;
            }
            if (!admit(loop, r)) {
                break; /* in order: later ones wait for this one */
            }
            add_item(loop, r, &room, &rows);
        }
    }
}

static bool is_stop(const struct loop *loop, int32_t id)
{
    const struct ce_config *config = &loop->engine->config;

    for (size_t i = 0; i < config->stop_tokens; i++) {
        if (config->stop_token[i] == id) {
            return !loop->generation->ignore_stop;
        }
    }
    return false;
}

static void finish(struct loop *loop, struct running *r, enum ce_finish how)
{
    r->finish = how;
    ce_sequence_destroy(r->sequence);
    r->sequence = NULL;
    loop->reserved -=
        ce_generation_cache_tokens(r->request, loop->engine->config.max_positions);
    loop->remaining--;
}

static void tell(struct loop *loop, const struct running *r)
{
    struct news news = {(uint32_t)r->index, r->last, (uint32_t)r->finish};

    memcpy(loop->message + sizeof(uint32_t) + loop->news * sizeof(news),
           &news,
           sizeof(news));
    loop->news++;
}

static void take_sample(struct loop *loop, struct running *r, const float *logits)
{
    r->last =
        ce_sample(&loop->sampler,
                  &loop->generation->sampling,
                  logits,
                  ce_size_min(loop->generation->vocab, loop->engine->config.vocab_size),
                  r->index,
                  r->generated);
    r->generated++;
    if (is_stop(loop, r->last)) {
        finish(loop, r, CE_FINISH_STOP);
    } else if (r->generated >= r->limit) {
        finish(loop, r, CE_FINISH_LENGTH);
    }
    tell(loop, r);
}

/* Books the step's results: prompt progress and new tokens. */
static void take_results(struct loop *loop, const float *logits)
{
    loop->news = 0;
    for (size_t i = 0; i < loop->items; i++) {
        struct running *r = loop->of_item[i];

        if (r->fed < r->request->prompt_tokens) {
            r->fed += loop->item[i].count;
        }
        if (loop->item[i].logits == CE_LOGITS_LAST) {
            take_sample(loop, r, logits);
            logits += loop->engine->config.vocab_size;
        }
    }
}

static void
hear(const struct loop *loop, const struct ce_bytes *message, uint32_t *remaining)
{
    const struct ce_generation *generation = loop->generation;
    const unsigned char *data = message->data;
    uint32_t theirs = 0;
    struct news news;

    memcpy(&theirs, data, sizeof(theirs));
    *remaining |= theirs;
    for (size_t at = sizeof(theirs); at + sizeof(news) <= message->bytes;
         at += sizeof(news)) {
        memcpy(&news, data + at, sizeof(news));
        if (news.request < generation->count) {
            generation->on_token(generation->context,
                                 news.request,
                                 news.id,
                                 (enum ce_finish)news.finish);
        }
    }
}

/* Tells all ranks the new tokens and hears theirs; *more: somebody goes on. */
static enum ce_status share_news(struct loop *loop, bool *more, struct ce_error *err)
{
    uint32_t remaining = (uint32_t)loop->remaining;
    struct ce_bytes mine = {loop->message,
                            sizeof(remaining) + loop->news * sizeof(struct news)};
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    memcpy(loop->message, &remaining, sizeof(remaining));
    status = ce_allgather(loop->engine->transport, mine, &all, err);
    remaining = 0;
    for (int r = 0; status == CE_OK && r < loop->engine->transport->ranks; r++) {
        if (all[r].bytes < sizeof(remaining)) {
            ce_transport_fail(loop->engine->transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d sent no progress", r);
        }
        hear(loop, &all[r], &remaining);
    }
    *more = remaining > 0;
    return status;
}

static enum ce_status run(struct loop *loop, struct ce_error *err)
{
    bool more = loop->generation->count > 0;
    enum ce_status status = CE_OK;

    while (status == CE_OK && more) {
        const float *logits = NULL;

        fill_step(loop);
        status = ce_engine_step(loop->engine, loop->item, loop->items, &logits, err);
        if (status == CE_OK) {
            take_results(loop, logits);
            status = share_news(loop, &more, err);
        }
    }
    return status;
}

enum ce_status ce_generate(struct ce_engine *engine,
                           const struct ce_generation *generation,
                           struct ce_error *err)
{
    struct loop loop = {.engine = engine, .generation = generation};
    enum ce_status status = create_loop(&loop, err);

    if (status == CE_OK) {
        status = start_requests(&loop, err);
    }
    status = ce_agree(engine->transport, status, err);
    if (status == CE_OK) {
        status = run(&loop, err);
    }
    destroy_loop(&loop);
    return status;
}
