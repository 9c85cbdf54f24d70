/* filter.c - from the text of an answer to the part of it that is judged */

#include "eval/filter.h"

#include <stdlib.h>
#include <string.h>

enum ce_status ce_filter_open(struct ce_filter_program *program,
                              const struct ce_filter *filter,
                              struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *program = (struct ce_filter_program){.filter = filter};
    program->pattern = calloc(filter->steps + 1, sizeof(struct ce_pattern *));
    if (program->pattern == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "filter %s: no memory", filter->name);
    }
    for (size_t i = 0; status == CE_OK && i < filter->steps; i++) {
        if (filter->step[i].kind == CE_FILTER_REGEX) {
            status =
                ce_pattern_compile(&program->pattern[i], filter->step[i].pattern, err);
        }
    }
    if (status != CE_OK) {
        ce_error_prefix(err, "filter %s", filter->name);
    }
    return status;
}

void ce_filter_close(struct ce_filter_program *program)
{
    for (size_t i = 0; program->pattern != NULL && i < program->filter->steps; i++) {
        ce_pattern_destroy(program->pattern[i]);
    }
    free(program->pattern);
    *program = (struct ce_filter_program){.filter = NULL};
}

/* RegexFilter.apply(): what is taken of a match is stripped, also where all groups are
 * without text and the fallback stands in; where nothing matches it is not. */
static enum ce_status apply_regex(const struct ce_filter_step *step,
                                  struct ce_pattern *pattern,
                                  struct ce_string *text,
                                  struct ce_error *err)
{
    struct ce_span match = {.data = NULL};
    struct ce_string taken = {.data = NULL};
    bool found = false;
    enum ce_status status = ce_pattern_find(pattern,
                                            text->data != NULL ? text->data : "",
                                            step->select,
                                            &found,
                                            &match,
                                            err);

    if (status != CE_OK) {
        return status;
    }
    if (found && match.length == 0 && ce_pattern_groups(pattern) > 1) {
        match = ce_span_of(step->fallback);
    }
    match = found ? ce_span_trim(match) : ce_span_of(step->fallback);
    ce_string_append_bytes(&taken, match.data, match.length);
    ce_string_free(text);
    *text = taken;
    return CE_OK;
}

static void apply_trim(struct ce_string *text)
{
    struct ce_span span =
        ce_span_trim(ce_span_of(text->data != NULL ? text->data : ""));
    struct ce_string trimmed = {.failed = text->failed};

    ce_string_append_bytes(&trimmed, span.data, span.length);
    ce_string_free(text);
    *text = trimmed;
}

static enum ce_status apply_step(const struct ce_filter_step *step,
                                 struct ce_pattern *pattern,
                                 struct ce_string *text,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    switch (step->kind) {
    case CE_FILTER_REGEX:
        status = apply_regex(step, pattern, text, err);
        break;
    case CE_FILTER_TAKE_FIRST:
        break;
    case CE_FILTER_REMOVE_WHITESPACE:
        apply_trim(text);
        break;
    case CE_FILTER_LOWERCASE:
        ce_string_lower(text);
        break;
    }
    return status;
}

enum ce_status ce_filter_apply(const struct ce_filter_program *program,
                               const char *text,
                               char **out,
                               struct ce_error *err)
{
    const struct ce_filter *filter = program->filter;
    struct ce_string answer = {.data = NULL};
    enum ce_status status = CE_OK;

    ce_string_append(&answer, text != NULL ? text : "");
    for (size_t i = 0; status == CE_OK && i < filter->steps; i++) {
        status = apply_step(&filter->step[i], program->pattern[i], &answer, err);
    }
    *out = ce_string_take(&answer);
    if (status == CE_OK && *out == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory");
    }
    if (status != CE_OK) {
        ce_error_prefix(err, "filter %s", filter->name);
        free(*out);
        *out = NULL;
    }
    return status;
}
