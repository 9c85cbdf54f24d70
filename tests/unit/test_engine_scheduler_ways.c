/* A list of requests has the results of its requests alone, however they are mixed,
 * cut and shared; it drains and refuses as it is told, and keeps no page. */

#include "requests_alone.h"

#include <stdio.h>

enum {
    QUESTIONS = 4,
    CHOICES = 3,
    GENERATIONS = 4,
    REQUESTS = QUESTIONS * CHOICES + 1 + GENERATIONS,
};

struct script {
    int32_t text[REQUESTS][MOST_TOKENS];
    struct ce_schedule_request request[REQUESTS];
    struct ce_sampling sampling[2];
    struct results heard[REQUESTS];
    struct ce_schedule schedule;
    struct ce_schedule_summary summary;
    struct ce_schedule_state state; /* the last that was told */
    size_t calls;                   /* of pace */
    size_t pace_call;               /* the one that answers `pace` */
    enum ce_pace pace;
    size_t begun;              /* requests, when that was answered */
    struct ce_sequence *thief; /* takes all free pages after the first step */
};

/* ---- what is heard ---- */

static void on_tokens(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish)
{
    struct script *script = context;
    struct results *heard = &script->heard[request];

    assert_in_range(request, 0, REQUESTS - 1);
    assert_int_equal(heard->finish, CE_FINISH_NONE); /* nothing after the end */
    assert_in_range(heard->count + count, 1, MOST_TOKENS);
    memcpy(&heard->token[heard->count], tokens, count * sizeof(tokens[0]));
    heard->count += count;
    heard->finish = finish;
}

static void on_step(void *context, const struct ce_schedule_state *state)
{
    struct script *script = context;
    size_t done = 0;

    for (size_t i = 0; i < REQUESTS; i++) {
        done += script->heard[i].finish != CE_FINISH_NONE;
    }
    assert_int_equal(state->done, done);
    assert_in_range(state->tokens, script->thief == NULL, state->room);
    assert_in_range(state->pages, state->running > 0, state->all_pages);
    script->state = *state;
    if (script->thief != NULL && script->thief->pages == 0) {
        struct ce_kv_cache *cache = &script->thief->engine->cache;
        size_t tokens = cache->free_pages * CE_PAGE_TOKENS;

        assert_int_equal(ce_sequence_reserve(cache, script->thief, tokens, NULL),
                         CE_OK);
    }
    if (script->calls == script->pace_call) {
        script->begun = state->done + state->running;
    }
}

static enum ce_pace pace(void *context)
{
    struct script *script = context;

    /* Also after it, which takes nothing back. */
    return ++script->calls == script->pace_call ? script->pace : CE_PACE_GO_ON;
}

/* ---- the list ---- */

/* Choices of questions, two of which have the same beginning too. */
static size_t write_questions(struct script *script)
{
    size_t n = 0;

    for (size_t q = 0; q < QUESTIONS; q++) {
        for (size_t c = 0; c < CHOICES; c++, n++) {
            size_t context = 37 + 11 * q;
            size_t choice = 1 + (5 * q + 7 * c) % 9;

            fixture_text(script->text[n], context, 20 + q);
            if (q >= 2) {
                fixture_text(script->text[n], 33, 20);
            }
            fixture_text(script->text[n] + context, choice, 30 + n);
            script->request[n] = (struct ce_schedule_request){.tokens = script->text[n],
                                                              .count = context + choice,
                                                              .scored = choice,
                                                              .group = (uint32_t)q};
        }
    }
    return n;
}

static size_t write_window(struct script *script, size_t n)
{
    fixture_text(script->text[n], MOST_TOKENS, 60);
    script->request[n] = (struct ce_schedule_request){.tokens = script->text[n],
                                                      .count = MOST_TOKENS,
                                                      .scored = MOST_TOKENS - 1,
                                                      .group = QUESTIONS};
    return n + 1;
}

/* Greedy and drawn in turn; the last begins as a question does. */
static size_t write_generations(struct script *script, size_t n)
{
    for (size_t g = 0; g < GENERATIONS; g++, n++) {
        size_t prompt = 8 + 17 * g;

        fixture_text(script->text[n], prompt, g + 1 < GENERATIONS ? 70 + g : 20);
        script->request[n] =
            (struct ce_schedule_request){.tokens = script->text[n],
                                         .count = prompt,
                                         .max_new_tokens = 14 - 3 * g,
                                         .key = 1000 + g,
                                         .group = (uint32_t)(QUESTIONS + 1 + g),
                                         .sampling = &script->sampling[g % 2]};
    }
    return n;
}

