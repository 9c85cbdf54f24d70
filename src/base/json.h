/* json.h - typed reading of untrusted JSON as jansson's values; errors name file and
 * field
 *
 * Parsing (json_text.h) rejects duplicate keys and deep nesting. Readers look up `key`
 * in `object`; absent or null leaves *out as it was (its default) unless the name says
 * `require`. What Python reads and others do not (NaN, integers beyond 64 bits, NUL in
 * strings) is of no type here: in a field that nobody reads it does no harm.
 */

#ifndef CE_BASE_JSON_H
#define CE_BASE_JSON_H

#include "base/json_text.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a value comes from, for messages: file path, then a field prefix. */
struct ce_json_source {
    const char *file;
    const char *prefix; /* "" or e.g. "rope_scaling." */
};

/* Where a text is no JSON: "FILE: line L, column C: why". */
enum ce_status
ce_json_fail(const char *file, const struct ce_json_problem *why, struct ce_error *err);

/* Bytes that the values of `text` take at most, up to a hundred times as many as it
 * has; in about a millisecond per MiB. */
uint64_t ce_json_cost(const char *text, size_t bytes);
/* The most that they may take: half of the memory that is left. */
uint64_t ce_json_most(void);
/* Whether they may be parsed; below a MiB of text always. Errors: CE_ERR_NOMEM,
 * beginning with "FILE: ". */
CE_MUST_CHECK enum ce_status ce_json_check_memory(const char *text,
                                                  size_t bytes,
                                                  const char *file,
                                                  struct ce_error *err);

/* Parses a buffer as one JSON object. The caller json_decref's *object. */
CE_MUST_CHECK enum ce_status ce_json_parse_object(const char *text,
                                                  size_t bytes,
                                                  const char *file,
                                                  json_t **object,
                                                  struct ce_error *err);
/* The same from a file of at most `limit` bytes. */
CE_MUST_CHECK enum ce_status ce_json_load_object(const char *path,
                                                 size_t limit,
                                                 json_t **object,
                                                 struct ce_error *err);

CE_MUST_CHECK enum ce_status ce_json_read_size(const struct ce_json_source *source,
                                               const json_t *object,
                                               const char *key,
                                               size_t *out,
                                               struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_json_require_size(const struct ce_json_source *source,
                                                  const json_t *object,
                                                  const char *key,
                                                  size_t *out,
                                                  struct ce_error *err);
/* Accepts integers and reals; always finite, the parser refuses what is not. */
CE_MUST_CHECK enum ce_status ce_json_read_double(const struct ce_json_source *source,
                                                 const json_t *object,
                                                 const char *key,
                                                 double *out,
                                                 struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_json_read_bool(const struct ce_json_source *source,
                                               const json_t *object,
                                               const char *key,
                                               bool *out,
                                               struct ce_error *err);
/* *out points into the document. */
CE_MUST_CHECK enum ce_status ce_json_read_string(const struct ce_json_source *source,
                                                 const json_t *object,
                                                 const char *key,
                                                 const char **out,
                                                 struct ce_error *err);

#endif
