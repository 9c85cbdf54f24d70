/* JSON Lines as other programs write them. */

#include "eval/jsonl.h"
#include "test.h"

#include <string.h>

/* The values of "n" and the numbers of their lines, as "1@1 2@3". */
static const char *read_all(const char *text, size_t bytes)
{
    static char found[256];
    struct ce_jsonl lines;
    json_t *object = NULL;
    struct ce_error err = {.text = ""};
    size_t used = 0;

    found[0] = '\0';
    assert_int_equal(ce_jsonl_init(&lines, "f", text, bytes, &err), CE_OK);
    while (ce_jsonl_next(&lines, &object, &err) == CE_OK && object != NULL) {
        used += (size_t)snprintf(found + used,
                                 sizeof(found) - used,
                                 "%s%lld@%zu",
                                 used == 0 ? "" : " ",
                                 json_integer_value(json_object_get(object, "n")),
                                 lines.line);
        json_decref(object);
    }
    ce_jsonl_fini(&lines);
    return err.text[0] == '\0' ? found : "refused";
}

#define READ(text) read_all(text, sizeof(text) - 1)

static void lines_end_as_in_python(void **state)
{
    (void)state;
    assert_string_equal(READ("{\"n\":1}\n{\"n\":2}\n"), "1@1 2@2");
    assert_string_equal(READ("{\"n\":1}\n\n{\"n\":2}"), "1@1 2@3");
    assert_string_equal(READ("{\"n\":1}\r\n\r\n{\"n\":2}\r\n"), "1@1 2@3");
    assert_string_equal(READ("{\"n\":1}\r{\"n\":2}\r\r{\"n\":3}"), "1@1 2@2 3@4");
    assert_string_equal(READ("{\"n\":1}\r\r\n{\"n\":2}"), "1@1 2@3");
    assert_string_equal(READ("\xEF\xBB\xBF{\"n\":1}\n{\"n\":2}"), "1@1 2@2");
    assert_string_equal(READ("\xEF\xBB\xBF\r\n{\"n\":1}"), "1@2");
    assert_string_equal(READ(""), "");
    assert_string_equal(READ(" \t\r\n"), "");
    /* These are no ends of lines. */
    assert_string_equal(READ("{\"n\":1,\"s\":\"\xE2\x80\xA8\xC2\x85\"}"), "1@1");
}

static void odd_values_in_other_fields_do_no_harm(void **state)
{
    (void)state;
    assert_string_equal(READ("{\"n\":1,\"x\":NaN,\"y\":[-Infinity,1e999]}\n"
                             "{\"n\":2,\"x\":18446744073709551615}\n"
                             "{\"x\":{\"y\":\"\\ud83d\"},\"n\":3}\n"
                             "{\"n\":4,\"x\":\"\\u0000\",\"\\u0000\":0}\n"
                             "{\"n\":0,\"n\":5}"),
                        "1@1 2@2 3@3 4@4 5@5");
    assert_string_equal(READ("{\"n\":1}\nNaN\n"), "refused");
    struct ce_jsonl lines;
    struct ce_error err;

    assert_int_equal(ce_jsonl_init(&lines, "f", "\x1f\x8b", 2, &err), CE_ERR_FORMAT);
    assert_string_equal(err.text, "f: is a gzip file, not UTF-8 text: unpack it first");
    ce_jsonl_fini(&lines);
}

static void texts_of_objects_are_told_from_others(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_lines;
    } cases[] = {
        {"{}", true},
        {"{\"a\":1}\n\n{\"b\":2}\r\n", true},
        {"\xEF\xBB\xBF{\"a\":1}\n", true},
        {"", false},
        {"\n\n", false},
        {"[1]\n", false},
        {"{\"a\":1}\nx\n", false},
        {"{\n\"a\":1\n}\n", false},
        {"Two and two\n", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ce_jsonl_is_lines(cases[i].text, strlen(cases[i].text)),
                         cases[i].is_lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_as_in_python),
        cmocka_unit_test(odd_values_in_other_fields_do_no_harm),
        cmocka_unit_test(texts_of_objects_are_told_from_others),
    };

    return cmocka_run_group_tests_name("eval.jsonl", tests, NULL, NULL);
}
