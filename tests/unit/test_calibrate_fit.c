#include "fit_fixture.h"

#include <omp.h>

enum {
    HIDDEN = 8,
    RANK = 8,
    ROWS = 400,
    LOW = 3,
};

static const float no_mean[HIDDEN];

static struct ce_fit_options options_of(size_t rank, const double *ridges, size_t count)
{
    return (struct ce_fit_options){.most_rank = rank,
                                   .ridges = ridges,
                                   .ridge_count = count,
                                   .layer_mean = no_mean};
}

/* Row i of an 8 by 8 Hadamard matrix, orthonormal. */
static double hadamard(size_t i, size_t j)
{
    return (__builtin_parityll(i & j) ? -1.0 : 1.0) / sqrt(8);
}

/* y = M x + 1 on x = +-e_i, each with weight `w`: C = 2 w I, so the ridge solution is
 * M / (1 + ridge), and M = sum of (8 - k) p_k q_k^T has its singular vectors by design.
 */
static struct sample whitened(double w)
{
    struct sample s = sample_create(1, (size_t)2 * HIDDEN, HIDDEN, 0);

    memset(s.x, 0, sizeof(*s.x) * s.rows * HIDDEN);
    for (size_t row = 0; row < s.rows; row++) {
        const double sign = row % 2 == 0 ? 1 : -1;
        const size_t i = row / 2;

        s.x[row * HIDDEN + i] = (float)sign;
        s.weights[row] = (float)sqrt(w);
        for (size_t j = 0; j < HIDDEN; j++) {
            double y = 1;

            for (size_t k = 0; k < HIDDEN; k++) {
                y += sign * (double)(HIDDEN - k) * hadamard(k, j) *
                     hadamard((k + 3) % HIDDEN, i);
            }
            s.y[row * HIDDEN + j] = (float)y;
        }
    }
    return s;
}

/* Every rank is the singular value decomposition of M cut there, over 1 + ridge; and
 * what it leaves is 2 w (sum of all s^2 - sum of s^2 (1 - (ridge / (1 + ridge))^2)). */
static void a_known_decomposition_is_found(void **state)
{
    const double ridge = 0.5;
    const struct ce_fit_options options = options_of(4, &ridge, 1);
    struct sample s = whitened(0.25);
    struct moments_home home;
    struct moments_home none;
    struct fit_home found;
    struct ce_error err;
    double error = 0;

    (void)state;
    moments_of(&home, &s);
    moments_create(&none, HIDDEN, 0);
    fit_create(&found, HIDDEN, RANK);
    assert_int_equal(
        fit_solve(&found.fit, &home.moments, &none.moments, NULL, &options, &err),
        CE_OK);
    assert_int_equal(found.fit.rank, 4);
    for (size_t k = 0; k < HIDDEN; k++) {
        error += 0.5 * (double)((HIDDEN - k) * (HIDDEN - k));
    }
    assert_near(found.fit.error[0], error, 1e-5);
    for (size_t k = 0; k < 4; k++) {
        const double s_k = (double)(HIDDEN - k);

        error -= 0.5 * s_k * s_k * (1 - pow(ridge / (1 + ridge), 2));
        assert_near(found.fit.error[k + 1], error, 1e-5);
        for (size_t i = 0; i < HIDDEN; i++) {
            for (size_t j = 0; j < HIDDEN; j++) {
                const double wanted =
                    s_k * hadamard(k, i) * hadamard((k + 3) % HIDDEN, j) / (1 + ridge);

                assert_near((double)found.fit.u[k * HIDDEN + i] *
                                (double)found.fit.v[k * HIDDEN + j],
                            wanted,
                            1e-5);
            }
        }
    }
    for (size_t j = 0; j < HIDDEN; j++) {
        assert_near(found.fit.mean_x[j], 0, 1e-6);
        assert_near(found.fit.mean_y[j], 1, 1e-6);
    }
    fit_destroy(&found);
    moments_destroy(&home);
    moments_destroy(&none);
    sample_destroy(&s);
}

/* Outputs that are an affine map of rank LOW of the inputs, exactly. */
static void make_low_rank(struct sample *s)
{
    for (size_t row = 0; row < s->rows; row++) {
        for (size_t j = 0; j < HIDDEN; j++) {
            double y = (double)j;

            for (size_t k = 0; k < LOW; k++) {
                for (size_t i = 0; i < HIDDEN; i++) {
                    y += sample_random(70 + k, j) * sample_random(80 + k, i) *
                         (double)s->x[row * HIDDEN + i];
                }
            }
            s->y[row * HIDDEN + j] = (float)y;
        }
    }
}

