/* fuzz_json.c - any bytes are JSON or refused; what jansson reads is read alike, and
 * what is printed reads back the same
 */

#include "base/json_text.h"
#include "eval/python_json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SHALLOW 2000 /* bytes that cannot be nested too deeply for one of the two */

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static json_t *parse(const char *text, size_t bytes, unsigned flags)
{
    struct ce_json_problem why;
    json_t *value = ce_json_text_parse(text, bytes, flags, &why);

    require(value != NULL || (!why.memory && why.text[0] != '\0'));
    return value;
}

static void compare_with_jansson(const char *text, size_t bytes)
{
    json_error_t why;
    json_t *theirs =
        json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    json_t *ours = parse(text, bytes, CE_JSON_PLAIN);

    require(theirs == NULL || bytes > SHALLOW || json_equal(ours, theirs));
    json_decref(theirs);
    json_decref(ours);
}

static void print_and_read_back(const char *text, size_t bytes)
{
    json_t *value = parse(text, bytes, CE_JSON_LAST_KEY);
    struct ce_string first = {.data = NULL};
    struct ce_string second = {.data = NULL};

    if (value != NULL) {
        ce_python_json(&first, value, 0);
        json_decref(value);
        value = parse(first.data, first.length, CE_JSON_LAST_KEY);
        require(value != NULL);
        ce_python_json(&second, value, 0);
        require(strcmp(first.data, second.data) == 0);
        json_decref(value);
    }
    ce_string_free(&first);
    ce_string_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || memchr(data, '\0', size) == NULL) { /* which jansson passes over */
        compare_with_jansson((const char *)data, size);
    }
    print_and_read_back((const char *)data, size);
    return 0;
}
