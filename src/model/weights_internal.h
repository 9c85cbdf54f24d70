/* weights_internal.h - what loaded and dummy weights have in common */

#ifndef CE_MODEL_WEIGHTS_INTERNAL_H
#define CE_MODEL_WEIGHTS_INTERNAL_H

#include "model/tensor_walk.h"
#include "model/weights.h"

/* The lists of layers and experts, empty. */
CE_MUST_CHECK enum ce_status ce_weights_take_layers(struct ce_weights *weights,
                                                    const struct ce_config *config,
                                                    struct ce_error *err);

/* Adds the bytes of a resident tensor to the count of its kind. */
void ce_weights_count(struct ce_weights *weights,
                      enum ce_tensor_role role,
                      size_t bytes);

#endif
