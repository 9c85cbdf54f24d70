/* Which files of texts are JSON Lines, by name and by what is in them. */

#include "base/log.h"
#include "eval/data_file.h"
#include "test.h"

#include <string.h>

enum kind { TEXT, LINES, REFUSED };

#define OBJECTS "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n"
#define LIST    "[\n  {\"text\": \"a\"}\n]\n"

static const struct {
    const char *path;
    const char *text;
    enum kind kind;
} cases[] = {
    {"d/a.jsonl", OBJECTS, LINES},
    {"a.JSONL", OBJECTS, LINES},
    {"a.ndjson", OBJECTS, LINES},
    {"a.JsonLines", "x", LINES}, /* the name says so; reading it fails */
    {"a.json", OBJECTS, LINES},
    {"a.txt", OBJECTS, LINES},
    {"/dev/stdin", OBJECTS, LINES},
    {"a", "{\"text\": \"a\"}\r\n{\"text\": \"b\"}\r\n", LINES},
    {"a.json", LIST, REFUSED},
    {"a.JSON", "{\n\"text\": \"a\"\n}", REFUSED},
    {"a.json", "[\"a\", \"b\"]", REFUSED},
    {"a.txt", LIST, TEXT},
    {"a.txt", OBJECTS "and a word\n", TEXT},
    {"a.txt", "{ braces } of a program {\n}\n", TEXT},
    {"a.txt", "[1] A footnote.\n", TEXT},
    {"a.json", "Plain words.\n", TEXT},
    {"a.jsonl.txt", "Plain words.\n", TEXT},
    {"a.json", "", TEXT},
    {"a.json", "{", TEXT},
};

static void names_and_contents_decide(void **state)
{
    (void)state;
    ce_log_init(CE_LOG_ERROR, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_error err = {.text = ""};
        bool lines = false;
        enum ce_status status = ce_data_file_classify(
            cases[i].path, cases[i].text, strlen(cases[i].text), "text", &lines, &err);
        const enum kind found = status != CE_OK ? REFUSED : lines ? LINES : TEXT;

        if (found != cases[i].kind) {
            fail_msg("%s %s: %d", cases[i].path, cases[i].text, (int)found);
        }
        assert_int_equal(err.text[0] != '\0', found == REFUSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_contents_decide),
    };

    return cmocka_run_group_tests_name("eval.data_file", tests, NULL, NULL);
}
