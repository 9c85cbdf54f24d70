/* JSON as Python reads it. The table was made with json.loads and json.dumps(
 * ensure_ascii=False) of Python 3.11; halves of surrogate pairs, which Python cannot
 * encode, stand as escapes. */

#include "base/json.h"
#include "eval/python_json.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    const char *printed; /* NULL: Python refuses it */
} cases[] = {
    {"{\"a\":1}", "{\"a\": 1}"},
    {"[]", "[]"},
    {"{}", "{}"},
    {" [1 , 2 ] ", "[1, 2]"},
    {"\011\015\012[true,false,null]", "[true, false, null]"},
    {"NaN", "NaN"},
    {"[NaN,Infinity,-Infinity]", "[NaN, Infinity, -Infinity]"},
    {"[-NaN]", NULL},
    {"[+1]", NULL},
    {"[nan]", NULL},
    {"[Infinity1]", NULL},
    {"18446744073709551615", "18446744073709551615"},
    {"[9223372036854775807,9223372036854775808,-9223372036854775808,-"
     "9223372036854775809]",
     "[9223372036854775807, 9223372036854775808, -9223372036854775808, "
     "-9223372036854775809]"},
    {"[1e400,-1e400,1e-400]", "[Infinity, -Infinity, 0.0]"},
    {"[-0,-0.0,0.0,1E5,1e+5,1.5e-7,123456789012345678901234567890.5]",
     "[0, -0.0, 0.0, 100000.0, 100000.0, 1.5e-07, 1.2345678901234568e+29]"},
    {"[01]", NULL},
    {"[1.]", NULL},
    {"[.5]", NULL},
    {"[1e]", NULL},
    {"[1e+]", NULL},
    {"[-]", NULL},
    {"[0x10]", NULL},
    {"[1_000]", NULL},
    {"\"a\\u0000b\"", "\"a\\u0000b\""},
    {"\"\\ud83d\"", "\"\\ud83d\""},
    {"\"\\ude00\"", "\"\\ude00\""},
    {"\"\\ud83d\\ude00\"", "\"\360\237\230\200\""},
    {"\"\\ud83d\\ud83d\\ude00\"", "\"\\ud83d\360\237\230\200\""},
    {"\"\\ude00\\ud83d\"", "\"\\ude00\\ud83d\""},
    {"\"\\ud83dx\"", "\"\\ud83dx\""},
    {"\"\\uD83D\\u0041\"", "\"\\ud83dA\""},
    {"\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"/\\b\\f\\n\\r\\t\\\"\\\\\""},
    {"\"\\x\"", NULL},
    {"\"\\u12\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"\\U0041\"", NULL},
    {"\"a\011b\"", NULL},
    {"\"a\177b\"", "\"a\177b\""},
    {"\"a\012b\"", NULL},
    {"\"\303\251\346\274\242\360\237\230\200\"",
     "\"\303\251\346\274\242\360\237\230\200\""},
    {"\"\\u00e9\\u6f22\"", "\"\303\251\346\274\242\""},
    {"\"abc", NULL},
    {"\"", NULL},
    {"{\"a\":1,\"a\":2}", "{\"a\": 2}"},
    {"{\"a\":1,\"b\":3,\"a\":{\"c\":1,\"c\":[]}}", "{\"a\": {\"c\": []}, \"b\": 3}"},
    {"{\"\\u0000\":1,\"\\ud800\":2}", "{\"\\u0000\": 1, \"\\ud800\": 2}"},
    {"{'a':1}", NULL},
    {"{a:1}", NULL},
    {"{\"a\":1,}", NULL},
    {"[1,]", NULL},
    {"[,1]", NULL},
    {"{,}", NULL},
    {"{\"a\"}", NULL},
    {"{\"a\":}", NULL},
    {"{\"a\" 1}", NULL},
    {"[1 2]", NULL},
    {"[1]]", NULL},
    {"[1]x", NULL},
    {"", NULL},
    {"   ", NULL},
    {"tru", NULL},
    {"truex", NULL},
    {"nullnull", NULL},
    {"[true]", "[true]"},
    {"/*c*/[1]", NULL},
    {"[1]//", NULL},
    {"\"\\u2028\"", "\"\342\200\250\""},
    {"\342\200\250[1]", NULL},
    {"\357\273\277[1]", "[1]"},
    {"{\"x\":[{\"y\":NaN}]}", "{\"x\": [{\"y\": NaN}]}"},
    {"123", "123"},
    {"-5", "-5"},
    {"1.0", "1.0"},
    {"100000000000000000000000.0", "1e+23"},
    {"[1E400]", "[Infinity]"},
    {"\"\\uDBFF\\uDFFF\"", "\"\364\217\277\277\""},
    {"\"\\udbff\\udc00a\\udc00\"", "\"\364\217\260\200a\\udc00\""},
};

