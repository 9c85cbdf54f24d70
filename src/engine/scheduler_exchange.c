/* scheduler_exchange.c - results and reports of all ranks, once a step
 *
 *   message:  report | news, tokens | news, tokens | ...
 *
 * What comes from another rank is checked against what this one knows of the request
 * before anybody is told.
 */

#include "comm/collective.h"
#include "engine/scheduler_parts.h"

#include <string.h>

size_t ce_schedule_message_bytes(size_t step_logits)
{
    return sizeof(struct ce_report) +
           step_logits * (sizeof(struct ce_news) + sizeof(struct ce_new_token));
}

/* What this rank has to do and room for. */
static struct ce_report make_report(const struct ce_scheduler *s)
{
    const struct ce_schedule *schedule = s->schedule;
    const struct ce_kv_cache *cache = &s->engine->cache;
    size_t waiting = s->queue_end - s->queue_first;
    size_t backlog = s->queued_tokens;
    size_t new_most = s->queued_new;
    enum ce_pace pace = CE_PACE_GO_ON;

    for (size_t i = 0; i < s->actives; i++) {
        const struct ce_running *r = &s->running[s->active[i]];
        bool generates = schedule->requests[r->request].scored == 0;

        backlog += r->end - r->fed;
        new_most += generates ? r->limit - r->results : 0;
    }
    if (schedule->pace != NULL) {
        pace = schedule->pace(schedule->context);
    }
    return (struct ce_report){.news = s->news,
                              .pace = pace,
                              .running = (uint32_t)s->actives,
                              .waiting = (uint32_t)waiting,
                              .fed = (uint32_t)s->fed,
                              .room = (uint32_t)s->engine->options.step_tokens,
                              .used = (uint32_t)(cache->pages - cache->free_pages),
                              .pages = (uint32_t)cache->pages,
                              .reused = s->reused,
                              .backlog = (int64_t)backlog,
                              .work = (int64_t)(backlog + new_most),
                              .free_places = (int64_t)s->vacants - (int64_t)waiting,
                              .free_pages = (int64_t)cache->free_pages -
                                            (int64_t)s->queued_pages};
}

/* ---- what is heard ---- */

/* Results that a request has at its end, if nothing stops it. */
static size_t results_of(const struct ce_scheduler *s, size_t index)
{
    const struct ce_schedule_request *request = &s->schedule->requests[index];

    return request->scored > 0
               ? request->scored
               : ce_schedule_new_most(request, s->engine->config.max_positions);
}

static bool has_valid_ids(const struct ce_scheduler *s,
                          const struct ce_new_token *token,
                          size_t count)
{
    size_t vocab = s->engine->config.vocab_size;

    for (size_t i = 0; i < count; i++) {
        if (token[i].id < 0 || (size_t)token[i].id >= vocab ||
            token[i].most_likely < 0 || (size_t)token[i].most_likely >= vocab) {
            return false;
        }
    }
    return true;
}

/* Whether such news can come from this rank now. */
static bool
is_plausible(const struct ce_scheduler *s, int rank, const struct ce_news *news)
{
    const struct ce_progress *progress = NULL;
    size_t left = 0;
    bool is_scored = false;

    if (news->request >= s->schedule->count) {
        return false;
    }
    progress = &s->progress[news->request];
    is_scored = s->schedule->requests[news->request].scored > 0;
    left = results_of(s, news->request) - progress->heard;
    if (progress->rank != rank || progress->finish != CE_FINISH_NONE ||
        news->count == 0 || news->count > left || (!is_scored && news->count != 1)) {
        return false;
    }
    if (is_scored) {
        return news->finish ==
               (uint32_t)(news->count == left ? CE_FINISH_SCORED : CE_FINISH_NONE);
    }
    return news->finish == CE_FINISH_STOP ||
           news->finish == (uint32_t)(left == 1 ? CE_FINISH_LENGTH : CE_FINISH_NONE);
}

