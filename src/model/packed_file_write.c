/* packed_file_write.c - tensors from memory to a packed model, one by one
 *
 * The header is known last, so it stands last; the front that says where is written
 * after everything else.
 */

#include "base/file.h"
#include "model/packed_file.h"
#include "model/packed_file_parts.h"
#include "packed.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* Small enough for a core's cache, where the checksum finds what was just read. */
#define PIECE_BYTES ((size_t)512 << 10)

static enum ce_status fail_memory(const struct ce_packed_writer *writer,
                                  struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", writer->file.path);
}

enum ce_status ce_packed_writer_open(struct ce_packed_writer *writer,
                                     const char *path,
                                     const struct ce_packed_source *source,
                                     const struct ce_kernels *kernels,
                                     struct ce_error *err)
{
    *writer = (struct ce_packed_writer){
        .kernels = kernels, .source = *source, .end = CE_PACKED_ALIGN};
    return ce_file_writer_open(&writer->file, path, err);
}

static void free_tensor(struct ce_packed_tensor *tensor)
{
    free((void *)(uintptr_t)tensor->name);
    free((void *)(uintptr_t)tensor->dtype);
    free((void *)(uintptr_t)tensor->checksum);
}

void ce_packed_writer_close(struct ce_packed_writer *writer)
{
    ce_file_writer_close(&writer->file);
    for (size_t i = 0; i < writer->count; i++) {
        free_tensor(&writer->tensors[i]);
    }
    free(writer->tensors);
    *writer = (struct ce_packed_writer){.tensors = NULL};
}

static enum ce_status put_pieces(struct ce_packed_writer *writer,
                                 uint64_t offset,
                                 const unsigned char *data,
                                 size_t bytes,
                                 uint64_t *checksum,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t begin = 0; status == CE_OK && begin < bytes; begin += PIECE_BYTES) {
        size_t count = bytes - begin < PIECE_BYTES ? bytes - begin : PIECE_BYTES;

        *checksum++ = writer->kernels->checksum(data + begin, count);
        status =
            ce_file_writer_put(&writer->file, offset + begin, data + begin, count, err);
    }
    return status;
}

static enum ce_status make_room(struct ce_packed_writer *writer, struct ce_error *err)
{
    if (writer->count < writer->capacity) {
        return CE_OK;
    }
    size_t capacity = writer->capacity * 2 + 64;
    struct ce_packed_tensor *grown =
        realloc(writer->tensors, capacity * sizeof(grown[0]));

    if (grown == NULL) {
        return fail_memory(writer, err);
    }
    writer->tensors = grown;
    writer->capacity = capacity;
    return CE_OK;
}

enum ce_status ce_packed_writer_add(struct ce_packed_writer *writer,
                                    const struct ce_packed_tensor *tensor,
                                    const void *data,
                                    struct ce_error *err)
{
    enum ce_status status = ce_packed_tensor_check(tensor, writer->file.path, err);

    if (status == CE_OK) {
        status = make_room(writer, err);
    }
    if (status != CE_OK) {
        return status;
    }
    size_t pieces = ce_packed_pieces(tensor->bytes, PIECE_BYTES);
    uint64_t *checksum = calloc(pieces + 1, sizeof(checksum[0]));
    struct ce_packed_tensor *own = &writer->tensors[writer->count++];

    *own = *tensor;
    own->name = strdup(tensor->name);
    own->dtype = strdup(tensor->dtype);
    own->offset = ce_packed_align(writer->end);
    own->checksum = checksum;
    own->checksums = pieces;
    if (own->name == NULL || own->dtype == NULL || checksum == NULL) {
        return fail_memory(writer, err);
    }
    writer->end = own->offset + own->bytes;
    return put_pieces(writer, own->offset, data, own->bytes, checksum, err);
}

/* Packing only reads what a message points to, but the generated types do not say. */
static void fill_tensor(Cemoe__PackedTensor *message, struct ce_packed_tensor *tensor)
{
    cemoe__packed_tensor__init(message);
    message->name = (char *)(uintptr_t)tensor->name;
    message->dtype = (char *)(uintptr_t)tensor->dtype;
    message->n_shape = tensor->dims;
    message->shape = tensor->shape;
    message->offset = tensor->offset;
    message->bytes = tensor->bytes;
    message->n_checksum = tensor->checksums;
    message->checksum = (uint64_t *)(uintptr_t)tensor->checksum;
}