static void texts_are_read_and_refused_as_python_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_json_problem why;
        const size_t bytes = strlen(cases[i].text);
        char *copy = malloc(bytes + 1); /* so that a sanitizer sees the end */
        struct ce_string printed = {.data = NULL};

        assert_non_null(copy);
        memcpy(copy, cases[i].text, bytes);
        char *exact = realloc(copy, bytes == 0 ? 1 : bytes);

        assert_non_null(exact);
        json_t *value = ce_json_text_parse(exact, bytes, CE_JSON_LAST_KEY, &why);

        free(exact);
        if ((value != NULL) != (cases[i].printed != NULL)) {
            fail_msg("%s: %s", cases[i].text, value != NULL ? "is read" : why.text);
        }
        if (value != NULL) {
            ce_python_json(&printed, value, 0);
            assert_string_equal(printed.data, cases[i].printed);
        } else {
            assert_false(why.memory);
            assert_true(why.text[0] != '\0' && why.line >= 1 && why.column >= 1);
        }
        ce_string_free(&printed);
        json_decref(value);
    }
}

static json_t *parse(const char *text, size_t bytes, unsigned flags)
{
    struct ce_json_problem why;

    return ce_json_text_parse(text, bytes, flags, &why);
}

/* Of no type that a reader of fields asks for. */
static void odd_values_are_nothing_but_odd(void **state)
{
    (void)state;
    static const char text[] =
        "{\"nan\": NaN, \"big\": -18446744073709551616, \"nul\": \"a\\u0000\", "
        "\"half\": \"\\ud800\", \"plain\": \"x\", \"object\": {\"beyond JSON\": 1}}";
    static const char *const odd[][2] = {{"nan", "NaN"},
                                         {"big", "-18446744073709551616"},
                                         {"nul", "\"a\\u0000\""},
                                         {"half", "\"\\ud800\""}};
    const struct ce_json_source source = {.file = "f", .prefix = ""};
    json_t *object = parse(text, sizeof(text) - 1, CE_JSON_PLAIN);
    struct ce_error err;

    assert_non_null(object);
    for (size_t i = 0; i < 4; i++) {
        const json_t *value = json_object_get(object, odd[i][0]);
        const char *string = NULL;
        double number = 0.0;

        assert_string_equal(ce_json_odd(value), odd[i][1]);
        assert_int_equal(ce_json_read_string(&source, object, odd[i][0], &string, &err),
                         CE_ERR_FORMAT);
        assert_int_equal(ce_json_read_double(&source, object, odd[i][0], &number, &err),
                         CE_ERR_FORMAT);
    }
    assert_string_equal(ce_json_big_integer(json_object_get(object, "big")), odd[1][1]);
    assert_null(ce_json_big_integer(json_object_get(object, "nan")));
    assert_null(ce_json_big_integer(json_object_get(object, "half")));
    assert_null(ce_json_odd(json_object_get(object, "plain")));
    assert_null(ce_json_odd(json_object_get(object, "object")));
    assert_null(ce_json_odd(object));
    assert_null(ce_json_odd(NULL));
    json_decref(object);
}