static void an_exact_map_of_low_rank_is_recovered(void **state)
{
    static const double ridge = 1e-9;
    const struct ce_fit_options options = options_of(RANK, &ridge, 1);
    struct sample s = sample_create(2, ROWS, HIDDEN, 0);
    struct sample fresh = sample_create(3, ROWS, HIDDEN, 0);
    struct moments_home home;
    struct moments_home none;
    struct fit_home found;
    struct ce_error err;

    (void)state;
    make_low_rank(&s);
    make_low_rank(&fresh);
    moments_of(&home, &s);
    moments_create(&none, HIDDEN, 0);
    fit_create(&found, HIDDEN, RANK);
    assert_int_equal(
        fit_solve(&found.fit, &home.moments, &none.moments, NULL, &options, &err),
        CE_OK);
    assert_int_equal(found.fit.status, CE_FIT_FULL);
    assert_true(found.fit.error[LOW - 1] > 1e-3 * found.fit.error[0]);
    assert_true(fabs(found.fit.error[LOW]) < 1e-6 * found.fit.error[0]);
    assert_true(fit_error(&found.fit, LOW, &fresh, NULL) < 1e-6 * found.fit.error[0]);
    fit_destroy(&found);
    moments_destroy(&home);
    moments_destroy(&none);
    sample_destroy(&s);
    sample_destroy(&fresh);
}

/* The errors of the result against rows, for every rank, ridge and both sets. */
static void errors_are_those_of_the_rows(void **state)
{
    static const double ridges[] = {0.003, 3};
    struct sample s = sample_create(4, ROWS, HIDDEN, 0);
    struct sample other = sample_create(40, 150, HIDDEN, 0);
    struct moments_home home;
    struct moments_home heldout;
    struct fit_home found;
    struct ce_error err;

    (void)state;
    moments_of(&home, &s);
    moments_of(&heldout, &other);
    fit_create(&found, HIDDEN, RANK);
    for (size_t i = 0; i < 2; i++) {
        const struct ce_fit_options options = options_of(RANK, ridges + i, 1);

        assert_int_equal(
            fit_solve(
                &found.fit, &home.moments, &heldout.moments, NULL, &options, &err),
            CE_OK);
        for (size_t rank = 0; rank <= RANK; rank++) {
            assert_near(
                found.fit.error[rank], fit_error(&found.fit, rank, &s, NULL), 1e-4);
            assert_near(found.fit.heldout_error[rank],
                        fit_error(&found.fit, rank, &other, NULL),
                        1e-4);
        }
    }
    assert_near(found.fit.total, home.moments.total, 0);
    assert_near(found.fit.heldout_total, heldout.moments.total, 0);
    assert_near(ce_fit_expected_error(&found.fit, 2),
                found.fit.heldout_error[2] *
                    (1 + home.moments.weight / heldout.moments.weight),
                1e-9);
    fit_destroy(&found);
    moments_destroy(&home);
    moments_destroy(&heldout);
    sample_destroy(&s);
    sample_destroy(&other);
}

/* The map of full rank is the ridge solution: (C + lambda I) A = B. */
static void full_rank_solves_the_normal_equations(void **state)
{
    static const double ridge = 0.1;
    const struct ce_fit_options options = options_of(RANK, &ridge, 1);
    struct sample s = sample_create(5, ROWS, HIDDEN, 0);
    struct moments_home home;
    struct moments_home none;
    struct fit_home found;
    struct ce_error err;
    const struct ce_moments *m = &home.moments;
    double c[HIDDEN][HIDDEN];
    double lambda = 0;

    (void)state;
    moments_of(&home, &s);
    moments_create(&none, HIDDEN, 0);
    fit_create(&found, HIDDEN, RANK);
    assert_int_equal(fit_solve(&found.fit, m, &none.moments, NULL, &options, &err),
                     CE_OK);
    for (size_t i = 0; i < HIDDEN; i++) {
        for (size_t j = 0; j < HIDDEN; j++) {
            const float xx = m->xx[i <= j ? i * HIDDEN + j : j * HIDDEN + i];

            c[i][j] = (double)xx - m->sum_x[i] * m->sum_x[j] / m->weight;
        }
        lambda += ridge * c[i][i] / HIDDEN;
    }
    for (size_t i = 0; i < HIDDEN; i++) {
        for (size_t j = 0; j < HIDDEN; j++) {
            double left = 0;

            for (size_t k = 0; k < RANK; k++) {
                for (size_t l = 0; l < HIDDEN; l++) {
                    left += (c[i][l] + (l == i ? lambda : 0)) *
                            (double)found.fit.v[k * HIDDEN + l] *
                            (double)found.fit.u[k * HIDDEN + j];
                }
            }
            assert_near(left,
                        (double)m->xy[i * HIDDEN + j] -
                            m->sum_x[i] * m->sum_y[j] / m->weight,
                        1e-4);
        }
    }
    fit_destroy(&found);
    moments_destroy(&home);
    moments_destroy(&none);
    sample_destroy(&s);
}

