/* The sampler against probabilities computed here, over many positions. */

#include "engine/sampler.h"
#include "test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { VOCAB = 5, ROW = 8, DRAWS = 20000, ATTEMPTS = 1000 };

/* What is above VOCAB is no candidate, though it is larger. */
static const float row[ROW] = {0.5F, 2.0F, -1.0F, 1.25F, 1.0F, 9.0F, 50.0F, INFINITY};

static struct ce_sampler open_sampler(size_t vocab)
{
    struct ce_sampler sampler = {0};

    assert_int_equal(ce_sampler_create(&sampler, vocab, NULL), CE_OK);
    return sampler;
}

static void greedy_takes_the_largest(void **state)
{
    (void)state;
    static const float negative[] = {-5.0F, -FLT_MAX, -3.0F, -INFINITY};
    static const float ties[] = {1.0F, 3.0F, 2.0F, 3.0F, 3.0F};
    static const float zeros[] = {-0.0F, 0.0F};
    float late[100] = {0}; /* in the lanes and behind them */

    assert_int_equal(ce_sample_greedy(row, VOCAB), 1);
    assert_int_equal(ce_sample_greedy(row, 1), 0);
    assert_int_equal(ce_sample_greedy(row, VOCAB + 1), VOCAB);
    assert_int_equal(ce_sample_greedy(negative, 4), 2);
    assert_int_equal(ce_sample_greedy(ties, 5), 1);
    assert_int_equal(ce_sample_greedy(zeros, 2), 0);
    for (size_t i = 1; i < 100; i++) {
        late[i] = 1.0F + (float)i;
        assert_int_equal(ce_sample_greedy(late, 100), i);
        assert_int_equal(ce_sample_greedy(late, i), i - 1);
    }
}

/* Settings that leave one candidate, or as good as one. */
static void narrow_settings_are_greedy(void **state)
{
    (void)state;
    static const float ties[VOCAB] = {1.0F, 3.0F, 2.0F, 3.0F, 3.0F};
    static const struct ce_sampling settings[] = {
        {.temperature = 0, .top_k = 0, .top_p = 1},
        {.temperature = 0, .top_k = 3, .top_p = 0.5},
        {.temperature = 1, .top_k = 1, .top_p = 1},
        {.temperature = 5, .top_k = 1, .top_p = 0.9},
        {.temperature = 1, .top_k = 0, .top_p = 1e-9},
        {.temperature = 1, .top_k = 0, .top_p = 0},
    };
    struct ce_sampler sampler = open_sampler(VOCAB);

    for (size_t s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
        for (uint64_t i = 0; i < ATTEMPTS; i++) {
            assert_int_equal(ce_sample(&sampler, &settings[s], row, VOCAB, 3, i), 1);
            assert_int_equal(ce_sample(&sampler, &settings[s], ties, VOCAB, 3, i), 1);
        }
    }
    ce_sampler_destroy(&sampler);
}

static void tiny_temperatures_are_greedy(void **state)
{
    (void)state;
    static const double temperatures[] = {1e-3, 1e-30, DBL_MIN, 5e-324};
    static const float wide[VOCAB] = {-FLT_MAX, FLT_MAX, -INFINITY, 0.0F, 1e30F};
    struct ce_sampler sampler = open_sampler(VOCAB);

    for (size_t t = 0; t < sizeof(temperatures) / sizeof(temperatures[0]); t++) {
        struct ce_sampling sampling = {.temperature = temperatures[t], .top_p = 0.95};

        for (uint64_t i = 0; i < ATTEMPTS; i++) {
            sampling.top_p = i % 2 == 0 ? 0.95 : 1;
            assert_int_equal(ce_sample(&sampler, &sampling, row, VOCAB, 0, i), 1);
            assert_int_equal(ce_sample(&sampler, &sampling, wide, VOCAB, 0, i), 1);
        }
    }
    ce_sampler_destroy(&sampler);
}

/* A large temperature leaves the choice even: every candidate comes, no other. */
static void only_the_vocabulary_is_drawn(void **state)
{
    (void)state;
    const struct ce_sampling sampling = {.temperature = 1e6, .top_p = 1};
    struct ce_sampler sampler = open_sampler(ROW);

    for (size_t vocab = 1; vocab <= VOCAB + 2; vocab++) {
        size_t seen[ROW] = {0};

        for (uint64_t i = 0; i < ATTEMPTS; i++) {
            int32_t id = ce_sample(&sampler, &sampling, row, vocab, 1, i);

            assert_in_range(id, 0, vocab - 1);
            seen[id]++;
        }
        for (size_t id = 0; id < vocab; id++) {
            assert_true(seen[id] > 0);
        }
    }
    ce_sampler_destroy(&sampler);
}

