/* Scored and generated requests have the results of their own steps, however they are
 * batched, cut and shared; what is refused, drained or fails gives all pages back. */

#include "scheduler_fixture.h"

static void results_are_those_of_steps_alone(void **state)
{
    (void)state;
    /* The largest request takes 116 tokens: 128 with whole pages. */
    static const struct {
        struct fixture_size size;
        size_t chunk;
        size_t most_sequences;
    } ways[] = {
        {{.step_tokens = 512, .cache_tokens = 8192}, 0, 0},
        {{.step_tokens = 512, .cache_tokens = 8192}, 5, 3},
        {{.step_tokens = 64, .cache_tokens = LONGEST}, 0, 0},
        {{.step_tokens = 64, .cache_tokens = LONGEST}, 16, 0},
        {{.step_tokens = 100, .step_logits = 3, .cache_tokens = 512}, 0, 0},
        {{.step_tokens = 7, .step_logits = 1, .cache_tokens = 1024}, 3, 0},
        {{.step_tokens = 1, .cache_tokens = 4096}, 0, 1},
    };
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;
    struct results *wanted = NULL;

    assert_non_null(script);
    write_script(script);
    fixture_open(&fixture, (struct fixture_size){.tables = FIXTURE_TABLES});
    wanted = find_wanted(&fixture, script);
    fixture_close(&fixture);
    for (size_t w = 0; w < 2 * sizeof(ways) / sizeof(ways[0]); w++) {
        struct fixture_size size = ways[w / 2].size;
        char how[32];

        size.tables = FIXTURE_TABLES;
        (void)snprintf(how, sizeof(how), "way %zu", w);
        fixture_open(&fixture, size);
        script->schedule.chunk = ways[w / 2].chunk;
        script->schedule.most_sequences = ways[w / 2].most_sequences;
        script->schedule.unshared = w % 2 == 1;
        run(&fixture, script);
        assert_wanted(script, wanted, how);
        fixture_close(&fixture);
    }
    free(wanted);
    free(script);
}

static void beginnings_are_computed_once(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct ce_schedule_summary summary;
    struct fixture fixture;

    assert_non_null(script);
    write_script(script);
    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 8192});
    script->schedule.unshared = true;
    summary = run(&fixture, script);
    assert_int_equal(summary.done, REQUESTS);
    assert_int_equal(summary.pace, CE_PACE_GO_ON);
    assert_true(summary.tokens == count_tokens(script));
    assert_true(summary.reused == 0);

    script->schedule.unshared = false;
    summary = run(&fixture, script);
    assert_true(summary.tokens + summary.reused == count_tokens(script));
    /* Three choices of each question have the pages of the first; all but one question
     * and the longer prompts have the header. */
    assert_true(summary.reused >= (QUESTIONS * CHOICES - 1) * (HEADER / 16 * 16));

    /* The pages are still there for another run, and not after they are forgotten. */
    assert_true(run(&fixture, script).reused > summary.reused);
    ce_kv_cache_forget(&fixture.engine->cache);
    assert_true(run(&fixture, script).reused == summary.reused);
    fixture_close(&fixture);
    free(script);
}

/* A cache that holds the running requests only just: pages are taken from idle ones. */
static void pages_of_others_are_taken_in_time(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;
    struct results *wanted = NULL;

    assert_non_null(script);
    write_script(script);
    fixture_open(&fixture, (struct fixture_size){.cache_tokens = LONGEST + 48});
    wanted = find_wanted(&fixture, script);
    for (size_t i = 0; i < 3; i++) {
        run(&fixture, script);
        assert_wanted(script, wanted, "little cache");
    }
    fixture_close(&fixture);
    free(wanted);
    free(script);
}

static void draining_finishes_what_runs(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct ce_schedule_summary summary;
    struct fixture fixture;
    struct results *wanted = NULL;
    size_t finished = 0;

    assert_non_null(script);
    write_script(script);
    script->schedule.pace = pace;
    script->schedule.chunk = 16;
    script->schedule.most_sequences = 5;
    script->pace = CE_PACE_DRAIN;
    script->pace_after = 6;
    fixture_open(&fixture, (struct fixture_size){.step_tokens = 128});
    wanted = find_wanted(&fixture, script);
    summary = run(&fixture, script);
    assert_int_equal(summary.pace, CE_PACE_DRAIN);
    assert_in_range(summary.done, 1, REQUESTS - 1);
    assert_true(summary.steps > script->pace_after);
    for (size_t i = 0; i < REQUESTS; i++) {
        if (script->heard[i].count > 0) {
            assert_true(is_same(&script->heard[i], &wanted[i]));
            finished++;
        }
    }
    assert_int_equal(finished, summary.done);

    /* Nothing is begun. */
    script->pace_after = 0;
    assert_int_equal(run(&fixture, script).steps, 0);
    fixture_close(&fixture);
    free(wanted);
    free(script);
}

