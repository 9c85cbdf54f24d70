/* safetensors_header.c - one header field to one tensor
 *
 *     "NAME": {"dtype": "BF16", "shape": [64, 2048], "data_offsets": [0, 262144]}
 *
 * Offsets count from the end of the header. Keys this reader does not know are
 * ignored, as the reference does.
 */

#include "base/memory.h"
#include "model/safetensors_parts.h"

#include <stdlib.h>
#include <string.h>

/* All element types of the format; those without a name of their own here can
 * be in a file, but nothing reads them. */
static const struct {
    const char *name;
    size_t bits;
    enum ce_dtype dtype;
} dtypes[] = {
    {"F32", 32, CE_DTYPE_F32},          {"BF16", 16, CE_DTYPE_BF16},
    {"F16", 16, CE_DTYPE_F16},          {"F64", 64, CE_DTYPE_F64},
    {"I64", 64, CE_DTYPE_I64},          {"I32", 32, CE_DTYPE_I32},
    {"I16", 16, CE_DTYPE_I16},          {"I8", 8, CE_DTYPE_I8},
    {"U64", 64, CE_DTYPE_U64},          {"U32", 32, CE_DTYPE_U32},
    {"U16", 16, CE_DTYPE_U16},          {"U8", 8, CE_DTYPE_U8},
    {"BOOL", 8, CE_DTYPE_BOOL},         {"C64", 64, CE_DTYPE_OTHER},
    {"F8_E5M2", 8, CE_DTYPE_OTHER},     {"F8_E4M3", 8, CE_DTYPE_OTHER},
    {"F8_E8M0", 8, CE_DTYPE_OTHER},     {"F8_E4M3FNUZ", 8, CE_DTYPE_OTHER},
    {"F8_E5M2FNUZ", 8, CE_DTYPE_OTHER}, {"F6_E2M3", 6, CE_DTYPE_OTHER},
    {"F6_E3M2", 6, CE_DTYPE_OTHER},     {"F4", 4, CE_DTYPE_OTHER},
};

/* For messages: which tensor of which file. */
struct place {
    const char *path;
    const char *name;
};

static enum ce_status
fail_at(const struct place *place, const char *what, struct ce_error *err)
{
    return ce_fail(
        err, CE_ERR_FORMAT, "%s: tensor '%.128s': %s", place->path, place->name, what);
}

static enum ce_status read_dtype(const json_t *value,
                                 enum ce_dtype *dtype,
                                 size_t *bits,
                                 const struct place *place,
                                 struct ce_error *err)
{
    const char *name = json_string_value(value);

    if (name == NULL) {
        return fail_at(place, "dtype is not a string", err);
    }
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = dtypes[i].dtype;
            *bits = dtypes[i].bits;
            return CE_OK;
        }
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor '%.128s': dtype '%.32s' is not one of the format",
                   place->path,
                   place->name,
                   name);
}

static enum ce_status read_natural(const json_t *value,
                                   size_t *out,
                                   const char *complaint,
                                   const struct place *place,
                                   struct ce_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return fail_at(place, complaint, err);
    }
    *out = (size_t)json_integer_value(value);
    return CE_OK;
}

static enum ce_status read_shape(const json_t *value,
                                 struct ce_tensor *tensor,
                                 const struct place *place,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (!json_is_array(value)) {
        return fail_at(place, "shape is not a list", err);
    }
    if (json_array_size(value) > CE_TENSOR_MAX_DIMS) {
        return fail_at(place, "shape has more than 8 dimensions", err);
    }
    tensor->dims = (unsigned)json_array_size(value);
    for (unsigned i = 0; status == CE_OK && i < tensor->dims; i++) {
        status = read_natural(json_array_get(value, i),
                              &tensor->shape[i],
                              "shape is not made of non-negative integers",
                              place,
                              err);
    }
    return status;
}

/* Bytes of the shape: dimensions are multiplied in order, so that a later zero
 * does not excuse an earlier overflow. */
static enum ce_status measure(struct ce_tensor *tensor,
                              size_t bits_each,
                              const struct place *place,
                              struct ce_error *err)
{
    size_t bits = 1;
    enum ce_status status = CE_OK;

    for (unsigned i = 0; status == CE_OK && i < tensor->dims; i++) {
        status = ce_size_mul(bits, tensor->shape[i], &bits);
    }
    if (status == CE_OK) {
        status = ce_size_mul(bits, bits_each, &bits);
    }
    if (status != CE_OK) {
        return fail_at(place, "the size of its shape overflows", err);
    }
    if (bits % 8 != 0) {
        return fail_at(place, "its size is not a whole number of bytes", err);
    }
    tensor->bytes = bits / 8;
    return CE_OK;
}

