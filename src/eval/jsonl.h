/* jsonl.h - JSON Lines: one object a line, from text that nobody has checked
 *
 * Read as Python reads them (base/json_text.h): a byte order mark before the first line
 * is skipped, lines end in LF, CR LF or CR, of equal keys the last counts. Blank lines
 * are skipped. Errors begin with "FILE: line N: ".
 */

#ifndef CE_EVAL_JSONL_H
#define CE_EVAL_JSONL_H

#include "base/json.h"

#include <stddef.h>

/* Reads from the first line to the last. */
struct ce_jsonl {
    const char *path; /* for messages */
    const char *text; /* what is not read yet */
    size_t bytes;
    size_t line;      /* number of the line that was read last, from 1 */
    json_t *ids;      /* id: its line */
    char where[1024]; /* "FILE: line N"; a very long path is cut */
};

/* Nothing is copied: path and text outlive it. */
CE_MUST_CHECK enum ce_status ce_jsonl_init(struct ce_jsonl *lines,
                                           const char *path,
                                           const char *text,
                                           size_t bytes,
                                           struct ce_error *err);
void ce_jsonl_fini(struct ce_jsonl *lines); /* accepts a zeroed object */

/* Every line that is not blank is a JSON object, and there is one. */
bool ce_jsonl_is_lines(const char *text, size_t bytes);

/* The object of the next line that is not blank, which the caller json_decref's; NULL
 * after the last. */
CE_MUST_CHECK enum ce_status
ce_jsonl_next(struct ce_jsonl *lines, json_t **object, struct ce_error *err);

/* For the field readers of base/json.h; valid until the next line. */
struct ce_json_source ce_jsonl_source(const struct ce_jsonl *lines);

/* A failure at the line that was read last. */
enum ce_status ce_jsonl_fail(const struct ce_jsonl *lines,
                             struct ce_error *err,
                             const char *format,
                             ...) __attribute__((format(printf, 3, 4)));

/* Every key must be one of `known`, which ends in NULL. */
CE_MUST_CHECK enum ce_status ce_jsonl_check_fields(const struct ce_jsonl *lines,
                                                   const json_t *object,
                                                   const char *const *known,
                                                   struct ce_error *err);
/* A string that is there; *out points into the object. */
CE_MUST_CHECK enum ce_status ce_jsonl_require_string(const struct ce_jsonl *lines,
                                                     const json_t *object,
                                                     const char *key,
                                                     const char **out,
                                                     struct ce_error *err);
/* Fails when a line before had this id; `key` is the field that has it. */
CE_MUST_CHECK enum ce_status ce_jsonl_claim_id(struct ce_jsonl *lines,
                                               const char *key,
                                               const char *id,
                                               struct ce_error *err);
/* A string that no line before had and that is not empty. */
CE_MUST_CHECK enum ce_status ce_jsonl_require_id(struct ce_jsonl *lines,
                                                 const json_t *object,
                                                 const char *key,
                                                 const char **out,
                                                 struct ce_error *err);

#endif
