/* journal_frame.c - magic, length and checksums of a record */

#include "eval/journal_frame.h"

#include "base/crc32c.h"

#include <string.h>

/* Places of the frame. */
enum { MAGIC = 0, BYTES = 4, CRC = 8, CHECK = 12 };

#define MAGIC_BYTES 4

static const char *magic_of(enum ce_journal_frame_kind kind)
{
    return kind == CE_JOURNAL_FRAME_HEADER ? "ceJH" : "ceJI";
}

static void put_u32(unsigned char *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        to[i] = (unsigned char)(value >> (8 * i));
    }
}

static uint32_t get_u32(const unsigned char *from)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++) {
        value |= (uint32_t)from[i] << (8 * i);
    }
    return value;
}

/* Of the frame of a record, where it is and whose it is. */
static uint32_t check_of(const unsigned char *record,
                         enum ce_journal_frame_kind kind,
                         uint64_t offset,
                         uint32_t header_crc)
{
    unsigned char place[12];

    put_u32(place, (uint32_t)offset);
    put_u32(place + 4, (uint32_t)(offset >> 32));
    put_u32(place + 8, header_crc);
    return ce_crc32c(ce_crc32c(0, record, CHECK),
                     place,
                     kind == CE_JOURNAL_FRAME_HEADER ? 8 : sizeof(place));
}

void ce_journal_frame_write(unsigned char *record,
                            enum ce_journal_frame_kind kind,
                            size_t message_bytes,
                            uint64_t offset,
                            uint32_t header_crc)
{
    memcpy(record + MAGIC, magic_of(kind), MAGIC_BYTES);
    put_u32(record + BYTES, (uint32_t)message_bytes);
    put_u32(record + CRC, ce_crc32c(0, record + CE_JOURNAL_FRAME_BYTES, message_bytes));
    put_u32(record + CHECK, check_of(record, kind, offset, header_crc));
}

bool ce_journal_frame_read(struct ce_journal_frame *frame,
                           enum ce_journal_frame_kind kind,
                           const unsigned char *file,
                           size_t file_bytes,
                           size_t offset,
                           uint32_t header_crc)
{
    const unsigned char *record = file + offset;
    size_t left = file_bytes - offset;

    if (left < CE_JOURNAL_FRAME_BYTES ||
        memcmp(record + MAGIC, magic_of(kind), MAGIC_BYTES) != 0 ||
        get_u32(record + CHECK) != check_of(record, kind, offset, header_crc)) {
        return false;
    }
    *frame = (struct ce_journal_frame){.kind = kind,
                                       .message = record + CE_JOURNAL_FRAME_BYTES,
                                       .bytes = get_u32(record + BYTES),
                                       .crc = get_u32(record + CRC)};
    return frame->bytes <= CE_JOURNAL_MOST_BYTES &&
           frame->bytes <= left - CE_JOURNAL_FRAME_BYTES &&
           ce_crc32c(0, frame->message, frame->bytes) == frame->crc;
}

size_t ce_journal_frame_whole(const unsigned char *records, size_t bytes)
{
    size_t whole = 0;

    while (bytes - whole >= CE_JOURNAL_FRAME_BYTES) {
        size_t message = get_u32(records + whole + BYTES);

        if (message > bytes - whole - CE_JOURNAL_FRAME_BYTES) {
            break;
        }
        whole += CE_JOURNAL_FRAME_BYTES + message;
    }
    return whole;
}
