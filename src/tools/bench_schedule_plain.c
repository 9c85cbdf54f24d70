/* bench_schedule_plain.c - steps of the same size and mix, without a scheduler
 *
 * On each rank as many tokens, of them single ones after prompts, and as many rows of
 * logits as the steps to compare with have in the mean. The others are prompt chunks
 * from position 0, so long that a token has as many before it as in the list. Nothing
 * is looked for, sampled or told to other ranks. Pages are taken before the list runs
 * and kept, so that neither is in the other's way.
 */

#include "base/clock.h"
#include "base/memory.h"
#include "tools/bench_schedule.h"

#include <stdlib.h>

enum {
    MOST_DECODES = 64,
    MOST_CHUNKS = 64,
    DECODE_TOKENS = CE_LIST_PROMPT + CE_LIST_NEW
};

static size_t pages_of(size_t tokens)
{
    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
}

/* Of all chunks of a step: each may end with a page that is not full. */
static size_t chunk_pages(size_t step_tokens)
{
    return pages_of(step_tokens) + ce_size_min(MOST_CHUNKS, step_tokens);
}

/* More than lists have of them: one item in ten generates. */
static size_t count_decodes(size_t step_tokens)
{
    return ce_size_min(MOST_DECODES, step_tokens / 16 + 1);
}

size_t ce_plain_cache_tokens(size_t step_tokens)
{
    return (chunk_pages(step_tokens) +
            count_decodes(step_tokens) * pages_of(DECODE_TOKENS)) *
           CE_PAGE_TOKENS;
}

/* ---- pages ---- */

/* Sequences are no longer than the context: so many hold the pages of the chunks. */
static enum ce_status hold(struct ce_plain *plain, struct ce_error *err)
{
    struct ce_engine *engine = plain->engine;
    size_t left = chunk_pages(engine->options.step_tokens);
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < plain->holders; i++) {
        size_t pages = ce_size_min(left, plain->holder[i]->page_capacity);

        left -= pages;
        status = ce_sequence_reserve(
            &engine->cache, plain->holder[i], pages * CE_PAGE_TOKENS, err);
    }
    return status;
}

static void release(struct ce_plain *plain, struct ce_sequence **sequence, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ce_sequence_release(&plain->engine->cache, sequence[i]);
    }
}

static enum ce_status
restart(struct ce_plain *plain, struct ce_sequence *sequence, struct ce_error *err)
{
    ce_sequence_release(&plain->engine->cache, sequence);
    return ce_sequence_reserve(&plain->engine->cache, sequence, DECODE_TOKENS, err);
}

/* ---- open and close ---- */

static enum ce_status make_sequences(struct ce_plain *plain,
                                     struct ce_sequence ***sequences,
                                     size_t *made,
                                     size_t count,
                                     struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *sequences = calloc(count, sizeof((*sequences)[0]));
    if (*sequences == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu sequences", count);
    }
    while (status == CE_OK && *made < count) {
        status = ce_sequence_create(&(*sequences)[*made], plain->engine, err);
        *made += status == CE_OK;
    }
    return status;
}

static enum ce_status take_sequences(struct ce_plain *plain, struct ce_error *err)
{
    size_t most = plain->engine->options.step_tokens;
    size_t capacity = plain->engine->sequence_positions / CE_PAGE_TOKENS;
    size_t holders = (chunk_pages(most) + capacity - 1) / capacity;
    enum ce_status status = make_sequences(
        plain, &plain->decode, &plain->decodes, count_decodes(most), err);

    if (status == CE_OK) {
        status = make_sequences(
            plain, &plain->chunk, &plain->chunks, ce_size_min(MOST_CHUNKS, most), err);
    }
    if (status == CE_OK) {
        status = make_sequences(plain, &plain->holder, &plain->holders, holders, err);
    }
    for (size_t i = 0; status == CE_OK && i < plain->decodes; i++) {
        status = restart(plain, plain->decode[i], err);
    }
    return status == CE_OK ? hold(plain, err) : status;
}

enum ce_status ce_plain_open(struct ce_plain *plain,
                             struct ce_engine *engine,
                             size_t chunk_tokens,
                             struct ce_error *err)
{
    size_t most = engine->options.step_tokens;

    plain->engine = engine;
    plain->chunk_tokens = chunk_tokens;
    plain->item = calloc(MOST_DECODES + MOST_CHUNKS, sizeof(plain->item[0]));
    plain->ids = calloc(most, sizeof(plain->ids[0]));
    if (plain->item == NULL || plain->ids == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for plain steps");
    }
    for (size_t i = 0; i < most; i++) {
        plain->ids[i] = (int32_t)(i * 7919 % engine->config.vocab_size);
    }
    return take_sequences(plain, err);
}

