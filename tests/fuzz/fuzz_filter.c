/* fuzz_filter.c - no pattern of a task and no text of a model breaks a filter
 *
 * The input is a pattern, a line feed and a text. The library that runs patterns gets
 * what is no UTF-8 too.
 */

#include "eval/filter.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A search that goes on and on is ended, but each takes its time. */
#define LONGEST_TEXT ((size_t)64)

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void try_delete(const char *pattern, const char *text)
{
    struct ce_pattern *compiled = NULL;
    struct ce_error err = {.text = ""};
    char *left = NULL;

    if (ce_pattern_compile(&compiled, pattern, &err) != CE_OK) {
        require(compiled == NULL && err.text[0] != '\0');
        return;
    }
    if (ce_pattern_delete(compiled, text, &left, &err) == CE_OK) {
        require(strlen(left) <= strlen(text));
    } else {
        require(left == NULL && err.text[0] != '\0');
    }
    free(left);
    ce_pattern_destroy(compiled);
}

/* Filters do not change their patterns. */
static void try_filter(const char *pattern, const char *text, int select)
{
    char name[] = "f";
    char fallback[] = "none";
    struct ce_filter_step step = {
        .pattern = (char *)(uintptr_t)pattern, .fallback = fallback, .select = select};
    const struct ce_filter filter = {.name = name, .step = &step, .steps = 1};
    struct ce_filter_program program;
    struct ce_error err = {.text = ""};
    char *answer = NULL;
    enum ce_status status = ce_filter_open(&program, &filter, &err);

    if (status == CE_OK) {
        status = ce_filter_apply(&program, text, &answer, &err);
    }
    if (status == CE_OK) {
        require(strcmp(answer, fallback) == 0 || strlen(answer) <= strlen(text));
    } else {
        require(answer == NULL && err.text[0] != '\0');
    }
    ce_filter_close(&program);
    free(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *pattern = malloc(size + 1);
    char *text = NULL;

    require(pattern != NULL);
    memcpy(pattern, size > 0 ? (const char *)data : "", size);
    pattern[size] = '\0';
    text = strchr(pattern, '\n');
    if (text != NULL) {
        *text++ = '\0';
        if (strlen(text) > LONGEST_TEXT) {
            text[LONGEST_TEXT] = '\0';
        }
    }
    try_filter(pattern, text != NULL ? text : "", 0);
    try_filter(pattern, text != NULL ? text : "", -1);
    try_delete(pattern, text != NULL ? text : "");
    free(pattern);
    return 0;
}