/* Sets the data; its length must be that of the shape. */
static enum ce_status read_offsets(const json_t *value,
                                   struct ce_tensor *tensor,
                                   const unsigned char *data,
                                   size_t bytes,
                                   const struct place *place,
                                   struct ce_error *err)
{
    static const char complaint[] = "data_offsets is not [begin, end]";
    size_t begin = 0;
    size_t end = 0;

    if (json_array_size(value) != 2) { /* 0 when it is no array */
        return fail_at(place, complaint, err);
    }
    enum ce_status status =
        read_natural(json_array_get(value, 0), &begin, complaint, place, err);

    if (status == CE_OK) {
        status = read_natural(json_array_get(value, 1), &end, complaint, place, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (begin > end || end - begin != tensor->bytes) {
        return fail_at(place, "data_offsets do not match dtype and shape", err);
    }
    if (end > bytes) {
        return fail_at(place, "ends beyond the end of the file", err);
    }
    tensor->data = data + begin;
    return CE_OK;
}

static enum ce_status read_tensor(const json_t *value,
                                  struct ce_tensor *tensor,
                                  const unsigned char *data,
                                  size_t bytes,
                                  const struct place *place,
                                  struct ce_error *err)
{
    size_t bits = 0;

    if (!json_is_object(value)) {
        return fail_at(place, "is not an object", err);
    }
    enum ce_status status =
        read_dtype(json_object_get(value, "dtype"), &tensor->dtype, &bits, place, err);

    if (status == CE_OK) {
        status = read_shape(json_object_get(value, "shape"), tensor, place, err);
    }
    if (status == CE_OK) {
        status = measure(tensor, bits, place, err);
    }
    if (status == CE_OK) {
        const json_t *offsets = json_object_get(value, "data_offsets");

        status = read_offsets(offsets, tensor, data, bytes, place, err);
    }
    return status;
}

static enum ce_status fail_memory(const struct ce_safetensors *file,
                                  struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", file->path);
}

static enum ce_status
read_metadata(struct ce_safetensors *file, json_t *map, struct ce_error *err)
{
    const char *key;
    json_t *value;

    if (map == NULL || json_is_null(map)) {
        return CE_OK;
    }
    if (!json_is_object(map)) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: metadata: is not an object", file->path);
    }
    file->metadata = calloc(json_object_size(map) + 1, sizeof(*file->metadata));
    if (file->metadata == NULL) {
        return fail_memory(file, err);
    }
    json_object_foreach(map, key, value)
    {
        size_t i = file->metadata_count;

        if (!json_is_string(value)) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: metadata: %.128s: is not a string",
                           file->path,
                           key);
        }
        file->metadata[i].key = strdup(key);
        file->metadata[i].value = strdup(json_string_value(value));
        file->metadata_count++;
        if (file->metadata[i].key == NULL || file->metadata[i].value == NULL) {
            return fail_memory(file, err);
        }
    }
    return CE_OK;
}

static enum ce_status read_tensors(struct ce_safetensors *file,
                                   json_t *root,
                                   const unsigned char *data,
                                   size_t bytes,
                                   struct ce_error *err)
{
    const char *name;
    json_t *value;
    enum ce_status status = CE_OK;

    file->entries = calloc(json_object_size(root) + 1, sizeof(*file->entries));
    if (file->entries == NULL) {
        return fail_memory(file, err);
    }
    json_object_foreach(root, name, value)
    {
        const struct place place = {.path = file->path, .name = name};
        struct ce_safetensors_entry *entry = &file->entries[file->count];

        if (strcmp(name, CE_SAFETENSORS_METADATA) == 0) {
            continue;
        }
        entry->name = strdup(name);
        if (entry->name == NULL) {
            return fail_memory(file, err);
        }
        file->count++;
        status = read_tensor(value, &entry->tensor, data, bytes, &place, err);
        if (status != CE_OK) {
            break;
        }
    }
    return status;
}

enum ce_status ce_safetensors_read_header(struct ce_safetensors *file,
                                          json_t *root,
                                          const unsigned char *data,
                                          size_t bytes,
                                          struct ce_error *err)
{
    json_t *metadata = json_object_get(root, CE_SAFETENSORS_METADATA);
    enum ce_status status = read_metadata(file, metadata, err);

    return status == CE_OK ? read_tensors(file, root, data, bytes, err) : status;
}
