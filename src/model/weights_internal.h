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

/* The type in memory of a matrix that is stored as `stored`, and its bytes. */
enum ce_dtype ce_weights_dtype(struct ce_weight_formats formats,
                               const struct ce_tensor_slot *slot,
                               enum ce_dtype stored);

/* The rows of a tensor that this rank holds: all, but of an expert's its slice. */
struct ce_slice ce_weights_rows(struct ce_weights_split split,
                                const struct ce_tensor_slot *slot);

/* Outputs first .. first + count - 1 of `from` into `to`, the matrix in memory; first
 * and count in panels of 16 where that is packed. Returns the first output with a
 * weight that cannot be quantised, else from->outputs. */
size_t ce_weights_convert(const struct ce_matrix *to,
                          const struct ce_matrix *from,
                          size_t first,
                          size_t count);

#endif