static void destroy(struct ce_sequence **sequence, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ce_sequence_destroy(sequence[i]);
    }
    free(sequence);
}

void ce_plain_close(struct ce_plain *plain)
{
    destroy(plain->decode, plain->decodes);
    destroy(plain->chunk, plain->chunks);
    destroy(plain->holder, plain->holders);
    free(plain->item);
    free(plain->ids);
}

/* ---- a step ---- */

/* Of one rank. */
struct shape {
    size_t decodes;
    size_t chunks;
    size_t chunk_tokens; /* of all chunks */
    size_t chunk_rows;
};

static size_t mean(uint64_t total, uint64_t of)
{
    return (size_t)((total + of / 2) / of);
}

static struct shape shape_of(const struct ce_plain *plain,
                             const struct ce_step_totals *like)
{
    uint64_t steps = like->steps * (uint64_t)plain->engine->transport->ranks;
    size_t tokens = mean(like->tokens, steps);
    size_t rows = mean(like->rows, steps);
    struct shape shape = {.decodes = ce_size_min(mean(like->decodes, steps), tokens)};

    shape.decodes = ce_size_min(shape.decodes, plain->decodes);
    shape.chunk_tokens = tokens - shape.decodes;
    shape.chunks = mean(shape.chunk_tokens, plain->chunk_tokens);
    shape.chunks = shape.chunks > 0 ? shape.chunks : 1;
    shape.chunks =
        ce_size_min(ce_size_min(shape.chunks, plain->chunks), shape.chunk_tokens);
    shape.chunk_rows = rows > shape.decodes ? rows - shape.decodes : 0;
    return shape;
}

/* Item i of `count` gets its part of a total, the first ones one more. */
static size_t part(size_t total, size_t count, size_t i)
{
    return total / count + (i < total % count);
}

static size_t fill(struct ce_plain *plain, const struct shape *shape)
{
    const int32_t *ids = plain->ids;
    size_t items = 0;

    for (size_t i = 0; i < shape->decodes; i++, ids++) {
        plain->item[items++] =
            (struct ce_step_item){plain->decode[i], ids, 1, CE_LOGITS_LAST};
    }
    for (size_t i = 0; i < shape->chunks; i++) {
        size_t tokens = part(shape->chunk_tokens, shape->chunks, i);
        size_t rows = part(shape->chunk_rows, shape->chunks, i);

        plain->item[items++] = (struct ce_step_item){
            plain->chunk[i], ids, tokens, ce_size_min(rows, tokens)};
        ids += tokens;
    }
    return items;
}

/* Prompts for those that generate from now on, so long that not all end at once. Not
 * timed. The same number of steps on all ranks. */
static enum ce_status
prepare(struct ce_plain *plain, const struct shape *shape, struct ce_error *err)
{
    size_t most = plain->engine->options.step_tokens;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < shape->decodes; i++) {
        struct ce_sequence *sequence = plain->decode[i];
        size_t wanted = CE_LIST_PROMPT + i * 5 % CE_LIST_NEW;
        const float *logits = NULL;

        if (sequence->length > 0 && sequence->length < DECODE_TOKENS) {
            continue;
        }
        status = restart(plain, sequence, err);
        while (status == CE_OK && sequence->length < wanted) {
            size_t count = ce_size_min(wanted - sequence->length, most);
            struct ce_step_item item = {sequence, plain->ids, count, CE_LOGITS_NONE};

            status = ce_engine_step(plain->engine, &item, 1, &logits, err);
        }
    }
    return status;
}

enum ce_status ce_plain_run(struct ce_plain *plain,
                            const struct ce_step_totals *like,
                            struct ce_error *err)
{
    const struct shape shape = shape_of(plain, like);
    const uint64_t ranks = (uint64_t)plain->engine->transport->ranks;
    const float *logits = NULL;
    uint64_t since = 0;
    size_t items = 0;
    enum ce_status status = prepare(plain, &shape, err);

    if (status != CE_OK) {
        return status;
    }
    release(plain, plain->holder, plain->holders);
    items = fill(plain, &shape);
    since = ce_clock_ns();
    status = ce_engine_step(plain->engine, plain->item, items, &logits, err);
    plain->totals.ns += ce_clock_ns() - since;
    plain->totals.steps++;
    plain->totals.tokens += ranks * (shape.decodes + shape.chunk_tokens);
    plain->totals.rows += ranks * plain->engine->batch.rows;
    plain->totals.decodes += ranks * shape.decodes;
    release(plain, plain->chunk, plain->chunks);
    return status == CE_OK ? hold(plain, err) : status;
}