static void quitting_leaves_at_once(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct ce_schedule_summary summary;
    struct fixture fixture;

    assert_non_null(script);
    write_script(script);
    script->schedule.pace = pace;
    script->pace = CE_PACE_QUIT;
    script->pace_after = 4;
    fixture_open(&fixture,
                 (struct fixture_size){.step_tokens = 64, .cache_tokens = 4096});
    summary = run(&fixture, script);
    assert_int_equal(summary.pace, CE_PACE_QUIT);
    assert_int_equal(summary.steps, 5); /* asked before the fourth was booked */
    assert_true(script->state.running > 0);
    fixture_close(&fixture);
    free(script);
}

static void generations_stop_where_they_are_told(void **state)
{
    (void)state;
    enum { LAST = REQUESTS - 1 }; /* 26 new tokens, sampled */
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;
    struct results free_run;
    struct ce_config *config = NULL;
    size_t first = 0;

    assert_non_null(script);
    write_script(script);
    fixture_open(&fixture, (struct fixture_size){0});
    run(&fixture, script);
    free_run = script->heard[LAST];

    script->stopped = LAST;
    script->stop_after = 9;
    run(&fixture, script);
    assert_int_equal(script->heard[LAST].count, 9);
    assert_int_equal(script->heard[LAST].finish, CE_FINISH_STOP);
    assert_memory_equal(
        script->heard[LAST].token, free_run.token, 9 * sizeof(free_run.token[0]));

    script->stop_after = 0;
    config = &fixture.engine->config;
    config->stop_tokens = 1;
    config->stop_token[0] = free_run.token[6].id;
    while (free_run.token[first].id != config->stop_token[0]) {
        first++;
    }
    run(&fixture, script); /* ignored */
    assert_true(is_same(&script->heard[LAST], &free_run));
    script->schedule.ignore_stop = false;
    run(&fixture, script);
    assert_int_equal(script->heard[LAST].count, first + 1);
    assert_int_equal(script->heard[LAST].finish, CE_FINISH_STOP);
    fixture_close(&fixture);
    free(script);
}

static void samples_are_of_the_vocabulary_given(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;

    assert_non_null(script);
    write_script(script);
    script->schedule.vocab = 100;
    fixture_open(&fixture, (struct fixture_size){0});
    run(&fixture, script);
    for (size_t i = QUESTIONS * CHOICES + TEXTS; i < REQUESTS; i++) {
        for (size_t t = 0; t < script->heard[i].count; t++) {
            assert_in_range(script->heard[i].token[t].id, 0, 99);
        }
    }
    script->schedule.count = 0;
    assert_int_equal(run(&fixture, script).steps, 0);
    fixture_close(&fixture);
    free(script);
}

/* A request of the list is replaced by one that cannot be. */
static void check_refused(struct fixture *fixture,
                          const struct ce_schedule_request *request,
                          enum ce_status status,
                          const char *words)
{
    const struct ce_kv_cache *cache = &fixture->engine->cache;
    struct script *script = malloc(sizeof(*script));
    struct ce_error err = {.text = ""};

    assert_non_null(script);
    write_script(script);
    script->request[17] = *request;
    assert_fails(ce_schedule_run(fixture->engine, &script->schedule, NULL, &err),
                 status,
                 words,
                 &err);
    assert_non_null(strstr(err.text, "request 17"));
    assert_int_equal(script->begun, 0);
    assert_int_equal(cache->free_pages, cache->pages);
    free(script);
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    static const int32_t bad_id[] = {5, 6, 4000, 7};
    int32_t *ids = calloc(1100, sizeof(ids[0]));
    const struct {
        struct ce_schedule_request request;
        enum ce_status status;
        const char *words;
    } cases[] = {
        {{.tokens = ids, .count = 5}, CE_ERR_ARG, "one of these must be 0"},
        {{.tokens = ids, .count = 5, .scored = 2, .max_new_tokens = 2},
         CE_ERR_ARG,
         "one of these must be 0"},
        {{.tokens = ids, .count = 5, .scored = 5}, CE_ERR_ARG, "a first token"},
        {{.tokens = ids, .max_new_tokens = 5}, CE_ERR_ARG, "a first token"},
        {{.tokens = bad_id, .count = 4, .scored = 1}, CE_ERR_ARG, "token 4000"},
        {{.tokens = bad_id, .count = 4, .max_new_tokens = 1}, CE_ERR_ARG, "4000"},
        {{.tokens = ids, .count = 1024, .max_new_tokens = 1}, CE_ERR_ARG, "1024"},
        {{.tokens = ids, .count = 1026, .scored = 1}, CE_ERR_ARG, "context of 1024"},
        {{.tokens = ids, .count = 500, .max_new_tokens = 30},
         CE_ERR_NOMEM,
         "--cache-tokens"},
        {{.tokens = ids, .count = 514, .scored = 1}, CE_ERR_NOMEM, "--cache-tokens"},
    };
    struct fixture fixture;

    assert_non_null(ids);
    fixture_text(ids, 1100, 9);
    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 512});
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_refused(&fixture, &cases[i].request, cases[i].status, cases[i].words);
    }
    fixture_close(&fixture);
    free(ids);
}