/* Of all candidates that one with the least held-out error at the highest rank. */
static void expect_best_ridge(const struct sample *s,
                              const struct sample *other,
                              const double *ridges,
                              size_t count)
{
    struct moments_home home;
    struct moments_home heldout;
    struct fit_home found;
    struct fit_home one;
    struct ce_error err;
    struct ce_fit_options options = options_of(2, ridges, count);
    double least = INFINITY;
    double best = 0;

    moments_of(&home, s);
    moments_of(&heldout, other);
    fit_create(&found, HIDDEN, 2);
    fit_create(&one, HIDDEN, 2);
    assert_int_equal(
        fit_solve(&found.fit, &home.moments, &heldout.moments, NULL, &options, &err),
        CE_OK);
    options.ridge_count = 1;
    for (size_t i = 0; i < count; i++) {
        options.ridges = ridges + i;
        assert_int_equal(
            fit_solve(&one.fit, &home.moments, &heldout.moments, NULL, &options, &err),
            CE_OK);
        assert_near(one.fit.ridge, ridges[i], 0);
        if (one.fit.heldout_error[2] < least) {
            least = one.fit.heldout_error[2];
            best = ridges[i];
        }
    }
    assert_near(found.fit.ridge, best, 0);
    assert_near(found.fit.heldout_error[2], least, 0);
    assert_near(fit_error(&found.fit, 2, other, NULL), least, 1e-4);
    fit_destroy(&found);
    fit_destroy(&one);
    moments_destroy(&home);
    moments_destroy(&heldout);
}

static void add_noise(struct sample *s, double size)
{
    for (size_t i = 0; i < s->rows * s->hidden; i++) {
        s->y[i] += (float)(size * sample_random(90 + s->rows, i));
    }
}

static void the_ridge_is_chosen_on_heldout_rows(void **state)
{
    static const double ridges[] = {0.001, 0.01, 0.1, 1, 10};
    struct sample few = sample_create(6, 30, HIDDEN, 0);
    struct sample many = sample_create(7, ROWS, HIDDEN, 0);
    struct sample other = sample_create(8, 200, HIDDEN, 0);

    (void)state;
    expect_best_ridge(&many, &other, ridges, 5); /* down from the middle */
    add_noise(&few, 20);
    expect_best_ridge(&few, &other, ridges, 5); /* up to the end */
    expect_best_ridge(&few, &other, ridges, 2);
    expect_best_ridge(&few, &other, ridges, 1);
    sample_destroy(&few);
    sample_destroy(&many);
    sample_destroy(&other);
}

/* Without held-out rows: the middle one of the candidates. */
static void without_heldout_rows_the_middle_ridge_is_taken(void **state)
{
    static const double ridges[] = {0.001, 0.01, 0.1};
    const struct ce_fit_options options = options_of(2, ridges, 3);
    struct sample s = sample_create(9, ROWS, HIDDEN, 0);
    struct moments_home home;
    struct moments_home none;
    struct fit_home found;
    struct ce_error err;
    double n = 0;

    (void)state;
    moments_of(&home, &s);
    moments_create(&none, HIDDEN, 0);
    fit_create(&found, HIDDEN, 2);
    assert_int_equal(
        fit_solve(&found.fit, &home.moments, &none.moments, NULL, &options, &err),
        CE_OK);
    assert_near(found.fit.ridge, 0.01, 0);
    assert_near(found.fit.heldout_error[1], 0, 0);
    n = ce_moments_effective_rows(&home.moments);
    assert_near(ce_fit_expected_error(&found.fit, 2),
                found.fit.error[2] * (n + 5) / (n - 5),
                1e-9);
    fit_destroy(&found);
    moments_destroy(&home);
    moments_destroy(&none);
    sample_destroy(&s);
}

