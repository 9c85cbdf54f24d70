/* scheduler_step.c - from the queue of a rank to a step, and from its logits to results
 *
 * A step takes one token of every running generation, then chunks of prompts that are
 * under way, then requests of the queue. Of these some wait: until a running request
 * has computed a page of theirs, which they then share; meanwhile later ones may begin.
 * One that does not fit into the cache makes all after it wait, or it might do so for
 * ever.
 */

#include "base/memory.h"
#include "engine/likelihood.h"
#include "engine/scheduler_parts.h"

#include <omp.h>
#include <string.h>

/* Of the queue, how many are looked at in a step at most. */
#define QUEUE_WINDOW 256

static const struct ce_schedule_request *request_of(const struct ce_scheduler *s,
                                                    const struct ce_running *running)
{
    return &s->schedule->requests[running->request];
}

/* ---- the queue ---- */

static void count_queued(struct ce_scheduler *s, const struct ce_waiting *w, bool in)
{
    const struct ce_schedule_request *request = &s->schedule->requests[w->request];
    size_t new_most = ce_schedule_new_most(request, s->engine->config.max_positions);

    s->queued_tokens = in ? s->queued_tokens + w->tokens : s->queued_tokens - w->tokens;
    s->queued_pages = in ? s->queued_pages + w->pages : s->queued_pages - w->pages;
    s->queued_new = in ? s->queued_new + new_most : s->queued_new - new_most;
}

void ce_schedule_enqueue(struct ce_scheduler *s,
                         size_t request,
                         const struct ce_schedule_cost *cost)
{
    struct ce_waiting *waiting = &s->queue[s->queue_end++];

    *waiting = (struct ce_waiting){.request = request,
                                   .tokens = cost->tokens,
                                   .pages = cost->pages,
                                   .match = {.pending = CE_NO_PAGE}};
    count_queued(s, waiting, true);
}

void ce_schedule_drop_queue(struct ce_scheduler *s)
{
    s->queue_first = s->queue_end;
    s->queued_tokens = 0;
    s->queued_pages = 0;
    s->queued_new = 0;
}

/* ---- items ---- */

struct room {
    size_t tokens;
    size_t rows;
};

/* How many of the next tokens of a request the step takes: 0 if it has no row left for
 * the first of them that needs one. */
static size_t
chunk_of(const struct ce_scheduler *s, const struct ce_running *r, struct room room)
{
    size_t chunk = ce_size_min(r->end - r->fed, room.tokens);
    size_t before_rows = r->first_row > r->fed ? r->first_row - r->fed : 0;

    if (s->schedule->chunk > 0) {
        chunk = ce_size_min(chunk, s->schedule->chunk);
    }
    return chunk > before_rows ? ce_size_min(chunk, before_rows + room.rows) : chunk;
}

static void add_item(struct ce_scheduler *s,
                     uint32_t place,
                     const int32_t *tokens,
                     size_t count,
                     size_t rows,
                     struct room *room)
{
    s->item[s->items] = (struct ce_step_item){.sequence = s->running[place].sequence,
                                              .tokens = tokens,
                                              .count = count,
                                              .logits = rows};
    s->of_item[s->items++] = place;
    s->fed += count;
    room->tokens -= count;
    room->rows -= rows;
}

static void add_chunk(struct ce_scheduler *s, uint32_t place, struct room *room)
{
    struct ce_running *r = &s->running[place];
    size_t chunk = chunk_of(s, r, *room);
    size_t end = r->fed + chunk;
    size_t rows = end > r->first_row ? ce_size_min(chunk, end - r->first_row) : 0;

    if (chunk > 0) {
        add_item(s, place, request_of(s, r)->tokens + r->fed, chunk, rows, room);
        r->fed = end;
    }
}

static void add_new_token(struct ce_scheduler *s, uint32_t place, struct room *room)
{
    const struct ce_running *r = &s->running[place];

    if (room->tokens > 0 && room->rows > 0) {
        add_item(s, place, &r->ids[r->results - 1], 1, 1, room);
    }
}

