/* packed_fixture.h - images of packed models, right ones and others
 *
 * The header is written here field by field, so that a test can say what no writer
 * would.
 */

#ifndef CE_TESTS_UNIT_PACKED_FIXTURE_H
#define CE_TESTS_UNIT_PACKED_FIXTURE_H

#include "kernels/kernels.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

enum { PACKED_TENSORS = 3, PACKED_SHAPE = 9, PACKED_IMAGE = 20000 };

struct packed_tensor_fields {
    const char *name;
    const char *dtype;
    size_t dims;
    uint64_t shape[PACKED_SHAPE];
    uint64_t offset;
    uint64_t bytes;
    size_t checksums;
};

struct packed_fields {
    const char *magic;
    uint64_t place;       /* as the front says */
    uint64_t more_header; /* added to what the front says */
    uint64_t format;
    uint64_t checksum_flip;
    const char *expert_format;
    const char *dense_format;
    uint64_t piece_bytes;
    size_t tensors;
    struct packed_tensor_fields tensor[PACKED_TENSORS];
};

/* Valid: three tensors, the last without elements. */
static const struct packed_fields packed_valid = {
    .magic = "cemoepk\n",
    .place = 12288,
    .format = 1,
    .expert_format = "q8",
    .dense_format = "stored",
    .piece_bytes = 32,
    .tensors = 3,
    .tensor = {{"b", "F32", 2, {3, 5}, 4096, 60, 2},
               {"a", "q8", 2, {4, 8}, 8192, 65, 3},
               {"c", "BF16", 1, {0}, 12288, 0, 0}},
};

struct packed_image {
    unsigned char data[PACKED_IMAGE];
    size_t bytes;
};

/* ---- protobuf: fields of a message, appended */

struct packed_message {
    unsigned char data[4096];
    size_t bytes;
};

static inline void put_byte(struct packed_message *message, uint64_t value)
{
    assert_true(message->bytes < sizeof(message->data));
    message->data[message->bytes++] = (unsigned char)value;
}

static inline void put_varint(struct packed_message *message, uint64_t value)
{
    for (; value > 0x7f; value >>= 7) {
        put_byte(message, (value & 0x7f) | 0x80);
    }
    put_byte(message, value);
}

static inline void
put_number(struct packed_message *message, unsigned field, uint64_t v)
{
    put_varint(message, field << 3);
    put_varint(message, v);
}

static inline void put_u64(struct packed_message *message, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        put_byte(message, (value >> (8 * i)) & 0xff);
    }
}

static inline void put_bytes(struct packed_message *message,
                             unsigned field,
                             const void *data,
                             size_t bytes)
{
    const unsigned char *from = data;

    put_varint(message, field << 3 | 2);
    put_varint(message, bytes);
    for (size_t i = 0; i < bytes; i++) {
        put_byte(message, from[i]);
    }
}

/* ---- the file */

static inline unsigned char packed_byte(size_t offset)
{
    return (unsigned char)(offset * 37 + offset / 256);
}

static inline uint64_t packed_checksum(const void *data, size_t bytes)
{
    return ce_kernels_get(CE_ISA_REF)->checksum(data, bytes);
}

static inline void put_tensor(struct packed_message *header,
                              const struct packed_tensor_fields *fields,
                              uint64_t piece_bytes)
{
    struct packed_message message = {.bytes = 0};
    struct packed_message list = {.bytes = 0};

    put_bytes(&message, 1, fields->name, strlen(fields->name));
    put_bytes(&message, 2, fields->dtype, strlen(fields->dtype));
    for (size_t i = 0; i < fields->dims; i++) {
        put_varint(&list, fields->shape[i]);
    }
    put_bytes(&message, 3, list.data, list.bytes);
    put_number(&message, 4, fields->offset);
    put_number(&message, 5, fields->bytes);
    list.bytes = 0;
    for (size_t i = 0; i < fields->checksums; i++) {
        unsigned char data[256];
        size_t begin = i * (size_t)piece_bytes;
        size_t bytes = 0;

        for (; bytes < piece_bytes && begin + bytes < fields->bytes; bytes++) {
            data[bytes] = packed_byte((size_t)fields->offset + begin + bytes);
        }
        put_u64(&list, packed_checksum(data, bytes));
    }
    put_bytes(&message, 6, list.data, list.bytes);
    put_bytes(header, 6, message.data, message.bytes);
}

static inline void put_header(struct packed_message *header,
                              const struct packed_fields *fields)
{
    put_varint(header, 1 << 3 | 1);
    put_u64(header, 0x1122334455667788);
    put_varint(header, 2 << 3 | 1);
    put_u64(header, 0x99);
    put_bytes(header, 3, fields->expert_format, strlen(fields->expert_format));
    put_bytes(header, 4, fields->dense_format, strlen(fields->dense_format));
    put_number(header, 5, fields->piece_bytes);
    for (size_t i = 0; i < fields->tensors; i++) {
        put_tensor(header, &fields->tensor[i], fields->piece_bytes);
    }
}

/* A whole file of these header bytes; its data has packed_byte of each offset. */
static inline void packed_wrap(struct packed_image *image,
                               const struct packed_fields *fields,
                               const struct packed_message *header)
{
    struct packed_message envelope = {.bytes = 0};
    struct packed_message front = {.bytes = 0};
    size_t place = fields->place < 16384 ? (size_t)fields->place : 12288;

    put_number(&envelope, 1, fields->format);
    put_varint(&envelope, 2 << 3 | 1);
    put_u64(&envelope,
            packed_checksum(header->data, header->bytes) ^ fields->checksum_flip);
    put_bytes(&envelope, 3, header->data, header->bytes);
    for (size_t i = 0; i < 8; i++) {
        put_byte(&front, (unsigned char)fields->magic[i]);
    }
    put_u64(&front, fields->place);
    put_u64(&front, envelope.bytes + fields->more_header);
    for (size_t i = 0; i < sizeof(image->data); i++) {
        image->data[i] = packed_byte(i);
    }
    memcpy(image->data, front.data, front.bytes);
    memcpy(image->data + place, envelope.data, envelope.bytes);
    image->bytes = place + envelope.bytes;
}

static inline void packed_make(struct packed_image *image,
                               const struct packed_fields *fields)
{
    struct packed_message header = {.bytes = 0};

    put_header(&header, fields);
    packed_wrap(image, fields, &header);
}

#endif