static void
deliver(struct ce_scheduler *s, const struct ce_news *news, const void *tokens)
{
    const struct ce_schedule *schedule = s->schedule;
    struct ce_progress *progress = &s->progress[news->request];

    progress->heard += news->count;
    progress->finish = news->finish;
    if (news->finish != CE_FINISH_NONE) {
        s->summary.done++;
        s->given[progress->rank]--;
    }
    if (schedule->on_tokens != NULL) {
        schedule->on_tokens(schedule->context,
                            news->request,
                            tokens,
                            news->count,
                            (enum ce_finish)news->finish);
    }
}

/* One piece of news at `at` of the message; how many bytes it is, 0 if it makes no
 * sense. */
static size_t
hear_news(struct ce_scheduler *s, int rank, struct ce_bytes message, size_t at)
{
    const unsigned char *data = message.data;
    const void *tokens = data + at + sizeof(struct ce_news);
    struct ce_news news;
    size_t bytes = 0;

    if (message.bytes - at < sizeof(news)) {
        return 0;
    }
    memcpy(&news, data + at, sizeof(news));
    bytes = sizeof(news) + news.count * sizeof(struct ce_new_token);
    if (!is_plausible(s, rank, &news) || message.bytes - at < bytes ||
        !has_valid_ids(s, tokens, news.count)) {
        return 0;
    }
    deliver(s, &news, tokens);
    return bytes;
}

/* The loop ends by what reports say is left, so it must be what was handed out; after a
 * drain the queue is gone. */
static bool has_all(const struct ce_scheduler *s, int rank)
{
    const struct ce_report *report = &s->report[rank];
    uint64_t has = (uint64_t)report->running + report->waiting;

    return s->summary.pace == CE_PACE_GO_ON ? has == s->given[rank]
                                            : has <= s->given[rank];
}

static enum ce_status
hear(struct ce_scheduler *s, int rank, struct ce_bytes message, struct ce_error *err)
{
    struct ce_report *report = &s->report[rank];
    size_t at = sizeof(*report);
    bool is_sound = message.bytes >= sizeof(*report);

    if (is_sound) {
        memcpy(report, message.data, sizeof(*report));
        is_sound = report->pace <= CE_PACE_QUIT;
    }
    for (uint32_t i = 0; is_sound && i < report->news; i++) {
        size_t bytes = hear_news(s, rank, message, at);

        is_sound = bytes > 0;
        at += bytes;
    }
    if (!is_sound || at != message.bytes || !has_all(s, rank)) {
        ce_transport_fail(s->engine->transport);
        return ce_fail(err,
                       CE_ERR_COMM,
                       "rank %d sent results or a report that make no sense",
                       rank);
    }
    return CE_OK;
}

/* The sums of what the ranks say. */
static void add_up(struct ce_scheduler *s)
{
    struct ce_schedule_summary *summary = &s->summary;
    struct ce_schedule_state state = {.done = summary->done};

    for (int r = 0; r < s->engine->transport->ranks; r++) {
        const struct ce_report *report = &s->report[r];

        state.running += report->running;
        state.tokens += report->fed;
        state.room += report->room;
        state.pages += report->used;
        state.all_pages += report->pages;
        summary->reused += report->reused;
        if (report->pace > (uint32_t)summary->pace) {
            summary->pace = (enum ce_pace)report->pace;
        }
    }
    s->stands_still = s->stepped && state.tokens == 0;
    if (s->stepped) {
        summary->steps++;
        summary->tokens += state.tokens;
        summary->room += state.room;
        if (s->schedule->on_step != NULL) {
            s->schedule->on_step(s->schedule->context, &state);
        }
    }
}

enum ce_status ce_schedule_exchange(struct ce_scheduler *s, struct ce_error *err)
{
    struct ce_report report = make_report(s);
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    memcpy(s->message, &report, sizeof(report));
    status = ce_allgather(s->engine->transport,
                          (struct ce_bytes){s->message, s->message_bytes},
                          &all,
                          err);
    for (int r = 0; status == CE_OK && r < s->engine->transport->ranks; r++) {
        status = hear(s, r, all[r], err);
    }
    if (status == CE_OK) {
        add_up(s);
    }
    s->message_bytes = sizeof(report);
    s->news = 0;
    s->reused = 0;
    return status;
}
