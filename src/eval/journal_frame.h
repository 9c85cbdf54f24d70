/* journal_frame.h - one record of a journal: a message and what protects it
 *
 * proto/journal.proto describes the bytes.
 */

#ifndef CE_EVAL_JOURNAL_FRAME_H
#define CE_EVAL_JOURNAL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_JOURNAL_FRAME_BYTES 16
#define CE_JOURNAL_MOST_BYTES  ((size_t)1 << 26)

enum ce_journal_frame_kind { CE_JOURNAL_FRAME_HEADER = 0, CE_JOURNAL_FRAME_ITEM };

struct ce_journal_frame {
    enum ce_journal_frame_kind kind;
    const unsigned char *message; /* in the bytes that were read */
    size_t bytes;
    uint32_t crc; /* of the message */
};

/* Fills the CE_JOURNAL_FRAME_BYTES before the message. `offset` is the record's in the
 * file; `header_crc` that of the journal's header, not looked at for a header. */
void ce_journal_frame_write(unsigned char *record,
                            enum ce_journal_frame_kind kind,
                            size_t message_bytes,
                            uint64_t offset,
                            uint32_t header_crc);

/* Whether a whole valid record of this kind is at `offset` of a file of these bytes. */
bool ce_journal_frame_read(struct ce_journal_frame *frame,
                           enum ce_journal_frame_kind kind,
                           const unsigned char *file,
                           size_t file_bytes,
                           size_t offset,
                           uint32_t header_crc);

/* Of rows of records as they were written: the bytes of those that are whole within the
 * first `bytes`. */
size_t ce_journal_frame_whole(const unsigned char *records, size_t bytes);

#endif
