/* parameters.h - how many parameters a token passes through */

#ifndef CE_MODEL_PARAMETERS_H
#define CE_MODEL_PARAMETERS_H

#include "model/config.h"

#include <stddef.h>
#include <stdint.h>

/* With `mains` experts a token: all matrices, the embedding table and the output layer
 * counted whole (once where they are one), but of the experts only those that run.
 * Norms and biases are left out. */
uint64_t ce_parameters_active(const struct ce_config *config, size_t mains);

/* What `n_ce` scaling compressed experts a token add: their vectors. */
uint64_t ce_parameters_scaling(const struct ce_config *config, size_t n_ce);
/* What `n_ce` affine ones add, of a file with so many values: those of an expert of the
 * mean size in every layer. */
uint64_t
ce_parameters_affine(const struct ce_config *config, uint64_t values, size_t n_ce);

#endif
