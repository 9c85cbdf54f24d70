/* weights_find.c - where the tensors of a model are in the files of a request */

#include "model/tensor_walk.h"
#include "model/weights.h"
#include "model/weights_internal.h"

#include <stdlib.h>
#include <string.h>

void ce_weights_finder_fini(struct ce_weights_finder *finder)
{
    for (size_t i = 0; i < finder->names; i++) {
        free(finder->name[i]);
    }
    free(finder->name);
    *finder = (struct ce_weights_finder){.names = 0};
}

static enum ce_status
remember_name(struct ce_weights_finder *finder, const char *name, struct ce_error *err)
{
    if (finder->names == finder->capacity) {
        size_t capacity = finder->capacity * 2 + 64;
        char **grown = realloc(finder->name, capacity * sizeof(grown[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the tensor names");
        }
        finder->name = grown;
        finder->capacity = capacity;
    }
    finder->name[finder->names] = strdup(name);
    if (finder->name[finder->names] == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the tensor names");
    }
    finder->names++;
    return CE_OK;
}

/* An expert's matrix out of the fused tensor of its layer. */
static enum ce_status find_fused(struct ce_weights_finder *finder,
                                 const struct ce_tensor_slot *slot,
                                 const char *fused,
                                 struct ce_tensor *out,
                                 struct ce_error *err)
{
    const struct ce_config *config = finder->request->config;
    bool down = slot->part == CE_EXPERT_DOWN;
    size_t matrices = down ? 1 : 2;
    size_t shape[] = {config->experts, slot->shape[0] * matrices, slot->shape[1]};
    struct ce_tensor all = {0};
    size_t bytes = 0;
    enum ce_status status =
        ce_checkpoint_require(finder->request->checkpoint, fused, 3, shape, &all, err);

    if (status != CE_OK) {
        return status;
    }
    bytes = slot->shape[0] * slot->shape[1] * ce_dtype_size(all.dtype);
    *out = (struct ce_tensor){.dtype = all.dtype, .dims = 2, .bytes = bytes};
    out->shape[0] = slot->shape[0];
    out->shape[1] = slot->shape[1];
    out->data = (const unsigned char *)all.data +
                (slot->expert * matrices + (slot->part == CE_EXPERT_UP)) * bytes;
    return slot->expert == 0 ? remember_name(finder, fused, err) : CE_OK;
}

static enum ce_status find_expert(struct ce_weights_finder *finder,
                                  const struct ce_tensor_slot *slot,
                                  struct ce_tensor *out,
                                  struct ce_error *err)
{
    const struct ce_checkpoint *checkpoint = finder->request->checkpoint;
    enum ce_status status = CE_OK;
    char fused[128];

    ce_olmoe_fused_name(slot, fused, sizeof(fused));
    if (ce_checkpoint_find(checkpoint, fused, NULL) != NULL) {
        return find_fused(finder, slot, fused, out, err);
    }
    status = ce_checkpoint_require(checkpoint, slot->name, 2, slot->shape, out, err);
    return status == CE_OK ? remember_name(finder, slot->name, err) : status;
}

static enum ce_status check_table(const struct ce_tensor *table,
                                  const struct ce_tensor_slot *slot,
                                  const char *file,
                                  struct ce_error *err)
{
    char found[96];
    bool same = table->dims == slot->dims &&
                memcmp(table->shape, slot->shape, sizeof(slot->shape)) == 0;

    if (same && ce_dtype_is_float(table->dtype)) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: %s is %s %s, expected F32, BF16 or F16 [%zu, %zu, %zu]",
                   file,
                   slot->name,
                   ce_dtype_name(table->dtype),
                   ce_tensor_shape_text(table, found, sizeof(found)),
                   slot->shape[0],
                   slot->shape[1],
                   slot->shape[2]);
}

static enum ce_status find_table(struct ce_weights_finder *finder,
                                 const struct ce_tensor_slot *slot,
                                 struct ce_tensor *out,
                                 struct ce_error *err)
{
    const char *file = NULL;
    const struct ce_tensor *table =
        ce_checkpoint_find(finder->request->checkpoint, slot->name, &file);

    if (table == NULL) {
        return CE_OK;
    }
    *out = *table;
    return check_table(table, slot, file, err);
}

static enum ce_status find_stored(struct ce_weights_finder *finder,
                                  const struct ce_tensor_slot *slot,
                                  struct ce_tensor *out,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (slot->role == CE_TENSOR_EXPERT) {
        return find_expert(finder, slot, out, err);
    }
    status = remember_name(finder, slot->name, err);
    if (status != CE_OK) {
        return status;
    }
    if (slot->role == CE_TENSOR_TABLE) {
        return find_table(finder, slot, out, err);
    }
    return ce_checkpoint_require(
        finder->request->checkpoint, slot->name, slot->dims, slot->shape, out, err);
}

enum ce_status ce_weights_find(struct ce_weights_finder *finder,
                               const struct ce_tensor_slot *slot,
                               struct ce_tensor *found,
                               struct ce_error *err)
{
    *found = (struct ce_tensor){.data = NULL};
    if (slot->role == CE_TENSOR_TABLE && !finder->request->want_compressed) {
        return remember_name(finder, slot->name, err);
    }
    enum ce_status status = find_stored(finder, slot, found, err);

    if (status == CE_OK && found->data == NULL) {
        finder->missing_tables++;
    }
    return status;
}

/* The type a tensor has in a packed model; of what is stored as it was, any. */
static enum ce_dtype packed_dtype(const struct ce_weights_finder *finder,
                                  const struct ce_tensor_slot *slot,
                                  const struct ce_packed_tensor *there)
{
    enum ce_dtype stored = CE_DTYPE_F32;

    if (slot->vector != NULL) {
        return CE_DTYPE_F32;
    }
    for (int d = CE_DTYPE_F32; d <= CE_DTYPE_F16; d++) {
        if (there != NULL &&
            strcmp(there->dtype, ce_dtype_name((enum ce_dtype)d)) == 0) {
            stored = (enum ce_dtype)d;
        }
    }
    return ce_weights_dtype(finder->request->formats, slot, stored);
}

static size_t packed_bytes(const struct ce_tensor_slot *slot, enum ce_dtype dtype)
{
    size_t values = 1;

    if (slot->matrix != NULL) {
        return ce_weights_matrix_bytes(dtype, slot->shape[0], slot->shape[1]);
    }
    for (unsigned i = 0; i < slot->dims; i++) {
        values *= slot->shape[i];
    }
    return values * sizeof(float);
}

struct ce_packed_tensor ce_weights_packed_tensor(const struct ce_tensor_slot *slot,
                                                 enum ce_dtype dtype)
{
    struct ce_packed_tensor tensor = {.name = slot->name,
                                      .dtype = ce_dtype_name(dtype),
                                      .dims = slot->dims,
                                      .bytes = packed_bytes(slot, dtype)};

    memcpy(tensor.shape, slot->shape, slot->dims * sizeof(slot->shape[0]));
    return tensor;
}

enum ce_status ce_weights_find_packed(struct ce_weights_finder *finder,
                                      const struct ce_tensor_slot *slot,
                                      const struct ce_packed_tensor **found,
                                      enum ce_dtype *dtype,
                                      struct ce_error *err)
{
    const struct ce_weights_request *request = finder->request;
    const bool is_table = slot->role == CE_TENSOR_TABLE;
    enum ce_status status = remember_name(finder, slot->name, err);

    *found = NULL;
    if (status != CE_OK || (is_table && !request->want_compressed)) {
        return status;
    }
    *found = ce_packed_file_find(request->packed, slot->name);
    if (*found == NULL && is_table) {
        finder->missing_tables++;
        return CE_OK;
    }
    *dtype = packed_dtype(finder, slot, *found);
    const struct ce_packed_tensor wanted = ce_weights_packed_tensor(slot, *dtype);

    return ce_packed_file_require(request->packed, &wanted, found, err);
}
