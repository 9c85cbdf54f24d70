/* scheduler_fixture.h - a list of requests of every kind, and what its results must be
 */

#ifndef CE_TEST_SCHEDULER_FIXTURE_H
#define CE_TEST_SCHEDULER_FIXTURE_H

#include "allocations.h"
#include "requests_alone.h"

#include <math.h>
#include <stdio.h>

enum { QUESTIONS = 5, CHOICES = 4, TEXTS = 3, PROMPTS = 6 };
enum { REQUESTS = QUESTIONS * CHOICES + TEXTS + PROMPTS };
enum { HEADER = 37, LONGEST = 128 };

/* A list of everything: choices of questions that begin with one header, texts that are
 * scored whole, prompts with and without the header. */
struct script {
    int32_t tokens[REQUESTS][MOST_TOKENS];
    struct ce_sampling sampling;
    struct ce_schedule_request request[REQUESTS];
    struct ce_schedule schedule;
    struct results heard[REQUESTS];
    size_t begun;
    size_t steps;
    size_t pace_after; /* steps, then pace */
    enum ce_pace pace;
    size_t stop_after; /* results, of request `stopped` */
    size_t stopped;
    struct ce_schedule_state state;
    uint64_t tokens_fed;
    size_t allocations; /* after the third step */
};

static void on_tokens(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish)
{
    struct script *script = context;
    struct results *heard = &script->heard[request];

    assert_in_range(request, 0, script->schedule.count - 1);
    assert_in_range(count, 1, MOST_TOKENS - heard->count);
    assert_int_equal(heard->finish, CE_FINISH_NONE); /* nothing after the end */
    script->begun += heard->count == 0;
    memcpy(&heard->token[heard->count], tokens, count * sizeof(tokens[0]));
    heard->count += count;
    heard->finish = finish;
}

static void on_step(void *context, const struct ce_schedule_state *state)
{
    struct script *script = context;

    assert_in_range(state->done, script->state.done, script->schedule.count);
    assert_in_range(state->tokens, 1, state->room);
    assert_in_range(state->pages, state->running, state->all_pages);
    script->state = *state;
    script->tokens_fed += state->tokens;
    script->steps++;
    if (script->steps == 3) {
        script->allocations = allocations;
    }
}

static enum ce_pace pace(void *context)
{
    const struct script *script = context;

    return script->steps < script->pace_after ? CE_PACE_GO_ON : script->pace;
}

static bool stop(void *context, size_t request, const int32_t *ids, size_t count)
{
    const struct script *script = context;

    assert_int_equal(count, script->heard[request].count + 1);
    for (size_t i = 0; i + 1 < count; i++) {
        assert_int_equal(ids[i], script->heard[request].token[i].id);
    }
    return request == script->stopped && count == script->stop_after;
}

/* `same` tokens of a series, then others. */
static void
write_tokens(int32_t *tokens, size_t same, uint64_t series, size_t count, uint64_t own)
{
    fixture_text(tokens, same, series);
    fixture_text(tokens + same, count - same, own);
}

static void add_question(struct script *script, size_t question)
{
    const size_t length = HEADER + 9 * question + 4; /* 41, 50, 59, 68, 77 */

    for (size_t c = 0; c < CHOICES; c++) {
        size_t at = question * CHOICES + c;
        size_t count = length + 1 + c * 2;

        write_tokens(script->tokens[at], HEADER, 700, length, 800 + question);
        fixture_text(script->tokens[at] + length, count - length, 900 + at);
        script->request[at] = (struct ce_schedule_request){.tokens = script->tokens[at],
                                                           .count = count,
                                                           .scored = count - length,
                                                           .group = (uint32_t)question};
    }
}

static void write_script(struct script *script)
{
    size_t at = QUESTIONS * CHOICES;

    memset(script, 0, sizeof(*script));
    script->sampling = (struct ce_sampling){.temperature = 1, .top_p = 0.95, .seed = 8};
    for (size_t q = 0; q < QUESTIONS; q++) {
        add_question(script, q);
    }
    for (size_t i = 0; i < TEXTS; i++, at++) {
        size_t count = 2 + 57 * i; /* 2, 59, 116 */

        fixture_text(script->tokens[at], count, 1000 + i);
        script->request[at] = (struct ce_schedule_request){.tokens = script->tokens[at],
                                                           .count = count,
                                                           .scored = count - 1,
                                                           .group = (uint32_t)at};
    }
    for (size_t i = 0; i < PROMPTS; i++, at++) {
        size_t count = 1 + 16 * i; /* also a prompt of whole pages and a token */

        write_tokens(script->tokens[at],
                     i % 2 == 1 && count > HEADER ? HEADER : 0,
                     700,
                     count,
                     1100 + i);
        script->request[at] =
            (struct ce_schedule_request){.tokens = script->tokens[at],
                                         .count = count,
                                         .max_new_tokens = 1 + 5 * i,
                                         .key = 40 + i,
                                         .group = (uint32_t)at,
                                         .sampling = i < 3 ? NULL : &script->sampling};
    }
    script->schedule = (struct ce_schedule){.requests = script->request,
                                            .count = REQUESTS,
                                            .ignore_stop = true,
                                            .on_tokens = on_tokens,
                                            .on_step = on_step,
                                            .stop = stop,
                                            .context = script};
}

static void forget_heard(struct script *script)
{
    memset(script->heard, 0, sizeof(script->heard));
    memset(&script->state, 0, sizeof(script->state));
    script->begun = 0;
    script->steps = 0;
    script->tokens_fed = 0;
}

static struct ce_schedule_summary run(struct fixture *fixture, struct script *script)
{
    const struct ce_kv_cache *cache = &fixture->engine->cache;
    struct ce_schedule_summary summary = {0};
    struct ce_error err = {.text = ""};

    forget_heard(script);
    assert_ok(ce_schedule_run(fixture->engine, &script->schedule, &summary, &err),
              &err);
    assert_int_equal(cache->free_pages, cache->pages);
    assert_int_equal(summary.done, script->state.done);
    assert_int_equal(summary.steps, script->steps);
    assert_true(summary.tokens == script->tokens_fed);
    assert_true(summary.tokens <= summary.room);
    return summary;
}

/* Of the fixture's model; [REQUESTS], to be freed. */
static struct results *find_wanted(struct fixture *fixture, const struct script *script)
{
    struct results *wanted = calloc(REQUESTS, sizeof(wanted[0]));
    const size_t vocab = ce_engine_vocab_size(fixture->engine);

    assert_non_null(wanted);
    for (size_t i = 0; i < REQUESTS; i++) {
        run_alone(fixture, &script->request[i], vocab, &wanted[i]);
    }
    return wanted;
}

static bool is_same(const struct results *a, const struct results *b)
{
    return a->count == b->count && a->finish == b->finish &&
           memcmp(a->token, b->token, sizeof(a->token)) == 0;
}

static void assert_wanted(const struct script *script,
                          const struct results *wanted,
                          const char *how)
{
    for (size_t i = 0; i < script->schedule.count; i++) {
        if (!is_same(&script->heard[i], &wanted[i])) {
            fail_msg("%s: request %zu has other results", how, i);
        }
    }
}

/* Tokens of the requests when none shares a beginning with another. */
static uint64_t count_tokens(const struct script *script)
{
    uint64_t tokens = 0;

    for (size_t i = 0; i < REQUESTS; i++) {
        const struct ce_schedule_request *r = &script->request[i];

        tokens += r->scored > 0 ? r->count - 1 : r->count + r->max_new_tokens - 1;
    }
    return tokens;
}

#endif
