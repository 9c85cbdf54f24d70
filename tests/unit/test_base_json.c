#include "base/json.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static const struct ce_json_source source = {.file = "a.json", .prefix = "b."};

static json_t *parse(const char *text)
{
    json_t *object;
    struct ce_error err;

    assert_int_equal(ce_json_parse_object(text, strlen(text), "a.json", &object, &err),
                     CE_OK);
    return object;
}

static void assert_refused(const char *text, size_t bytes, const char *why)
{
    json_t *object;
    struct ce_error err;

    assert_int_equal(ce_json_parse_object(text, bytes, "a.json", &object, &err),
                     CE_ERR_FORMAT);
    assert_null(object);
    assert_memory_equal(err.text, "a.json: ", 8);
    assert_non_null(strstr(err.text, why));
}

static void bad_documents_are_refused_with_the_place(void **state)
{
    (void)state;
    static const char nul[] = "{\"a\": \"x\0y\"}";

    assert_refused("{\n \"a\": }", 9, "line 2");
    assert_refused("{\"a\": 1, \"a\": 2}", 16, "duplicate");
    assert_refused("{\"a\": {\"b\": 1, \"b\": 2}}", 23, "duplicate");
    assert_refused("[1]", 3, "not a JSON object");
    assert_refused("7", 1, "not a JSON object");
    assert_refused("\xff\xfe{\0}\0", 6, "is UTF-16, not UTF-8 text: save it as UTF-8");
    assert_refused("NaN", 3, "not a JSON object");
    assert_refused("", 0, "line 1");
    assert_refused("{} x", 4, "the end of the text");
    assert_refused("{\"a\": \"\xff\"}", 10, "not UTF-8");
    assert_refused(nul, sizeof(nul) - 1, "line 1");
}

/* Ninety bytes of memory for each three of text, on a machine made to look small. */
static void values_that_do_not_fit_into_memory_are_refused(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    char *text = malloc(BYTES);
    struct ce_error err = {.text = ""};

    assert_non_null(text);
    for (size_t i = 0; i < BYTES; i++) {
        text[i] = "[],"[i % 3];
    }
    assert_int_equal(setenv("CEMOE_MEMORY_LIMIT", "134217728", 1), 0);
    assert_int_equal(ce_json_check_memory(text, BYTES, "a.json", &err), CE_ERR_NOMEM);
    assert_string_equal(err.text,
                        "a.json: the values of 3.0 MiB of JSON may take 258.0 MiB of "
                        "memory, half of what is left is 64.0 MiB");
    assert_int_equal(ce_json_check_memory(text, BYTES / 4, "a.json", &err), CE_OK);
    for (size_t i = 0; i < BYTES; i++) {
        text[i] = "prose has, few marks "[i % 21];
    }
    assert_int_equal(ce_json_check_memory(text, BYTES, "a.json", &err), CE_OK);
    assert_int_equal(unsetenv("CEMOE_MEMORY_LIMIT"), 0);
    free(text);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    static char text[100000];

    memset(text, '[', sizeof(text));
    assert_refused(text, sizeof(text), "depth");
}

static void fields_are_read_by_type(void **state)
{
    (void)state;
    json_t *object =
        parse("{\"s\": 7, \"d\": 2.5, \"i\": 3, \"b\": true, \"t\": \"x\"}");
    struct ce_error err;
    size_t size = 0;
    double real = 0.0;
    double whole = 0.0;
    bool yes = false;
    const char *text = NULL;

    assert_int_equal(ce_json_read_size(&source, object, "s", &size, &err), CE_OK);
    assert_int_equal(ce_json_read_double(&source, object, "d", &real, &err), CE_OK);
    assert_int_equal(ce_json_read_double(&source, object, "i", &whole, &err), CE_OK);
    assert_int_equal(ce_json_read_bool(&source, object, "b", &yes, &err), CE_OK);
    assert_int_equal(ce_json_read_string(&source, object, "t", &text, &err), CE_OK);
    assert_int_equal(size, 7);
    assert_true(real == 2.5 && whole == 3.0 && yes);
    assert_string_equal(text, "x");
    json_decref(object);
}