static void strings_with_nul_are_strings_where_wanted(void **state)
{
    (void)state;
    json_t *value = parse("[\"a\\u0000b\"]", 12, CE_JSON_NUL);
    const json_t *string = json_array_get(value, 0);

    assert_true(json_is_string(string));
    assert_int_equal(json_string_length(string), 3);
    assert_memory_equal(json_string_value(string), "a\0b", 3);
    json_decref(value);
    assert_null(parse("{\"a\\u0000\": 1}", 14, CE_JSON_NUL));
    assert_null(parse("{\"\\udc00\": 1}", 13, CE_JSON_PLAIN));
    assert_null(parse("[\"a\0b\"]", 7, CE_JSON_NUL)); /* a raw one is a control */
}

static void what_is_not_utf_8_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"\"\xff\"",
                                        "\"\xc3\"",
                                        "\"\xc0\x80\"",
                                        "\"\xe0\x80\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\xf0\x8f\xbf\xbf\"",
                                        "\"\x80\"",
                                        "\"\xe2\x82\"",
                                        "\"\xf8\x88\x80\x80\x80\""};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct ce_json_problem why;

        assert_null(
            ce_json_text_parse(texts[i], strlen(texts[i]), CE_JSON_PLAIN, &why));
        assert_string_equal(why.text, "the text is not UTF-8");
        assert_int_equal(why.column, 2);
    }
}

static void equal_keys_are_refused_or_the_last_counts(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}";
    struct ce_json_problem why;

    assert_null(ce_json_text_parse(text, sizeof(text) - 1, CE_JSON_PLAIN, &why));
    assert_string_equal(why.text, "duplicate key \"c\"");
    assert_int_equal(why.line, 2);
    assert_int_equal(why.column, 16);
    json_t *value = parse(text, sizeof(text) - 1, CE_JSON_LAST_KEY);

    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(value, "b"), "c")), 2);
    json_decref(value);
}

/* As Python: sys.get_int_max_str_digits(). */
static void integers_have_at_most_4300_digits(void **state)
{
    (void)state;
    static char text[4304];
    struct ce_json_problem why;

    memset(text, '7', sizeof(text));
    text[0] = '[';
    text[4301] = ']';
    json_t *value = parse(text, 4302, CE_JSON_PLAIN);

    assert_int_equal(strlen(ce_json_big_integer(json_array_get(value, 0))), 4300);
    json_decref(value);
    text[4301] = '7';
    text[4302] = ']';
    assert_null(ce_json_text_parse(text, 4303, CE_JSON_PLAIN, &why));
    assert_string_equal(why.text, "an integer of more than 4300 digits");
}

static void nesting_has_an_end(void **state)
{
    (void)state;
    static char text[6000];
    struct ce_json_problem why;

    memset(text, '[', 2049);
    memset(text + 2048, ']', 2048);
    json_t *value = parse(text, 4096, CE_JSON_PLAIN);

    assert_non_null(value);
    json_decref(value);
    memset(text, '[', 2049);
    memset(text + 2049, ']', 2049);
    assert_null(ce_json_text_parse(text, 4098, CE_JSON_PLAIN, &why));
    assert_non_null(strstr(why.text, "depth of more than 2048"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read_and_refused_as_python_does),
        cmocka_unit_test(odd_values_are_nothing_but_odd),
        cmocka_unit_test(strings_with_nul_are_strings_where_wanted),
        cmocka_unit_test(what_is_not_utf_8_is_refused),
        cmocka_unit_test(equal_keys_are_refused_or_the_last_counts),
        cmocka_unit_test(integers_have_at_most_4300_digits),
        cmocka_unit_test(nesting_has_an_end),
    };

    return cmocka_run_group_tests_name("base.json_text", tests, NULL, NULL);
}
