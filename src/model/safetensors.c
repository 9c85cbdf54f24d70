/* safetensors.c - a file image to a validated, sorted list of tensors */

#include "model/safetensors.h"

#include "base/hash.h"
#include "base/json.h"
#include "model/safetensors_parts.h"

#include <stdlib.h>
#include <string.h>

/* The limit of the reference reader. */
#define HEADER_LIMIT 100000000

/* Where the parts of an image lie. */
struct layout {
    const char *header;
    size_t header_bytes;
    const unsigned char *data;
    size_t data_bytes;
};

static uint64_t read_u64_little_endian(const unsigned char *bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static enum ce_status split_image(struct layout *layout,
                                  const unsigned char *image,
                                  size_t bytes,
                                  const char *path,
                                  struct ce_error *err)
{
    if (bytes < 8) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: too short for a safetensors file", path);
    }
    uint64_t header = read_u64_little_endian(image);

    if (header > HEADER_LIMIT) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: the header is larger than %d bytes: not a safetensors file",
                       path,
                       HEADER_LIMIT);
    }
    if (header > bytes - 8) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: the header is cut off: truncated file", path);
    }
    if (header == 0 || image[8] != '{') {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: the header does not begin with '{'", path);
    }
    layout->header = (const char *)image + 8;
    layout->header_bytes = (size_t)header;
    layout->data = image + 8 + header;
    layout->data_bytes = bytes - 8 - (size_t)header;
    return CE_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct ce_tensor *left = &((const struct ce_safetensors_entry *)a)->tensor;
    const struct ce_tensor *right = &((const struct ce_safetensors_entry *)b)->tensor;
    const unsigned char *left_data = left->data;
    const unsigned char *right_data = right->data;

    if (left_data != right_data) {
        return left_data < right_data ? -1 : 1;
    }
    return (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

static int compare_names(const void *a, const void *b)
{
    const struct ce_safetensors_entry *left = a;
    const struct ce_safetensors_entry *right = b;

    return strcmp(left->name, right->name);
}

/* Leaves the entries sorted by place. The tensors must follow each other
 * without a hole or an overlap and end where the file ends: anything else is a
 * damaged file, or one that hides something. */
static enum ce_status check_tiling(const struct ce_safetensors *file,
                                   const struct layout *layout,
                                   struct ce_error *err)
{
    const unsigned char *expected = layout->data;
    const unsigned char *end = layout->data + layout->data_bytes;

    qsort(file->entries, file->count, sizeof(*file->entries), compare_places);
    for (size_t i = 0; i < file->count; i++) {
        const struct ce_tensor *tensor = &file->entries[i].tensor;
        const unsigned char *data = tensor->data;

        if (data != expected) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: tensor '%.128s': %s",
                           file->path,
                           file->entries[i].name,
                           data < expected ? "overlaps another tensor"
                                           : "has a hole before it");
        }
        expected += tensor->bytes;
    }
    if (expected != end) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %zu bytes follow the last tensor",
                       file->path,
                       (size_t)(end - expected));
    }
    return CE_OK;
}

static enum ce_status parse_parts(struct ce_safetensors *file,
                                  const struct layout *layout,
                                  struct ce_error *err)
{
    json_t *root;
    enum ce_status status = ce_json_parse_object(
        layout->header, layout->header_bytes, file->path, &root, err);

    if (status == CE_OK) {
        status = ce_safetensors_read_header(
            file, root, layout->data, layout->data_bytes, err);
    }
    json_decref(root);
    if (status == CE_OK) {
        status = check_tiling(file, layout, err);
    }
    if (status == CE_OK) {
        qsort(file->entries, file->count, sizeof(*file->entries), compare_names);
    }
    return status;
}

enum ce_status ce_safetensors_parse(struct ce_safetensors *file,
                                    const void *image,
                                    size_t bytes,
                                    const char *path,
                                    struct ce_error *err)
{
    struct layout layout = {.header = NULL};
    enum ce_status status = split_image(&layout, image, bytes, path, err);

    *file = (struct ce_safetensors){.path = strdup(path)};
    if (status == CE_OK && file->path == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to open it", path);
    }
    if (status == CE_OK) {
        status = parse_parts(file, &layout, err);
    }
    if (status != CE_OK) {
        ce_safetensors_close(file);
    }
    return status;
}

enum ce_status
ce_safetensors_open(struct ce_safetensors *file, const char *path, struct ce_error *err)
{
    struct ce_file_map map;
    enum ce_status status = ce_file_map_open(&map, path, err);

    *file = (struct ce_safetensors){.path = NULL};
    if (status == CE_OK) {
        status = ce_safetensors_parse(file, map.data, map.bytes, path, err);
    }
    if (status != CE_OK) {
        ce_file_map_close(&map);
    }
    file->map = map;
    return status;
}

void ce_safetensors_close(struct ce_safetensors *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->entries[i].name);
    }
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->entries);
    free(file->metadata);
    free(file->path);
    ce_file_map_close(&file->map);
    *file = (struct ce_safetensors){.path = NULL};
}

static int compare_name_with_entry(const void *name, const void *entry)
{
    return strcmp(name, ((const struct ce_safetensors_entry *)entry)->name);
}

const struct ce_tensor *ce_safetensors_find(const struct ce_safetensors *file,
                                            const char *name)
{
    if (file->count == 0) {
        return NULL;
    }
    const struct ce_safetensors_entry *entry = bsearch(name,
                                                       file->entries,
                                                       file->count,
                                                       sizeof(*file->entries),
                                                       compare_name_with_entry);

    return entry == NULL ? NULL : &entry->tensor;
}

const char *ce_safetensors_metadata(const struct ce_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) {
            return file->metadata[i].value;
        }
    }
    return NULL;
}

static uint64_t hash_entry(uint64_t hash, const struct ce_safetensors_entry *entry)
{
    const struct ce_tensor *tensor = &entry->tensor;

    hash = ce_hash_bytes(hash, entry->name, strlen(entry->name) + 1);
    hash = ce_hash_u64(hash, (uint64_t)tensor->dtype);
    for (unsigned i = 0; i < tensor->dims; i++) {
        hash = ce_hash_u64(hash, tensor->shape[i]);
    }
    return hash;
}

uint64_t ce_safetensors_hash(const struct ce_safetensors *file)
{
    uint64_t hash = CE_HASH_START;

    for (size_t i = 0; i < file->count; i++) {
        hash = hash_entry(hash, &file->entries[i]);
    }
    return hash;
}

uint64_t ce_safetensors_checksum(const struct ce_safetensors *file,
                                 const struct ce_kernels *kernels)
{
    return file->map.data == NULL ? 0
                                  : kernels->checksum(file->map.data, file->map.bytes);
}