static void absent_and_null_keep_the_default(void **state)
{
    (void)state;
    json_t *object = parse("{\"s\": null, \"d\": null, \"b\": null, \"t\": null}");
    struct ce_error err;
    size_t size = 5;
    double real = 1.5;
    bool yes = true;
    const char *text = "kept";

    assert_int_equal(ce_json_read_size(&source, object, "s", &size, &err), CE_OK);
    assert_int_equal(ce_json_read_size(&source, object, "none", &size, &err), CE_OK);
    assert_int_equal(ce_json_read_double(&source, object, "d", &real, &err), CE_OK);
    assert_int_equal(ce_json_read_bool(&source, object, "b", &yes, &err), CE_OK);
    assert_int_equal(ce_json_read_string(&source, object, "t", &text, &err), CE_OK);
    assert_int_equal(size, 5);
    assert_true(real == 1.5 && yes);
    assert_string_equal(text, "kept");
    json_decref(object);
}

static void wrong_types_are_refused_by_name(void **state)
{
    (void)state;
    json_t *object =
        parse("{\"neg\": -1, \"real\": 1.0, \"text\": \"1\", \"list\": []}");
    struct ce_error err;
    size_t size = 5;
    double real = 1.5;
    bool yes = true;
    const char *text = "kept";

    assert_int_equal(ce_json_read_size(&source, object, "neg", &size, &err),
                     CE_ERR_FORMAT);
    assert_string_equal(err.text, "a.json: b.neg: is not a non-negative integer");
    assert_int_equal(ce_json_read_size(&source, object, "real", &size, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_json_read_size(&source, object, "text", &size, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_json_read_double(&source, object, "text", &real, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_json_read_bool(&source, object, "neg", &yes, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_json_read_string(&source, object, "list", &text, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(size, 5);
    assert_true(real == 1.5 && yes);
    assert_string_equal(text, "kept");
    json_decref(object);
}

static void a_required_field_must_be_there(void **state)
{
    (void)state;
    json_t *object = parse("{\"null\": null, \"x\": 4}");
    struct ce_error err;
    size_t size = 0;

    assert_int_equal(ce_json_require_size(&source, object, "gone", &size, &err),
                     CE_ERR_FORMAT);
    assert_string_equal(err.text, "a.json: b.gone: is missing");
    assert_int_equal(ce_json_require_size(&source, object, "null", &size, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_json_require_size(&source, object, "x", &size, &err), CE_OK);
    assert_int_equal(size, 4);
    json_decref(object);
}

static void files_are_loaded_up_to_a_limit(void **state)
{
    (void)state;
    const char *path = CE_MODEL_DIR "/config.json";
    json_t *object;
    struct ce_error err;

    assert_int_equal(ce_json_load_object(path, 1 << 20, &object, &err), CE_OK);
    assert_non_null(json_object_get(object, "model_type"));
    json_decref(object);
    assert_int_equal(ce_json_load_object(path, 10, &object, &err), CE_ERR_FORMAT);
    assert_null(object);
    assert_int_equal(ce_json_load_object("/nowhere/x.json", 10, &object, &err),
                     CE_ERR_IO);
    assert_null(object);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_documents_are_refused_with_the_place),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(values_that_do_not_fit_into_memory_are_refused),
        cmocka_unit_test(fields_are_read_by_type),
        cmocka_unit_test(absent_and_null_keep_the_default),
        cmocka_unit_test(wrong_types_are_refused_by_name),
        cmocka_unit_test(a_required_field_must_be_there),
        cmocka_unit_test(files_are_loaded_up_to_a_limit),
    };

    return cmocka_run_group_tests_name("base.json", tests, NULL, NULL);
}
