/* Log-likelihoods against a log-softmax in double precision, over all cuts. */

#include "engine/likelihood.h"
#include "engine/scoring.h"
#include "engine_fixture.h"

#include <math.h>

#define TEXT 100

struct scores {
    int32_t ids[TEXT];
    double logprob[TEXT];
    size_t progress; /* what was told last */
};

static void on_progress(void *context, size_t scored)
{
    struct scores *scores = context;

    assert_true(scored >= scores->progress);
    scores->progress = scored;
}

/* Scores the first `count` of a text; the rest of logprob stays as it is. */
static void
score(struct fixture *fixture, struct scores *scores, size_t count, size_t window)
{
    struct ce_scoring scoring = {.ids = scores->ids,
                                 .count = count,
                                 .window = window,
                                 .on_progress = on_progress,
                                 .context = scores};
    struct ce_error err = {.text = ""};

    fixture_text(scores->ids, TEXT, 77);
    for (size_t i = 0; i < TEXT; i++) {
        scores->logprob[i] = 1;
    }
    scores->progress = 0;
    assert_ok(ce_score(fixture->engine, &scoring, scores->logprob, &err), &err);
}

static double log_softmax(const float *logits, size_t vocab, int32_t id)
{
    double most = (double)logits[0];
    double sum = 0;

    for (size_t i = 1; i < vocab; i++) {
        most = fmax(most, (double)logits[i]);
    }
    for (size_t i = 0; i < vocab; i++) {
        sum += exp((double)logits[i] - most);
    }
    return (double)logits[id] - most - log(sum);
}

/* What a window's tokens have by steps written out; returns how many it scored. */
static size_t check_window(struct fixture *fixture,
                           const struct scores *scores,
                           size_t first,
                           size_t count)
{
    struct ce_sequence *sequence = fixture_sequence(fixture);
    size_t vocab = ce_engine_vocab_size(fixture->engine);
    const float *logits = fixture_feed(fixture, sequence, scores->ids + first, count);

    assert_true(isnan(scores->logprob[first]));
    for (size_t i = 1; i < count; i++) {
        double wanted =
            log_softmax(logits + (i - 1) * vocab, vocab, scores->ids[first + i]);
        double error = fabs(scores->logprob[first + i] - wanted);

        if (!(error <= 1e-5)) {
            fail_msg("token %zu: %.9g, expected %.9g",
                     first + i,
                     scores->logprob[first + i],
                     wanted);
        }
    }
    ce_sequence_destroy(sequence);
    return count - 1;
}

static void check_score(struct fixture *fixture, size_t count, size_t window)
{
    struct scores scores;
    size_t scored = 0;
    size_t dropped = count % window == 1;

    ce_engine_reset_counters(fixture->engine);
    score(fixture, &scores, count, window);
    assert_int_equal(fixture->engine->counters.tokens, count - dropped);
    for (size_t first = 0; first < count; first += window) {
        size_t left = count - first;

        scored += check_window(fixture, &scores, first, left < window ? left : window);
    }
    assert_int_equal(scores.progress, scored);
    for (size_t i = count; i < TEXT; i++) {
        assert_true(scores.logprob[i] == 1);
    }
}

static void scores_are_those_of_steps(void **state)
{
    (void)state;
    struct fixture fixture;

    fixture_open(&fixture, (struct fixture_size){.step_tokens = 128});
    check_score(&fixture, 100, 25); /* divides */
    check_score(&fixture, 100, 32); /* leaves 4 */
    check_score(&fixture, 97, 32);  /* leaves 1, which is dropped */
    check_score(&fixture, 98, 32);
    check_score(&fixture, 100, 100);
    check_score(&fixture, 60, 1000); /* a window larger than the text */
    check_score(&fixture, 41, 2);
    check_score(&fixture, 2, 2);
    fixture_close(&fixture);
}

static void next_to_nothing_has_no_scores(void **state)
{
    (void)state;
    struct fixture fixture;
    struct scores scores;

    fixture_open(&fixture, (struct fixture_size){0});
    score(&fixture, &scores, 1, 16);
    assert_true(isnan(scores.logprob[0]));
    assert_int_equal(scores.progress, 0);
    score(&fixture, &scores, 0, 16);
    assert_true(scores.logprob[0] == 1);
    fixture_close(&fixture);
}

