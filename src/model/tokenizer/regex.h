/* regex.h - patterns of tokenizer.json, matched as the `tokenizers` library does
 *
 * Oniguruma with UTF-8 and its own syntax, minus callouts. The searches in a text are
 * bounded in steps and memory: what goes beyond is an error that names the pattern.
 */

#ifndef CE_MODEL_TOKENIZER_REGEX_H
#define CE_MODEL_TOKENIZER_REGEX_H

#include "model/tokenizer/budget.h"
#include "model/tokenizer/component.h"

/* Read-only once compiled: threads share it. */
struct ce_regex;

/* `where` names the pattern in messages. */
CE_MUST_CHECK enum ce_status ce_regex_compile(struct ce_regex **regex,
                                              struct ce_span pattern,
                                              const char *where,
                                              struct ce_error *err);
/* The field `pattern` of a component: {"Regex": ...} or {"String": ...}, the
 * latter matched literally. */
CE_MUST_CHECK enum ce_status ce_regex_read(struct ce_regex **regex,
                                           const struct ce_component *component,
                                           struct ce_error *err);
void ce_regex_destroy(struct ce_regex *regex); /* accepts NULL */

/* What one thread needs to search; NULL when out of memory. The steps of its searches
 * are taken from `budget`, which is borrowed. */
struct ce_regex_scratch;
struct ce_regex_scratch *ce_regex_scratch_create(struct ce_budget *budget);
void ce_regex_scratch_destroy(struct ce_regex_scratch *scratch); /* accepts NULL */

/* The matches in a text from left to right. An empty match right behind another
 * match is left out. Set regex, scratch and text; zero the rest. */
struct ce_regex_cursor {
    const struct ce_regex *regex;
    struct ce_regex_scratch *scratch;
    struct ce_span text; /* at most INT32_MAX bytes */
    size_t next;         /* where the next search begins */
    bool any;            /* a match was found, and it ended at `last_end` */
    size_t last_end;
};

/* *start is not before the end of the last match. Behind all matches *found is
 * false and the two are the end of the text: the last gap ends there. */
CE_MUST_CHECK enum ce_status ce_regex_next(struct ce_regex_cursor *cursor,
                                           bool *found,
                                           size_t *start,
                                           size_t *end,
                                           struct ce_error *err);

#endif