/* Those that generate, then those that are still in their prompt. */
static void add_running(struct ce_scheduler *s, struct room *room)
{
    size_t prompts = 0;
    size_t actives = s->actives;

    for (size_t i = 0; i < actives; i++) {
        if (s->running[s->active[i]].fed == s->running[s->active[i]].end) {
            add_new_token(s, s->active[i], room);
        } else {
            prompts++;
        }
    }
    for (size_t i = 0; i < actives && prompts > 0; i++) {
        if (s->running[s->active[i]].fed < s->running[s->active[i]].end) {
            add_chunk(s, s->active[i], room);
            prompts--;
        }
    }
}

/* ---- admission ---- */

enum admission { BEGUN, WAITS, FULL };

/* Gives the sequence the pages for all it may become, those it shares first. */
static enum admission
take_pages(struct ce_scheduler *s, struct ce_waiting *w, struct ce_sequence *sequence)
{
    const struct ce_schedule_request *request = &s->schedule->requests[w->request];
    struct ce_kv_cache *cache = &s->engine->cache;
    size_t end = ce_schedule_end(request);
    size_t most = end + ce_schedule_new_most(request, s->engine->config.max_positions);
    size_t shared = request->count - 1 - request->scored; /* the rest has rows */
    struct ce_error unused;

    if (!s->schedule->unshared) {
        if (ce_kv_cache_is_pending(cache, &w->match)) {
            return WAITS;
        }
        w->match = ce_kv_cache_find(cache, request->tokens, shared);
        if (w->match.pending != CE_NO_PAGE) {
            return WAITS;
        }
        ce_sequence_share(cache, sequence, request->tokens, shared);
    }
    if (ce_sequence_reserve(cache, sequence, most - sequence->length, &unused) !=
        CE_OK) {
        ce_sequence_release(cache, sequence);
        return FULL;
    }
    if (!s->schedule->unshared) {
        ce_sequence_announce(cache, sequence, request->tokens, end);
    }
    return BEGUN;
}

static enum admission admit(struct ce_scheduler *s, struct ce_waiting *w)
{
    const struct ce_schedule_request *request = &s->schedule->requests[w->request];
    uint32_t place = s->vacant[s->vacants - 1];
    struct ce_running *r = &s->running[place];
    enum admission admission = take_pages(s, w, r->sequence);
    size_t new_most = 0;

    if (admission != BEGUN) {
        return admission;
    }
    new_most = ce_schedule_new_most(request, s->engine->config.max_positions);
    s->vacants--;
    s->active[s->actives++] = place;
    *r = (struct ce_running){.request = w->request,
                             .sequence = r->sequence,
                             .fed = r->sequence->length,
                             .end = ce_schedule_end(request),
                             .first_row = request->count - 1 - request->scored,
                             .limit = request->scored > 0 ? request->scored : new_most,
                             .ids = s->ids + place * s->most_new};
    s->reused += r->fed;
    count_queued(s, w, false);
    return BEGUN;
}

/* Begins requests of the queue while there is room; those that wait stay, in order. */
static void admit_queue(struct ce_scheduler *s, struct room *room)
{
    size_t end = ce_size_min(s->queue_end, s->queue_first + QUEUE_WINDOW);
    size_t at = s->queue_first;
    size_t kept = 0;

    for (; at < end && room->tokens > 0 && room->rows > 0 && s->vacants > 0; at++) {
        struct ce_waiting waiting = s->queue[at];
        enum admission admission = admit(s, &waiting);

        if (admission == FULL) {
            break;
        }
        if (admission == WAITS) {
            s->queue[s->queue_first + kept++] = waiting;
        } else {
            add_chunk(s, s->active[s->actives - 1], room);
        }
    }
    memmove(
        &s->queue[at - kept], &s->queue[s->queue_first], kept * sizeof(s->queue[0]));
    s->queue_first = at - kept;
}

void ce_schedule_fill(struct ce_scheduler *s)
{
    struct room room = {.tokens = s->engine->options.step_tokens,
                        .rows = s->engine->options.step_logits};

    s->items = 0;
    s->fed = 0;
    add_running(s, &room);
    admit_queue(s, &room);
}

/* ---- results ---- */

