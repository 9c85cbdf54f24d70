/* fuzz_task_template.c - no text is a template that breaks rendering
 *
 * The input is a template, a line feed and, after it, a document; without a document
 * that is JSON, one that has what the corpus uses.
 */

#include "eval/template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static json_t *read_document(const char *text)
{
    static const char usual[] =
        "{\"a\": \"one [ two ] 's ( three ) @-@ four\", \"b\": [\"x\", \"\", \"y\"],"
        " \"c\": {\"d\": 7}, \"e\": \"\", \"f\": null}";
    json_error_t why;
    json_t *document = text == NULL ? NULL : json_loads(text, 0, &why);

    return document != NULL ? document : json_loads(usual, 0, &why);
}

static void try_template(const char *source, const json_t *document)
{
    struct ce_template *compiled = NULL;
    struct ce_string text = {.data = NULL};
    struct ce_error err = {.text = ""};
    const json_t *value = NULL;

    if (ce_template_create(&compiled, source, &err) != CE_OK) {
        require(compiled == NULL && err.text[0] != '\0');
        return;
    }
    if (ce_template_render(compiled, document, &text, &err) == CE_OK) {
        require(text.length == 0 || strlen(text.data) == text.length);
    } else {
        require(err.text[0] != '\0');
    }
    if (ce_template_find(compiled, document, &value, &err) == CE_OK) {
        require(value != NULL);
    }
    ce_string_free(&text);
    ce_template_destroy(compiled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = malloc(size + 1);
    char *line_feed = NULL;
    json_t *document = NULL;

    require(input != NULL);
    memcpy(input, size > 0 ? (const char *)data : "", size);
    input[size] = '\0';
    line_feed = strchr(input, '\n');
    document = read_document(line_feed == NULL ? NULL : line_feed + 1);
    if (line_feed != NULL) {
        *line_feed = '\0';
    }
    try_template(input, document);
    json_decref(document);
    free(input);
    return 0;
}
