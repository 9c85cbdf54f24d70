/* prompts.c - prompts from arguments, whole files and lines of files */

#include "tools/prompts.h"

#include "base/text_file.h"

#include <stdlib.h>
#include <string.h>

#define PROMPT_LIMIT ((size_t)256 << 20)

typedef enum ce_status append_function(
    char **input, size_t *bytes, const char *text, size_t length, struct ce_error *err);

/* Appends a prompt to the shared input, with its NUL. */
static enum ce_status append_prompt(
    char **input, size_t *bytes, const char *text, size_t length, struct ce_error *err)
{
    char *grown = NULL;

    if (memchr(text, '\0', length) != NULL) {
        return ce_fail(err, CE_ERR_ARG, "a prompt contains a NUL byte");
    }
    grown = realloc(*input, *bytes + length + 1);
    if (grown == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the prompts");
    }
    memcpy(grown + *bytes, text, length);
    grown[*bytes + length] = '\0';
    *input = grown;
    *bytes += length + 1;
    return CE_OK;
}

static enum ce_status append_lines(
    char **input, size_t *bytes, const char *text, size_t length, struct ce_error *err)
{
    const char *end = text + length;
    enum ce_status status = CE_OK;

    while (status == CE_OK && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline != NULL ? newline : end;

        if (stop > text) {
            status = append_prompt(input, bytes, text, (size_t)(stop - text), err);
        }
        text = stop + 1;
    }
    return status;
}

/* What one of the two above makes of a whole file. */
static enum ce_status append_file(char **input,
                                  size_t *bytes,
                                  const char *path,
                                  append_function *append,
                                  struct ce_error *err)
{
    char *text = NULL;
    size_t length = 0;
    enum ce_status status = ce_text_file_read(path, PROMPT_LIMIT, &text, &length, err);

    if (status == CE_OK) {
        status = append(input, bytes, text, length, err);
    }
    free(text);
    return status;
}

enum ce_status ce_prompts_read(const struct ce_prompt_values *values,
                               char **input,
                               size_t *bytes,
                               struct ce_error *err)
{
    const char *file = values->file;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < values->list.count; i++) {
        const char *prompt = values->list.item[i];

        status = append_prompt(input, bytes, prompt, strlen(prompt), err);
    }
    if (file == NULL && values->lines == NULL && values->list.count == 0) {
        file = "-";
    }
    if (status == CE_OK && file != NULL) {
        status = append_file(input, bytes, file, append_prompt, err);
    }
    if (status == CE_OK && values->lines != NULL) {
        status = append_file(input, bytes, values->lines, append_lines, err);
    }
    if (status == CE_OK && *bytes == 0) {
        status = ce_fail(err, CE_ERR_ARG, "%s: no prompts", values->lines);
    }
    return status;
}

const char *ce_prompt_source(const struct ce_prompt_values *values, size_t index)
{
    if (index < values->list.count) {
        return "--prompt";
    }
    if (index == values->list.count && values->file != NULL) {
        return values->file;
    }
    return values->lines != NULL ? values->lines : "standard input";
}
