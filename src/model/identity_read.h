/* identity_read.h - a model's tensors told apart from its files, without loading it */

#ifndef CE_MODEL_IDENTITY_READ_H
#define CE_MODEL_IDENTITY_READ_H

#include "model/identity.h"
#include "model/weights.h"

#include <stddef.h>

/* Of a tensor over 64 KiB so many bytes are a sample, at its ends and evenly between
 * them: at least 16, and one a 512 KiB. Smaller ones are read in whole. */
#define CE_IDENTITY_SAMPLE ((size_t)4096)

/* Adds every tensor that `request` finds, of which owned, split, formats, map and
 * identity are not looked at. With parts 0 a content is that of samples, read in whole
 * or not; they can be compared only with each other. Else part `part` of `parts` reads
 * its share of the tensors in whole and the others not at all. A packed model says the
 * checksums of all its data: they are taken as they are. All threads; not collective.
 * Errors: those of ce_weights_plan. */
CE_MUST_CHECK enum ce_status ce_identity_read(struct ce_identity *identity,
                                              const struct ce_weights_request *request,
                                              size_t part,
                                              size_t parts,
                                              struct ce_error *err);

#endif