static void write_script(struct script *script)
{
    memset(script, 0, sizeof(*script));
    script->sampling[1] = (struct ce_sampling){
        .temperature = 0.9, .top_k = 300, .top_p = 0.97, .seed = 4};
    assert_int_equal(
        write_generations(script, write_window(script, write_questions(script))),
        REQUESTS);
    script->schedule = (struct ce_schedule){.requests = script->request,
                                            .count = REQUESTS,
                                            .vocab = 2000,
                                            .ignore_stop = true,
                                            .on_tokens = on_tokens,
                                            .pace = pace,
                                            .on_step = on_step,
                                            .context = script};
}

static enum ce_status
try_run(struct fixture *fixture, struct script *script, struct ce_error *err)
{
    memset(script->heard, 0, sizeof(script->heard));
    script->state = (struct ce_schedule_state){0};
    script->calls = 0;
    return ce_schedule_run(fixture->engine, &script->schedule, &script->summary, err);
}

static void run(struct fixture *fixture, struct script *script)
{
    struct ce_error err = {.text = ""};

    assert_ok(try_run(fixture, script, &err), &err);
    assert_int_equal(fixture->engine->cache.free_pages, fixture->engine->cache.pages);
}

/* ---- the results of requests alone, by steps written out ---- */

static void run_all_alone(struct script *script)
{
    struct fixture fixture;

    fixture_open(&fixture, (struct fixture_size){0});
    for (size_t i = 0; i < REQUESTS; i++) {
        run_alone(
            &fixture, &script->request[i], script->schedule.vocab, &script->heard[i]);
    }
    fixture_close(&fixture);
}

static void
assert_same(const struct script *got, const struct script *wanted, const char *how)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        if (memcmp(&got->heard[i], &wanted->heard[i], sizeof(got->heard[i])) != 0) {
            fail_msg("%s: request %zu has other results", how, i);
        }
    }
}

/* ---- tests ---- */

static void results_are_those_of_requests_alone(void **state)
{
    (void)state;
    static struct script wanted;
    static struct script script;
    struct fixture fixture;

    write_script(&wanted);
    run_all_alone(&wanted);
    write_script(&script);
    fixture_open(&fixture, (struct fixture_size){0});
    run(&fixture, &script);
    assert_int_equal(script.summary.room,
                     script.summary.steps * fixture.engine->options.step_tokens);
    fixture_close(&fixture);
    assert_same(&script, &wanted, "mixed");
    assert_int_equal(script.summary.done, REQUESTS);
    assert_int_equal(script.summary.pace, CE_PACE_GO_ON);
}

static void results_do_not_depend_on_the_way(void **state)
{
    (void)state;
    static const struct {
        struct fixture_size size;
        size_t sequences;
        size_t chunk;
        bool unshared;
    } ways[] = {
        {{.cache_tokens = 4096}, 0, 0, true},
        {{.cache_tokens = 4096}, 1, 0, false},
        {{.cache_tokens = 4096}, 3, 5, false},
        {{.cache_tokens = 4096}, 0, 1, true},
        {{.cache_tokens = 4096}, 0, 16, false},
        {{.cache_tokens = 128}, 0, 0, false}, /* the largest takes all of it */
        {{.cache_tokens = 128}, 0, 7, true},
        {{.step_tokens = 7, .cache_tokens = 256}, 0, 0, false},
        {{.step_tokens = 1, .cache_tokens = 4096}, 0, 0, false},
        {{.step_tokens = 40, .step_logits = 1, .cache_tokens = 500}, 0, 0, false},
        {{.step_tokens = 64, .step_logits = 3, .cache_tokens = 500}, 2, 9, false},
    };
    static struct script wanted;
    static struct script script;

    write_script(&wanted);
    run_all_alone(&wanted);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        struct fixture fixture;
        char how[32];

        (void)snprintf(how, sizeof(how), "way %zu", w);
        write_script(&script);
        script.schedule.most_sequences = ways[w].sequences;
        script.schedule.chunk = ways[w].chunk;
        script.schedule.unshared = ways[w].unshared;
        fixture_open(&fixture, ways[w].size);
        run(&fixture, &script);
        fixture_close(&fixture);
        assert_same(&script, &wanted, how);
    }
}

/* Every token is fed or found: a generation's last one is neither, nor is a scored
 * request's. */
static uint64_t count_tokens(const struct script *script)
{
    uint64_t tokens = 0;

    for (size_t i = 0; i < REQUESTS; i++) {
        const struct ce_schedule_request *request = &script->request[i];

        tokens += request->count + request->max_new_tokens - 1;
    }
    return tokens;
}

