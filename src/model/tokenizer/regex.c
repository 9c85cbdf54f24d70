/* regex.c - patterns of tokenizer.json, matched as the `tokenizers` library does */

#include "model/tokenizer/regex.h"

#include "model/tokenizer/utf8.h"

#include <oniguruma.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PATTERN_BYTES ((size_t)64 * 1024)

/* Entries of the backtrack stack: a greedy run takes one for each character. */
#define STACK_BASE          65536U
#define STACK_EACH_BYTE     4U
#define STACK_MOST          (UINT32_MAX / 2)
#define STACK_MAX_TEXT_SIZE ((STACK_MOST - STACK_BASE) / STACK_EACH_BYTE)

struct ce_regex {
    OnigRegex program;
    char where[192];
};

struct ce_regex_scratch {
    struct ce_budget *budget;
    OnigRegion *region;
    OnigMatchParam *limits;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static OnigSyntaxType library_syntax;
static int library_status;

/* Callouts are programs inside a pattern: nothing a tokenizer needs. */
static void init_library(void)
{
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    unsigned callouts =
        ONIG_SYN_OP2_QMARK_BRACE_CALLOUT_CONTENTS | ONIG_SYN_OP2_ASTERISK_CALLOUT_NAME;

    library_status = onig_initialize(encodings, 1);
    onig_copy_syntax(&library_syntax, ONIG_SYNTAX_ONIGURUMA);
    onig_set_syntax_op2(&library_syntax,
                        onig_get_syntax_op2(&library_syntax) & ~callouts);
}

static const char *reason(int code, OnigErrorInfo *info, char *out, size_t size)
{
    unsigned char text[ONIG_MAX_ERROR_MESSAGE_LEN];
    int bytes;

    switch (code) {
    case ONIGERR_RETRY_LIMIT_IN_MATCH_OVER:
    case ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER:
    case ONIGERR_MATCH_STACK_LIMIT_OVER:
        return "takes too many steps on this text";
    default:
        bytes = onig_error_code_to_str(text, code, info);
        /* It may quote the pattern. */
        return ce_text_quote(
            out,
            size,
            (struct ce_span){.data = (const char *)text, .bytes = (size_t)bytes});
    }
}

static enum ce_status
fail_onig(const char *where, int code, OnigErrorInfo *info, struct ce_error *err)
{
    char text[ONIG_MAX_ERROR_MESSAGE_LEN];

    if (code == ONIGERR_MEMORY) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", where);
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: %s",
                   where,
                   reason(code, info, text, sizeof(text)));
}

enum ce_status ce_regex_compile(struct ce_regex **regex,
                                struct ce_span pattern,
                                const char *where,
                                struct ce_error *err)
{
    const OnigUChar *text = (const OnigUChar *)pattern.data;
    OnigErrorInfo info = {.enc = ONIG_ENCODING_UTF8};

    *regex = NULL;
    (void)pthread_once(&library_once, init_library);
    if (pattern.bytes > MAX_PATTERN_BYTES) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "%s: is too long", where);
    }
    struct ce_regex *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", where);
    }
    (void)snprintf(new->where, sizeof(new->where), "%s", where);
    int code = library_status;

    if (code == ONIG_NORMAL) {
        code = onig_new(&new->program,
                        text,
                        text + pattern.bytes,
                        ONIG_OPTION_NONE,
                        ONIG_ENCODING_UTF8,
                        &library_syntax,
                        &info);
    }
    if (code != ONIG_NORMAL) {
        new->program = NULL;
        ce_regex_destroy(new);
        return fail_onig(where, code, &info, err);
    }
    *regex = new;
    return CE_OK;
}

void ce_regex_destroy(struct ce_regex *regex)
{
    if (regex != NULL) {
        onig_free(regex->program);
        free(regex);
    }
}

/* A pattern that matches `literal` and nothing else. */
static enum ce_status
escape(struct ce_text *pattern, struct ce_span literal, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < literal.bytes && status == CE_OK; i++) {
        struct ce_span byte = {.data = literal.data + i, .bytes = 1};

        if (*byte.data != '\0' && strchr("\\.+*?()|[]{}^$#&-~", *byte.data) != NULL) {
            status = ce_text_append(
                pattern, (struct ce_span){.data = "\\", .bytes = 1}, err);
        }
        if (status == CE_OK) {
            status = ce_text_append(pattern, byte, err);
        }
    }
    return status;
}

static enum ce_status compile_literal(struct ce_regex **regex,
                                      struct ce_span literal,
                                      const char *where,
                                      struct ce_error *err)
{
    struct ce_text pattern = {.data = NULL};
    enum ce_status status = escape(&pattern, literal, err);

    if (status == CE_OK) {
        struct ce_span text = {.data = pattern.data == NULL ? "" : pattern.data,
                               .bytes = pattern.bytes};

        status = ce_regex_compile(regex, text, where, err);
    }
    ce_text_free(&pattern);
    return status;
}

