/* scoring.c - windows of a text through the model, their log-likelihoods to rank 0 */

#include "engine/scoring.h"

#include "comm/collective.h"
#include "engine/likelihood.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A window of this rank while it runs. */
struct window {
    size_t first; /* in ids */
    size_t count;
    size_t fed;
    struct ce_sequence *sequence;
};

struct loop {
    struct ce_engine *engine;
    const struct ce_scoring *scoring;
    size_t next;           /* window to start next */
    size_t windows;        /* of the text */
    size_t at_once;        /* windows of this rank that run together */
    struct window *window; /* [at_once], unused ones have no tokens left */
    struct ce_step_item *item;
    size_t *of_item;
    size_t items;
    double *packed; /* [count] this rank's in a row, to be sent */
    double *mine;   /* [count] this rank's log-likelihoods */
    size_t scored;  /* by this rank */
};

static struct window cut_window(const struct ce_scoring *scoring, size_t index)
{
    struct window w = {.first = index * scoring->window};
    size_t left = scoring->count - w.first;

    w.count = left < scoring->window ? left : scoring->window;
    return w;
}

/* Windows with a token to score. */
static size_t count_windows(const struct ce_scoring *scoring)
{
    return scoring->count / scoring->window + (scoring->count % scoring->window > 1);
}

static void start_windows(struct loop *loop)
{
    for (size_t i = 0; i < loop->at_once; i++) {
        struct window *w = &loop->window[i];

        if (w->fed == w->count && loop->next < loop->windows) {
            struct ce_sequence *sequence = w->sequence;

            ce_sequence_release(&loop->engine->cache, sequence);
            *w = cut_window(loop->scoring, loop->next);
            w->sequence = sequence;
            loop->next += (size_t)loop->engine->transport->ranks;
        }
    }
}

static void fill_step(struct loop *loop)
{
    size_t room = loop->engine->options.step_tokens;

    if (loop->engine->options.step_logits < room) {
        room = loop->engine->options.step_logits;
    }
    loop->items = 0;
    for (size_t i = 0; i < loop->at_once && room > 0; i++) {
        const struct window *w = &loop->window[i];
        size_t left = w->count - w->fed;
        size_t count = left < room ? left : room;

        if (count == 0) {
            continue;
        }
        loop->item[loop->items] =
            (struct ce_step_item){.sequence = w->sequence,
                                  .tokens = loop->scoring->ids + w->first + w->fed,
                                  .count = count,
                                  .logits = CE_LOGITS_ALL};
        loop->of_item[loop->items++] = i;
        room -= count;
    }
}

/* Row i of an item predicts the token after the item's token i. */
static void score_item(struct loop *loop, struct window *w, size_t count, float *logits)
{
    size_t vocab = loop->engine->config.vocab_size;
    size_t first = w->first + w->fed;
    size_t end = w->first + w->count;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        size_t next = first + i + 1;

        if (next < end) {
            loop->mine[next] = ce_log_probability(loop->engine->kernels,
                                                  logits + i * vocab,
                                                  vocab,
                                                  loop->scoring->ids[next]);
        }
    }
    w->fed += count;
    loop->scored += w->fed == w->count ? count - 1 : count;
}

static void take_results(struct loop *loop)
{
    float *logits = loop->engine->act.logits;

    for (size_t i = 0; i < loop->items; i++) {
        size_t count = loop->item[i].count;

        score_item(loop, &loop->window[loop->of_item[i]], count, logits);
        logits += count * loop->engine->config.vocab_size;
    }
}

/* Whether anybody goes on, and how many tokens all have scored. */
static enum ce_status
share_progress(struct loop *loop, bool *more, struct ce_error *err)
{
    uint64_t mine[2] = {loop->next < loop->windows, loop->scored};
    uint64_t sum[2] = {0, 0};
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < loop->at_once; i++) {
        mine[0] |= loop->window[i].fed < loop->window[i].count;
    }
    status = ce_allgather(
        loop->engine->transport, (struct ce_bytes){mine, sizeof(mine)}, &all, err);
    for (int r = 0; status == CE_OK && r < loop->engine->transport->ranks; r++) {
        uint64_t theirs[2] = {0, 0};

        if (all[r].bytes != sizeof(theirs)) {
            ce_transport_fail(loop->engine->transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d sent no progress", r);
        }
        memcpy(theirs, all[r].data, sizeof(theirs));
        sum[0] += theirs[0];
        sum[1] += theirs[1];
    }
    *more = sum[0] > 0;
    if (status == CE_OK && loop->scoring->on_progress != NULL) {
        loop->scoring->on_progress(loop->scoring->context, sum[1]);
    }
    return status;
}

/* Copies the windows of one rank from a packed list of scores to their places,
 * or back; returns how many scores that are. */
static size_t copy_windows(
    const struct loop *loop, int rank, double *scores, double *packed, bool pack)
{
    size_t count = 0;

    for (size_t w = (size_t)rank; w < loop->windows;
         w += (size_t)loop->engine->transport->ranks) {
        struct window window = cut_window(loop->scoring, w);
        size_t bytes = window.count * sizeof(scores[0]);

        if (pack) {
            memcpy(packed + count, scores + window.first, bytes);
        } else {
            memcpy(scores + window.first, packed + count, bytes);
        }
        count += window.count;
    }
    return count;
}

