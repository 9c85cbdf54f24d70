#include "eval/filter.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static char name[] = "first";
static char invalid[] = "[invalid]";

/* What one regular expression takes of a text; NULL after a failure. */
static char *
take(const char *pattern, int select, const char *text, struct ce_error *err)
{
    struct ce_filter_step step = {
        .pattern = strdup(pattern), .fallback = invalid, .select = select};
    const struct ce_filter filter = {.name = name, .step = &step, .steps = 1};
    struct ce_filter_program program;
    char *answer = NULL;
    enum ce_status status = ce_filter_open(&program, &filter, err);

    if (status == CE_OK) {
        status = ce_filter_apply(&program, text, &answer, err);
    }
    assert_int_equal(answer == NULL, status != CE_OK);
    ce_filter_close(&program);
    free(step.pattern);
    return answer;
}

static void bad_patterns_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"(",
                                      "[a",
                                      "*",
                                      "(?<n",
                                      "\\",
                                      "(?P<n>a",
                                      "a*+",
                                      "a{1,2}+",
                                      "[[:alpha:]]",
                                      "\\p{L}",
                                      "[\\h]"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ce_error err = {.text = ""};

        assert_null(take(bad[i], 0, "text", &err));
        assert_non_null(strstr(err.text, "filter first"));
        assert_non_null(strstr(err.text, bad[i]));
    }
}

/* Where the harness ends with an error, the answer is none. */
/* What looks like it is none of what Python reads in another way. */
static void patterns_of_tasks_are_accepted(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"\\++", "++"},
                                          {"[*+]+", "+*"},
                                          {"[]:[]+", "[:]"},
                                          {"\\{1}+", "{1}}"},
                                          {"{x}+", "{x}}"},
                                          {"(?:-?[$0-9.,]{2,})", "$1,0.5"}};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ce_error err = {.text = ""};
        char *taken = take(good[i][0], 0, good[i][1], &err);

        assert_string_equal(err.text, "");
        assert_string_equal(taken, good[i][1]);
        free(taken);
    }
}

static void too_few_matches_are_none(void **state)
{
    (void)state;
    static const int select[] = {1, -2, 1000000, -1000000};

    for (size_t i = 0; i < sizeof(select) / sizeof(select[0]); i++) {
        struct ce_error err = {.text = ""};
        char *answer = take("[0-9]+", select[i], "only 1", &err);

        assert_string_equal(answer, invalid);
        free(answer);
    }
}

/* Exponential in the length of the text: must end, and say why. */
static void a_search_without_end_ends(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};

    assert_null(
        take("(a|aa|a?)+$", 0, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", &err));
    assert_string_equal(err.text,
                        "filter first: pattern '(a|aa|a?)+$': takes too many steps on "
                        "this text");
}

/* Each search ends, after 2^17 steps: it is their number that takes minutes. */
static void many_slow_searches_end(void **state)
{
    (void)state;
    static const char piece[] = "aaaaaaaaaaaaaaaaac";
    static char text[1000 * sizeof(piece)];
    struct ce_error err = {.text = ""};

    for (size_t i = 0; i < 1000; i++) {
        (void)strcat(text + i * (sizeof(piece) - 1), piece);
    }
    assert_null(take("(?:a|a)*b|.", -1, text, &err));
    assert_non_null(strstr(err.text, "takes too many steps on this text"));
}

/* A long answer with very many matches, as patterns of tasks look for them. */
static void many_matches_are_found(void **state)
{
    (void)state;
    char *text = malloc(1000001);
    struct ce_error err = {.text = ""};

    assert_non_null(text);
    for (size_t i = 0; i < 1000000; i++) {
        text[i] = "1 2,"[i % 4];
    }
    text[1000000] = '\0';
    char *answer = take("(-?[0-9.,]{2,})|(-?[0-9]+)", -1, text, &err);

    assert_non_null(answer);
    assert_string_equal(answer, "2,");
    free(answer);
    free(text);
}

static void no_steps_leave_the_text(void **state)
{
    (void)state;
    const struct ce_filter filter = {.name = name};
    struct ce_filter_program program;
    struct ce_error err = {.text = ""};
    char *answer = NULL;

    assert_int_equal(ce_filter_open(&program, &filter, &err), CE_OK);
    assert_int_equal(ce_filter_apply(&program, " as is\n", &answer, &err), CE_OK);
    assert_string_equal(answer, " as is\n");
    free(answer);
    assert_int_equal(ce_filter_apply(&program, NULL, &answer, &err), CE_OK);
    assert_string_equal(answer, "");
    free(answer);
    ce_filter_close(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_patterns_are_refused_by_name),
        cmocka_unit_test(patterns_of_tasks_are_accepted),
        cmocka_unit_test(too_few_matches_are_none),
        cmocka_unit_test(a_search_without_end_ends),
        cmocka_unit_test(many_slow_searches_end),
        cmocka_unit_test(many_matches_are_found),
        cmocka_unit_test(no_steps_leave_the_text),
    };

    return cmocka_run_group_tests_name("eval.filter", tests, NULL, NULL);
}
