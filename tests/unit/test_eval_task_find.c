#include "eval/task.h"
#include "temporary.h"

#include <string.h>

static void write_text(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

static void
assert_found(void **state, const char *name, const char *description, const char *part)
{
    struct ce_task_place place;
    struct ce_error err = {.text = ""};

    if (ce_task_find(&place, name, temporary_path(state, ""), &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(place.description, temporary_path(state, description));
    if (part == NULL) {
        assert_null(place.part);
    } else {
        assert_string_equal(place.part, part);
    }
    ce_task_place_free(&place);
}

static void names_are_files_of_the_folder(void **state)
{
    write_text(state, "own.json", "{}");
    write_text(state, "two.json", "{\"part\": \"p\"}");
    write_text(state, "two_b.json", "{\"part\": \"p\"}");
    write_text(state, "broken.json", "{");
    assert_found(state, "own", "own.json", NULL);
    assert_found(state, "two", "two.json", NULL);
    assert_found(state, "two_a", "two.json", "a");
    assert_found(state, "two_us_history", "two.json", "us_history");
    assert_found(state, "two_b", "two_b.json", NULL);
    assert_found(state, "broken", "broken.json", NULL);
}

static void paths_are_taken_as_they_are(void **state)
{
    (void)state;
    static const char *const paths[] = {"x/y", "./mmlu", "mine.json"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct ce_task_place place;
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_task_find(&place, paths[i], NULL, &err), CE_OK);
        assert_string_equal(place.description, paths[i]);
        assert_null(place.part);
        ce_task_place_free(&place);
    }
}

/* This program is in a build folder of the sources, as cemoe is. */
static void shipped_tasks_are_found(void **state)
{
    (void)state;
    struct ce_task_place place;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_task_find(&place, "mmlu_astronomy", NULL, &err), CE_OK);
    assert_non_null(strstr(place.description, "/deploy/tasks/mmlu.json"));
    assert_string_equal(place.part, "astronomy");
    ce_task_place_free(&place);
}

static void unknown_names_get_a_suggestion(void **state)
{
    static const char *const names[][2] = {
        {"gsm9k", "there is no task \"gsm9k\"; did you mean \"gsm8k\"?; searched: "},
        {"gsm8k_cot", "there is no task \"gsm8k_cot\""}, /* gsm8k has no parts */
        {"mmlu_", "there is no task \"mmlu_\""},
        {"", "there is no task \"\""},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ce_task_place place;
        struct ce_error err = {.text = ""};
        const char *dir = temporary_path(state, "");

        assert_int_equal(ce_task_find(&place, names[i][0], dir, &err), CE_ERR_ARG);
        if (strstr(err.text, names[i][1]) == NULL || strstr(err.text, dir) == NULL) {
            fail_msg("%s", err.text);
        }
        ce_task_place_free(&place);
    }
}

int main(void)
{
#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)
    const struct CMUnitTest tests[] = {
        TEST(names_are_files_of_the_folder),
        TEST(paths_are_taken_as_they_are),
        TEST(shipped_tasks_are_found),
        TEST(unknown_names_get_a_suggestion),
    };

    return cmocka_run_group_tests_name("eval.task_find", tests, NULL, NULL);
}
