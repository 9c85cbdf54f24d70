/* Requests end for the right reason, and have the same tokens however they run. */

#include "engine/generation.h"
#include "engine_fixture.h"

#include <stdio.h>

enum { REQUESTS = 6, MOST_TOKENS = 40, PROMPT = 50 };

struct heard {
    size_t tokens;
    int32_t id[MOST_TOKENS];
    enum ce_finish finish;
};

struct script {
    size_t order[REQUESTS]; /* of first tokens */
    size_t started;
    int32_t prompt[REQUESTS][PROMPT];
    struct ce_generation_request request[REQUESTS];
    struct heard heard[REQUESTS];
    struct ce_generation generation;
};

static void on_token(void *context, size_t request, int32_t id, enum ce_finish finish)
{
    struct script *script = context;
    struct heard *heard = &script->heard[request];

    assert_in_range(request, 0, script->generation.count - 1);
    assert_in_range(heard->tokens, 0, MOST_TOKENS - 1);
    assert_int_equal(heard->finish, CE_FINISH_NONE); /* nothing after the end */
    if (heard->tokens == 0) {
        script->order[script->started++] = request;
    }
    heard->id[heard->tokens++] = id;
    heard->finish = finish;
}

/* Requests of different lengths, 5 to PROMPT tokens and 4 to 24 new ones. */
static void write_script(struct script *script, size_t count)
{
    memset(script, 0, sizeof(*script));
    for (size_t i = 0; i < REQUESTS; i++) {
        fixture_text(script->prompt[i], PROMPT, 50 + i);
        script->request[i] =
            (struct ce_generation_request){script->prompt[i], 5 + 9 * i, 24 - 4 * i};
    }
    script->generation = (struct ce_generation){.requests = script->request,
                                                .count = count,
                                                .vocab = 2048,
                                                .ignore_stop = true,
                                                .on_token = on_token,
                                                .context = script};
}

static void run(struct fixture *fixture, struct script *script)
{
    struct ce_error err = {.text = ""};

    memset(script->heard, 0, sizeof(script->heard));
    script->started = 0;
    assert_ok(ce_generate(fixture->engine, &script->generation, &err), &err);
}

static void check_refused(struct fixture *fixture,
                          struct script *script,
                          enum ce_status status,
                          const char *words)
{
    const struct ce_kv_cache *cache = &fixture->engine->cache;
    struct ce_error err = {.text = ""};

    memset(script->heard, 0, sizeof(script->heard));
    assert_fails(
        ce_generate(fixture->engine, &script->generation, &err), status, words, &err);
    for (size_t i = 0; i < REQUESTS; i++) {
        assert_int_equal(script->heard[i].tokens, 0);
    }
    assert_int_equal(cache->free_pages, cache->pages);
}

static void names_of_ends(void **state)
{
    (void)state;
    assert_string_equal(ce_finish_name(CE_FINISH_STOP), "stop");
    assert_string_equal(ce_finish_name(CE_FINISH_LENGTH), "length");
    assert_non_null(ce_finish_name(CE_FINISH_NONE));
}

static void cache_tokens_are_whole_pages(void **state)
{
    (void)state;
    struct ce_generation_request request = {.prompt_tokens = 10, .max_tokens = 6};

    assert_int_equal(ce_generation_cache_tokens(&request, 1024), 16);
    request.max_tokens = 7;
    assert_in_range(ce_generation_cache_tokens(&request, 1024), 16, 32);
    request.max_tokens = SIZE_MAX; /* no more than the context */
    assert_int_equal(ce_generation_cache_tokens(&request, 1024), 1024);
    assert_int_equal(ce_generation_cache_tokens(&request, 12), 16);
}

static void all_requests_get_their_tokens(void **state)
{
    (void)state;
    struct fixture fixture;
    struct script script;

    fixture_open(&fixture, (struct fixture_size){0});
    write_script(&script, REQUESTS);
    run(&fixture, &script);
    for (size_t i = 0; i < REQUESTS; i++) {
        assert_int_equal(script.heard[i].tokens, script.request[i].max_tokens);
        assert_int_equal(script.heard[i].finish, CE_FINISH_LENGTH);
    }
    script.generation.vocab = 100;
    script.generation.sampling = (struct ce_sampling){.temperature = 1, .top_p = 1};
    run(&fixture, &script);
    for (size_t i = 0; i < REQUESTS; i++) {
        for (size_t t = 0; t < script.heard[i].tokens; t++) {
            assert_in_range(script.heard[i].id[t], 0, 99);
        }
    }
    write_script(&script, 0);
    run(&fixture, &script);
    fixture_close(&fixture);
}

