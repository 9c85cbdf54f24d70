/* Help, man page and completion tell what the tables say. */

#include "options_demo.h"
#include "test.h"

#include <string.h>

static void print_help_of_say(FILE *out)
{
    ce_program_print_help(out, &demo, &say_command);
}

static void print_help_of_all(FILE *out)
{
    ce_program_print_help(out, &demo, NULL);
}

static void print_man(FILE *out)
{
    ce_program_print_man(out, &demo);
}

static void print_completion(FILE *out)
{
    ce_program_print_completion(out, &demo);
}

/* What `print` writes, until the next call. */
static const char *printed(void (*print)(FILE *out))
{
    static char text[1 << 16];
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void contains(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        (void)fputs(text, stderr);
        fail_msg("no \"%s\" in the text above", wanted);
    }
}

static int occurrences(const char *text, const char *wanted)
{
    int count = 0;

    for (text = strstr(text, wanted); text != NULL; text = strstr(text + 1, wanted)) {
        count++;
    }
    return count;
}

static void fits_in_80_columns(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (length > 80) {
            fail_msg("%zu columns: %.*s", length, (int)length, text);
        }
        text += length + (text[length] == '\n');
    }
}

static void help_of_a_command_shows_all_of_it(void **state)
{
    (void)state;
    const char *text = printed(print_help_of_say);

    fits_in_80_columns(text);
    contains(text,
             "demo say: Continue texts\n\nUsage:\n  demo say --model DIR [options]");
    contains(text,
             "Filled text that is long enough to need a second line when it is "
             "shown on a\nterminal.\n\n  kept   as it is\n\n");
    contains(text,
             "Model:\n  -m, --model DIR       Checkpoint directory. (required; "
             "environment\n                        CEMOE_TEST_MODEL)\n");
    contains(text, "least 0; default what the checkpoint says)\n");
    contains(text, "\n\nText:\n  -p, --prompt TEXT...");
    contains(text, "--[no-]stream");
    contains(text, "(ordered, partial; default ordered)");
    contains(text, "(1 to 1000; default 16;");
    contains(text, "  -h, --help            Show this text.\n");
    contains(text, "Examples:\n  One text:\n    demo say --model here\n");
}

static void help_of_the_program_lists_the_commands(void **state)
{
    (void)state;
    const char *text = printed(print_help_of_all);

    fits_in_80_columns(text);
    contains(text, "  say               Continue texts\n");
    contains(text, "  bench sum         Add files\n");
    assert_null(strstr(text, "Manual"));
}

static void man_page_is_roff_with_every_option_and_variable(void **state)
{
    (void)state;
    const char *text = printed(print_man);

    contains(text, ".TH DEMO 1 \"\" \"demo 1.2.3\" \"User Commands\"\n");
    contains(text, ".SS \"bench sum\"\nAdd files.\n");
    contains(text, ".TP\n\\fB\\-n, \\-\\-max\\-tokens N\\fR\nAt most so many");
    contains(text, ".SH DEFAULTS FROM THE ENVIRONMENT\n");
    contains(text, "\\fBCEMOE_TEST_STREAM\\fR\nDefault of \\fB\\-\\-stream\\fR.\n");
    contains(text,
             ".SH \"EXIT STATUS\"\n.PP\n\\&.5 is none\n.PP\n.nf\n 0  done\n.fi\n");
    contains(text, "demo say \\-\\-model here\n");
    /* The variable of a table that two commands share stands there once. */
    assert_int_equal(occurrences(text, "\\fBCEMOE_TEST_MODEL\\fR\n"), 1);
}

static void completion_offers_commands_options_and_choices(void **state)
{
    (void)state;
    const char *text = printed(print_completion);

    contains(text, "\" \") words=\"help say bench\" ;;\n");
    contains(text, "\"bench \"*) words=\"$words sum\" ;;&\n");
    contains(text, "--combine) words=\"ordered partial\" ;;\n");
    contains(text, "words=\"--help --model --compressed --prompt ");
    contains(text, "complete -o default -F _demo demo\n");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_of_a_command_shows_all_of_it),
        cmocka_unit_test(help_of_the_program_lists_the_commands),
        cmocka_unit_test(man_page_is_roff_with_every_option_and_variable),
        cmocka_unit_test(completion_offers_commands_options_and_choices),
    };

    return cmocka_run_group_tests_name("base.options_text", tests, NULL, NULL);
}
