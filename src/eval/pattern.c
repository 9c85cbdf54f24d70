/* pattern.c - regular expressions as Python's module re understands them */

#include "eval/pattern.h"

#include "base/steps.h"

#include <oniguruma.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ce_pattern {
    char *text;
    OnigRegex program;
    OnigRegion *region; /* of the last match */
    OnigMatchParam *limits;
};

/* Where the matches of one text have got to. */
struct walk {
    struct ce_pattern *pattern;
    const OnigUChar *text;
    const OnigUChar *end;
    const OnigUChar *at; /* where the last match ended */
    bool empty;          /* and whether it was empty */
    bool valid;          /* the text is UTF-8; asked once, not in every search */
    struct ce_steps *steps;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void init_library(void)
{
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};

    library_status = onig_initialize(encodings, 1);
}

static bool reached_limit(int code)
{
    return code == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER ||
           code == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;
}

static enum ce_status
fail_onig(const char *pattern, int code, OnigErrorInfo *info, struct ce_error *err)
{
    unsigned char why[ONIG_MAX_ERROR_MESSAGE_LEN];
    enum ce_status status = code == ONIGERR_MEMORY ? CE_ERR_NOMEM : CE_ERR_FORMAT;

    if (reached_limit(code)) {
        return ce_fail(
            err, status, "pattern '%s': takes too many steps on this text", pattern);
    }
    (void)onig_error_code_to_str(why, code, info);
    return ce_fail(err, status, "pattern '%s': %s", pattern, (const char *)why);
}

/* ---- what Oniguruma reads in another way than re, without saying so ---- */

/* The letters of re's escapes; a name of a character is not known to Oniguruma. */
static bool is_escape(char letter)
{
    return ((unsigned char)letter | 0x20) < 'a' ||
           ((unsigned char)letter | 0x20) > 'z' ||
           strchr("AbBdDsSwWZafnrtvxuU", letter) != NULL;
}

/* The bytes of a quantifier at `at`, which "+" behind it makes possessive; 0: none. */
static size_t quantifier(const char *at)
{
    if (*at == '*' || *at == '+' || *at == '?') {
        return 1;
    }
    if (*at != '{') {
        return 0;
    }
    const size_t digits = strspn(at + 1, "0123456789,");

    return digits > 0 && at[1 + digits] == '}' ? digits + 2 : 0;
}

/* Behind "[": to its "]"; NULL with *why where there is "[:". */
static const char *skip_set(const char *at, const char **why)
{
    at += *at == '^';
    at += *at == ']';
    while (*at != '\0' && *at != ']') {
        if (at[0] == '[' && at[1] == ':') {
            *why = "[: :] in a set is not Python's";
            return NULL;
        }
        if (at[0] == '\\' && !is_escape(at[1])) {
            *why = "has an escape that is not Python's, or \\N";
            return NULL;
        }
        at += at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    }
    return at;
}

/* NULL where both read the same. */
static const char *find_difference(const char *at)
{
    const char *why = NULL;

    while (at != NULL && *at != '\0' && why == NULL) {
        const size_t bytes = quantifier(at);

        if (at[0] == '\\' && !is_escape(at[1])) {
            why = "has an escape that is not Python's, or \\N";
        } else if (at[0] == '\\') {
            at += at[1] == '\0' ? 1 : 2;
        } else if (at[0] == '[') {
            at = skip_set(at + 1, &why);
        } else if (bytes > 0 && at[bytes] == '+') {
            why = "possessive quantifiers (*+, ++, ?+) are not supported";
        } else {
            at += bytes > 0 ? bytes : 1;
        }
    }
    return why;
}

static enum ce_status build(struct ce_pattern *pattern, struct ce_error *err)
{
    OnigErrorInfo info;
    const char *why = find_difference(pattern->text);