/* What a question's choices, and questions of one beginning, need not feed. */
static void sharing_feeds_less(void **state)
{
    (void)state;
    static struct script script;
    struct fixture fixture;
    uint64_t once = 0;

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 4096});
    write_script(&script);
    script.schedule.unshared = true;
    run(&fixture, &script);
    assert_int_equal(script.summary.tokens, count_tokens(&script));
    assert_int_equal(script.summary.reused, 0);
    script.schedule.unshared = false;
    run(&fixture, &script);
    once = script.summary.reused;
    assert_int_equal(script.summary.tokens + once, count_tokens(&script));
    /* Two choices of each question have its full pages: 2, 2 (of 48: the last token has
     * a row), 3 and 4; question 2 and 3 and the last prompt have two pages of 0. */
    assert_int_equal(once, (2 * (2 + 2 + 3 + 4) + 3 * 2) * CE_PAGE_TOKENS);
    run(&fixture, &script); /* the cache still has all beginnings */
    assert_true(script.summary.reused > once);
    assert_int_equal(script.summary.tokens + script.summary.reused,
                     count_tokens(&script));
    fixture_close(&fixture);
}

/* While a prompt of many steps is under way, each step has a token of the generation.
 */
static void prompts_do_not_hold_up_generations(void **state)
{
    (void)state;
    static struct script script;
    struct fixture fixture;

    fixture_open(&fixture, (struct fixture_size){.step_tokens = 10});
    write_script(&script);
    script.request[0] = script.request[REQUESTS - GENERATIONS]; /* 8 tokens, 14 new */
    script.request[1] = script.request[QUESTIONS * CHOICES];    /* 119 tokens */
    script.schedule.count = 2;
    run(&fixture, &script);
    /* 10 tokens, then 13 steps of 9 that leave nothing of the prompt: 2 + 13 * 9 = 119.
     */
    assert_int_equal(script.summary.steps, 14);
    assert_int_equal(script.summary.tokens, 8 + 13 + 119);
    fixture_close(&fixture);
}

/* What has begun ends, and nothing more begins. */
static void
check_drain(struct fixture *fixture, struct script *script, const struct script *wanted)
{
    size_t ended = 0;

    run(fixture, script);
    assert_int_equal(script->summary.pace, CE_PACE_DRAIN);
    assert_int_equal(script->state.running, 0);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct results *heard = &script->heard[i];

        if (heard->finish != CE_FINISH_NONE) {
            assert_memory_equal(heard, &wanted->heard[i], sizeof(*heard));
            ended++;
        } else {
            assert_int_equal(heard->count, 0); /* it had not begun */
        }
    }
    assert_int_equal(script->summary.done, ended);
    assert_int_equal(script->begun, ended);
    assert_in_range(ended, 1, REQUESTS - 1);
}

static void a_drain_finishes_what_runs(void **state)
{
    (void)state;
    static struct script wanted;
    static struct script script;
    struct fixture fixture;

    write_script(&wanted);
    run_all_alone(&wanted);
    write_script(&script);
    script.schedule.most_sequences = 3;
    script.pace = CE_PACE_DRAIN;
    fixture_open(&fixture, (struct fixture_size){.step_tokens = 32});
    for (script.pace_call = 2; script.pace_call < 10; script.pace_call++) {
        check_drain(&fixture, &script, &wanted);
    }
    fixture_close(&fixture);
}

static void a_drain_before_or_after_all_is_clean(void **state)
{
    (void)state;
    static struct script script;
    struct fixture fixture;

    fixture_open(&fixture, (struct fixture_size){0});
    write_script(&script);
    script.pace = CE_PACE_DRAIN;
    script.pace_call = 1; /* before the first step */
    run(&fixture, &script);
    assert_int_equal(script.summary.steps, 0);
    assert_int_equal(script.summary.done, 0);
    assert_int_equal(script.summary.pace, CE_PACE_DRAIN);

    script.pace_call = 0;
    run(&fixture, &script);
    script.pace_call = script.calls; /* after the last, where it stops nothing */
    run(&fixture, &script);
    assert_int_equal(script.summary.done, REQUESTS);
    assert_int_equal(script.summary.pace, CE_PACE_GO_ON);
    fixture_close(&fixture);
}

