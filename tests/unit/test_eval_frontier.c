/* Losses, shares and errors against sums over windows written down once more, and what
 * is shown of them. */

#include "eval/frontier.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Windows of 4 and 3 tokens behind each other, a last one of one token is dropped. */
enum { WINDOW = 4, LONG = 3 * WINDOW + 3, SHORT = 2 * WINDOW + 1 };
enum { WINDOWS = 4, SETTINGS = 5, TEXTS = 2 };

static const struct ce_frontier_setting settings[SETTINGS] = {
    {.kind = CE_FRONTIER_FULL, .name = "full", .active = 900},
    {.kind = CE_FRONTIER_TRUNCATED, .name = "truncated", .n_ce = 1, .active = 700},
    {.kind = CE_FRONTIER_TRUNCATED, .name = "truncated", .n_ce = 2, .active = 500},
    {.kind = CE_FRONTIER_SCALING, .name = "it's", .n_ce = 1, .active = 710},
    {.kind = CE_FRONTIER_AFFINE, .name = "b", .n_ce = 2, .active = 520},
};

/* The log-likelihood of a token: some numbers, worse the fewer experts. */
static double logprob_of(size_t s, size_t t, size_t i)
{
    static const double loss[SETTINGS] = {0.0, 0.5, 1.5, 0.25, 0.75};

    return -1.0 - (double)(i * (t + 2) % 7) - loss[s] * (double)(1 + i * 3 % 5);
}

static double *find_logprobs(size_t s, size_t t, size_t tokens)
{
    double *logprob = calloc(tokens, sizeof(*logprob));

    assert_non_null(logprob);
    for (size_t i = 0; i < tokens; i++) {
        logprob[i] =
            i % WINDOW == 0 ? (double)NAN : logprob_of(s, t, i); /* as ce_score */
    }
    return logprob;
}

static void fill(struct ce_frontier *frontier)
{
    const size_t tokens[TEXTS] = {LONG, SHORT};
    struct ce_error err = {.text = ""};

    *frontier = (struct ce_frontier){.window = WINDOW};
    assert_int_equal(ce_frontier_add_text(frontier, "a|long", LONG, &err), CE_OK);
    assert_int_equal(ce_frontier_add_text(frontier, "short", SHORT, &err), CE_OK);
    assert_int_equal(ce_frontier_take_settings(frontier, SETTINGS, &err), CE_OK);
    for (size_t s = 0; s < SETTINGS; s++) {
        frontier->setting[s] = settings[s];
        frontier->setting[s].run =
            (struct ce_frontier_run){.seconds = 2, .tokens = 300, .moved_bytes = 600};
        for (size_t t = 0; t < TEXTS; t++) {
            double *logprob = find_logprobs(s, t, tokens[t]);

            assert_int_equal(ce_frontier_judge(frontier, s, t, logprob, &err), CE_OK);
            free(logprob);
        }
    }
    assert_int_equal(ce_frontier_compare(frontier, &err), CE_OK);
}

/* Sums over the windows of the long text. */
struct sums {
    double scored[WINDOWS];
    double nll[SETTINGS][WINDOWS];
    double all_scored;
    double all_nll[SETTINGS];
};

static struct sums add_up(void)
{
    struct sums sums = {.all_scored = 0};

    for (size_t i = 0; i < LONG; i++) {
        if (i % WINDOW != 0) {
            sums.scored[i / WINDOW]++;
            sums.all_scored++;
        }
        for (size_t s = 0; s < SETTINGS && i % WINDOW != 0; s++) {
            sums.nll[s][i / WINDOW] -= logprob_of(s, 0, i);
            sums.all_nll[s] -= logprob_of(s, 0, i);
        }
    }
    return sums;
}

static void assert_near(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-12 * (1.0 + fabs(expected)))) {
        fail_msg("%.17g is not %.17g", found, expected);
    }
}

/* Of a ratio of sums, with the residual of each window. */
static double error_of(const double *residual, const struct sums *sums)
{
    double total = 0.0;

    for (size_t w = 0; w < WINDOWS; w++) {
        total += residual[w] * residual[w];
    }
    return sqrt(total / (WINDOWS - 1) / WINDOWS) / (sums->all_scored / WINDOWS);
}

static void texts_are_cut_into_windows(void **state)
{
    (void)state;
    struct ce_frontier frontier;

    fill(&frontier);
    assert_int_equal(frontier.text[0].windows, WINDOWS);
    assert_int_equal(frontier.text[0].scored, 3 * 3 + 2);
    assert_near(frontier.text[0].weight[WINDOWS - 1], 2);
    assert_int_equal(frontier.text[1].windows, 2);
    assert_int_equal(frontier.text[1].scored, 6);
    ce_frontier_free(&frontier);
}