static bool is_same(const struct heard *a, const struct heard *b)
{
    return a->tokens == b->tokens && a->finish == b->finish &&
           memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

/* One request by steps written out; a draw is of (seed, request, new token). */
static void check_request(struct fixture *fixture,
                          struct ce_sampler *sampler,
                          const struct script *script,
                          size_t request)
{
    const struct heard *heard = &script->heard[request];
    struct ce_sequence *sequence = fixture_sequence(fixture);
    size_t prompt = script->request[request].prompt_tokens;
    size_t vocab = ce_engine_vocab_size(fixture->engine);
    const float *logits =
        fixture_feed(fixture, sequence, script->prompt[request], prompt) +
        (prompt - 1) * vocab;

    for (size_t t = 0; t < heard->tokens; t++) {
        int32_t id =
            ce_sample(sampler, &script->generation.sampling, logits, vocab, request, t);

        assert_int_equal(heard->id[t], id);
        logits = fixture_feed(fixture, sequence, &id, 1);
    }
    ce_sequence_destroy(sequence);
}

static void tokens_are_those_of_steps(void **state)
{
    (void)state;
    static const struct ce_sampling settings[] = {
        {.temperature = 0}, {.temperature = 1, .top_p = 0.95, .seed = 8}};
    struct fixture fixture;
    struct script script;
    struct ce_sampler sampler = {0};

    fixture_open(&fixture, (struct fixture_size){0});
    assert_int_equal(
        ce_sampler_create(&sampler, ce_engine_vocab_size(fixture.engine), NULL), CE_OK);
    write_script(&script, REQUESTS);
    for (size_t s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
        script.generation.sampling = settings[s];
        run(&fixture, &script);
        for (size_t i = 0; i < REQUESTS; i++) {
            check_request(&fixture, &sampler, &script, i);
        }
    }
    ce_sampler_destroy(&sampler);
    fixture_close(&fixture);
}

/* A token that request 0 generates in the middle becomes a stop token. */
static void stop_tokens_end_a_request(void **state)
{
    (void)state;
    struct fixture fixture;
    struct script script;
    struct heard free_run;
    struct ce_config *config = NULL;
    size_t first = 0;

    fixture_open(&fixture, (struct fixture_size){0});
    write_script(&script, 2);
    /* Sampled, as greedy choices may repeat one token from the start. */
    script.generation.sampling =
        (struct ce_sampling){.temperature = 1, .top_p = 1, .seed = 3};
    run(&fixture, &script);
    free_run = script.heard[0];
    config = &fixture.engine->config;
    config->stop_tokens = 2;
    config->stop_token[0] = 1;
    config->stop_token[1] = free_run.id[6];
    while (free_run.id[first] != free_run.id[6]) {
        first++;
    }
    script.generation.ignore_stop = false;
    run(&fixture, &script);
    assert_int_equal(script.heard[0].finish, CE_FINISH_STOP);
    assert_int_equal(script.heard[0].tokens, first + 1);
    assert_memory_equal(
        script.heard[0].id, free_run.id, (first + 1) * sizeof(free_run.id[0]));
    assert_int_equal(script.heard[0].id[first], config->stop_token[1]);
    assert_true(script.heard[1].tokens > first + 1); /* the other one goes on */

    /* A stop token in the last place is a stop. */
    script.request[0].max_tokens = first + 1;
    run(&fixture, &script);
    assert_int_equal(script.heard[0].finish, CE_FINISH_STOP);
    script.request[0].max_tokens = free_run.tokens;

    script.generation.ignore_stop = true;
    run(&fixture, &script);
    assert_true(is_same(&script.heard[0], &free_run));
    fixture_close(&fixture);
}

static void the_context_ends_a_request(void **state)
{
    (void)state;
    static const size_t left[] = {1, 2, 4};
    struct fixture fixture;
    struct script script;
    int32_t *ids = calloc(1024, sizeof(ids[0]));

    assert_non_null(ids);
    fixture_text(ids, 1024, 9);
    fixture_open(&fixture, (struct fixture_size){.step_tokens = 256});
    write_script(&script, 1);
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        script.request[0] = (struct ce_generation_request){ids, 1024 - left[i], 30};
        run(&fixture, &script);
        assert_int_equal(script.heard[0].tokens, left[i]);
        assert_int_equal(script.heard[0].finish, CE_FINISH_LENGTH);
    }
    script.request[0].prompt_tokens = 1024;
    check_refused(&fixture, &script, CE_ERR_ARG, "context of 1024");
    fixture_close(&fixture);
    free(ids);
}