static void list_rows(struct ce_scheduler *s)
{
    s->rows = 0;
    for (size_t i = 0; i < s->items; i++) {
        struct ce_running *r = &s->running[s->of_item[i]];

        for (size_t row = 0; row < s->item[i].logits; row++) {
            s->row[s->rows++] = (struct ce_result_row){r, r->results + row, {0}};
        }
    }
}

/* The token of a row: of a scored request the one that comes next, else a sample. */
static struct ce_new_token
read_row(struct ce_scheduler *s, const struct ce_result_row *row, float *logits)
{
    const struct ce_schedule_request *request = request_of(s, row->running);
    size_t vocab = s->engine->config.vocab_size;
    struct ce_new_token token = {0};

    if (request->scored > 0) {
        token.id = request->tokens[row->running->first_row + 1 + row->index];
        token.most_likely = ce_sample_greedy(logits, vocab);
        token.logprob = ce_log_probability_beside(
            s->engine->kernels, logits, vocab, token.id, token.most_likely);
        return token;
    }
    if (s->schedule->vocab > 0) {
        vocab = ce_size_min(vocab, s->schedule->vocab);
    }
    token.id = request->sampling == NULL || request->sampling->temperature == 0
                   ? ce_sample_greedy(logits, vocab)
                   : ce_sample(&s->sampler[omp_get_thread_num()],
                               request->sampling,
                               logits,
                               vocab,
                               request->key,
                               row->index);
    token.most_likely = token.id;
    return token;
}

static void read_rows(struct ce_scheduler *s, float *logits)
{
    size_t width = s->engine->config.vocab_size;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < s->rows; i++) {
        s->row[i].token = read_row(s, &s->row[i], logits + i * width);
    }
}

static bool is_stop_token(const struct ce_scheduler *s, int32_t id)
{
    const struct ce_config *config = &s->engine->config;

    for (size_t i = 0; i < config->stop_tokens; i++) {
        if (config->stop_token[i] == id) {
            return !s->schedule->ignore_stop;
        }
    }
    return false;
}

static enum ce_finish finish_of(const struct ce_scheduler *s,
                                const struct ce_running *r)
{
    const struct ce_schedule *schedule = s->schedule;

    if (request_of(s, r)->scored > 0) {
        return r->results == r->limit ? CE_FINISH_SCORED : CE_FINISH_NONE;
    }
    if (is_stop_token(s, r->ids[r->results - 1]) ||
        (schedule->stop != NULL &&
         schedule->stop(schedule->context, r->request, r->ids, r->results))) {
        return CE_FINISH_STOP;
    }
    return r->results == r->limit ? CE_FINISH_LENGTH : CE_FINISH_NONE;
}

static void append(struct ce_scheduler *s, const void *data, size_t bytes)
{
    memcpy(s->message + s->message_bytes, data, bytes);
    s->message_bytes += bytes;
}

/* `count` rows of a request become news. */
static void book(struct ce_scheduler *s, const struct ce_result_row *row, size_t count)
{
    struct ce_running *r = row->running;
    struct ce_news news = {.request = (uint32_t)r->request, .count = (uint32_t)count};

    r->results += count;
    if (request_of(s, r)->scored == 0) {
        r->ids[r->results - 1] = row->token.id;
    }
    r->finish = finish_of(s, r);
    news.finish = (uint32_t)r->finish;
    append(s, &news, sizeof(news));
    for (size_t i = 0; i < count; i++) {
        append(s, &row[i].token, sizeof(row[i].token));
    }
    s->news++;
}

/* Gives back places and pages of requests that have ended. */
static void retire(struct ce_scheduler *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->actives; i++) {
        uint32_t place = s->active[i];

        if (s->running[place].finish == CE_FINISH_NONE) {
            s->active[kept++] = place;
        } else {
            ce_sequence_release(&s->engine->cache, s->running[place].sequence);
            s->vacant[s->vacants++] = place;
        }
    }
    s->actives = kept;
}

void ce_schedule_take_results(struct ce_scheduler *s, float *logits)
{
    const struct ce_result_row *row = s->row;

    list_rows(s);
    read_rows(s, logits);
    for (size_t i = 0; i < s->items; i++) {
        if (s->item[i].logits > 0) {
            book(s, row, s->item[i].logits);
            row += s->item[i].logits;
        }
    }
    retire(s);
}
