/* message.c - layout, writing and checking of dispatch and combine messages */

#include "moe/message.h"

#include <stdbool.h>
#include <string.h>

#define MAGIC     0x454f4d43U /* "CMOE" */
#define ALIGNMENT 64

_Static_assert(sizeof(struct ce_message_header) == ALIGNMENT, "rows stay aligned");
_Static_assert(sizeof(struct ce_pair) == 8, "a pair is 8 bytes on the wire");

static size_t align_up(size_t bytes, size_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

static size_t pairs_offset(size_t rows)
{
    return sizeof(struct ce_message_header) +
           align_up(rows * sizeof(uint16_t), sizeof(struct ce_pair));
}

size_t ce_message_metadata_bytes(size_t rows, size_t pairs)
{
    return align_up(pairs_offset(rows) + pairs * sizeof(struct ce_pair), ALIGNMENT);
}

size_t ce_message_dispatch_bytes(size_t rows, size_t pairs, size_t row_bytes)
{
    return ce_message_metadata_bytes(rows, pairs) + rows * row_bytes;
}

size_t ce_message_combine_bytes(size_t rows, size_t row_bytes)
{
    return sizeof(struct ce_message_header) + rows * row_bytes;
}

static struct ce_message_header start_header(const struct ce_message_key *key)
{
    return (struct ce_message_header){.magic = MAGIC,
                                      .step = key->step,
                                      .layer = key->layer,
                                      .phase = (uint8_t)key->phase};
}

void ce_message_write_header(void *message,
                             const struct ce_message_key *key,
                             size_t rows,
                             size_t pairs,
                             size_t auxiliary,
                             size_t row_bytes)
{
    struct ce_message_header header = start_header(key);

    header.rows = (uint32_t)rows;
    header.pairs = (uint32_t)pairs;
    header.auxiliary = (uint32_t)auxiliary;
    header.row_bytes = (uint32_t)row_bytes;
    memcpy(message, &header, sizeof(header));
}

size_t ce_message_write_failure(void *message,
                                const struct ce_message_key *key,
                                enum ce_status status,
                                const struct ce_error *why)
{
    struct ce_message_header header = start_header(key);
    size_t bytes = strnlen(why->text, sizeof(why->text) - 1);

    header.status = (uint8_t)status;
    header.text_bytes = (uint32_t)bytes;
    memcpy(message, &header, sizeof(header));
    memcpy((unsigned char *)message + sizeof(header), why->text, bytes);
    return sizeof(header) + bytes;
}

uint16_t *ce_message_row_mains(void *message)
{
    return (void *)((unsigned char *)message + sizeof(struct ce_message_header));
}

struct ce_pair *ce_message_pairs(void *message, size_t rows)
{
    return (void *)((unsigned char *)message + pairs_offset(rows));
}

unsigned char *ce_message_dispatch_rows(void *message, size_t rows, size_t pairs)
{
    return (void *)((unsigned char *)message + ce_message_metadata_bytes(rows, pairs));
}

unsigned char *ce_message_combine_rows(void *message)
{
    return (void *)((unsigned char *)message + sizeof(struct ce_message_header));
}

/* What a rank says about its failure; a status that cannot be one is its fault. */
static enum ce_status peer_failure(const struct ce_message_header *header,
                                   const struct ce_bytes *message,
                                   int source,
                                   struct ce_error *err)
{
    const char *text = (const char *)message->data + sizeof(*header);
    size_t bytes = message->bytes - sizeof(*header);
    bool is_failure = header->status > CE_AGAIN && header->status <= CE_ERR_MISMATCH;

    if (bytes > header->text_bytes) {
        bytes = header->text_bytes;
    }
    if (bytes >= sizeof(err->text)) {
        bytes = sizeof(err->text) - 1;
    }
    err->rank = source;
    return ce_fail(err,
                   is_failure ? (enum ce_status)header->status : CE_ERR_COMM,
                   "%.*s",
                   (int)bytes,
                   text);
}

static bool is_of(const struct ce_message_header *header,
                  const struct ce_message_key *key)
{
    return header->magic == MAGIC && header->step == key->step &&
           header->layer == key->layer && header->phase == key->phase;
}

enum ce_status ce_message_check(const struct ce_bytes *message,
                                const struct ce_message_key *key,
                                int source,
                                struct ce_error *err)
{
    struct ce_message_header header;

    if (message->bytes < sizeof(header)) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "message of %zu bytes from rank %d has no header",
                       message->bytes,
                       source);
    }
    memcpy(&header, message->data, sizeof(header));
    if (!is_of(&header, key)) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "ranks are out of step: rank %d sent step %u layer %u phase %u, "
                       "expected step %u layer %u phase %u",
                       source,
                       header.step,
                       header.layer,
                       header.phase,
                       key->step,
                       key->layer,
                       (unsigned)key->phase);
    }
    if (header.status != CE_OK) {
        return peer_failure(&header, message, source, err);
    }
    return CE_OK;
}

bool ce_message_tells_failure(const struct ce_bytes *message,
                              const struct ce_message_key *key)
{
    struct ce_message_header header;

    if (message->bytes < sizeof(header)) {
        return false;
    }
    memcpy(&header, message->data, sizeof(header));
    return is_of(&header, key) && header.status != CE_OK;
}

static enum ce_status bad_counts(int source, const char *phase, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_COMM,
                   "%s message of rank %d: counts and size disagree",
                   phase,
                   source);
}

enum ce_status ce_message_read_dispatch(const struct ce_bytes *message,
                                        size_t row_bytes,
                                        size_t auxiliary,
                                        int source,
                                        struct ce_dispatch_view *view,
                                        struct ce_error *err)
{
    const unsigned char *data = message->data;
    struct ce_message_header header;
    size_t mains = 0;

    memcpy(&header, data, sizeof(header));
    if (header.row_bytes != row_bytes || header.auxiliary != auxiliary ||
        header.rows > message->bytes || header.pairs > message->bytes ||
        ce_message_dispatch_bytes(header.rows, header.pairs, row_bytes) !=
            message->bytes) {
        return bad_counts(source, "dispatch", err);
    }
    view->rows = header.rows;
    view->auxiliary = header.auxiliary;
    view->row_mains = (const void *)(data + sizeof(header));
    view->pairs = (const void *)(data + pairs_offset(header.rows));
    view->x =
        (const void *)(data + ce_message_metadata_bytes(header.rows, header.pairs));
    view->token = NULL;
    for (size_t i = 0; i < view->rows; i++) {
        if (view->row_mains[i] == 0) {
            return bad_counts(source, "dispatch", err);
        }
        mains += view->row_mains[i];
    }
    view->assignments = mains;
    if (mains + view->rows * view->auxiliary != header.pairs) {
        return bad_counts(source, "dispatch", err);
    }
    return CE_OK;
}

enum ce_status ce_message_read_combine(const struct ce_bytes *message,
                                       size_t rows,
                                       size_t row_bytes,
                                       int source,
                                       const unsigned char **results,
                                       struct ce_error *err)
{
    struct ce_message_header header;

    memcpy(&header, message->data, sizeof(header));
    if (header.row_bytes != row_bytes || header.rows != rows ||
        ce_message_combine_bytes(rows, row_bytes) != message->bytes) {
        return bad_counts(source, "combine", err);
    }
    *results = (const void *)((const unsigned char *)message->data + sizeof(header));
    return CE_OK;
}
