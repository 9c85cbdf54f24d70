/* scaling_outcome.h - from the parts of all layers to one file of scaling vectors
 *
 * Tensors, F32: `model.layers.N.mlp.ces` [E, 3, max(d, f)], rows theta1, theta2, theta3
 * of each expert; theta1, theta3 and what is behind the f values of theta2 are ones.
 */

#ifndef CE_CALIBRATE_SCALING_OUTCOME_H
#define CE_CALIBRATE_SCALING_OUTCOME_H

#include "base/status.h"
#include "calibrate/compressed_file.h"
#include "calibrate/parts.h"
#include "calibrate/scaling.h"

#include <stddef.h>

struct ce_scaling_outcome {
    size_t layers;
    size_t experts;
    size_t hidden;
    size_t intermediate;
    struct ce_scaling_facts *facts; /* [layers] */
    float **table;                  /* [layers] [experts][3][max(d, f)] */
};

/* The sizes must be set. ce_scaling_outcome_free frees, also after a failure. Errors:
 * also CE_ERR_FORMAT for numbers that are not finite. */
CE_MUST_CHECK enum ce_status ce_scaling_outcome_read(struct ce_scaling_outcome *outcome,
                                                     const struct ce_parts *parts,
                                                     struct ce_error *err);
void ce_scaling_outcome_free(struct ce_scaling_outcome *outcome);

/* Bytes of the file's values. */
size_t ce_scaling_outcome_bytes(const struct ce_scaling_outcome *outcome);

/* Writes the file, atomically. */
CE_MUST_CHECK enum ce_status
ce_scaling_outcome_write(const struct ce_scaling_outcome *outcome,
                         const char *path,
                         const struct ce_compressed_file_facts *facts,
                         struct ce_error *err);

#endif