static void a_draw_is_a_function_of_its_key(void **state)
{
    (void)state;
    struct ce_sampling sampling = {.temperature = 1, .top_p = 1, .seed = 42};
    struct ce_sampler sampler = open_sampler(VOCAB);
    struct ce_sampler other = open_sampler(ROW);
    size_t differ[3] = {0};

    for (uint64_t i = ATTEMPTS; i-- > 0;) { /* in another order than elsewhere */
        int32_t id = ce_sample(&sampler, &sampling, row, VOCAB, 7, i);
        struct ce_sampling reseeded = sampling;

        reseeded.seed++;
        (void)ce_sample(&other, &reseeded, row, ROW - 1, i, i);
        assert_int_equal(ce_sample(&other, &sampling, row, VOCAB, 7, i), id);
        differ[0] += ce_sample(&other, &reseeded, row, VOCAB, 7, i) != id;
        differ[1] += ce_sample(&other, &sampling, row, VOCAB, 8, i) != id;
        differ[2] += ce_sample(&other, &sampling, row, VOCAB, 7, i + ATTEMPTS) != id;
    }
    for (size_t i = 0; i < 3; i++) { /* independent draws differ in 2 of 3 cases */
        assert_in_range(differ[i], ATTEMPTS / 2, ATTEMPTS * 4 / 5);
    }
    ce_sampler_destroy(&sampler);
    ce_sampler_destroy(&other);
}

/* Ranks by looking at all others, sums in plain loops: not how the sampler does. */
static void
expect(const struct ce_sampling *sampling, const float *logits, double *probability)
{
    double weight[VOCAB];
    size_t place[VOCAB];
    double all = 0;
    double kept = 0;

    for (size_t i = 0; i < VOCAB; i++) {
        place[i] = 0;
        for (size_t j = 0; j < VOCAB; j++) {
            place[i] += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
        }
        weight[i] = exp((double)logits[i] / sampling->temperature);
        weight[i] *= sampling->top_k == 0 || place[i] < sampling->top_k;
        all += weight[i];
    }
    for (size_t i = 0; i < VOCAB; i++) {
        double before = 0; /* mass of the likelier ones */

        for (size_t j = 0; j < VOCAB; j++) {
            before += place[j] < place[i] ? weight[j] / all : 0;
        }
        probability[i] = place[i] == 0 || before < sampling->top_p ? weight[i] : 0;
        kept += probability[i];
    }
    for (size_t i = 0; i < VOCAB; i++) {
        probability[i] /= kept;
    }
}

enum key { SEEDS, REQUESTS, POSITIONS, KEYS };

static void
check_frequencies(struct ce_sampling sampling, const float *logits, enum key over)
{
    struct ce_sampler sampler = open_sampler(VOCAB);
    double probability[VOCAB];
    size_t count[VOCAB] = {0};

    expect(&sampling, logits, probability);
    for (uint64_t i = 0; i < DRAWS; i++) {
        sampling.seed = over == SEEDS ? i : 11;
        count[ce_sample(&sampler,
                        &sampling,
                        logits,
                        VOCAB,
                        over == REQUESTS ? i : 2,
                        over == POSITIONS ? i : 5)]++;
    }
    for (size_t i = 0; i < VOCAB; i++) {
        double p = probability[i];
        double sigma = sqrt(DRAWS * p * (1 - p));

        if (fabs((double)count[i] - DRAWS * p) > 5 * sigma) {
            fail_msg("temperature %g, top_k %zu, top_p %g, key %d: token %zu came %zu "
                     "times, expected %.0f +- %.0f",
                     sampling.temperature,
                     sampling.top_k,
                     sampling.top_p,
                     (int)over,
                     i,
                     count[i],
                     DRAWS * p,
                     sigma);
        }
    }
    ce_sampler_destroy(&sampler);
}

static void frequencies_are_the_probabilities(void **state)
{
    (void)state;
    static const float ties[VOCAB] = {0.5F, 1.0F, 1.0F, 1.0F, 1.0F};
    static const struct ce_sampling settings[] = {
        {.temperature = 1, .top_k = 0, .top_p = 1},
        {.temperature = 0.7, .top_k = 0, .top_p = 1},
        {.temperature = 1, .top_k = 3, .top_p = 1},
        {.temperature = 1, .top_k = 0, .top_p = 0.8},
        {.temperature = 0.7, .top_k = 3, .top_p = 1},
        /* 0.7 of what top_k left, which ends sooner than 0.7 of all */
        {.temperature = 1.5, .top_k = 4, .top_p = 0.7},
        {.temperature = 1, .top_k = 100, .top_p = 0.999999},
    };

    for (size_t s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
        for (int over = 0; over < KEYS; over++) {
            check_frequencies(settings[s], row, (enum key)over);
        }
        check_frequencies(settings[s], ties, POSITIONS);
    }
}

static void destroy_accepts_nothing(void **state)
{
    (void)state;
    struct ce_sampler sampler = {0};

    ce_sampler_destroy(&sampler);
    sampler = open_sampler(1);
    ce_sampler_destroy(&sampler);
    assert_null(sampler.candidate);
    ce_sampler_destroy(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest),
        cmocka_unit_test(narrow_settings_are_greedy),
        cmocka_unit_test(tiny_temperatures_are_greedy),
        cmocka_unit_test(only_the_vocabulary_is_drawn),
        cmocka_unit_test(a_draw_is_a_function_of_its_key),
        cmocka_unit_test(frequencies_are_the_probabilities),
        cmocka_unit_test(destroy_accepts_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