/* Rank 0 takes from each rank what that rank scored. */
static enum ce_status collect(struct loop *loop, double *logprob, struct ce_error *err)
{
    struct ce_transport *transport = loop->engine->transport;
    const struct ce_bytes *all = NULL;
    struct ce_bytes mine = {loop->packed, 0};
    enum ce_status status = CE_OK;

    mine.bytes = copy_windows(loop, transport->rank, loop->mine, loop->packed, true) *
                 sizeof(double);
    status = ce_gather(transport, mine, &all, err);
    if (status != CE_OK || all == NULL) {
        return status;
    }
    memcpy(logprob, loop->mine, loop->scoring->count * sizeof(logprob[0]));
    for (int r = 1; r < transport->ranks; r++) {
        double *packed = loop->packed; /* ours has been copied */

        if (all[r].bytes > loop->scoring->count * sizeof(double)) {
            return ce_fail(
                err, CE_ERR_COMM, "rank %d sent a wrong number of scores", r);
        }
        memcpy(packed, all[r].data, all[r].bytes);
        if (copy_windows(loop, r, logprob, packed, false) * sizeof(double) !=
            all[r].bytes) {
            return ce_fail(
                err, CE_ERR_COMM, "rank %d sent a wrong number of scores", r);
        }
    }
    return CE_OK;
}

static enum ce_status check_scoring(const struct ce_engine *engine,
                                    const struct ce_scoring *scoring,
                                    struct ce_error *err)
{
    size_t cache = engine->cache.pages * CE_PAGE_TOKENS;
    size_t context = engine->config.max_positions;

    if (scoring->window < 2 || scoring->window > context || scoring->window > cache) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "a window of %zu tokens does not fit: 2 is the least, the context "
            "(max_position_embeddings) is %zu, the KV cache %zu tokens",
            scoring->window,
            context,
            cache);
    }
    for (size_t i = 0; i < scoring->count; i++) {
        /* Also the last token of a window, which no step sees, is looked up. */
        if (scoring->ids[i] < 0 ||
            (size_t)scoring->ids[i] >= engine->config.vocab_size) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "token %d is outside the vocabulary of %zu",
                           scoring->ids[i],
                           engine->config.vocab_size);
        }
    }
    return CE_OK;
}

static enum ce_status create_loop(struct loop *loop, struct ce_error *err)
{
    const struct ce_scoring *scoring = loop->scoring;
    size_t cache = loop->engine->cache.pages * CE_PAGE_TOKENS;
    enum ce_status status = check_scoring(loop->engine, scoring, err);

    if (status != CE_OK) {
        return status;
    }
    loop->windows = count_windows(scoring);
    loop->next = (size_t)loop->engine->transport->rank;
    loop->at_once = cache / (scoring->window + CE_PAGE_TOKENS - 1);
    if (loop->at_once > loop->engine->options.step_tokens) {
        loop->at_once = loop->engine->options.step_tokens;
    }
    loop->at_once += loop->at_once == 0;
    loop->window = calloc(loop->at_once, sizeof(loop->window[0]));
    loop->item = calloc(loop->at_once, sizeof(loop->item[0]));
    loop->of_item = calloc(loop->at_once, sizeof(loop->of_item[0]));
    loop->mine = calloc(scoring->count + 1, sizeof(loop->mine[0]));
    loop->packed = calloc(scoring->count + 1, sizeof(loop->packed[0]));
    if (loop->window == NULL || loop->item == NULL || loop->of_item == NULL ||
        loop->mine == NULL || loop->packed == NULL) {
        return ce_fail(
            err, CE_ERR_NOMEM, "no memory to score %zu tokens", scoring->count);
    }
    for (size_t i = 0; i < scoring->count; i++) {
        loop->mine[i] = (double)NAN;
    }
    for (size_t i = 0; i < loop->at_once; i++) {
        status = ce_sequence_create(&loop->window[i].sequence, loop->engine, err);

        if (status != CE_OK) {
            return status;
        }
    }
    return CE_OK;
}

static void destroy_loop(struct loop *loop)
{
    for (size_t i = 0; loop->window != NULL && i < loop->at_once; i++) {
        ce_sequence_destroy(loop->window[i].sequence);
    }
    free(loop->window);
    free(loop->item);
    free(loop->of_item);
    free(loop->mine);
    free(loop->packed);
}

enum ce_status ce_score(struct ce_engine *engine,
                        const struct ce_scoring *scoring,
                        double *logprob,
                        struct ce_error *err)
{
    struct loop loop = {.engine = engine, .scoring = scoring};
    enum ce_status status = ce_agree(engine->transport, create_loop(&loop, err), err);
    bool more = loop.windows > 0;

    while (status == CE_OK && more) {
        const float *logits = NULL;

        start_windows(&loop);
        fill_step(&loop);
        status = ce_engine_step(engine, loop.item, loop.items, &logits, err);
        if (status == CE_OK) {
            take_results(&loop);
            status = share_progress(&loop, &more, err);
        }
    }
    if (status == CE_OK) {
        status = ce_agree(engine->transport, collect(&loop, logprob, err), err);
    }
    destroy_loop(&loop);
    return status;
}
