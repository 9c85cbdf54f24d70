/* safetensors_write.c - named tensors to one file
 *
 * As the reference writer does: wide elements first, then by name, so that with
 * the data at a multiple of 8 every tensor is aligned to its element; if nothing else
 * is asked for, metadata {"format": "pt"}, without which transformers refuses the file.
 */

#include "base/memory.h"
#include "model/safetensors.h"
#include "model/safetensors_parts.h"

#include <stdlib.h>
#include <string.h>

static enum ce_status fail_entry(const char *path,
                                 const struct ce_safetensors_entry *entry,
                                 const char *what,
                                 struct ce_error *err)
{
    return ce_fail(err, CE_ERR_ARG, "%s: tensor '%.128s': %s", path, entry->name, what);
}

/* The view must be true: dtype, shape and bytes agree. */
static enum ce_status check_entry(const char *path,
                                  const struct ce_safetensors_entry *entry,
                                  struct ce_error *err)
{
    const struct ce_tensor *tensor = &entry->tensor;
    size_t bytes = ce_dtype_size(tensor->dtype);
    enum ce_status status = CE_OK;

    if (strcmp(entry->name, CE_SAFETENSORS_METADATA) == 0) {
        return fail_entry(path, entry, "the name is reserved", err);
    }
    if (bytes == 0 || tensor->dims > CE_TENSOR_MAX_DIMS) {
        return fail_entry(path, entry, "its dtype or rank cannot be written", err);
    }
    for (unsigned i = 0; status == CE_OK && i < tensor->dims; i++) {
        status = ce_size_mul(bytes, tensor->shape[i], &bytes);
    }
    if (status != CE_OK || bytes != tensor->bytes) {
        return fail_entry(path, entry, "its bytes do not match its shape", err);
    }
    return CE_OK;
}

static int compare_for_writing(const void *a, const void *b)
{
    const struct ce_safetensors_entry *left =
        *(const struct ce_safetensors_entry *const *)a;
    const struct ce_safetensors_entry *right =
        *(const struct ce_safetensors_entry *const *)b;
    size_t left_size = ce_dtype_size(left->tensor.dtype);
    size_t right_size = ce_dtype_size(right->tensor.dtype);

    if (left_size != right_size) {
        return left_size > right_size ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

/* NULL when out of memory. */
static json_t *describe(const struct ce_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    size_t end = begin + tensor->bytes;

    for (unsigned i = 0; i < tensor->dims; i++) {
        (void)json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
    }
    return json_pack("{s:s, s:o, s:[I, I]}",
                     "dtype",
                     ce_dtype_name(tensor->dtype),
                     "shape",
                     shape,
                     "data_offsets",
                     (json_int_t)begin,
                     (json_int_t)end);
}

static enum ce_status fill_header(json_t *header,
                                  const char *path,
                                  const struct ce_safetensors_entry *const *order,
                                  size_t count,
                                  struct ce_error *err)
{
    size_t begin = 0;

    for (size_t i = 0; i < count; i++) {
        enum ce_status status = check_entry(path, order[i], err);

        if (status != CE_OK) {
            return status;
        }
        if (json_object_get(header, order[i]->name) != NULL) {
            return fail_entry(path, order[i], "is there twice", err);
        }
        if (json_object_set_new(
                header, order[i]->name, describe(&order[i]->tensor, begin)) != 0) {
            return fail_entry(
                path, order[i], "the name is not UTF-8, or no memory", err);
        }
        begin += order[i]->tensor.bytes;
    }
    return CE_OK;
}

/* Length and header as they stand at the front of the file, padded with spaces
 * to a multiple of 8; NULL when out of memory. */
static unsigned char *front_of_file(const json_t *header, size_t *bytes)
{
    size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    size_t padded = (length + 7) / 8 * 8;
    unsigned char *front = malloc(8 + padded);

    if (front == NULL || length == 0) {
        free(front);
        return NULL;
    }
    for (unsigned i = 0; i < 8; i++) {
        front[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    }
    memset(front + 8, ' ', padded);
    (void)json_dumpb(header, (char *)front + 8, length, JSON_COMPACT);
    *bytes = 8 + padded;
    return front;
}

static enum ce_status write_parts(const char *path,
                                  const json_t *header,
                                  const struct ce_safetensors_entry *const *order,
                                  size_t count,
                                  struct ce_error *err)
{
    struct ce_file_piece *pieces = calloc(count + 1, sizeof(*pieces));
    size_t bytes = 0;
    unsigned char *front = front_of_file(header, &bytes);
    enum ce_status status;

    if (pieces == NULL || front == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", path);
    } else {
        pieces[0] = (struct ce_file_piece){.data = front, .bytes = bytes};
        for (size_t i = 0; i < count; i++) {
            pieces[i + 1] = (struct ce_file_piece){.data = order[i]->tensor.data,
                                                   .bytes = order[i]->tensor.bytes};
        }
        status = ce_file_write_pieces_atomic(path, pieces, count + 1, err);
    }
    free(front);
    free(pieces);
    return status;
}

static enum ce_status describe_metadata(json_t *header,
                                        const char *path,
                                        const struct ce_safetensors_text *metadata,
                                        size_t count,
                                        struct ce_error *err)
{
    json_t *object = json_object();

    if (json_object_set_new(header, CE_SAFETENSORS_METADATA, object) != 0) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", path);
    }
    for (size_t i = 0; i < count; i++) {
        const char *key = metadata[i].key;

        if (json_object_get(object, key) != NULL) {
            return ce_fail(
                err, CE_ERR_ARG, "%s: metadata '%.128s': is there twice", path, key);
        }
        if (json_object_set_new(object, key, json_string(metadata[i].value)) != 0) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "%s: metadata '%.128s': not UTF-8, or no memory",
                           path,
                           key);
        }
    }
    return CE_OK;
}

enum ce_status ce_safetensors_write_with(const char *path,
                                         const struct ce_safetensors_entry *entries,
                                         size_t count,
                                         const struct ce_safetensors_text *metadata,
                                         size_t metadata_count,
                                         struct ce_error *err)
{
    const struct ce_safetensors_entry **order = calloc(count + 1, sizeof(*order));
    json_t *header = json_object();
    enum ce_status status;

    if (order == NULL || header == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", path);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = &entries[i];
    }
    qsort(order, count, sizeof(*order), compare_for_writing);
    status = describe_metadata(header, path, metadata, metadata_count, err);
    if (status == CE_OK) {
        status = fill_header(header, path, order, count, err);
    }
    if (status == CE_OK) {
        status = write_parts(path, header, order, count, err);
    }
done:
    json_decref(header);
    free(order);
    return status;
}

enum ce_status ce_safetensors_write(const char *path,
                                    const struct ce_safetensors_entry *entries,
                                    size_t count,
                                    struct ce_error *err)
{
    static const struct ce_safetensors_text pytorch = {.key = "format", .value = "pt"};

    return ce_safetensors_write_with(path, entries, count, &pytorch, 1, err);
}
