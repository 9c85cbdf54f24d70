/* identity_read.c - samples of a checkpoint's tensors, or a share of all their bytes */

#include "model/identity_read.h"

#include "base/hash.h"
#include "model/tensor_walk.h"
#include "model/weights_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#define LEAST_SAMPLES    ((size_t)16)
#define BYTES_PER_SAMPLE ((size_t)512 << 10)

struct read {
    struct ce_weights_finder finder;
    struct ce_identity *identity;
    struct ce_tensor *tensor; /* [identity->count] where they are */
    size_t capacity;
};

static enum ce_status
remember(struct read *read, const struct ce_tensor *tensor, struct ce_error *err)
{
    const size_t index = read->identity->count - 1;

    if (index >= read->capacity) {
        const size_t capacity = read->capacity * 2 + 64;
        struct ce_tensor *grown =
            reallocarray(read->tensor, capacity, sizeof(read->tensor[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of tensors");
        }
        read->tensor = grown;
        read->capacity = capacity;
    }
    read->tensor[index] = *tensor;
    return CE_OK;
}

static enum ce_status
visit_packed(struct read *read, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    const struct ce_packed_tensor *found = NULL;
    enum ce_dtype dtype = CE_DTYPE_F32;
    enum ce_status status =
        ce_weights_find_packed(&read->finder, slot, &found, &dtype, err);

    if (status != CE_OK || found == NULL) {
        return status;
    }
    status = ce_identity_add(read->identity, slot, found->dtype, err);
    if (status == CE_OK) {
        ce_identity_take_packed(read->identity, found);
    }
    return status;
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct read *read = context;
    struct ce_tensor found = {.data = NULL};
    enum ce_status status = CE_OK;

    if (read->finder.request->packed != NULL) {
        return visit_packed(read, slot, err);
    }
    status = ce_weights_find(&read->finder, slot, &found, err);
    if (status != CE_OK || found.data == NULL) {
        return status;
    }
    status = ce_identity_add(read->identity, slot, ce_dtype_name(found.dtype), err);
    return status == CE_OK ? remember(read, &found, err) : status;
}

static uint64_t sample(const struct ce_kernels *kernels, const struct ce_tensor *tensor)
{
    const size_t wanted = tensor->bytes / BYTES_PER_SAMPLE;
    const size_t samples = wanted < LEAST_SAMPLES ? LEAST_SAMPLES : wanted;
    uint64_t hash = ce_hash_u64(CE_HASH_START, tensor->bytes);

    if (tensor->bytes <= CE_IDENTITY_CHUNK) {
        return ce_hash_u64(hash, kernels->checksum(tensor->data, tensor->bytes));
    }
    const size_t room = tensor->bytes - CE_IDENTITY_SAMPLE;

    for (size_t i = 0; i < samples; i++) {
        const size_t at =
            room / (samples - 1) * i + room % (samples - 1) * i / (samples - 1);

        hash = ce_hash_u64(hash,
                           kernels->checksum((const unsigned char *)tensor->data + at,
                                             CE_IDENTITY_SAMPLE));
    }
    return hash;
}

/* Read-ahead around samples would read nearly all of the file. */
static void advise(const struct ce_checkpoint *checkpoint, int advice)
{
    for (size_t i = 0; i < checkpoint->files; i++) {
        const struct ce_file_map *map = &checkpoint->file[i].map;

        if (map->data != NULL) {
            (void)madvise((void *)(uintptr_t)map->data, map->bytes, advice);
        }
    }
}

static void read_samples(const struct read *read)
{
    const struct ce_kernels *kernels = read->finder.request->kernels;

    advise(read->finder.request->checkpoint, MADV_RANDOM);
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < read->identity->count; i++) {
        read->identity->mark[i].content = sample(kernels, &read->tensor[i]);
        read->identity->mark[i].cover = CE_IDENTITY_WHOLE;
    }
    advise(read->finder.request->checkpoint, MADV_NORMAL);
}

static void read_share(const struct read *read, size_t part, size_t parts)
{
    const struct ce_kernels *kernels = read->finder.request->kernels;

#pragma omp parallel for schedule(dynamic)
    for (size_t i = part; i < read->identity->count; i += parts) {
        const struct ce_tensor *tensor = &read->tensor[i];

        read->identity->mark[i].content =
            ce_identity_chunks(kernels, tensor->data, tensor->bytes, 0, tensor->bytes);
        read->identity->mark[i].cover = CE_IDENTITY_WHOLE;
    }
}

enum ce_status ce_identity_read(struct ce_identity *identity,
                                const struct ce_weights_request *request,
                                size_t part,
                                size_t parts,
                                struct ce_error *err)
{
    struct read read = {.finder = {.request = request}, .identity = identity};
    struct ce_weights none = {0};
    enum ce_status status = ce_weights_take_layers(&none, request->config, err);

    if (status == CE_OK) {
        status = ce_olmoe_walk(request->config, &none, visit_slot, &read, err);
    }
    if (status == CE_OK && request->packed == NULL) {
        if (parts == 0) {
            read_samples(&read);
        } else {
            read_share(&read, part, parts);
        }
    }
    ce_weights_destroy(&none);
    ce_weights_finder_fini(&read.finder);
    free(read.tensor);
    return status;
}
