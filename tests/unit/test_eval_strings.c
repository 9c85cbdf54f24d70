#include "eval/strings.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static void assert_trimmed(const char *text, const char *wanted)
{
    struct ce_span span = ce_span_trim(ce_span_of(text));

    assert_int_equal(span.length, strlen(wanted));
    assert_memory_equal(span.data, wanted, span.length);
}

static void white_space_is_that_of_python(void **state)
{
    (void)state;

    assert_trimmed("", "");
    assert_trimmed(" \t\n\v\f\r\x1c\x1d\x1e\x1f", "");
    assert_trimmed("\xc2\x85\xc2\xa0\xe2\x80\x83 a b\xe3\x80\x80\xe2\x80\xa8", "a b");
    /* U+200B, U+FEFF and U+0000's neighbours are no white space. */
    assert_trimmed("\xe2\x80\x8b", "\xe2\x80\x8b");
    assert_trimmed("\xef\xbb\xbf x", "\xef\xbb\xbf x");
    assert_trimmed("\x1b x", "\x1b x");
}

static void replacing_goes_from_left_to_right(void **state)
{
    (void)state;
    struct ce_string text = {.data = NULL};
    char *string = NULL;

    ce_string_replace(&text, "a", "b");
    ce_string_append(&text, "    x aXa");
    ce_string_replace(&text, "  ", " ");
    ce_string_replace(&text, "a", "aa");
    string = ce_string_take(&text);
    assert_string_equal(string, "  x aaXaa");
    free(string);
}

static void the_first_and_the_last_are_found(void **state)
{
    (void)state;
    struct ce_span span = ce_span_of("ab ab");

    assert_ptr_equal(ce_span_find(span, "ab"), span.data);
    assert_ptr_equal(ce_span_find_last(span, "ab"), span.data + 3);
    assert_null(ce_span_find(span, "abc"));
    assert_null(ce_span_find_last(span, "ab ab "));
    assert_null(ce_span_find_last(ce_span_of(""), "a"));
}

static void case_is_mapped_point_by_point(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"HELLO World", "Hello world"},
        {"\xc3\xa9TUDE \xc3\x89", "\xc3\x89tude \xc3\xa9"},
        {"\xc7\xb3", "\xc7\xb2"}, /* title case, not upper case */
        {" aB", " ab"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_string text = {.data = NULL};
        char *string = NULL;

        ce_string_append(&text, cases[i][0]);
        ce_string_capitalize(&text);
        string = ce_string_take(&text);
        assert_string_equal(string, cases[i][1]);
        free(string);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_is_that_of_python),
        cmocka_unit_test(replacing_goes_from_left_to_right),
        cmocka_unit_test(the_first_and_the_last_are_found),
        cmocka_unit_test(case_is_mapped_point_by_point),
    };

    return cmocka_run_group_tests_name("eval.strings", tests, NULL, NULL);
}
