/* Few rows, bad rows, and kept neurons. */

#include "fit_fixture.h"

enum {
    HIDDEN = 8,
    NEURONS = 4,
    ROWS = 400,
};

static const double ridge = 0.01;
static const float layer_mean[HIDDEN] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct ce_fit_options options_of(size_t rank)
{
    return (struct ce_fit_options){.most_rank = rank,
                                   .ridges = &ridge,
                                   .ridge_count = 1,
                                   .layer_mean = layer_mean};
}

/* Moments and a fit of one sample of `rows` rows, held-out rows of another. */
struct setting {
    struct sample sample;
    struct sample other;
    struct moments_home moments;
    struct moments_home heldout;
    struct fit_home found;
};

static void setting_create(struct setting *set, size_t rows, size_t neurons)
{
    set->sample = sample_create(20, rows, HIDDEN, neurons);
    set->other = sample_create(21, 100, HIDDEN, neurons);
    fit_create(&set->found, HIDDEN, HIDDEN);
    moments_create(&set->moments, HIDDEN, neurons);
    moments_create(&set->heldout, HIDDEN, neurons);
}

static void setting_add(struct setting *set)
{
    moments_add(&set->moments.moments, &set->sample, 0, set->sample.rows, 64);
    moments_add(&set->heldout.moments, &set->other, 0, set->other.rows, 64);
}

static void setting_destroy(struct setting *set)
{
    sample_destroy(&set->sample);
    sample_destroy(&set->other);
    moments_destroy(&set->moments);
    moments_destroy(&set->heldout);
    fit_destroy(&set->found);
}

static const struct ce_fit *solve(struct setting *set, size_t rank)
{
    const struct ce_fit_options options = options_of(rank);
    struct ce_error err;

    assert_int_equal(fit_solve(&set->found.fit,
                               &set->moments.moments,
                               &set->heldout.moments,
                               NULL,
                               &options,
                               &err),
                     CE_OK);
    return &set->found.fit;
}

static void few_rows_allow_a_low_rank_only(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, 12, 0);
    for (size_t i = 0; i < 12; i++) {
        set.sample.weights[i] = 0.5F;
    }
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 8);

    assert_int_equal(fit->status, CE_FIT_SHRUNK);
    assert_int_equal(fit->rank, 3); /* 12 rows of equal weight, 4 each */
    assert_near(fit->effective_rows, 12, 1e-6);
    assert_near(fit->heldout_error[3], fit_error(fit, 3, &set.other, NULL), 1e-4);
    fit = solve(&set, 3);
    assert_int_equal(fit->status, CE_FIT_FULL);
    setting_destroy(&set);
}

/* Two rows of weight 1/4 and the layer's mean with the weight of four rows. */
static void very_few_rows_give_a_constant_near_the_mean_of_the_layer(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, 2, 0);
    set.sample.weights[0] = 0.5F;
    set.sample.weights[1] = 0.5F;
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 8);

    assert_int_equal(fit->status, CE_FIT_CONSTANT);
    assert_int_equal(fit->rank, 0);
    for (size_t j = 0; j < HIDDEN; j++) {
        const double own =
            ((double)set.sample.y[j] + (double)set.sample.y[HIDDEN + j]) / 2;

        assert_near(fit->mean_y[j], (2 * own + 4 * (double)layer_mean[j]) / 6, 1e-6);
    }
    assert_near(fit->error[0], fit_error(fit, 0, &set.sample, NULL), 1e-5);
    assert_near(fit->heldout_error[0], fit_error(fit, 0, &set.other, NULL), 1e-5);
    setting_destroy(&set);
}

static void an_expert_without_rows_gets_the_mean_of_the_layer(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, 0, 0);
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 8);

    assert_int_equal(fit->status, CE_FIT_UNSEEN);
    assert_int_equal(fit->rank, 0);
    assert_memory_equal(fit->mean_y, layer_mean, sizeof(layer_mean));
    assert_near(fit->error[0], 0, 0);
    assert_near(fit->heldout_error[0], fit_error(fit, 0, &set.other, NULL), 1e-5);
    moments_destroy(&set.heldout);
    moments_create(&set.heldout, HIDDEN, 0);
    fit = solve(&set, 8); /* nor held-out rows */
    assert_near(ce_fit_expected_error(fit, 0), 0, 0);
    setting_destroy(&set);
}

