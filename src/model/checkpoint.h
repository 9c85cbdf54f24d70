/* checkpoint.h - all tensors of a checkpoint directory, in one file or sharded
 *
 * model.safetensors wins when present, else model.safetensors.index.json and
 * its shards. The index is not trusted: shard names must be plain file names in
 * the directory; every listed tensor must be in its file and no tensor in two.
 * `.bin` checkpoints are refused with the way to convert them.
 */

#ifndef CE_MODEL_CHECKPOINT_H
#define CE_MODEL_CHECKPOINT_H

#include "base/file_stamp.h"
#include "base/status.h"
#include "model/safetensors.h"

#include <stddef.h>
#include <stdint.h>

/* One tensor and the file it is in. */
struct ce_checkpoint_entry {
    const char *name;
    const struct ce_tensor *tensor;
    const struct ce_safetensors *file;
};

struct ce_checkpoint {
    char *dir;
    size_t files;
    struct ce_safetensors *file;
    size_t count;
    struct ce_checkpoint_entry *entries; /* of all files, sorted by name */
};

CE_MUST_CHECK enum ce_status ce_checkpoint_open(struct ce_checkpoint *checkpoint,
                                                const char *dir,
                                                struct ce_error *err);
void ce_checkpoint_close(
    struct ce_checkpoint *checkpoint); /* accepts a zeroed object */

/* Remembers the files of the tensors as they were when they were opened. */
CE_MUST_CHECK enum ce_status ce_checkpoint_watch(const struct ce_checkpoint *checkpoint,
                                                 struct ce_file_watch *watch,
                                                 struct ce_error *err);
/* CE_ERR_IO with the first of them that has changed in any way since. */
CE_MUST_CHECK enum ce_status
ce_checkpoint_check_unchanged(const struct ce_checkpoint *checkpoint,
                              struct ce_error *err);

/* The tensor and, for messages, the path of the file it is in (`path` may be
 * NULL); NULL when there is none. */
const struct ce_tensor *ce_checkpoint_find(const struct ce_checkpoint *checkpoint,
                                           const char *name,
                                           const char **path);

/* Of names, types, shapes and sizes of all tensors, not of their values: notices
 * that two hosts have different files at no cost. */
uint64_t ce_checkpoint_hash(const struct ce_checkpoint *checkpoint);

/* Like find, but a missing tensor, another dtype than F32/BF16/F16 or another
 * shape is CE_ERR_FORMAT with directory, tensor, wanted and found shape. */
CE_MUST_CHECK enum ce_status
ce_checkpoint_require(const struct ce_checkpoint *checkpoint,
                      const char *name,
                      unsigned dims,
                      const size_t *shape,
                      struct ce_tensor *out,
                      struct ce_error *err);

#endif
