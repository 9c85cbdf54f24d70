/* description_parts.h - what the files that read a description share */

#ifndef CE_EVAL_DESCRIPTION_PARTS_H
#define CE_EVAL_DESCRIPTION_PARTS_H

#include "base/json.h"
#include "eval/description.h"

/* NULL when the field is absent or null. */
const json_t *ce_description_field(const json_t *object, const char *key);

/* Every key of the object must be one of `known`, which ends in NULL. */
CE_MUST_CHECK enum ce_status
ce_description_check_keys(const struct ce_json_source *source,
                          const json_t *object,
                          const char *const *known,
                          struct ce_error *err);

/* Index in `names`, which ends in NULL, of the string `key`; absent leaves *index. */
CE_MUST_CHECK enum ce_status
ce_description_read_name(const struct ce_json_source *source,
                         const json_t *object,
                         const char *key,
                         const char *const *names,
                         size_t *index,
                         struct ce_error *err);

/* A field that is there and not empty. */
CE_MUST_CHECK enum ce_status
ce_description_require_string(const struct ce_json_source *source,
                              const json_t *object,
                              const char *key,
                              const char **out,
                              struct ce_error *err);

#endif