/* Two inputs are always alike and one never changes: C has no inverse. */
static void singular_inputs_are_no_failure(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, ROWS, 0);
    for (size_t row = 0; row < ROWS; row++) {
        float *x = set.sample.x + row * HIDDEN;

        x[1] = x[0];
        x[5] = 7;
    }
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 8);

    assert_int_equal(fit->status, CE_FIT_FULL);
    assert_false(fit->regularised);
    for (size_t rank = 0; rank <= 8; rank++) {
        assert_near(fit->error[rank], fit_error(fit, rank, &set.sample, NULL), 1e-4);
    }
    setting_destroy(&set);
}

/* A ridge that rounding swallows is raised, and the result says so. */
static void a_ridge_too_small_is_raised(void **state)
{
    static const double tiny = 1e-30;
    struct ce_fit_options options = options_of(8);
    struct setting set;
    struct ce_error err;

    (void)state;
    setting_create(&set, ROWS, 0);
    setting_add(&set);
    struct ce_moments *m = &set.moments.moments;

    for (size_t j = 0; j < HIDDEN; j++) { /* of rank 1, but for rounding */
        for (size_t i = 0; i <= j; i++) {
            m->xx[i * HIDDEN + j] = (float)(i + 1) * (float)(j + 1) * 0.1F;
        }
        m->sum_x[j] = 0;
    }
    m->xx[HIDDEN + 1] *= 0.9999F; /* a little less than it may be */
    options.ridges = &tiny;
    assert_int_equal(
        fit_solve(&set.found.fit, m, &set.heldout.moments, NULL, &options, &err),
        CE_ERR_NUMERIC); /* eight times ten times 1e-30 do not help */
    assert_non_null(strstr(err.text, "positive definite"));
    options.ridges = (const double[]){1e-6};
    assert_int_equal(
        fit_solve(&set.found.fit, m, &set.heldout.moments, NULL, &options, &err),
        CE_OK);
    assert_true(set.found.fit.regularised);
    assert_near(set.found.fit.ridge, 1e-4, 1e-9);
    setting_destroy(&set);
}

static void inputs_that_never_change_give_a_constant(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, ROWS, 0);
    for (size_t i = 0; i < (size_t)ROWS * HIDDEN; i++) {
        set.sample.x[i] = 0.1F * (float)(i % HIDDEN);
    }
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 8);

    assert_int_equal(fit->status, CE_FIT_SHRUNK);
    assert_int_equal(fit->rank, 0);
    assert_near(fit->error[0], fit_error(fit, 0, &set.sample, NULL), 1e-5);
    setting_destroy(&set);
}

static void rank_0_is_the_mean(void **state)
{
    struct setting set;

    (void)state;
    setting_create(&set, ROWS, 0);
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 0);

    assert_int_equal(fit->status, CE_FIT_FULL);
    assert_near(fit->heldout_error[0], fit_error(fit, 0, &set.other, NULL), 1e-5);
    setting_destroy(&set);
}

static void moments_that_are_not_finite_are_an_error(void **state)
{
    const struct ce_fit_options options = options_of(4);
    struct setting set;
    struct ce_error err;

    (void)state;
    setting_create(&set, ROWS, 0);
    setting_add(&set);
    struct ce_moments *fitted = &set.moments.moments;
    struct ce_moments *heldout = &set.heldout.moments;
    float *spoilt[] = {&fitted->xx[HIDDEN + 3],
                       &fitted->xy[5],
                       &heldout->xx[7],
                       &heldout->xy[HIDDEN * HIDDEN - 1]};

    for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
        const float kept = *spoilt[i];

        *spoilt[i] = NAN;
        assert_int_equal(
            fit_solve(&set.found.fit, fitted, heldout, NULL, &options, &err),
            CE_ERR_NUMERIC);
        assert_non_null(strstr(err.text, "finite"));
        *spoilt[i] = kept;
    }
    heldout->yy = INFINITY;
    assert_int_equal(fit_solve(&set.found.fit, fitted, heldout, NULL, &options, &err),
                     CE_ERR_NUMERIC);
    setting_destroy(&set);
}