    if (why != NULL) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "pattern '%s': %s", pattern->text, why);
    }
    const OnigUChar *text = (const OnigUChar *)pattern->text;
    int code = library_status;

    if (code == ONIG_NORMAL) {
        code = onig_new(&pattern->program,
                        text,
                        text + strlen(pattern->text),
                        ONIG_OPTION_NONE,
                        ONIG_ENCODING_UTF8,
                        ONIG_SYNTAX_PYTHON,
                        &info);
    }
    if (code != ONIG_NORMAL) {
        return fail_onig(pattern->text, code, &info, err);
    }
    pattern->region = onig_region_new();
    pattern->limits = onig_new_match_param();
    if (pattern->region == NULL || pattern->limits == NULL) {
        return fail_onig(pattern->text, ONIGERR_MEMORY, NULL, err);
    }
    (void)onig_initialize_match_param(pattern->limits);
    return CE_OK;
}

enum ce_status
ce_pattern_compile(struct ce_pattern **pattern, const char *text, struct ce_error *err)
{
    struct ce_pattern *made = calloc(1, sizeof(*made));
    enum ce_status status = CE_OK;

    *pattern = NULL;
    (void)pthread_once(&library_once, init_library);
    if (made == NULL || (made->text = strdup(text)) == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "pattern '%s': no memory", text);
    } else {
        status = build(made, err);
    }
    if (status != CE_OK) {
        ce_pattern_destroy(made);
        return status;
    }
    *pattern = made;
    return CE_OK;
}

void ce_pattern_destroy(struct ce_pattern *pattern)
{
    if (pattern == NULL) {
        return;
    }
    if (pattern->program != NULL) {
        onig_free(pattern->program);
    }
    if (pattern->region != NULL) {
        onig_region_free(pattern->region, 1);
    }
    if (pattern->limits != NULL) {
        onig_free_match_param(pattern->limits);
    }
    free(pattern->text);
    free(pattern);
}

int ce_pattern_groups(const struct ce_pattern *pattern)
{
    return onig_number_of_captures(pattern->program);
}

static struct walk
start_walk(struct ce_pattern *pattern, const char *text, struct ce_steps *steps)
{
    const OnigUChar *start = (const OnigUChar *)text;
    const OnigUChar *end = start + strlen(text);

    return (struct walk){
        .pattern = pattern,
        .text = start,
        .end = end,
        .at = start,
        .valid = onigenc_is_valid_mbc_string(ONIG_ENCODING_UTF8, start, end) != 0,
        .steps = steps};
}

/* Onig's answer for a match that begins at walk->at or later. */
static int search_from(const struct walk *walk)
{
    return onig_search_with_param(walk->pattern->program,
                                  walk->text,
                                  walk->end,
                                  walk->at,
                                  walk->end,
                                  walk->pattern->region,
                                  ONIG_OPTION_NONE,
                                  walk->pattern->limits);
}

/* For one that begins at walk->at and has text. */
static int match_here(const struct walk *walk)
{
    return onig_match_with_param(walk->pattern->program,
                                 walk->text,
                                 walk->end,
                                 walk->at,
                                 walk->pattern->region,
                                 ONIG_OPTION_FIND_NOT_EMPTY,
                                 walk->pattern->limits);
}

/* `look` with as many steps as it takes and the text may still have. */
static int look_in_steps(const struct walk *walk, int (*look)(const struct walk *walk))
{
    OnigMatchParam *limits = walk->pattern->limits;
    unsigned long limit = ce_steps_first(walk->steps);
    int code = ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;

    while (limit > 0 && reached_limit(code)) {
        (void)onig_set_retry_limit_in_match_of_match_param(limits, limit);
        (void)onig_set_retry_limit_in_search_of_match_param(limits, limit);
        code = look(walk);
        if (reached_limit(code)) {
            limit = ce_steps_more(walk->steps, limit);
        }
    }
    return code;
}

/* Behind the character of UTF-8 at walk->at. */
static const OnigUChar *behind_character(const struct walk *walk)
{
    const OnigUChar *at = walk->at + 1;

    while (at < walk->end && (*at & 0xc0) == 0x80) {
        at++;
    }
    return at;
}

