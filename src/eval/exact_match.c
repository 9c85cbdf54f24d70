/* exact_match.c - whether an answer is the target, after what should not count is gone
 */

#include "eval/exact_match.h"

#include <stdlib.h>
#include <string.h>

/* string.punctuation and string.digits */
#define PUNCTUATION "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
#define DIGITS      "0123456789"

enum ce_status ce_exact_match_open(struct ce_exact_match *match,
                                   const struct ce_metric *metric,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *match = (struct ce_exact_match){.metric = metric};
    match->pattern = calloc(metric->ignores + 1, sizeof(struct ce_pattern *));
    if (match->pattern == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "metric %s: no memory", metric->name);
    }
    for (size_t i = 0; status == CE_OK && i < metric->ignores; i++) {
        status = ce_pattern_compile(&match->pattern[i], metric->ignore[i], err);
    }
    if (status != CE_OK) {
        ce_error_prefix(err, "metric %s", metric->name);
    }
    return status;
}

void ce_exact_match_close(struct ce_exact_match *match)
{
    for (size_t i = 0; match->pattern != NULL && i < match->metric->ignores; i++) {
        ce_pattern_destroy(match->pattern[i]);
    }
    free(match->pattern);
    *match = (struct ce_exact_match){.metric = NULL};
}

static void delete_characters(char *text, const char *unwanted)
{
    char *out = text;

    for (const char *in = text; *in != '\0'; in++) {
        if (strchr(unwanted, *in) == NULL) {
            *out++ = *in;
        }
    }
    *out = '\0';
}

static char *lower(char *text)
{
    struct ce_string lowered = {.data = NULL};

    ce_string_append(&lowered, text);
    free(text);
    ce_string_lower(&lowered);
    return ce_string_take(&lowered);
}

/* One side, to be freed. */
static enum ce_status normalise(const struct ce_exact_match *match,
                                const char *text,
                                char **out,
                                struct ce_error *err)
{
    const struct ce_metric *metric = match->metric;
    enum ce_status status = CE_OK;

    *out = strdup(text);
    for (size_t i = 0; status == CE_OK && *out != NULL && i < metric->ignores; i++) {
        char *before = *out;

        status = ce_pattern_delete(match->pattern[i], before, out, err);
        free(before);
    }
    if (*out != NULL && metric->ignore_case) {
        *out = lower(*out);
    }
    if (*out == NULL) {
        return status != CE_OK ? status : ce_fail(err, CE_ERR_NOMEM, "no memory");
    }
    delete_characters(*out, metric->ignore_punctuation ? PUNCTUATION : "");
    delete_characters(*out, metric->ignore_numbers ? DIGITS : "");
    return CE_OK;
}

enum ce_status ce_exact_match_test(const struct ce_exact_match *match,
                                   const char *answer,
                                   const char *target,
                                   bool *equal,
                                   struct ce_error *err)
{
    char *side[2] = {NULL, NULL};
    enum ce_status status = normalise(match, answer, &side[0], err);

    if (status == CE_OK) {
        status = normalise(match, target, &side[1], err);
    }
    if (status == CE_OK) {
        *equal = strcmp(side[0], side[1]) == 0;
    } else {
        ce_error_prefix(err, "metric %s", match->metric->name);
    }
    free(side[0]);
    free(side[1]);
    return status;
}
