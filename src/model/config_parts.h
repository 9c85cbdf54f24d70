/* config_parts.h - the readers that config.json is split into; private to config*.c
 *
 * The reader of an architecture starts from its class defaults, because a field
 * that is absent takes the value of the class and the classes differ.
 */

#ifndef CE_MODEL_CONFIG_PARTS_H
#define CE_MODEL_CONFIG_PARTS_H

#include "base/status.h"
#include "model/config.h"

#include <jansson.h>

/* All of "model_type": "olmoe". */
CE_MUST_CHECK enum ce_status ce_config_read_olmoe(struct ce_config *config,
                                                  const json_t *root,
                                                  const char *file,
                                                  struct ce_error *err);

/* Rotary embedding: rope_parameters (v5) or rope_theta and rope_scaling (v4).
 * Only the default type is computed; every other one is refused by name. */
CE_MUST_CHECK enum ce_status ce_config_read_rope(struct ce_config *config,
                                                 const json_t *root,
                                                 const char *file,
                                                 struct ce_error *err);

/* An eos_token_id: an integer, a list of integers, or null for none. */
CE_MUST_CHECK enum ce_status ce_config_read_stop_tokens(struct ce_config *config,
                                                        const json_t *eos,
                                                        const char *file,
                                                        struct ce_error *err);

/* Every key of the file must be one that is computed, one that cannot change results,
 * or one of another model whose value changes nothing here. */
CE_MUST_CHECK enum ce_status ce_config_check_keys(const struct ce_config *config,
                                                  json_t *root,
                                                  const char *file,
                                                  struct ce_error *err);

/* How the fields of a complete config must fit together: divisibility, order,
 * products that stay far from overflow. */
CE_MUST_CHECK enum ce_status
ce_config_check(const struct ce_config *config, const char *file, struct ce_error *err);

#endif
