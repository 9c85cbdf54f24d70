/* means.h - what all ranks must know of a layer: sums over experts and windows
 *
 * Each is added in the order of its parts (experts, windows), wherever these are, so
 * that the sums have the same bits on any number of ranks.
 */

#ifndef CE_CALIBRATE_MEANS_H
#define CE_CALIBRATE_MEANS_H

#include "base/status.h"
#include "calibrate/harvest.h"
#include "comm/transport.h"

#include <stddef.h>

/* What ranks tell each other of their experts takes so much for each. */
size_t ce_means_bytes(size_t hidden);

/* mean [hidden] = sum w y / sum w over the experts of all ranks, of which this rank has
 * own[0 .. count - 1] in ascending order; zeros where no expert has a row. `message`
 * has room for `count` times ce_means_bytes, `place` for a pointer an expert.
 * Collective. */
CE_MUST_CHECK enum ce_status ce_means_of_outputs(struct ce_transport *transport,
                                                 const struct ce_harvest *harvest,
                                                 const size_t *own,
                                                 size_t count,
                                                 unsigned char *message,
                                                 const unsigned char **place,
                                                 float *mean,
                                                 struct ce_error *err);

/* *sum of values [count], of which each rank has some, and zeros for the others.
 * Collective. */
CE_MUST_CHECK enum ce_status ce_means_sum(struct ce_transport *transport,
                                          const double *values,
                                          size_t count,
                                          double *sum,
                                          struct ce_error *err);

#endif