static void bits_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    static const struct fixture_size sizes[] = {
        {.step_tokens = 512},
        {.step_tokens = 64},
        {.step_tokens = 5},
        {.step_tokens = 1},
        {.step_tokens = 64, .step_logits = 9},
        {.step_tokens = 64, .cache_tokens = 33}, /* one window at a time */
        {.step_tokens = 20, .cache_tokens = 100},
    };
    struct scores wanted;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fixture fixture;
        struct scores scores;

        fixture_open(&fixture, sizes[i]);
        score(&fixture, i == 0 ? &wanted : &scores, TEXT, 33);
        fixture_close(&fixture);
        for (size_t t = 0; i > 0 && t < TEXT; t++) {
            assert_int_equal(isnan(scores.logprob[t]), isnan(wanted.logprob[t]));
            if (!isnan(wanted.logprob[t])) {
                assert_memory_equal(
                    &scores.logprob[t], &wanted.logprob[t], sizeof(double));
            }
        }
    }
}

static void check_refused(struct fixture *fixture,
                          struct ce_scoring scoring,
                          enum ce_status status,
                          const char *words)
{
    const struct ce_kv_cache *cache = &fixture->engine->cache;
    double logprob[TEXT];
    struct ce_error err = {.text = ""};

    assert_fails(
        ce_score(fixture->engine, &scoring, logprob, &err), status, words, &err);
    assert_int_equal(cache->free_pages, cache->pages);
}

static void windows_out_of_range_are_refused(void **state)
{
    (void)state;
    static const size_t windows[] = {0, 1, 1025, SIZE_MAX};
    struct fixture fixture;
    struct scores scores;

    fixture_open(&fixture, (struct fixture_size){0});
    fixture_text(scores.ids, TEXT, 77);
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        check_refused(&fixture,
                      (struct ce_scoring){scores.ids, TEXT, windows[i], NULL, NULL},
                      CE_ERR_ARG,
                      "window");
    }
    check_score(&fixture, TEXT, 1024);
    fixture_close(&fixture);
    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 64});
    check_refused(&fixture,
                  (struct ce_scoring){scores.ids, TEXT, 65, NULL, NULL},
                  CE_ERR_ARG,
                  "the KV cache 64 tokens");
    check_score(&fixture, TEXT, 64);
    fixture_close(&fixture);
}

/* Wherever the bad one is: also where a step ends right before it, so that it is
 * looked up before it is fed. */
static void ids_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    static const int32_t bad[] = {2048, -1, INT32_MAX, INT32_MIN};
    struct fixture fixture;
    struct scores scores;

    fixture_open(&fixture, (struct fixture_size){.step_tokens = 5});
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t at = 0; at < 12; at++) {
            fixture_text(scores.ids, TEXT, 77);
            scores.ids[at] = bad[i];
            check_refused(&fixture,
                          (struct ce_scoring){scores.ids, 12, 12, NULL, NULL},
                          CE_ERR_ARG,
                          "is outside the vocabulary");
        }
    }
    check_score(&fixture, 5, 5);
    fixture_close(&fixture);
}

static void check_probability(const float *row, size_t vocab, int32_t id, double wanted)
{
    float logits[8];
    double found = 0;

    memcpy(logits, row, vocab * sizeof(float));
    found = ce_log_probability(ce_kernels_get(CE_ISA_REF), logits, vocab, id);
    if (!(found == wanted || fabs(found - wanted) <= 1e-6 * (1 + fabs(wanted)))) {
        fail_msg("token %d: %.9g, expected %.9g", id, found, wanted);
    }
}

/* Far below the largest a probability is 0 in F32, its logarithm is not. */
static void probabilities_of_the_unlikely_are_kept(void **state)
{
    (void)state;
    static const float even[] = {3, 3, 3, 3};
    static const float steep[] = {0, 1000, -1000, 999};
    static const float alone[] = {-7};

    check_probability(even, 4, 2, -log(4));
    check_probability(steep, 4, 1, -log1p(exp(-1)));
    check_probability(steep, 4, 2, -2000 - log1p(exp(-1)));
    check_probability(steep, 4, 0, -1000 - log1p(exp(-1)));
    check_probability(alone, 1, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_steps),
        cmocka_unit_test(next_to_nothing_has_no_scores),
        cmocka_unit_test(bits_do_not_depend_on_the_cut),
        cmocka_unit_test(windows_out_of_range_are_refused),
        cmocka_unit_test(probabilities_of_the_unlikely_are_kept),
        cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
