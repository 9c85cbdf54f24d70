/* id_list.h - "1,2,3" */

#ifndef CE_TOOLS_ID_LIST_H
#define CE_TOOLS_ID_LIST_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* Reads ids >= 0 separated by commas, at least one. The caller frees *id.
 * Errors name `option` and the place. */
CE_MUST_CHECK enum ce_status ce_id_list_parse(const char *text,
                                              const char *option,
                                              int32_t **id,
                                              size_t *count,
                                              struct ce_error *err);

#endif
