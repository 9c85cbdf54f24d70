/* One engine that changes how many experts run in full has the bits of engines that
 * were created so. */

#include "engine_fixture.h"

enum { TOKENS = 50 };

struct choice {
    int compressed;
    int truncated;
};

static void open_engine(struct fixture *fixture,
                        struct choice choice,
                        const char *tables,
                        bool switchable)
{
    struct ce_engine_options options;
    struct ce_error err = {.text = ""};

    ce_log_init(CE_LOG_WARN, 0);
    ce_engine_options_init(&options);
    options.model = CE_MODEL_DIR;
    options.compressed_experts = tables;
    options.compressed = choice.compressed;
    options.truncated = choice.truncated;
    options.switchable = switchable;
    options.step_tokens = TOKENS;
    assert_ok(ce_transport_create(&fixture->transport, "self", 0, &err), &err);
    assert_ok(ce_engine_create(&fixture->engine, fixture->transport, &options, &err),
              &err);
}

/* All logits of a text, to be freed. */
static float *find_logits(struct fixture *fixture)
{
    size_t bytes = TOKENS * ce_engine_vocab_size(fixture->engine) * sizeof(float);
    struct ce_sequence *sequence = fixture_sequence(fixture);
    float *logits = malloc(bytes);
    int32_t ids[TOKENS];

    assert_non_null(logits);
    fixture_text(ids, TOKENS, 4);
    memcpy(logits, fixture_feed(fixture, sequence, ids, TOKENS), bytes);
    ce_sequence_destroy(sequence);
    return logits;
}

static void choices_have_the_bits_of_their_engines(void **state)
{
    (void)state;
    static const struct choice choices[] = {
        {2, 0}, {0, 2}, {0, 0}, {3, 0}, {0, 3}, {1, 0}, {0, 0}, {2, 0}};
    enum { CHOICES = sizeof(choices) / sizeof(choices[0]) };
    struct fixture switched;
    struct ce_error err = {.text = ""};

    open_engine(&switched, choices[0], FIXTURE_TABLES, true);
    for (size_t i = 0; i < CHOICES; i++) {
        struct fixture fixed;
        float *wanted = NULL;
        float *found = NULL;
        size_t bytes = 0;

        open_engine(&fixed, choices[i], FIXTURE_TABLES, false);
        bytes = TOKENS * ce_engine_vocab_size(fixed.engine) * sizeof(float);
        wanted = find_logits(&fixed);
        assert_ok(
            ce_engine_choose_mains(
                switched.engine, choices[i].compressed, choices[i].truncated, &err),
            &err);
        found = find_logits(&switched);
        assert_memory_equal(found, wanted, bytes);
        assert_int_equal(ce_engine_compressed(switched.engine), choices[i].compressed);
        assert_int_equal(switched.engine->mains, fixed.engine->mains);
        free(found);
        free(wanted);
        fixture_close(&fixed);
    }
    fixture_close(&switched);
}

/* One engine through the files `path`, against engines that were created with them;
 * NULL is none. */
static void check_file(struct fixture *switched, const char *path, struct choice choice)
{
    struct fixture fixed;
    float *wanted = NULL;
    float *found = NULL;
    struct ce_error err = {.text = ""};

    open_engine(&fixed, choice, path, false);
    wanted = find_logits(&fixed);
    assert_ok(ce_engine_use_compressed(switched->engine, path, &err), &err);
    assert_int_equal(switched->engine->compressed, 0);
    assert_int_equal(switched->engine->mains, switched->engine->config.top_k);
    assert_ok(ce_engine_choose_mains(
                  switched->engine, choice.compressed, choice.truncated, &err),
              &err);
    found = find_logits(switched);
    assert_memory_equal(
        found, wanted, TOKENS * ce_engine_vocab_size(fixed.engine) * sizeof(float));
    free(found);
    free(wanted);
    fixture_close(&fixed);
}