enum ce_status ce_regex_read(struct ce_regex **regex,
                             const struct ce_component *component,
                             struct ce_error *err)
{
    const json_t *pattern = json_object_get(component->object, "pattern");
    const json_t *expression = json_object_get(pattern, "Regex");
    const json_t *literal = json_object_get(pattern, "String");
    const json_t *text = expression != NULL ? expression : literal;
    char where[sizeof(((struct ce_regex *)NULL)->where)];

    *regex = NULL;
    if (!json_is_string(text) || (expression != NULL && literal != NULL)) {
        return ce_component_fail(component,
                                 "pattern",
                                 CE_ERR_FORMAT,
                                 "is not one string named Regex or String",
                                 err);
    }
    struct ce_span span = {.data = json_string_value(text),
                           .bytes = json_string_length(text)};

    (void)snprintf(
        where, sizeof(where), "%s: %s.pattern", component->file, component->path);
    return expression != NULL ? ce_regex_compile(regex, span, where, err)
                              : compile_literal(regex, span, where, err);
}

struct ce_regex_scratch *ce_regex_scratch_create(struct ce_budget *budget)
{
    struct ce_regex_scratch *scratch = calloc(1, sizeof(*scratch));

    if (scratch == NULL) {
        return NULL;
    }
    scratch->budget = budget;
    scratch->region = onig_region_new();
    scratch->limits = onig_new_match_param();
    if (scratch->region == NULL || scratch->limits == NULL) {
        ce_regex_scratch_destroy(scratch);
        return NULL;
    }
    (void)onig_initialize_match_param(scratch->limits);
    return scratch;
}

void ce_regex_scratch_destroy(struct ce_regex_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    if (scratch->region != NULL) {
        onig_region_free(scratch->region, 1);
    }
    if (scratch->limits != NULL) {
        onig_free_match_param(scratch->limits);
    }
    free(scratch);
}

static bool reached_limit(int code)
{
    return code == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER ||
           code == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;
}

static int search_within(const struct ce_regex_cursor *cursor, unsigned long limit)
{
    struct ce_regex_scratch *scratch = cursor->scratch;
    const OnigUChar *text = (const OnigUChar *)cursor->text.data;
    const OnigUChar *end = text + cursor->text.bytes;

    (void)onig_set_retry_limit_in_match_of_match_param(scratch->limits, limit);
    (void)onig_set_retry_limit_in_search_of_match_param(scratch->limits, limit);
    return onig_search_with_param(cursor->regex->program,
                                  text,
                                  end,
                                  text + cursor->next,
                                  end,
                                  scratch->region,
                                  ONIG_OPTION_NONE,
                                  scratch->limits);
}

/* The position of the next match, ONIG_MISMATCH or an error. */
static int search(const struct ce_regex_cursor *cursor)
{
    struct ce_regex_scratch *scratch = cursor->scratch;
    struct ce_steps *steps = &scratch->budget->steps;
    unsigned stack = cursor->text.bytes > STACK_MAX_TEXT_SIZE
                         ? STACK_MOST
                         : STACK_BASE + STACK_EACH_BYTE * (unsigned)cursor->text.bytes;
    unsigned long limit = ce_steps_first(steps);
    int code = ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;

    (void)onig_set_match_stack_limit_size_of_match_param(scratch->limits, stack);
    while (limit > 0 && reached_limit(code)) {
        code = search_within(cursor, limit);
        if (reached_limit(code)) {
            limit = ce_steps_more(steps, limit);
        }
    }
    return code;
}

/* Takes the match over, unless it is an empty one right behind the last. */
static bool accept(struct ce_regex_cursor *cursor, size_t *start, size_t *end)
{
    size_t last_end = cursor->any ? cursor->last_end : 0;
    size_t from = (size_t)cursor->scratch->region->beg[0];
    size_t to = (size_t)cursor->scratch->region->end[0];

    if (from == to && cursor->any && to == last_end) {
        size_t left = cursor->text.bytes - cursor->next;

        cursor->next +=
            left == 0 ? 1 : ce_utf8_read(cursor->text.data + cursor->next, left).bytes;
        return false;
    }
    /* \K inside a lookaround can move the start to the wrong side of things. */
    from = from < last_end ? last_end : from;
    *start = from > to ? to : from;
    *end = to;
    cursor->next = to;
    cursor->last_end = to;
    cursor->any = true;
    return true;
}

enum ce_status ce_regex_next(struct ce_regex_cursor *cursor,
                             bool *found,
                             size_t *start,
                             size_t *end,
                             struct ce_error *err)
{
    *found = false;
    *start = cursor->text.bytes;
    *end = cursor->text.bytes;
    while (!*found && cursor->next <= cursor->text.bytes) {
        int position = search(cursor);

        if (position == ONIG_MISMATCH) {
            cursor->next = cursor->text.bytes + 1;
        } else if (position < 0) {
            return fail_onig(cursor->regex->where, position, NULL, err);
        } else {
            *found = accept(cursor, start, end);
        }
    }
    return CE_OK;
}