static void arguments_are_checked(void **state)
{
    static const double zero = 0;
    struct ce_fit_options options = options_of(HIDDEN + 1);
    struct setting set;
    struct ce_error err;

    (void)state;
    setting_create(&set, ROWS, 0);
    setting_add(&set);
    const struct ce_moments *m = &set.moments.moments;

    assert_int_equal(fit_solve(&set.found.fit, m, m, NULL, &options, &err), CE_ERR_ARG);
    options = options_of(4);
    options.ridges = &zero;
    assert_int_equal(fit_solve(&set.found.fit, m, m, NULL, &options, &err), CE_ERR_ARG);
    options = options_of(4);
    options.ridge_count = 0;
    assert_int_equal(fit_solve(&set.found.fit, m, m, NULL, &options, &err), CE_ERR_ARG);
    setting_destroy(&set);
}

/* y = D h + an affine map of x: with the right neurons kept nothing is left. */
static void kept_neurons_are_exact(void **state)
{
    static const uint32_t kept[] = {2, 0};
    const struct ce_fit_options options = options_of(4);
    float down[NEURONS * HIDDEN];
    const struct ce_fit_neurons neurons = {.count = 2, .kept = kept, .down = down};
    struct setting set;
    struct ce_error err;
    double without = 0;

    (void)state;
    setting_create(&set, ROWS, NEURONS);
    for (size_t i = 0; i < (size_t)NEURONS * HIDDEN; i++) {
        down[i] = (float)sample_random(50, i);
    }
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t j = 0; j < HIDDEN; j++) {
            double y = (double)set.sample.x[row * HIDDEN] * (double)j;

            for (size_t k = 0; k < 2; k++) {
                y += sample_input(&set.sample, row, HIDDEN + kept[k]) *
                     (double)down[(size_t)kept[k] * HIDDEN + j];
            }
            set.sample.y[row * HIDDEN + j] = (float)y;
        }
    }
    setting_add(&set);
    const struct ce_fit *fit = solve(&set, 4);

    without = fit->error[4];
    assert_int_equal(fit_solve(&set.found.fit,
                               &set.moments.moments,
                               &set.heldout.moments,
                               &neurons,
                               &options,
                               &err),
                     CE_OK);
    assert_true(without > 1e-5 * fit->total);
    for (size_t rank = 0; rank <= 4; rank++) { /* to F32 digits of sum w |y|^2 */
        const double seen = fit_error(fit, rank, &set.sample, &neurons);
        const double other = fit_error(fit, rank, &set.other, &neurons);

        assert_true(fabs(fit->error[rank] - seen) < 1e-6 * fit->total);
        assert_true(fabs(fit->heldout_error[rank] - other) < 1e-6 * fit->heldout_total);
    }
    assert_true(fit->error[4] < 0.05 * without); /* the ridge's part */
    setting_destroy(&set);
}

/* A constant with neurons kept: the layer's mean is that of all of y. */
static void kept_neurons_of_an_expert_without_rows(void **state)
{
    static const uint32_t kept[] = {1};
    const struct ce_fit_options options = options_of(4);
    const float down[NEURONS * HIDDEN] = {0};
    const struct ce_fit_neurons neurons = {.count = 1, .kept = kept, .down = down};
    struct setting set;
    struct ce_error err;

    (void)state;
    setting_create(&set, 0, NEURONS);
    setting_add(&set);
    assert_int_equal(fit_solve(&set.found.fit,
                               &set.moments.moments,
                               &set.heldout.moments,
                               &neurons,
                               &options,
                               &err),
                     CE_OK);
    assert_memory_equal(set.found.fit.mean_y, layer_mean, sizeof(layer_mean));
    setting_destroy(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_rows_allow_a_low_rank_only),
        cmocka_unit_test(very_few_rows_give_a_constant_near_the_mean_of_the_layer),
        cmocka_unit_test(an_expert_without_rows_gets_the_mean_of_the_layer),
        cmocka_unit_test(singular_inputs_are_no_failure),
        cmocka_unit_test(a_ridge_too_small_is_raised),
        cmocka_unit_test(inputs_that_never_change_give_a_constant),
        cmocka_unit_test(rank_0_is_the_mean),
        cmocka_unit_test(moments_that_are_not_finite_are_an_error),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(kept_neurons_are_exact),
        cmocka_unit_test(kept_neurons_of_an_expert_without_rows),
    };

    return cmocka_run_group_tests_name("calibrate.fit_few", tests, NULL, NULL);
}