/* y = x and y = 0: all eigenvalues are alike, and any vectors will do. */
static void equal_eigenvalues_are_no_failure(void **state)
{
    static const double ridge = 0.5;

    (void)state;
    for (size_t rank = 1; rank <= HIDDEN; rank++) {
        const struct ce_fit_options options = options_of(rank, &ridge, 1);

        for (int factor = 0; factor < 2; factor++) {
            struct sample s = whitened(0.25);
            struct moments_home home;
            struct fit_home found;
            struct ce_error err;

            for (size_t i = 0; i < s.rows * HIDDEN; i++) {
                s.y[i] = (float)factor * s.x[i];
            }
            moments_of(&home, &s);
            moments_add(&home.moments, &s, 0, s.rows, 64); /* rows for all ranks */
            fit_create(&found, HIDDEN, HIDDEN);
            assert_int_equal(
                fit_solve(
                    &found.fit, &home.moments, &home.moments, NULL, &options, &err),
                CE_OK);
            assert_int_equal(found.fit.rank, rank);
            for (size_t r = 0; r <= rank; r++) {
                const double error = 2 * fit_error(&found.fit, r, &s, NULL);

                assert_near(found.fit.error[r], error, 1e-5);
                assert_near(found.fit.heldout_error[r], error, 1e-5);
            }
            fit_destroy(&found);
            moments_destroy(&home);
            sample_destroy(&s);
        }
    }
}

enum {
    WIDE = 96, /* wide enough for the blocked parts of LAPACK */
    FITS = 6,
};

/* One fit for each sample, as calibration does it. */
static void solve_all(struct fit_home *found, struct moments_home *moments, int threads)
{
    static const double ridges[] = {0.01, 0.1, 1};
    static const float mean[WIDE];
    const struct ce_fit_options options = {
        .most_rank = 10, .ridges = ridges, .ridge_count = 3, .layer_mean = mean};
    const size_t bytes = ce_fit_workspace_bytes(WIDE, 10, 0);
    unsigned char *workspaces = aligned_alloc(64, FITS * bytes);
    enum ce_status status[FITS];

    assert_non_null(workspaces);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < FITS; i++) {
        struct ce_error err;

        status[i] = ce_fit_solve(&found[i].fit,
                                 &moments[i].moments,
                                 &moments[(i + 1) % FITS].moments,
                                 NULL,
                                 &options,
                                 workspaces + i * bytes,
                                 &err);
    }
    for (size_t i = 0; i < FITS; i++) {
        assert_int_equal(status[i], CE_OK);
    }
    free(workspaces);
}

static void fits_at_once_have_the_bits_they_have_alone(void **state)
{
    struct moments_home moments[FITS];
    struct fit_home alone[FITS];
    struct fit_home at_once[FITS];
    const int threads = omp_get_max_threads();

    (void)state;
    for (size_t i = 0; i < FITS; i++) {
        struct sample s = sample_create(200 + i, 300, WIDE, 0);

        moments_of(&moments[i], &s);
        fit_create(&alone[i], WIDE, 10);
        fit_create(&at_once[i], WIDE, 10);
        sample_destroy(&s);
    }
    omp_set_num_threads(1);
    solve_all(alone, moments, 1);
    omp_set_num_threads(threads);
    solve_all(at_once, moments, 4);
    for (size_t i = 0; i < FITS; i++) {
        const size_t maps = sizeof(float) * 10 * WIDE;

        assert_int_equal(alone[i].fit.rank, 10);
        assert_memory_equal(alone[i].fit.u, at_once[i].fit.u, maps);
        assert_memory_equal(alone[i].fit.v, at_once[i].fit.v, maps);
        assert_memory_equal(
            alone[i].fit.error, at_once[i].fit.error, 11 * sizeof(double));
        moments_destroy(&moments[i]);
        fit_destroy(&alone[i]);
        fit_destroy(&at_once[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_decomposition_is_found),
        cmocka_unit_test(an_exact_map_of_low_rank_is_recovered),
        cmocka_unit_test(errors_are_those_of_the_rows),
        cmocka_unit_test(full_rank_solves_the_normal_equations),
        cmocka_unit_test(the_ridge_is_chosen_on_heldout_rows),
        cmocka_unit_test(without_heldout_rows_the_middle_ridge_is_taken),
        cmocka_unit_test(equal_eigenvalues_are_no_failure),
        cmocka_unit_test(fits_at_once_have_the_bits_they_have_alone),
    };

    return cmocka_run_group_tests_name("calibrate.fit", tests, NULL, NULL);
}