static void files_have_the_bits_of_their_engines(void **state)
{
    (void)state;
    struct fixture switched;

    open_engine(&switched, (struct choice){0, 0}, NULL, true);
    check_file(&switched, FIXTURE_AFFINE, (struct choice){2, 0});
    check_file(&switched, FIXTURE_TABLES, (struct choice){1, 0});
    check_file(&switched, FIXTURE_AFFINE, (struct choice){3, 0});
    check_file(&switched, NULL, (struct choice){0, 2});
    check_file(&switched, FIXTURE_AFFINE, (struct choice){0, 0});
    fixture_close(&switched);
    open_engine(&switched, (struct choice){2, 0}, FIXTURE_AFFINE, true);
    check_file(&switched, FIXTURE_TABLES, (struct choice){2, 0});
    check_file(&switched, FIXTURE_AFFINE, (struct choice){1, 0});
    fixture_close(&switched);
}

/* Tables in the checkpoint are back when no file is wanted any more. */
static void tables_of_the_checkpoint_come_back(void **state)
{
    (void)state;
    struct ce_engine_options options;
    struct fixture fixture;
    struct ce_error err = {.text = ""};
    float *own = NULL;
    float *again = NULL;

    ce_log_init(CE_LOG_ERROR, 0);
    ce_engine_options_init(&options);
    options.model = CE_MODEL_DIR "/ce-math";
    options.switchable = true;
    options.step_tokens = TOKENS;
    assert_ok(ce_transport_create(&fixture.transport, "self", 0, &err), &err);
    assert_ok(ce_engine_create(&fixture.engine, fixture.transport, &options, &err),
              &err);
    own = find_logits(&fixture);
    assert_ok(ce_engine_use_compressed(fixture.engine, FIXTURE_TABLES, &err), &err);
    assert_ok(ce_engine_choose_mains(fixture.engine, 2, 0, &err), &err);
    again = find_logits(&fixture);
    assert_memory_not_equal(own, again, TOKENS * sizeof(float));
    free(again);
    assert_ok(ce_engine_use_compressed(fixture.engine, NULL, &err), &err);
    assert_ok(ce_engine_choose_mains(fixture.engine, 2, 0, &err), &err);
    again = find_logits(&fixture);
    assert_memory_equal(
        own, again, TOKENS * ce_engine_vocab_size(fixture.engine) * sizeof(float));
    free(own);
    free(again);
    fixture_close(&fixture);
}

/* The engine is as one without compressed experts then. */
static void files_that_cannot_be_used_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_error err = {.text = ""};

    open_engine(&fixture, (struct choice){2, 0}, FIXTURE_AFFINE, true);
    assert_fails(ce_engine_use_compressed(fixture.engine, "/nonexistent", &err),
                 CE_ERR_IO,
                 "/nonexistent",
                 &err);
    assert_int_equal(fixture.engine->compressed, 0);
    assert_fails(ce_engine_choose_mains(fixture.engine, 2, 0, &err),
                 CE_ERR_ARG,
                 "it has none",
                 &err);
    free(find_logits(&fixture));
    check_file(&fixture, FIXTURE_AFFINE, (struct choice){2, 0});
    assert_int_equal(setenv("CEMOE_MEMORY_LIMIT", "1000", 1), 0);
    assert_fails(ce_engine_use_compressed(fixture.engine, FIXTURE_AFFINE, &err),
                 CE_ERR_NOMEM,
                 "for other compressed experts",
                 &err);
    assert_int_equal(unsetenv("CEMOE_MEMORY_LIMIT"), 0);
    check_file(&fixture, FIXTURE_AFFINE, (struct choice){2, 0});
    fixture_close(&fixture);

    open_engine(&fixture, (struct choice){2, 0}, FIXTURE_AFFINE, false);
    assert_fails(ce_engine_use_compressed(fixture.engine, FIXTURE_TABLES, &err),
                 CE_ERR_ARG,
                 "not made to change",
                 &err);
    fixture_close(&fixture);
}

/* The plan of an engine that may change is that of its largest choice, and no choice
 * takes more. */