/* The next match is in the pattern's region. Behind an empty match re tries the same
 * place once more for one that is not, then goes on by one character. */
static enum ce_status next_match(struct walk *walk, bool *found, struct ce_error *err)
{
    const OnigRegion *region = walk->pattern->region;

    if (!walk->valid) {
        return fail_onig(
            walk->pattern->text, ONIGERR_INVALID_WIDE_CHAR_VALUE, NULL, err);
    }
    int code = look_in_steps(walk, walk->empty ? match_here : search_from);

    if (code == ONIG_MISMATCH && walk->empty && walk->at < walk->end) {
        walk->at = behind_character(walk);
        code = look_in_steps(walk, search_from);
    }
    *found = code >= 0;
    if (code >= 0) {
        walk->at = walk->text + region->end[0];
        walk->empty = region->beg[0] == region->end[0];
    }
    return code < ONIG_MISMATCH ? fail_onig(walk->pattern->text, code, NULL, err)
                                : CE_OK;
}

static struct ce_span group(const struct walk *walk, int index)
{
    const OnigRegion *region = walk->pattern->region;
    int start = region->beg[index];

    if (start == ONIG_REGION_NOTPOS) {
        return ce_span_of("");
    }
    return (struct ce_span){.data = (const char *)walk->text + start,
                            .length = (size_t)(region->end[index] - start)};
}

/* What findall() has of the match in the region, and the filter takes of that. */
static struct ce_span take_match(const struct walk *walk)
{
    int groups = ce_pattern_groups(walk->pattern);
    struct ce_span span = group(walk, groups == 0 ? 0 : 1);

    for (int i = 2; i <= groups && span.length == 0; i++) {
        span = group(walk, i);
    }
    return span;
}

static enum ce_status count_matches(struct ce_pattern *pattern,
                                    const char *text,
                                    struct ce_steps *steps,
                                    long *count,
                                    struct ce_error *err)
{
    struct walk walk = start_walk(pattern, text, steps);
    bool found = true;
    enum ce_status status = CE_OK;

    for (*count = -1; status == CE_OK && found; (*count)++) {
        status = next_match(&walk, &found, err);
    }
    return status;
}

enum ce_status ce_pattern_find(struct ce_pattern *pattern,
                               const char *text,
                               int select,
                               bool *found,
                               struct ce_span *match,
                               struct ce_error *err)
{
    struct ce_steps steps;
    struct walk walk = start_walk(pattern, text, &steps);
    enum ce_status status = CE_OK;
    long index = select;

    *found = false;
    ce_steps_begin(&steps, strlen(text));
    if (select < 0) {
        long count = 0;

        status = count_matches(pattern, text, &steps, &count, err);
        index += count;
    }
    if (status != CE_OK || index < 0) {
        return status;
    }
    *found = true;
    for (long i = 0; status == CE_OK && *found && i <= index; i++) {
        status = next_match(&walk, found, err);
    }
    if (status == CE_OK && *found) {
        *match = take_match(&walk);
    }
    return status;
}

enum ce_status ce_pattern_delete(struct ce_pattern *pattern,
                                 const char *text,
                                 char **out,
                                 struct ce_error *err)
{
    struct ce_steps steps;
    struct walk walk = start_walk(pattern, text, &steps);
    struct ce_string left = {.data = NULL};
    const char *kept = text;
    bool found = true;

    ce_steps_begin(&steps, strlen(text));
    enum ce_status status = next_match(&walk, &found, err);

    while (status == CE_OK && found) {
        struct ce_span match = group(&walk, 0);

        ce_string_append_bytes(&left, kept, (size_t)(match.data - kept));
        kept = match.data + match.length;
        status = next_match(&walk, &found, err);
    }
    ce_string_append(&left, kept);
    *out = ce_string_take(&left);
    if (status == CE_OK && *out == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "pattern '%s': no memory", pattern->text);
    }
    if (status != CE_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
