/* pack.h - a checkpoint to a packed model, tensor by tensor
 *
 * A tensor is converted as loading would convert it, so that a job with the packed
 * model has the same bits in memory; no more than one of them is there at a time.
 */

#ifndef CE_MODEL_PACK_H
#define CE_MODEL_PACK_H

#include "model/tensor_walk.h"
#include "model/weights.h"

#include <stddef.h>

struct ce_packed_entry {
    char name[sizeof(((struct ce_tensor_slot *)0)->name)];
    enum ce_tensor_role role;
    enum ce_dtype stored;
    enum ce_dtype packed;
    size_t stored_bytes;
    size_t packed_bytes;
    double error; /* root of the mean square against that of the stored weights */
};

struct ce_pack_report {
    struct ce_packed_entry *entry; /* in the order of the file */
    size_t count;
    size_t capacity;
};

/* Writes `path`, which appears whole or not at all, with all tensors of a request that
 * owns every expert, and fills the report, zeroed before. The log has a line every 4
 * GiB of the checkpoint. Errors: as of ce_weights_load. */
CE_MUST_CHECK enum ce_status ce_pack(struct ce_pack_report *report,
                                     const struct ce_weights_request *request,
                                     const char *path,
                                     const struct ce_kernels *kernels,
                                     struct ce_error *err);
void ce_pack_report_free(struct ce_pack_report *report); /* also after a failure */

#endif
