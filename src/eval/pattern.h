/* pattern.h - regular expressions as Python's module re understands them
 *
 * Oniguruma with its syntax "Python", and re's rule for matches that are empty. The two
 * differ in rare places: README.md of this folder lists them.
 */

#ifndef CE_EVAL_PATTERN_H
#define CE_EVAL_PATTERN_H

#include "base/status.h"
#include "eval/strings.h"

#include <stdbool.h>

struct ce_pattern;

/* Errors name the pattern. ce_pattern_destroy frees it; *pattern is NULL after a
 * failure. */
CE_MUST_CHECK enum ce_status
ce_pattern_compile(struct ce_pattern **pattern, const char *text, struct ce_error *err);
void ce_pattern_destroy(struct ce_pattern *pattern); /* accepts NULL */

/* re.findall(pattern, text)[select], where a negative `select` counts from the last. Of
 * a pattern with several groups *match is the first group with text, without text if
 * there is none; else its group, or all of the match where it has no group. *found is
 * false when there are not so many matches. CE_ERR_FORMAT: all searches in the text
 * together took too many steps. */
CE_MUST_CHECK enum ce_status ce_pattern_find(struct ce_pattern *pattern,
                                             const char *text,
                                             int select,
                                             bool *found,
                                             struct ce_span *match,
                                             struct ce_error *err);
/* How many groups the pattern has. */
int ce_pattern_groups(const struct ce_pattern *pattern);

/* re.sub(pattern, "", text): the caller frees *out. */
CE_MUST_CHECK enum ce_status ce_pattern_delete(struct ce_pattern *pattern,
                                               const char *text,
                                               char **out,
                                               struct ce_error *err);

#endif
