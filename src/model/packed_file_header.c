/* packed_file_header.c - the bytes of a header to a validated list of tensors */

#include "base/memory.h"
#include "model/packed_file.h"
#include "model/packed_file_parts.h"
#include "packed.pb-c.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOST_NAME  255
#define MOST_PIECE ((uint32_t)64 << 20)

/* A new format is added here; its padding, scales and order of bytes are known to
 * those who pack and compute. */
static const struct {
    const char *name;
    size_t least_bits; /* of an element */
} dtypes[] = {{"F32", 32}, {"BF16", 16}, {"F16", 16}, {"q8", 8}, {"q4", 4}};

static bool is_printable(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);

    for (size_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return length <= most;
}

/* 0 when there is no such dtype. */
static size_t least_bits(const char *dtype)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(dtype, dtypes[i].name) == 0) {
            return dtypes[i].least_bits;
        }
    }
    return 0;
}

enum ce_status ce_packed_tensor_check(const struct ce_packed_tensor *tensor,
                                      const char *path,
                                      struct ce_error *err)
{
    size_t bits = 0;
    enum ce_status status = CE_OK;

    if (tensor->name[0] == '\0' || !is_printable(tensor->name, MOST_NAME)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: name of a tensor is not printable ASCII of 1 to %d "
                       "characters",
                       path,
                       MOST_NAME);
    }
    bits = least_bits(tensor->dtype);
    if (bits == 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': dtype is not one that this version knows",
                       path,
                       tensor->name);
    }
    if (tensor->dims > CE_TENSOR_MAX_DIMS) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': shape has %u dimensions, more than %d",
                       path,
                       tensor->name,
                       tensor->dims,
                       CE_TENSOR_MAX_DIMS);
    }
    for (unsigned i = 0; status == CE_OK && i < tensor->dims; i++) {
        status = ce_size_mul(bits, tensor->shape[i], &bits);
    }
    if (status != CE_OK || bits / 8 + (bits % 8 != 0) > tensor->bytes) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': bytes is %zu, too few for its shape",
                       path,
                       tensor->name,
                       tensor->bytes);
    }
    return CE_OK;
}

/* The tensor of a message, which it borrows from. */
static enum ce_status take_tensor(struct ce_packed_tensor *tensor,
                                  const Cemoe__PackedTensor *message,
                                  size_t piece_bytes,
                                  const char *path,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *tensor = (struct ce_packed_tensor){.name = message->name,
                                        .dtype = message->dtype,
                                        .dims = (unsigned)message->n_shape,
                                        .bytes = message->bytes,
                                        .offset = message->offset,
                                        .checksum = message->checksum,
                                        .checksums = message->n_checksum};
    for (size_t i = 0; i < message->n_shape && i < CE_TENSOR_MAX_DIMS; i++) {
        tensor->shape[i] = message->shape[i];
    }
    status = ce_packed_tensor_check(tensor, path, err);
    if (status == CE_OK &&
        tensor->checksums != ce_packed_pieces(tensor->bytes, piece_bytes)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': checksum has %zu entries, not one for each "
                       "%zu of its %zu bytes",
                       path,
                       tensor->name,
                       tensor->checksums,
                       piece_bytes,
                       tensor->bytes);
    }
    return status;
}

/* The tensor must begin at *next, the first place after the one before it, and end
 * before the header: so none overlaps another and nothing is hidden between them. */
static enum ce_status check_place(const struct ce_packed_tensor *tensor,
                                  uint64_t *next,
                                  uint64_t place,
                                  const char *path,
                                  struct ce_error *err)
{
    if (tensor->offset != *next) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': offset is %llu, but its place is at %llu",
                       path,
                       tensor->name,
                       (unsigned long long)tensor->offset,
                       (unsigned long long)*next);
    }
    if (tensor->offset > place || tensor->bytes > place - tensor->offset) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%s': bytes is %zu, which ends beyond the data",
                       path,
                       tensor->name,
                       tensor->bytes);
    }
    *next = ce_packed_align(tensor->offset + tensor->bytes);
    return CE_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct ce_packed_tensor *left = a;
    const struct ce_packed_tensor *right = b;

    return strcmp(left->name, right->name);
}

static enum ce_status sort_by_name(const struct ce_packed_file *file,
                                   struct ce_error *err)
{
    qsort(file->tensors, file->count, sizeof(file->tensors[0]), compare_names);
    for (size_t i = 1; i < file->count; i++) {
        if (compare_names(&file->tensors[i - 1], &file->tensors[i]) == 0) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: tensor '%s': name is there twice",
                           file->path,
                           file->tensors[i].name);
        }
    }
    return CE_OK;
}

