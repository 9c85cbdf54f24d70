/* record.h - one expert's fits as bytes: to another rank, and to a file of the layer
 *
 *   | fit without neurons | fit with the first few kept | ... | gate | up | down |
 *   a fit: | head | error | heldout_error | u | v | mean_x | mean_y |
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
    size_t neurons; /* the most that are kept */
};

/* How many neurons the fits of a record keep, one after the other: none, a quarter, a
 * half and all of `neurons`; numbers that come twice are there once. */
enum { CE_RECORD_MOST_FITS = 4 };
struct ce_record_fits {
    size_t count;
    size_t neurons[CE_RECORD_MOST_FITS]; /* in ascending order, the first is 0 */
};
struct ce_record_fits ce_record_fits(struct ce_record_shape shape);

size_t ce_record_bytes(struct ce_record_shape shape);

/* Writes fit number `index` of an expert, which is of this shape. */
void ce_record_write(void *record,
                     struct ce_record_shape shape,
                     size_t expert,
                     size_t index,
                     const struct ce_fit *fit);

/* A fit in a record, whose memory its arrays point into. Errors: CE_ERR_FORMAT for a
 * record of another expert or with numbers that cannot be. */
CE_MUST_CHECK enum ce_status ce_record_read(struct ce_fit *fit,
                                            void *record,
                                            struct ce_record_shape shape,
                                            size_t expert,
                                            size_t index,
                                            struct ce_error *err);

/* Where the record has its neurons, the best first: each [neurons][hidden]. */
struct ce_record_neurons {
    float *gate;
    float *up;
    float *down; /* row i: the column of neuron i */
};
struct ce_record_neurons ce_record_neurons(void *record, struct ce_record_shape shape);

#endif