/* What just fits. */
static void the_context_may_be_filled(void **state)
{
    (void)state;
    static const size_t left[] = {1, 2, 4};
    int32_t *ids = calloc(1100, sizeof(ids[0]));
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;

    assert_non_null(ids);
    assert_non_null(script);
    fixture_text(ids, 1100, 9);
    write_script(script);
    script->schedule.count = 2;
    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 2048});
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        script->request[0] = (struct ce_schedule_request){
            .tokens = ids, .count = 1025, .scored = left[i]};
        script->request[1] = (struct ce_schedule_request){
            .tokens = ids, .count = 1024 - left[i], .max_new_tokens = 30};
        run(&fixture, script);
        assert_int_equal(script->heard[0].count, left[i]);
        assert_int_equal(script->heard[0].finish, CE_FINISH_SCORED);
        assert_int_equal(script->heard[1].count, left[i]);
        assert_int_equal(script->heard[1].finish, CE_FINISH_LENGTH);
    }
    fixture_close(&fixture);
    free(script);
    free(ids);
}

static void a_failure_gives_all_pages_back(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;
    struct results *wanted = NULL;
    struct ce_error err = {.text = ""};
    float *norm = NULL;
    float good = 0;

    assert_non_null(script);
    write_script(script);
    fixture_open(&fixture, (struct fixture_size){.step_tokens = 128});
    wanted = find_wanted(&fixture, script);
    norm = (float *)(uintptr_t)fixture.engine->weights.norm; /* not ours to write */
    good = norm[0];
    norm[0] = NAN;
    assert_fails(ce_schedule_run(fixture.engine, &script->schedule, NULL, &err),
                 CE_ERR_NUMERIC,
                 "logits",
                 &err);
    assert_int_equal(fixture.engine->cache.free_pages, fixture.engine->cache.pages);
    norm[0] = good;
    run(&fixture, script);
    assert_wanted(script, wanted, "after a failure");
    fixture_close(&fixture);
    free(wanted);
    free(script);
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    struct script *script = malloc(sizeof(*script));
    struct fixture fixture;
    size_t before = 0;
    size_t after = 0;

    assert_non_null(script);
    write_script(script);
    script->sampling.temperature = 0; /* qsort of the C library may allocate */
    fixture_open(&fixture, (struct fixture_size){.step_tokens = 64});
    run(&fixture, script); /* once for what the libraries take the first time */
    run(&fixture, script);
    before = script->allocations;
    after = allocations; /* nothing is taken after the loop either */
    assert_true(script->steps > 5);
    assert_int_equal(after, before);
    assert_true(!allocations_are_counted || before > 0);
    fixture_close(&fixture);
    free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_steps_alone),
        cmocka_unit_test(beginnings_are_computed_once),
        cmocka_unit_test(pages_of_others_are_taken_in_time),
        cmocka_unit_test(draining_finishes_what_runs),
        cmocka_unit_test(quitting_leaves_at_once),
        cmocka_unit_test(generations_stop_where_they_are_told),
        cmocka_unit_test(samples_are_of_the_vocabulary_given),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(the_context_may_be_filled),
        cmocka_unit_test(a_failure_gives_all_pages_back),
        cmocka_unit_test(steps_allocate_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
