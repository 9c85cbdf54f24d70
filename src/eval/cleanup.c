/* cleanup.c - HellaSwag's brackets, WikiText's spaces */

#include "eval/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* re.sub: every OPEN text CLOSE, where text has no CLOSE, loses the white space at both
 * ends of text. */
static void tighten(struct ce_string *text, char open, char close)
{
    struct ce_string result = {.data = NULL};
    const char *at = text->data;
    const char *end = NULL;

    if (text->length == 0) {
        return;
    }
    end = at + text->length;
    while (at < end) {
        const char *start = memchr(at, open, (size_t)(end - at));
        const char *stop =
            start == NULL ? NULL : memchr(start + 1, close, (size_t)(end - start - 1));

        if (stop == NULL) {
            break;
        }

        struct ce_span inside = ce_span_trim(
            (struct ce_span){.data = start + 1, .length = (size_t)(stop - start - 1)});

        ce_string_append_bytes(&result, at, (size_t)(start + 1 - at));
        ce_string_append_bytes(&result, inside.data, inside.length);
        ce_string_append_bytes(&result, &close, 1);
        at = stop + 1;
    }
    ce_string_append_bytes(&result, at, (size_t)(end - at));
    result.failed |= text->failed;
    free(text->data);
    *text = result;
}

/* re.sub(r"/' [0-9]/", r"/'[0-9]/"): the replacement is those very characters, as the
 * task has it. */
static void replace_slashed_digit(struct ce_string *text)
{
    char from[] = "/' 0/";

    for (int digit = 0; digit < 10; digit++) {
        from[3] = (char)('0' + digit);
        ce_string_replace(text, from, "/'[0-9]/");
    }
}

void ce_cleanup_wikitext(struct ce_string *text)
{
    static const char *const before[][2] = {
        {" @-@ ", "-"},
        {" @,@ ", ","},
        {" @.@ ", "."},
        {" : ", ": "},
        {" ; ", "; "},
        {" . ", ". "},
        {" ! ", "! "},
        {" ? ", "? "},
        {" , ", ", "},
    };
    static const char brackets[] = "()[]{}\"\"''";
    static const char *const after[][2] = {
        {"= = = =", "===="},
        {"= = =", "==="},
        {"= =", "=="},
        {" \xc2\xb0 ", "\xc2\xb0"},
        {" \n", "\n"},
        {"\n ", "\n"},
        {" N ", " 1 "},
        {" 's", "'s"},
    };

    ce_string_replace(text, "s '", "s'");
    replace_slashed_digit(text);
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        ce_string_replace(text, before[i][0], before[i][1]);
    }
    for (size_t i = 0; brackets[i] != '\0'; i += 2) {
        tighten(text, brackets[i], brackets[i + 1]);
    }
    for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
        ce_string_replace(text, after[i][0], after[i][1]);
    }
}

/* re.sub("\\[.*?\\]", ""): the dot stands for anything but a line feed. */
static void remove_bracketed(struct ce_string *text)
{
    struct ce_string result = {.data = NULL};
    const char *at = text->data;
    const char *end = NULL;

    if (text->length == 0) {
        return;
    }
    end = at + text->length;
    while (at < end) {
        const char *stop = NULL;

        if (*at == '[') {
            size_t reach = (size_t)(end - at);
            const char *line_feed = memchr(at, '\n', reach);

            stop =
                memchr(at, ']', line_feed == NULL ? reach : (size_t)(line_feed - at));
        }
        if (stop == NULL) {
            ce_string_append_bytes(&result, at, 1);
        }
        at = stop == NULL ? at + 1 : stop + 1;
    }
    result.failed |= text->failed;
    free(text->data);
    *text = result;
}

/* preprocess() of the task. */
static json_t *hellaswag_string(const char *string)
{
    struct ce_string text = {.data = NULL};
    struct ce_span trimmed = ce_span_trim(ce_span_of(string));
    json_t *value = NULL;

    ce_string_append_bytes(&text, trimmed.data, trimmed.length);
    ce_string_replace(&text, " [title]", ". ");
    remove_bracketed(&text);
    ce_string_replace(&text, "  ", " ");
    ce_string_append_bytes(&text, "", 0);
    value = text.failed ? NULL : json_stringn(text.data, text.length);
    ce_string_free(&text);
    return value;
}