static void check_refused(struct fixture *fixture,
                          struct script *script,
                          enum ce_status status,
                          const char *words)
{
    struct ce_error err = {.text = ""};

    assert_fails(try_run(fixture, script, &err), status, words, &err);
    for (size_t i = 0; i < REQUESTS; i++) {
        assert_int_equal(script->heard[i].count, 0);
    }
    assert_int_equal(script->calls, 0);
    assert_int_equal(fixture->engine->cache.free_pages, fixture->engine->cache.pages);
    write_script(script);
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static struct script script;
    struct fixture fixture;

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 128});
    write_script(&script);
    script.request[3].count = 0;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 3: of 0 tokens");
    script.request[2].scored = script.request[2].count;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 2: ");
    script.request[1].max_new_tokens = 1;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 1: ");
    script.request[1].scored = 0;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 1: ");
    script.text[4][7] = 2048;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 4: token 2048 is outside");
    script.text[4][0] = -1;
    check_refused(&fixture, &script, CE_ERR_ARG, "request 4: token -1 is outside");
    script.request[REQUESTS - 1].max_new_tokens = 128 - 59 + 1; /* of 59 tokens */
    check_refused(&fixture, &script, CE_ERR_NOMEM, "may take 144 tokens");
    script.request[REQUESTS - 1].max_new_tokens = 128 - 59;
    run(&fixture, &script);
    assert_int_equal(script.heard[REQUESTS - 1].count, 128 - 59);
    fixture_close(&fixture);
}

/* A prompt needs room for a new token; the last token of a scored text takes none. */
static void the_context_bounds_a_request(void **state)
{
    (void)state;
    static struct script script;
    static int32_t text[1026];
    struct fixture fixture;
    struct ce_schedule_request *request = &script.request[2];

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 2048});
    fixture_text(text, 1026, 5);
    write_script(&script);
    *request = (struct ce_schedule_request){
        .tokens = text, .count = 1024, .max_new_tokens = 5};
    check_refused(&fixture, &script, CE_ERR_ARG, "request 2 has 1024 tokens");
    *request = (struct ce_schedule_request){.tokens = text, .count = 1026, .scored = 3};
    check_refused(&fixture, &script, CE_ERR_ARG, "request 2 has 1026 tokens");
    request->tokens = text;
    request->count = 1025;
    request->scored = 3;
    run(&fixture, &script);
    assert_int_equal(script.heard[2].finish, CE_FINISH_SCORED);
    *request = (struct ce_schedule_request){
        .tokens = text, .count = 1021, .max_new_tokens = 500};
    run(&fixture, &script);
    assert_int_equal(script.heard[2].count, 3);
    assert_int_equal(script.heard[2].finish, CE_FINISH_LENGTH);
    fixture_close(&fixture);
}

/* A caller's own sequence has most of the cache: what does not fit beside it is refused
 * before anything runs. */
static void pages_of_others_are_respected(void **state)
{
    (void)state;
    static struct script script;
    struct fixture fixture;
    struct ce_sequence *other = NULL;
    struct ce_error err = {.text = ""};

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 256});
    other = fixture_sequence(&fixture);
    assert_ok(ce_sequence_reserve(&fixture.engine->cache, other, 129, &err), &err);
    write_script(&script);
    assert_fails(try_run(&fixture, &script, &err), CE_ERR_NOMEM, "request 12", &err);
    ce_sequence_release(&fixture.engine->cache, other);
    assert_ok(ce_sequence_reserve(&fixture.engine->cache, other, 128, &err), &err);
    assert_ok(try_run(&fixture, &script, &err), &err);
    assert_int_equal(script.summary.done, REQUESTS);
    ce_sequence_destroy(other);
    fixture_close(&fixture);
}

/* Whether the next requests are queued or not handed out yet. */
static void a_standstill_is_a_failure(void **state)
{
    (void)state;
    static const size_t step_tokens[] = {16, 64};
    static struct script script;
    struct ce_error err = {.text = ""};

    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture;

        fixture_open(
            &fixture,
            (struct fixture_size){.step_tokens = step_tokens[i], .cache_tokens = 256});
        write_script(&script);
        script.thief = fixture_sequence(&fixture);
        assert_fails(
            try_run(&fixture, &script, &err), CE_ERR_NOMEM, "no rank has room", &err);
        ce_sequence_destroy(script.thief);
        script.thief = NULL;
        run(&fixture, &script);
        fixture_close(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_requests_alone),
        cmocka_unit_test(results_do_not_depend_on_the_way),
        cmocka_unit_test(sharing_feeds_less),
        cmocka_unit_test(prompts_do_not_hold_up_generations),
        cmocka_unit_test(a_drain_finishes_what_runs),
        cmocka_unit_test(a_drain_before_or_after_all_is_clean),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(the_context_bounds_a_request),
        cmocka_unit_test(pages_of_others_are_respected),
        cmocka_unit_test(a_standstill_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
