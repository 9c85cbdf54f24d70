/* message.h - what ranks send each other in a layer
 *
 *   dispatch  | header | mains per row (u16) | pairs (8 B) | pad | rows of x |
 *   combine   | header | one row of results per assignment, in dispatch order |
 *
 * A row's pairs are its main experts on the receiving rank, in the router's
 * order, then all auxiliary experts of its token. The rows start 64-byte
 * aligned; wire.h says how they are written. Every message has a header, also an empty
 * one, and every header has the sender's status: a rank that failed sends its error
 * text instead of rows, so all ranks leave the layer together with the same message.
 */

#ifndef CE_MOE_MESSAGE_H
#define CE_MOE_MESSAGE_H

#include "base/status.h"
#include "comm/transport.h"
#include "moe/compressed.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_phase { CE_PHASE_DISPATCH = 1, CE_PHASE_COMBINE };

struct ce_message_header {
    uint32_t magic;
    uint32_t step;
    uint16_t layer;
    uint8_t phase;
    uint8_t status;      /* enum ce_status of the sender */
    uint32_t rows;       /* rows of x, or of results */
    uint32_t pairs;      /* of all rows together */
    uint32_t auxiliary;  /* pairs of each row that are auxiliary */
    uint32_t row_bytes;  /* of a row, see wire.h */
    uint32_t text_bytes; /* of the error text that follows a bad status */
    unsigned char reserved[32];
};

/* What both ends know before a message arrives. */
struct ce_message_key {
    uint32_t step;
    uint16_t layer;
    enum ce_phase phase;
};

/* A dispatch message taken apart. */
struct ce_dispatch_view {
    size_t rows;
    size_t assignments;
    size_t auxiliary;
    const uint16_t *row_mains;
    const struct ce_pair *pairs;
    const unsigned char *x; /* row i is the one at token[i], or at i without token */
    const uint32_t *token;  /* [rows] or NULL */
};

/* Bytes of a dispatch message. */
size_t ce_message_dispatch_bytes(size_t rows, size_t pairs, size_t row_bytes);
/* Bytes of its parts that are not rows of x. */
size_t ce_message_metadata_bytes(size_t rows, size_t pairs);
/* Bytes of a combine message. */
size_t ce_message_combine_bytes(size_t rows, size_t row_bytes);

/* Writes the header of a message with rows and returns where they start. */
void ce_message_write_header(void *message,
                             const struct ce_message_key *key,
                             size_t rows,
                             size_t pairs,
                             size_t auxiliary,
                             size_t row_bytes);
/* Writes a message that says only that its sender failed; returns its bytes,
 * at most CE_MESSAGE_FAILURE_BYTES. */
#define CE_MESSAGE_FAILURE_BYTES 1024
size_t ce_message_write_failure(void *message,
                                const struct ce_message_key *key,
                                enum ce_status status,
                                const struct ce_error *why);

/* The parts of a message being written. */
uint16_t *ce_message_row_mains(void *message);
struct ce_pair *ce_message_pairs(void *message, size_t rows);
unsigned char *ce_message_dispatch_rows(void *message, size_t rows, size_t pairs);
unsigned char *ce_message_combine_rows(void *message);

/* Checks a received header against `key` and the size of the message. A
 * sender's failure is returned as its status with its text and rank. */
CE_MUST_CHECK enum ce_status ce_message_check(const struct ce_bytes *message,
                                              const struct ce_message_key *key,
                                              int source,
                                              struct ce_error *err);
/* True for a message of this step, layer and phase whose sender says that it failed:
 * then all ranks know. */
bool ce_message_tells_failure(const struct ce_bytes *message,
                              const struct ce_message_key *key);
/* After check: the parts, with all counts consistent, for rows of `row_bytes`
 * bytes (0: they are elsewhere) with `auxiliary` auxiliary experts each. */
CE_MUST_CHECK enum ce_status ce_message_read_dispatch(const struct ce_bytes *message,
                                                      size_t row_bytes,
                                                      size_t auxiliary,
                                                      int source,
                                                      struct ce_dispatch_view *view,
                                                      struct ce_error *err);
/* After check: [rows][row_bytes] results, of which there must be exactly `rows`. */
CE_MUST_CHECK enum ce_status ce_message_read_combine(const struct ce_bytes *message,
                                                     size_t rows,
                                                     size_t row_bytes,
                                                     int source,
                                                     const unsigned char **results,
                                                     struct ce_error *err);

#endif
