#include "eval/markdown.h"
#include "test.h"

#include <stdlib.h>

static const struct ce_markdown_column columns[] = {{"Name", false}, {"n", true}};

static void columns_are_as_wide_as_their_text(void **state)
{
    (void)state;
    struct ce_markdown table = {.column = columns, .columns = 2};
    char *text = NULL;

    ce_markdown_add(&table, "%s", "é ± 日本");
    ce_markdown_add(&table, "%d", 12345);
    ce_markdown_add(&table, "a|b\nc");
    ce_markdown_add(&table, "%d", 1);
    text = ce_markdown_take(&table);
    assert_string_equal(text,
                        "| Name     |     n |\n"
                        "| -------- | ----: |\n"
                        "| é ± 日本 | 12345 |\n"
                        "| a b c    |     1 |\n");
    free(text);
}

static void a_table_may_be_empty_or_long(void **state)
{
    (void)state;
    struct ce_markdown table = {.column = columns, .columns = 2};
    char *text = ce_markdown_take(&table);
    size_t lines = 0;

    assert_string_equal(text,
                        "| Name |   n |\n"
                        "| ---- | --: |\n");
    free(text);
    for (int i = 0; i < 500; i++) {
        ce_markdown_add(&table, "%d", i);
    }
    text = ce_markdown_take(&table);
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n' ? 1 : 0;
    }
    assert_int_equal(lines, 252);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_text),
        cmocka_unit_test(a_table_may_be_empty_or_long),
    };

    return cmocka_run_group_tests_name("eval.markdown", tests, NULL, NULL);
}