static void losses_are_means_over_tokens(void **state)
{
    (void)state;
    const struct sums sums = add_up();
    struct ce_frontier frontier;

    fill(&frontier);
    for (size_t s = 0; s < SETTINGS; s++) {
        const struct ce_frontier_cell *cell = ce_frontier_cell(&frontier, s, 0);

        assert_near(cell->nll, sums.all_nll[s] / sums.all_scored);
        for (size_t w = 0; w < WINDOWS; w++) {
            assert_near(cell->window[w], sums.nll[s][w] / sums.scored[w]);
        }
    }
    ce_frontier_free(&frontier);
}

static void differences_have_the_error_of_a_ratio(void **state)
{
    (void)state;
    const struct sums sums = add_up();
    struct ce_frontier frontier;

    fill(&frontier);
    for (size_t s = 1; s < SETTINGS; s++) {
        const struct ce_frontier_cell *cell = ce_frontier_cell(&frontier, s, 0);
        double mean = (sums.all_nll[s] - sums.all_nll[0]) / sums.all_scored;
        double residual[WINDOWS];

        for (size_t w = 0; w < WINDOWS; w++) {
            residual[w] = sums.nll[s][w] - sums.nll[0][w] - mean * sums.scored[w];
        }
        assert_near(cell->full.value.value, mean);
        assert_near(cell->full.error.value, error_of(residual, &sums));
    }
    assert_false(ce_frontier_cell(&frontier, 0, 0)->full.value.known);
    ce_frontier_free(&frontier);
}

/* Against the truncated model of the same n_ce: 1 for the fourth setting, 2 for the
 * fifth. */
static void shares_are_of_the_same_truncation(void **state)
{
    (void)state;
    const struct sums sums = add_up();
    struct ce_frontier frontier;

    fill(&frontier);
    for (size_t s = 3; s < SETTINGS; s++) {
        const struct ce_frontier_cell *cell = ce_frontier_cell(&frontier, s, 0);
        const size_t base = s - 2;
        double lost = sums.all_nll[base] - sums.all_nll[0];
        double share = (sums.all_nll[base] - sums.all_nll[s]) / lost;
        double residual[WINDOWS];

        for (size_t w = 0; w < WINDOWS; w++) {
            residual[w] = (sums.nll[base][w] - sums.nll[s][w] -
                           share * (sums.nll[base][w] - sums.nll[0][w])) /
                          (lost / sums.all_scored);
        }
        assert_near(cell->truncated.value.value,
                    (sums.all_nll[s] - sums.all_nll[base]) / sums.all_scored);
        assert_near(cell->recovered.value.value, share);
        assert_near(cell->recovered.error.value, error_of(residual, &sums));
    }
    assert_false(ce_frontier_cell(&frontier, 1, 0)->recovered.value.known);
    ce_frontier_free(&frontier);
}

/* Neither fewer parameters with no larger NLL, nor a smaller NLL with no more. */
static void the_best_are_not_beaten(void **state)
{
    (void)state;
    static const struct {
        uint64_t active;
        double nll;
        bool best;
    } cases[SETTINGS] = {{900, 2.0, true},
                         {700, 2.5, false},
                         {500, 3.0, true},
                         {700, 2.4, true},
                         {520, 3.0, false}};
    struct ce_frontier frontier = {.window = 2};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_frontier_add_text(&frontier, "text", 2, &err), CE_OK);
    assert_int_equal(ce_frontier_take_settings(&frontier, SETTINGS, &err), CE_OK);
    for (size_t s = 0; s < SETTINGS; s++) {
        const double logprob[2] = {(double)NAN, -cases[s].nll};

        frontier.setting[s] = settings[s];
        frontier.setting[s].active = cases[s].active;
        assert_int_equal(ce_frontier_judge(&frontier, s, 0, logprob, &err), CE_OK);
    }
    assert_int_equal(ce_frontier_compare(&frontier, &err), CE_OK);
    for (size_t s = 0; s < SETTINGS; s++) {
        assert_int_equal(ce_frontier_cell(&frontier, s, 0)->best, cases[s].best);
    }
    /* One window has no error. */
    assert_true(ce_frontier_cell(&frontier, 1, 0)->full.value.known);
    assert_false(ce_frontier_cell(&frontier, 1, 0)->full.error.known);
    ce_frontier_free(&frontier);
}

