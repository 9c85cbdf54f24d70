/* component.h - the stages of tokenizer.json: lists of objects with a "type"
 *
 * A stage is null, one component, or a Sequence of them, which may hold other
 * Sequences. The reader of a stage sees the components one by one, in order.
 */

#ifndef CE_MODEL_TOKENIZER_COMPONENT_H
#define CE_MODEL_TOKENIZER_COMPONENT_H

#include "model/tokenizer/text.h"

#include <jansson.h>

/* How many components of one stage are accepted. */
#define CE_COMPONENTS_MAX ((size_t)32)

struct ce_component {
    const json_t *object;
    const char *type;
    const char *file;
    char path[128]; /* e.g. "pre_tokenizer.pretokenizers[1]", for messages */
};

typedef enum ce_status ce_component_reader(void *user,
                                           const struct ce_component *component,
                                           struct ce_error *err);

/* `stage` and `list` are the names of the stage in the file and of the member
 * of its Sequences, e.g. "pre_tokenizer" and "pretokenizers". */
CE_MUST_CHECK enum ce_status ce_component_each(const json_t *root,
                                               const char *file,
                                               const char *stage,
                                               const char *list,
                                               ce_component_reader *reader,
                                               void *user,
                                               struct ce_error *err);

bool ce_component_is(const struct ce_component *component, const char *type);

/* 'FILE: PATH: type "X" is not supported' */
enum ce_status ce_component_refuse(const struct ce_component *component,
                                   struct ce_error *err);
/* 'FILE: PATH.KEY: WHY' */
enum ce_status ce_component_fail(const struct ce_component *component,
                                 const char *key,
                                 enum ce_status status,
                                 const char *why,
                                 struct ce_error *err);

/* Absent or null leaves *out as it was. */
CE_MUST_CHECK enum ce_status ce_component_bool(const struct ce_component *component,
                                               const char *key,
                                               bool *out,
                                               struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_component_size(const struct ce_component *component,
                                               const char *key,
                                               size_t *out,
                                               struct ce_error *err);
/* Required, and of at most `limit` bytes; *out points into the document. */
CE_MUST_CHECK enum ce_status ce_component_string(const struct ce_component *component,
                                                 const char *key,
                                                 size_t limit,
                                                 struct ce_span *out,
                                                 struct ce_error *err);

#endif
