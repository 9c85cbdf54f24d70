/* checkpoint_parts.h - private to checkpoint*.c */

#ifndef CE_MODEL_CHECKPOINT_PARTS_H
#define CE_MODEL_CHECKPOINT_PARTS_H

#include "base/status.h"
#include "model/checkpoint.h"

#include <stddef.h>

/* Opens the shards an index names into checkpoint->file and checks that index
 * and shards agree on every tensor. What was opened before a failure is in
 * `checkpoint`. */
CE_MUST_CHECK enum ce_status ce_checkpoint_open_shards(struct ce_checkpoint *checkpoint,
                                                       const char *index_path,
                                                       struct ce_error *err);

/* Opens checkpoint->dir/NAME as the next of checkpoint->file, which has room. */
CE_MUST_CHECK enum ce_status ce_checkpoint_open_file(struct ce_checkpoint *checkpoint,
                                                     const char *name,
                                                     struct ce_error *err);

#endif