static void assert_same(const struct script *a, const struct script *b, const char *how)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        if (!is_same(&a->heard[i], &b->heard[i])) {
            fail_msg("%s: request %zu has other tokens", how, i);
        }
    }
}

static void check_ways(const struct ce_sampling *sampling)
{
    /* The largest request takes PROMPT + 4 tokens: 64 with whole pages. */
    static const struct {
        struct fixture_size size;
        size_t chunk;
    } ways[] = {
        {{.step_tokens = 512, .cache_tokens = 4096}, 1},
        {{.step_tokens = 512, .cache_tokens = 4096}, 5},
        {{.step_tokens = 512, .cache_tokens = 4096}, 16},
        {{.step_tokens = 512, .cache_tokens = 64}, 0}, /* one or two at a time */
        {{.step_tokens = 512, .cache_tokens = 64}, 7},
        {{.step_tokens = 7, .cache_tokens = 128}, 0},
        {{.step_tokens = 1, .cache_tokens = 4096}, 0},
        {{.step_tokens = 3, .step_logits = 1, .cache_tokens = 100}, 2},
    };
    struct fixture fixture;
    struct script wanted;
    struct script script;

    write_script(&wanted, REQUESTS);
    wanted.generation.sampling = *sampling;
    fixture_open(&fixture, (struct fixture_size){0});
    run(&fixture, &wanted);
    fixture_close(&fixture);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        char how[32];

        (void)snprintf(how, sizeof(how), "way %zu", w);
        write_script(&script, REQUESTS);
        script.generation.sampling = *sampling;
        script.generation.chunk = ways[w].chunk;
        fixture_open(&fixture, ways[w].size);
        run(&fixture, &script);
        fixture_close(&fixture);
        assert_same(&script, &wanted, how);
    }
}

static void greedy_tokens_do_not_depend_on_the_way(void **state)
{
    (void)state;
    check_ways(&(struct ce_sampling){.temperature = 0});
}

static void sampled_tokens_do_not_depend_on_the_way(void **state)
{
    (void)state;
    check_ways(&(struct ce_sampling){
        .temperature = 0.9, .top_k = 200, .top_p = 0.98, .seed = 5});
}

/* The last one would fit beside the first, but a large one waits before it. */
static void requests_start_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    struct script script;

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 64});
    write_script(&script, 3);
    script.request[0].prompt_tokens = 20;
    script.request[1].prompt_tokens = 40;
    script.request[2].prompt_tokens = 5;
    script.request[2].max_tokens = 8;
    run(&fixture, &script);
    assert_int_equal(script.started, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(script.order[i], i);
    }
    fixture_close(&fixture);
}

static void prompts_that_cannot_run_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct script script;
    struct ce_error err = {.text = ""};

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 64});
    write_script(&script, REQUESTS);
    script.request[4].prompt_tokens = 0;
    check_refused(&fixture, &script, CE_ERR_ARG, "prompt 4 is empty");

    write_script(&script, REQUESTS);
    script.request[3].prompt_tokens = 1024;
    check_refused(&fixture, &script, CE_ERR_ARG, "prompt 3 has 1024 tokens");

    write_script(&script, REQUESTS);
    script.request[5].max_tokens = 15; /* 50 + 15 tokens do not fit into 64 */
    check_refused(&fixture, &script, CE_ERR_NOMEM, "prompt 5");

    write_script(&script, REQUESTS);
    script.prompt[2][3] = 2048;
    assert_fails(ce_generate(fixture.engine, &script.generation, &err),
                 CE_ERR_ARG,
                 "token 2048 is outside the vocabulary",
                 &err);
    write_script(&script, REQUESTS);
    run(&fixture, &script); /* as if nothing had been */
    assert_int_equal(script.heard[5].tokens, script.request[5].max_tokens);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_ends),
        cmocka_unit_test(cache_tokens_are_whole_pages),
        cmocka_unit_test(all_requests_get_their_tokens),
        cmocka_unit_test(tokens_are_those_of_steps),
        cmocka_unit_test(stop_tokens_end_a_request),
        cmocka_unit_test(the_context_ends_a_request),
        cmocka_unit_test(greedy_tokens_do_not_depend_on_the_way),
        cmocka_unit_test(sampled_tokens_do_not_depend_on_the_way),
        cmocka_unit_test(requests_start_in_order),
        cmocka_unit_test(prompts_that_cannot_run_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