static void check_memory(const char *tables)
{
    static const struct choice choices[] = {{2, 0}, {0, 2}, {3, 0}, {0, 0}};
    struct fixture switched;
    struct fixture whole;
    struct ce_error err = {.text = ""};

    open_engine(&switched, choices[0], tables, true);
    open_engine(&whole, (struct choice){0, 0}, tables, false);
    assert_true(switched.engine->plan.scratch >= whole.engine->plan.scratch);
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        assert_ok(
            ce_engine_choose_mains(
                switched.engine, choices[i].compressed, choices[i].truncated, &err),
            &err);
        assert_in_range(switched.engine->arena.used,
                        1,
                        switched.engine->plan.cache + switched.engine->plan.scratch);
    }
    fixture_close(&whole);
    fixture_close(&switched);
}

static void memory_for_every_choice_is_planned(void **state)
{
    (void)state;
    check_memory(FIXTURE_TABLES);
    check_memory(FIXTURE_AFFINE);
}

/* Pages of a text are not found again by another model. */
static void pages_do_not_outlive_a_choice(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *sequence = NULL;
    struct ce_error err = {.text = ""};
    int32_t ids[TOKENS];

    fixture_text(ids, TOKENS, 4);
    open_engine(&fixture, (struct choice){1, 0}, FIXTURE_TABLES, true);
    sequence = fixture_sequence(&fixture);
    assert_ok(ce_sequence_reserve(&fixture.engine->cache, sequence, TOKENS, &err),
              &err);
    ce_sequence_announce(&fixture.engine->cache, sequence, ids, TOKENS);
    fixture_feed(&fixture, sequence, ids, TOKENS);
    assert_fails(ce_engine_choose_mains(fixture.engine, 2, 0, &err),
                 CE_ERR_ARG,
                 "while a sequence has tokens",
                 &err);
    ce_sequence_destroy(sequence);
    assert_int_equal(ce_kv_cache_find(&fixture.engine->cache, ids, TOKENS).pages,
                     TOKENS / CE_PAGE_TOKENS);
    assert_ok(ce_engine_choose_mains(fixture.engine, 2, 0, &err), &err);
    assert_int_equal(ce_kv_cache_find(&fixture.engine->cache, ids, TOKENS).pages, 0);
    fixture_close(&fixture);
}

static void impossible_choices_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct choice choice;
        const char *words;
    } cases[] = {{{4, 0}, "one of them must be 0"},
                 {{0, 4}, "one of them must be 0"},
                 {{-1, 0}, "one of them must be 0"},
                 {{0, -1}, "one of them must be 0"},
                 {{1, 1}, "one of them must be 0"}};
    struct fixture fixture;
    struct ce_error err = {.text = ""};

    open_engine(&fixture, (struct choice){1, 0}, FIXTURE_TABLES, true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_fails(ce_engine_choose_mains(fixture.engine,
                                            cases[i].choice.compressed,
                                            cases[i].choice.truncated,
                                            &err),
                     CE_ERR_ARG,
                     cases[i].words,
                     &err);
        assert_int_equal(fixture.engine->compressed, 1);
        assert_int_equal(fixture.engine->moe.auxiliary, 1);
    }
    fixture_close(&fixture);

    open_engine(&fixture, (struct choice){1, 0}, FIXTURE_TABLES, false);
    assert_fails(ce_engine_choose_mains(fixture.engine, 2, 0, &err),
                 CE_ERR_ARG,
                 "not made to change",
                 &err);
    fixture_close(&fixture);

    open_engine(&fixture, (struct choice){0, 0}, NULL, true);
    assert_fails(ce_engine_choose_mains(fixture.engine, 2, 0, &err),
                 CE_ERR_ARG,
                 "not made to change",
                 &err);
    assert_ok(ce_engine_choose_mains(fixture.engine, 0, 2, &err), &err);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_have_the_bits_of_their_engines),
        cmocka_unit_test(files_have_the_bits_of_their_engines),
        cmocka_unit_test(tables_of_the_checkpoint_come_back),
        cmocka_unit_test(files_that_cannot_be_used_are_refused),
        cmocka_unit_test(memory_for_every_choice_is_planned),
        cmocka_unit_test(pages_do_not_outlive_a_choice),
        cmocka_unit_test(impossible_choices_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