static void fill_header(Cemoe__PackedHeader *header,
                        const struct ce_packed_writer *writer,
                        Cemoe__PackedTensor *message,
                        Cemoe__PackedTensor **list)
{
    cemoe__packed_header__init(header);
    header->config_hash = writer->source.config_hash;
    header->tensors_hash = writer->source.tensors_hash;
    header->content_hash = writer->source.content_hash;
    header->expert_format = (char *)(uintptr_t)writer->source.expert_format;
    header->dense_format = (char *)(uintptr_t)writer->source.dense_format;
    header->piece_bytes = PIECE_BYTES;
    for (size_t i = 0; i < writer->count; i++) {
        fill_tensor(&message[i], &writer->tensors[i]);
        list[i] = &message[i];
    }
    header->n_tensor = writer->count;
    header->tensor = list;
}

/* *image is malloc'ed, NULL when there is no memory. */
static void pack_header(const struct ce_kernels *kernels,
                        const Cemoe__PackedHeader *header,
                        unsigned char **image,
                        size_t *bytes)
{
    Cemoe__PackedFile file;

    cemoe__packed_file__init(&file);
    file.format = CE_PACKED_FORMAT;
    file.header.len = cemoe__packed_header__get_packed_size(header);
    file.header.data = malloc(file.header.len + 1);
    *image = NULL;
    if (file.header.data == NULL) {
        return;
    }
    cemoe__packed_header__pack(header, file.header.data);
    file.checksum = kernels->checksum(file.header.data, file.header.len);
    *bytes = cemoe__packed_file__get_packed_size(&file);
    *image = malloc(*bytes);
    if (*image != NULL) {
        cemoe__packed_file__pack(&file, *image);
    }
    free(file.header.data);
}

static enum ce_status make_header(const struct ce_packed_writer *writer,
                                  unsigned char **image,
                                  size_t *bytes,
                                  struct ce_error *err)
{
    Cemoe__PackedTensor *message = calloc(writer->count + 1, sizeof(message[0]));
    Cemoe__PackedTensor **list = calloc(writer->count + 1, sizeof(list[0]));
    Cemoe__PackedHeader header;

    *image = NULL;
    if (message != NULL && list != NULL) {
        fill_header(&header, writer, message, list);
        pack_header(writer->kernels, &header, image, bytes);
    }
    free(message);
    free(list);
    return *image == NULL ? fail_memory(writer, err) : CE_OK;
}

/* What would not be read is not written: names that are there twice, a header that
 * is too large. */
static enum ce_status check_header(const struct ce_packed_writer *writer,
                                   const unsigned char *image,
                                   size_t bytes,
                                   uint64_t place,
                                   struct ce_error *err)
{
    struct ce_packed_file file;
    enum ce_status status = CE_OK;

    if (bytes > CE_PACKED_MOST_HEADER) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: the header of %zu tensors is larger than is read",
                       writer->file.path,
                       writer->count);
    }
    status = ce_packed_file_parse(
        &file, image, bytes, place, writer->file.path, writer->kernels, err);
    ce_packed_file_close(&file);
    return status;
}

static void write_u64_little_endian(unsigned char *bytes, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
}

static enum ce_status put_header(struct ce_packed_writer *writer,
                                 const unsigned char *image,
                                 size_t bytes,
                                 uint64_t place,
                                 struct ce_error *err)
{
    unsigned char front[CE_PACKED_FRONT_BYTES] = CE_PACKED_MAGIC;
    enum ce_status status = ce_file_writer_put(&writer->file, place, image, bytes, err);

    write_u64_little_endian(front + CE_PACKED_MAGIC_BYTES, place);
    write_u64_little_endian(front + CE_PACKED_MAGIC_BYTES + 8, bytes);
    if (status == CE_OK) {
        status = ce_file_writer_put(&writer->file, 0, front, sizeof(front), err);
    }
    return status;
}

void ce_packed_writer_set_content(struct ce_packed_writer *writer,
                                  uint64_t content_hash)
{
    writer->source.content_hash = content_hash;
}

enum ce_status ce_packed_writer_commit(struct ce_packed_writer *writer,
                                       struct ce_error *err)
{
    uint64_t place = ce_packed_align(writer->end);
    unsigned char *image = NULL;
    size_t bytes = 0;
    enum ce_status status = make_header(writer, &image, &bytes, err);

    if (status == CE_OK) {
        status = check_header(writer, image, bytes, place, err);
    }
    if (status == CE_OK) {
        status = put_header(writer, image, bytes, place, err);
    }
    if (status == CE_OK) {
        status = ce_file_writer_commit(&writer->file, err);
    }
    free(image);
    return status;
}
