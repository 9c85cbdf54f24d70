/* What a command line may say and what it gets for it. */

#include "options_demo.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* Cuts `text` at blanks into an argument vector after the program's name. */
struct words {
    char text[256];
    char *argv[32];
    int argc;
};

static void split(struct words *words, const char *text)
{
    char *rest = words->text;
    char *word;

    assert_true(strlen(text) < sizeof(words->text));
    (void)snprintf(words->text, sizeof(words->text), "%s", text);
    words->argc = 0;
    words->argv[words->argc++] = (char *)(uintptr_t) "demo";
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word != '\0') {
            words->argv[words->argc++] = word;
        }
    }
    words->argv[words->argc] = NULL;
}

/* The line must be accepted; the caller frees it. */
static struct ce_command_line accept(struct words *words, const char *text)
{
    struct ce_command_line line;
    struct ce_error err = {.text = ""};

    split(words, text);
    if (ce_command_line_parse(&line, &demo, words->argc, words->argv, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    return line;
}

static void refuses(const char *text, const char *message)
{
    struct words words;
    struct ce_command_line line;
    struct ce_error err = {.text = ""};

    split(&words, text);
    assert_int_equal(ce_command_line_parse(&line, &demo, words.argc, words.argv, &err),
                     CE_ERR_ARG);
    assert_string_equal(err.text, message);
    ce_command_line_free(&line);
}

static void defaults_fill_what_is_not_given(void **state)
{
    (void)state;
    struct words words;
    struct ce_command_line line = accept(&words, "say --model here");
    const struct say_values *values = line.values;

    assert_ptr_equal(line.command, &say_command);
    assert_string_equal(values->model.model, "here");
    assert_int_equal(values->model.compressed, -1);
    assert_false(values->model.compressed_given);
    assert_int_equal(values->prompts.count, 1);
    assert_string_equal(values->prompts.item[0], "Hello");
    assert_int_equal(values->max_tokens, 16);
    assert_int_equal(values->seed, 0);
    assert_int_equal(values->memory, 65536);
    assert_string_equal(values->combine, "ordered");
    assert_true(values->stream);
    assert_false(values->json);
    ce_command_line_free(&line);
}

static void every_spelling_is_understood(void **state)
{
    (void)state;
    struct words words;
    struct ce_command_line line =
        accept(&words,
               "say -m here -n5 --seed=0xffffffffffffffff --memory 3M --no-stream -j "
               "--temperature 0.5 --combine partial --compressed 2");
    const struct say_values *values = line.values;

    assert_string_equal(values->model.model, "here");
    assert_int_equal(values->model.compressed, 2);
    assert_true(values->model.compressed_given);
    assert_int_equal(values->max_tokens, 5);
    assert_true(values->seed == UINT64_MAX);
    assert_int_equal(values->memory, 3 << 20);
    assert_true(values->temperature == 0.5);
    assert_string_equal(values->combine, "partial");
    assert_false(values->stream);
    assert_true(values->json);
    ce_command_line_free(&line);
}

static void all_but_paths_is_described(void **state)
{
    (void)state;
    static const char *const but[] = {"json", NULL};
    struct words words;
    struct ce_command_line line =
        accept(&words, "say -m here -j --temperature 0.1 --seed 7 -p a b");
    char *text = ce_options_describe(&say_command, line.values, but);

    assert_non_null(text);
    assert_null(strstr(text, "model="));
    assert_null(strstr(text, "json="));
    assert_non_null(strstr(text, "prompt=2 values ("));
    assert_non_null(strstr(text,
                           "\nmax-tokens=16\nseed=7\nmemory=65536\ntemperature=0.1\n"
                           "combine=ordered\nstream=yes\n"));
    free(text);
    ce_command_line_free(&line);
    line = accept(&words, "say -m here -p a,\nb");
    text = ce_options_describe(&say_command, line.values, but);
    assert_non_null(text);
    assert_null(strstr(text, "a,")); /* would be two lines */
    free(text);
    ce_command_line_free(&line);
}

static void lists_take_all_up_to_the_next_option(void **state)
{
    (void)state;
    struct words words;
    struct ce_command_line line =
        accept(&words, "say --prompt a - -5 --json --model here -p --- --prompt=--x");
    const struct say_values *values = line.values;
    static const char *const wanted[] = {"a", "-", "-5", "---", "--x"};

    assert_int_equal(values->prompts.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(values->prompts.item[i], wanted[i]);
    }
    ce_command_line_free(&line);
}

static void the_last_of_two_scalars_wins(void **state)
{
    (void)state;
    struct words words;
    struct ce_command_line line = accept(&words, "say -m a -n 1 -m b --max-tokens=2");
    const struct say_values *values = line.values;

    assert_string_equal(values->model.model, "b");
    assert_int_equal(values->max_tokens, 2);
    ce_command_line_free(&line);
}

static void positions_are_filled_in_order(void **state)
{
    (void)state;
    struct words words;
    struct ce_command_line line = accept(&words, "bench sum a b -- --c -- d");
    const struct sum_values *values = line.values;

    assert_ptr_equal(line.command, &sum_command);
    assert_string_equal(values->first, "a");
    assert_int_equal(values->rest.count, 4);
    assert_string_equal(values->rest.item[0], "b");
    assert_string_equal(values->rest.item[1], "--c");
    assert_string_equal(values->rest.item[2], "--");
    ce_command_line_free(&line);
}

static void the_environment_stands_between_line_and_default(void **state)
{
    (void)state;
    struct words words;

    setenv("CEMOE_TEST_MODEL", "there", 1);
    setenv("CEMOE_TEST_MAX_TOKENS", "7", 1);
    setenv("CEMOE_TEST_STREAM", "", 1);
    struct ce_command_line line = accept(&words, "say -n 8");
    const struct say_values *values = line.values;

    assert_string_equal(values->model.model, "there");
    assert_int_equal(values->max_tokens, 8);
    assert_true(values->stream);
    ce_command_line_free(&line);

    setenv("CEMOE_TEST_STREAM", "off", 1);
    line = accept(&words, "say");
    values = line.values;
    assert_int_equal(values->max_tokens, 7);
    assert_false(values->stream);
    ce_command_line_free(&line);

    setenv("CEMOE_TEST_MAX_TOKENS", "many", 1);
    refuses("say",
            "demo say: CEMOE_TEST_MAX_TOKENS wants an integer from 1 to 1000, "
            "not \"many\"");
    unsetenv("CEMOE_TEST_MODEL");
    unsetenv("CEMOE_TEST_MAX_TOKENS");
    unsetenv("CEMOE_TEST_STREAM");
}

static void unknown_names_suggest_the_nearest(void **state)
{
    (void)state;
    refuses("say --max-token 3",
            "demo say: unknown option --max-token; did you mean --max-tokens?");
    refuses("say --max_tokens=3",
            "demo say: unknown option --max_tokens; did you mean --max-tokens?");
    refuses("say --temp 3",
            "demo say: unknown option --temp; did you mean --temperature?");
    refuses("say --sede 3", "demo say: unknown option --sede; did you mean --seed?");
    refuses("say --frobnicate",
            "demo say: unknown option --frobnicate (see demo say --help)");
    refuses("say -x", "demo say: unknown option -x (see demo say --help)");
    refuses("say --no-seed",
            "demo say: unknown option --no-seed (see demo say --help)");
    refuses("sya -m here", "demo: unknown command sya; did you mean say?");
    refuses("bench smu a", "demo: unknown command bench; did you mean bench sum?");
    refuses("frobnicate", "demo: unknown command frobnicate (see demo --help)");
    refuses("--json say", "demo: unknown command --json (see demo --help)");
    refuses("", "demo: no command given (see demo --help)");
}

static void bad_values_say_what_is_wanted(void **state)
{
    (void)state;
    refuses("say -m x -n 0", "demo say: -n wants an integer from 1 to 1000, not \"0\"");
    refuses("say -m x --max-tokens=1001",
            "demo say: --max-tokens wants an integer from 1 to 1000, not \"1001\"");
    refuses("say -m x -n 12x",
            "demo say: -n wants an integer from 1 to 1000, not \"12x\"");
    refuses("say -m x --max-tokens=",
            "demo say: --max-tokens wants an integer from 1 to 1000, not \"\"");
    refuses("say -m x --compressed 3000000000",
            "demo say: --compressed wants an integer from 0 to 2147483647, not "
            "\"3000000000\"");
    refuses("say -m x --seed -1", "demo say: --seed wants a whole number, not \"-1\"");
    refuses("say -m x --seed 18446744073709551616",
            "demo say: --seed wants a whole number, not \"18446744073709551616\"");
    refuses("say -m x --memory 4kB",
            "demo say: --memory wants a size such as 4096, 64k or 2G, not \"4kB\"");
    refuses("say -m x --memory 99999999T",
            "demo say: --memory wants a size such as 4096, 64k or 2G, not "
            "\"99999999T\"");
    refuses("say -m x --temperature nan",
            "demo say: --temperature wants a number of at least 0, not \"nan\"");
    refuses("say -m x --temperature -0.5",
            "demo say: --temperature wants a number of at least 0, not \"-0.5\"");
    refuses("say -m x --combine both",
            "demo say: --combine wants one of ordered, partial, not \"both\"");
}

static void misplaced_arguments_are_refused(void **state)
{
    (void)state;
    refuses("say", "demo say: --model DIR is required");
    refuses("bench sum", "demo bench sum: FIRST is required");
    refuses("say -m", "demo say: -m wants DIR");
    refuses("say --model --json", "demo say: --model wants DIR before --json");
    refuses("say --model=", "demo say: --model: DIR is empty");
    refuses("say --prompt", "demo say: --prompt wants TEXT");
    refuses("say --prompt -j", "demo say: --prompt wants TEXT");
    refuses("say -m x --json=1", "demo say: --json takes no value");
    refuses("say -m x extra",
            "demo say: unexpected argument \"extra\" (see demo say --help)");
}

static void help_and_version_win_wherever_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ce_request request;
        const struct ce_command *command;
    } cases[] = {
        {"--help", CE_REQUEST_HELP, NULL},
        {"help", CE_REQUEST_HELP, NULL},
        {"--version", CE_REQUEST_VERSION, NULL},
        {"help say", CE_REQUEST_HELP, &say_command},
        {"--help bench sum", CE_REQUEST_HELP, &sum_command},
        {"say --max-token 3 -h", CE_REQUEST_HELP, &say_command},
        {"say --prompt a --version", CE_REQUEST_VERSION, &say_command},
        {"bench sum -- --help", CE_REQUEST_RUN, &sum_command},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct words words;
        struct ce_command_line line = accept(&words, cases[i].text);

        assert_int_equal(line.request, cases[i].request);
        assert_ptr_equal(line.command, cases[i].command);
        ce_command_line_free(&line);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_given),
        cmocka_unit_test(every_spelling_is_understood),
        cmocka_unit_test(all_but_paths_is_described),
        cmocka_unit_test(lists_take_all_up_to_the_next_option),
        cmocka_unit_test(the_last_of_two_scalars_wins),
        cmocka_unit_test(positions_are_filled_in_order),
        cmocka_unit_test(the_environment_stands_between_line_and_default),
        cmocka_unit_test(unknown_names_suggest_the_nearest),
        cmocka_unit_test(bad_values_say_what_is_wanted),
        cmocka_unit_test(misplaced_arguments_are_refused),
        cmocka_unit_test(help_and_version_win_wherever_they_stand),
    };

    return cmocka_run_group_tests_name("base.options", tests, NULL, NULL);
}
