/* record.h - one expert's fit as bytes: to another rank, and to a file of the layer
 *
 *   | head | error | heldout_error | u | v | mean_x | mean_y |
 *
 * All records of one shape have the same size, a multiple of 8, and are in the byte
 * order of this machine. What comes from a file is checked as a whole by its reader.
 */

#ifndef CE_CALIBRATE_RECORD_H
#define CE_CALIBRATE_RECORD_H

#include "base/status.h"
#include "calibrate/fit.h"

#include <stddef.h>

struct ce_record_shape {
    size_t hidden;
    size_t most_rank;
};

size_t ce_record_bytes(struct ce_record_shape shape);

/* Writes the fit of an expert, which is of this shape. */
void ce_record_write(void *record,
                     struct ce_record_shape shape,
                     size_t expert,
                     const struct ce_fit *fit);

/* The fit in a record, whose memory its arrays point into. Errors: CE_ERR_FORMAT for a
 * record of another expert or with numbers that cannot be. */
CE_MUST_CHECK enum ce_status ce_record_read(struct ce_fit *fit,
                                            void *record,
                                            struct ce_record_shape shape,
                                            size_t expert,
                                            struct ce_error *err);

#endif