static enum ce_status take_tensors(struct ce_packed_file *file,
                                   const Cemoe__PackedHeader *message,
                                   uint64_t place,
                                   struct ce_error *err)
{
    uint64_t next = CE_PACKED_ALIGN;

    file->tensors = calloc(message->n_tensor + 1, sizeof(file->tensors[0]));
    if (file->tensors == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its header", file->path);
    }
    for (size_t i = 0; i < message->n_tensor; i++) {
        struct ce_packed_tensor *tensor = &file->tensors[file->count++];
        enum ce_status status =
            take_tensor(tensor, message->tensor[i], file->piece_bytes, file->path, err);

        if (status == CE_OK) {
            status = check_place(tensor, &next, place, file->path, err);
        }
        if (status != CE_OK) {
            return status;
        }
    }
    if (next != place) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: the header is at %llu, but the tensors end before %llu",
                       file->path,
                       (unsigned long long)place,
                       (unsigned long long)next);
    }
    return sort_by_name(file, err);
}

static enum ce_status take_format(char out[CE_PACKED_FORMAT_NAME],
                                  const char *text,
                                  const char *field,
                                  const char *path,
                                  struct ce_error *err)
{
    if (!is_printable(text, CE_PACKED_FORMAT_NAME - 1)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s is not printable ASCII of at most %d characters",
                       path,
                       field,
                       CE_PACKED_FORMAT_NAME - 1);
    }
    memcpy(out, text, strlen(text) + 1);
    return CE_OK;
}

static enum ce_status take_source(struct ce_packed_file *file,
                                  const Cemoe__PackedHeader *message,
                                  struct ce_error *err)
{
    struct ce_packed_source *source = &file->source;
    const char *path = file->path;
    enum ce_status status = take_format(
        source->expert_format, message->expert_format, "expert_format", path, err);

    if (status == CE_OK) {
        status = take_format(
            source->dense_format, message->dense_format, "dense_format", path, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (message->piece_bytes == 0 || message->piece_bytes > MOST_PIECE) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: piece_bytes is %u, not 1 to %u",
                       path,
                       message->piece_bytes,
                       MOST_PIECE);
    }
    source->config_hash = message->config_hash;
    source->tensors_hash = message->tensors_hash;
    source->content_hash = message->content_hash;
    file->piece_bytes = message->piece_bytes;
    return CE_OK;
}

static enum ce_status check_envelope(const struct ce_packed_file *file,
                                     const Cemoe__PackedFile *envelope,
                                     struct ce_error *err)
{
    if (envelope->format != CE_PACKED_FORMAT) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: format is %u; this version reads packed models of format "
                       "%d: pack it again with cemoe pack",
                       file->path,
                       envelope->format,
                       CE_PACKED_FORMAT);
    }
    if (envelope->checksum !=
        file->kernels->checksum(envelope->header.data, envelope->header.len)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: the checksum of the header does not match: the file is "
                       "damaged",
                       file->path);
    }
    return CE_OK;
}

static enum ce_status take_envelope(struct ce_packed_file *file,
                                    const Cemoe__PackedFile *envelope,
                                    uint64_t place,
                                    struct ce_error *err)
{
    Cemoe__PackedHeader *message = NULL;
    enum ce_status status = check_envelope(file, envelope, err);

    if (status != CE_OK) {
        return status;
    }
    message =
        cemoe__packed_header__unpack(NULL, envelope->header.len, envelope->header.data);
    if (message == NULL) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: header cannot be decoded", file->path);
    }
    file->message = message;
    file->hash = envelope->checksum;
    status = take_source(file, message, err);
    return status == CE_OK ? take_tensors(file, message, place, err) : status;
}

enum ce_status ce_packed_file_parse(struct ce_packed_file *file,
                                    const void *header,
                                    size_t bytes,
                                    uint64_t place,
                                    const char *path,
                                    const struct ce_kernels *kernels,
                                    struct ce_error *err)
{
    Cemoe__PackedFile *envelope = cemoe__packed_file__unpack(NULL, bytes, header);
    enum ce_status status = CE_OK;

    *file = (struct ce_packed_file){.kernels = kernels, .path = strdup(path), .fd = -1};
    if (file->path == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to open it", path);
    } else if (envelope == NULL) {
        status = ce_fail(err,
                         CE_ERR_FORMAT,
                         "%s: the header cannot be decoded: the file is damaged",
                         path);
    } else {
        status = take_envelope(file, envelope, place, err);
    }
    cemoe__packed_file__free_unpacked(envelope, NULL);
    if (status != CE_OK) {
        ce_packed_file_close(file);
    }
    return status;
}