static enum ce_status require_string(const json_t *document,
                                     const char *key,
                                     const char **string,
                                     struct ce_error *err)
{
    const json_t *value = json_object_get(document, key);

    if (value == NULL) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: is missing", key);
    }
    *string = json_string_value(value);
    if (*string == NULL) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: is not a string", key);
    }
    return CE_OK;
}

/* NULL when out of memory. */
static json_t *
hellaswag_query(const char *activity, const char *ctx_a, const char *ctx_b)
{
    struct ce_string text = {.data = NULL};
    struct ce_string second = {.data = NULL};
    json_t *query = NULL;

    ce_string_append(&second, ctx_b);
    ce_string_capitalize(&second);
    ce_string_append_bytes(&second, "", 0);
    ce_string_append(&text, activity);
    ce_string_append(&text, ": ");
    ce_string_append(&text, ctx_a);
    ce_string_append(&text, " ");
    if (!second.failed) {
        ce_string_append_bytes(&text, second.data, second.length);
    }
    query = second.failed || text.failed ? NULL : hellaswag_string(text.data);
    ce_string_free(&second);
    ce_string_free(&text);
    return query;
}

static enum ce_status
hellaswag_choices(const json_t *document, json_t **choices, struct ce_error *err)
{
    const json_t *endings = json_object_get(document, "endings");
    size_t index = 0;
    const json_t *ending = NULL;

    if (!json_is_array(endings)) {
        return ce_fail(err, CE_ERR_FORMAT, "endings: is missing or not a list");
    }
    *choices = json_array();
    json_array_foreach(endings, index, ending)
    {
        if (!json_is_string(ending)) {
            return ce_fail(err, CE_ERR_FORMAT, "endings[%zu]: is not a string", index);
        }
        if (json_array_append_new(*choices,
                                  hellaswag_string(json_string_value(ending))) != 0) {
            return ce_fail(err, CE_ERR_NOMEM, "endings: no memory to clean them up");
        }
    }
    return CE_OK;
}

/* int(label) of a string or an integer. */
static enum ce_status
hellaswag_gold(const json_t *document, json_int_t *gold, struct ce_error *err)
{
    const json_t *label = json_object_get(document, "label");
    const char *string = json_string_value(label);
    char *end = NULL;

    if (json_is_integer(label)) {
        *gold = json_integer_value(label);
        return CE_OK;
    }
    errno = 0;
    *gold = string == NULL ? 0 : strtoll(string, &end, 10);
    if (string == NULL || end == string || *end != '\0' || errno != 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "label: is not a number; documents without answers, as those of "
                       "the test split, cannot be used");
    }
    return CE_OK;
}

static enum ce_status clean_hellaswag(json_t *document, struct ce_error *err)
{
    const char *activity = NULL, *ctx_a = NULL, *ctx_b = NULL;
    json_t *choices = NULL;
    json_int_t gold = 0;
    enum ce_status status = require_string(document, "activity_label", &activity, err);

    if (status == CE_OK) {
        status = require_string(document, "ctx_a", &ctx_a, err);
    }
    if (status == CE_OK) {
        status = require_string(document, "ctx_b", &ctx_b, err);
    }
    if (status == CE_OK) {
        status = hellaswag_choices(document, &choices, err);
    }
    if (status == CE_OK) {
        status = hellaswag_gold(document, &gold, err);
    }
    if (status == CE_OK &&
        (json_object_set_new(
             document, "query", hellaswag_query(activity, ctx_a, ctx_b)) != 0 ||
         json_object_set(document, "choices", choices) != 0 ||
         json_object_set_new(document, "gold", json_integer(gold)) != 0)) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to clean a document up");
    }
    json_decref(choices);
    return status;
}

ce_cleanup_function *ce_cleanup_find(const char *name)
{
    return strcmp(name, "hellaswag") == 0 ? clean_hellaswag : NULL;
}
