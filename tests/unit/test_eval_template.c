#include "eval/template.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static const char document_text[] =
    "{\"name\": \" Ann \", \"n\": -7, \"list\": [\"a\", \"b\", \"c\"], \"real\": 0.5,"
    " \"in\": {\"x\": [\"deep\"], \"with-dash_2\": \"ok\"}, \"no\": null, \"e\": \"\","
    " \"path\": \"one/two/three\", \"wiki\": \"a , ( b ) 2 @.@ 5\"}";

static json_t *document(void)
{
    json_error_t why;
    json_t *object = json_loads(document_text, 0, &why);

    assert_non_null(object);
    return object;
}

static void templates_are_rendered(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain } text } }", "plain } text } }"},
        {"<{{name}}|{{ name | trim }}>", "< Ann |Ann>"},
        {"{{n}}{{list[0]}}{{list[-1]}}", "-7ac"},
        {"{{in.x[0]}} {{in.with-dash_2|capitalize}}", "deep Ok"},
        {"{{list|join(', ')}}{{list|join('')}}", "a, b, cabc"},
        {"{{path|before('/')}} {{path|after(\"/\")}}", "one two/three"},
        {"{{path|before_last('/')}} {{path|after_last('/')}}", "one/two three"},
        {"<{{path|before_last('+')}}> {{path|after_last('+')}}", "<> one/two/three"},
        {"{{path|replace('/', '\\n')|replace('two', '')}}", "one\n\nthree"},
        {"{{e|trim|lower|capitalize|replace('a', 'b')|wikitext}}", ""},
        {"{{e|before_last('x')}}{{e|after_last('x')}}", ""},
        {"{{'{{'}}{{\"it's\"|replace('\\'', '\\\"')}}", "{{it\"s"},
        {"{{wiki|wikitext}}", "a, (b) 2.5"},
        {"{{name|lower|trim}}", "ann"},
    };
    json_t *object = document();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_template *compiled = NULL;
        struct ce_string text = {.data = NULL};
        struct ce_error err = {.text = ""};
        char *string = NULL;

        assert_int_equal(ce_template_create(&compiled, cases[i][0], &err), CE_OK);
        assert_int_equal(ce_template_render(compiled, object, &text, &err), CE_OK);
        string = ce_string_take(&text);
        assert_string_equal(string, cases[i][1]);
        free(string);
        ce_template_destroy(compiled);
    }
    json_decref(object);
}

/* Chains of operations that are short themselves. */
static void what_comes_of_a_value_is_bounded(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"replace('e', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee')",
         "path: replace makes more than 65744 bytes of the value, which is too much"},
        {"replace('t', 'ttttttttttttttttttttttttttttttttttttttttttttttttttt')",
         "path: replace makes more than 65744 bytes of the value, which is too much"},
    };
    json_t *object = document();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_template *compiled = NULL;
        struct ce_string text = {.data = NULL};
        struct ce_error err = {.text = ""};
        char source[1024] = "{{path";

        for (size_t step = 0; step < 6; step++) {
            (void)strcat(strcat(source, "|"), cases[i][0]);
        }
        assert_int_equal(ce_template_create(&compiled, strcat(source, "}}"), &err),
                         CE_OK);
        assert_int_equal(ce_template_render(compiled, object, &text, &err),
                         CE_ERR_FORMAT);
        assert_string_equal(err.text, cases[i][1]);
        ce_string_free(&text);
        ce_template_destroy(compiled);
    }
    json_decref(object);
}

static void a_separator_is_bounded(void **state)
{
    (void)state;
    char *source = malloc(200000);
    struct ce_template *compiled = NULL;
    struct ce_string text = {.data = NULL};
    struct ce_error err = {.text = ""};
    json_t *object = document();

    assert_non_null(source);
    (void)strcpy(source, "{{list|join('");
    (void)memset(source + strlen(source), 's', 100000);
    (void)strcpy(source + 100013, "')}}");
    assert_int_equal(ce_template_create(&compiled, source, &err), CE_OK);
    assert_int_equal(ce_template_render(compiled, object, &text, &err), CE_ERR_FORMAT);
    assert_string_equal(
        err.text, "join makes more than 65568 bytes of the value, which is too much");
    ce_string_free(&text);
    ce_template_destroy(compiled);
    json_decref(object);
    free(source);
}

static void bad_templates_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ab{{", "character 5"},
        {"{{}}", "the name of a field"},
        {"{{a", "\"}}\" or \"|\""},
        {"{{a}", "\"}}\" or \"|\""},
        {"{{a.}}", "the name of a field"},
        {"{{[0]}}", "the name of a field"},
        {"{{a[b]}}", "an index is"},
        {"{{a[0}}", "an index is"},
        {"{{a[99999999999]}}", "an index is"},
        {"{{a|trin}}", "unknown operation \"trin\"; did you mean \"trim\"?"},
        {"{{a|}}", "unknown operation \"\""},
        {"{{a.strip()}}", "\"}}\" or \"|\""},
        {"{{a|join}}", "takes one argument"},
        {"{{a|join('x'}}", "\")\" is expected"},
        {"{{a|replace('x')}}", "takes two arguments"},
        {"{{a|replace('', 'y')}}", "is empty"},
        {"{{a|before(x)}}", "a string in quotes"},
        {"{{a|before('x}}", "without its closing quote"},
        {"{{a|before('\\x')}}", "only \\n"},
        {"{{a|trim|join('x')}}", "comes first"},
        {"{% if a %}", "Jinja"},
        {"x{# note #}", "character 2"},
        {"{{a b}}", "\"}}\" or \"|\""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_template *compiled = NULL;
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_template_create(&compiled, cases[i][0], &err),
                         CE_ERR_FORMAT);
        assert_null(compiled);
        if (strstr(err.text, cases[i][1]) == NULL) {
            fail_msg("%s: %s", cases[i][0], err.text);
        }
    }
}

static void documents_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{{nam}}", "nam: the document has no such field; there is \"name\""},
        {"{{in.y}}", "in.y: the document has no such field"},
        {"{{list.x}}", "list: is not an object"},
        {"{{in[0]}}", "in: is not a list"},
        {"{{list[3]}}", "list[3]: the list has 3 elements"},
        {"{{list[-4]}}", "list[-4]: the list has 3 elements"},
        {"{{real}}", "real: is not a string or an integer"},
        {"{{no}}", "no: is not a string or an integer"},
        {"{{list}}", "list: is not a string"},
        {"{{name|join(' ')}}", "name: is not a list"},
        {"{{path|before('+')}}", "path: there is no \"+\" in the text"},
        {"{{path|after('+')}}", "path: there is no \"+\""},
    };
    json_t *object = document();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_template *compiled = NULL;
        struct ce_string text = {.data = NULL};
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_template_create(&compiled, cases[i][0], &err), CE_OK);
        assert_int_equal(ce_template_render(compiled, object, &text, &err),
                         CE_ERR_FORMAT);
        if (strstr(err.text, cases[i][1]) == NULL) {
            fail_msg("%s: %s", cases[i][0], err.text);
        }
        ce_string_free(&text);
        ce_template_destroy(compiled);
    }
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_rendered),
        cmocka_unit_test(bad_templates_are_refused),
        cmocka_unit_test(what_comes_of_a_value_is_bounded),
        cmocka_unit_test(a_separator_is_bounded),
        cmocka_unit_test(documents_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests_name("eval.template", tests, NULL, NULL);
}
