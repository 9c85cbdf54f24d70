/* description.h - a task description: JSON, validated, its templates compiled
 *
 * deploy/tasks/README.md is its reference. Unknown fields are errors, since a misspelt
 * one would change results without a word.
 */

#ifndef CE_EVAL_DESCRIPTION_H
#define CE_EVAL_DESCRIPTION_H

#include "base/status.h"
#include "eval/cleanup.h"
#include "eval/eval.h"
#include "eval/template.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Several templates, or one that leads to a list of strings. */
struct ce_template_list {
    struct ce_template **item; /* [count]; NULL: `path` leads to the list */
    size_t count;
    struct ce_template *path;
};

struct ce_fewshot_description {
    size_t count;
    const char *documents; /* NULL: none can be had */
    bool first_n;          /* the first, else a sample */
    uint64_t seed;
    const char *delimiter;
    bool exclude; /* never the document itself */
};

/* Strings belong to `root`. What a task may leave out is NULL. */
struct ce_description {
    const char *path;
    json_t *root;
    const char *name;
    const char *version;
    enum ce_output_type output;
    const char *documents;
    const char *id_field;
    const char *part_field;
    ce_cleanup_function *clean_up;
    struct ce_template *header;
    struct ce_template *prompt;
    struct ce_template_list prompts; /* one a choice */
    struct ce_template_list choices;
    struct ce_template *gold;
    struct ce_template_list gold_among; /* gold is the index of its text among these */
    struct ce_template *target;
    struct ce_template *measured;
    const char *target_delimiter;
    struct ce_fewshot_description fewshot;
};

/* `path` must live as long. ce_description_close frees, also after a failure. Errors
 * name file and field. */
CE_MUST_CHECK enum ce_status ce_description_open(struct ce_description *description,
                                                 const char *path,
                                                 struct ce_error *err);
/* The same from text in memory. */
CE_MUST_CHECK enum ce_status ce_description_parse(struct ce_description *description,
                                                  const char *text,
                                                  size_t bytes,
                                                  const char *path,
                                                  struct ce_error *err);
void ce_description_close(struct ce_description *description);

/* Fills metrics, filters and generation of the task. */
CE_MUST_CHECK enum ce_status
ce_description_read_scoring(const struct ce_description *description,
                            struct ce_task *task,
                            struct ce_error *err);

#endif
