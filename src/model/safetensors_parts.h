/* safetensors_parts.h - shared by the reader and the writer; private to
 * safetensors*.c */

#ifndef CE_MODEL_SAFETENSORS_PARTS_H
#define CE_MODEL_SAFETENSORS_PARTS_H

#include "base/status.h"
#include "model/safetensors.h"

#include <jansson.h>
#include <stddef.h>

/* The key of the header that is not a tensor. */
#define CE_SAFETENSORS_METADATA "__metadata__"

/* Reads the entries and the metadata of a parsed header, in the order of the
 * document. Each tensor's data lies within the `bytes` at `data`; how the
 * tensors lie to each other is not checked here. What was read before a
 * failure is in `file`. */
CE_MUST_CHECK enum ce_status ce_safetensors_read_header(struct ce_safetensors *file,
                                                        json_t *root,
                                                        const unsigned char *data,
                                                        size_t bytes,
                                                        struct ce_error *err);

#endif