static void what_is_not_a_number_is_an_error(void **state)
{
    (void)state;
    const double logprob[2] = {0, -(double)INFINITY};
    struct ce_frontier frontier = {.window = 2};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_frontier_add_text(&frontier, "text", 2, &err), CE_OK);
    assert_int_equal(ce_frontier_take_settings(&frontier, 1, &err), CE_OK);
    frontier.setting[0] = settings[0];
    assert_int_equal(ce_frontier_judge(&frontier, 0, 0, logprob, &err), CE_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "text"));
    ce_frontier_free(&frontier);
}

static size_t count(const char *text, const char *needle)
{
    size_t found = 0;

    for (const char *at = strstr(text, needle); at != NULL;
         at = strstr(at + 1, needle)) {
        found++;
    }
    return found;
}

static void documents_have_all_settings(void **state)
{
    (void)state;
    struct ce_frontier frontier;
    json_t *object = json_object();
    json_t *runs = NULL;
    double nll = 0;
    double share = 0;
    double speed = 0;

    fill(&frontier);
    assert_true(ce_frontier_describe(&frontier, object));
    assert_int_equal(json_array_size(json_object_get(object, "texts")), TEXTS);
    const json_t *setting =
        json_array_get(json_object_get(object, "settings"), SETTINGS - 1);

    assert_int_equal(json_unpack((json_t *)(uintptr_t)setting,
                                 "{s:[{s:F, s:{s:F}}, {}]}",
                                 "texts",
                                 "nll",
                                 &nll,
                                 "recovered_fraction",
                                 "value",
                                 &share),
                     0);
    assert_true(nll == ce_frontier_cell(&frontier, SETTINGS - 1, 0)->nll);
    assert_true(share ==
                ce_frontier_cell(&frontier, SETTINGS - 1, 0)->recovered.value.value);
    runs = ce_frontier_describe_runs(&frontier);
    assert_int_equal(json_array_size(runs), SETTINGS);
    assert_int_equal(
        json_unpack(json_array_get(runs, 0), "{s:F}", "tokens_per_second", &speed), 0);
    assert_near(speed, 150);
    json_decref(runs);
    json_decref(object);
    ce_frontier_free(&frontier);
}

static void tables_have_a_row_a_setting(void **state)
{
    (void)state;
    struct ce_frontier frontier;
    char *text = NULL;

    fill(&frontier);
    text = ce_frontier_markdown(&frontier);
    assert_non_null(text);
    assert_int_equal(count(text, "it's (scaling)"), TEXTS + 1);
    assert_int_equal(count(text, "b (affine)"), TEXTS + 1);
    assert_int_equal(count(text, "## "), TEXTS + 1);
    free(text);
    text = ce_frontier_runs_markdown(&frontier);
    assert_int_equal(count(text, "150 |"), SETTINGS);
    free(text);
    ce_frontier_free(&frontier);
}

/* A block of data for each line of each panel, and names that cannot end a string.
 * Truncation has the full model at its right end; an affine line has an n_ce. */
static void plots_have_a_line_a_name(void **state)
{
    (void)state;
    enum { LINES = 4 };
    struct ce_frontier frontier;
    char *data = NULL;
    char *script = NULL;

    fill(&frontier);
    data = ce_frontier_plot_data(&frontier);
    script = ce_frontier_plot_script(&frontier, "o'clock\n", "frontier.dat");
    assert_non_null(data);
    assert_non_null(script);
    assert_int_equal(count(data, "\n\n\n"), TEXTS * LINES);
    assert_int_equal(count(data, "# text"), TEXTS * LINES);
    assert_int_equal(count(data, "0.000900 "), TEXTS * 2);
    assert_int_equal(count(data, "\n0.000500 "), TEXTS);
    assert_true(strstr(data, "\n0.000500 ") < strstr(data, "\n0.000700 "));
    assert_int_equal(count(script, "'affine, n_ce 2'"), TEXTS);
    assert_int_equal(count(script, "\nplot "), TEXTS);
    assert_int_equal(count(script, "'frontier.dat' index"), TEXTS * LINES);
    assert_non_null(strstr(script, "index 7 "));
    assert_int_equal(count(script, "'it''s'"), TEXTS);
    assert_non_null(strstr(script, "'o''clock '"));
    free(script);
    free(data);
    ce_frontier_free(&frontier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cut_into_windows),
        cmocka_unit_test(losses_are_means_over_tokens),
        cmocka_unit_test(differences_have_the_error_of_a_ratio),
        cmocka_unit_test(shares_are_of_the_same_truncation),
        cmocka_unit_test(the_best_are_not_beaten),
        cmocka_unit_test(what_is_not_a_number_is_an_error),
        cmocka_unit_test(documents_have_all_settings),
        cmocka_unit_test(tables_have_a_row_a_setting),
        cmocka_unit_test(plots_have_a_line_a_name),
    };

    return cmocka_run_group_tests_name("eval.frontier", tests, NULL, NULL);
}
