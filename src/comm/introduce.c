/* introduce.c - cards with a transport's name, a deadline and a host */

#include "comm/introduce.h"

#include "comm/collective.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CARD_VERSION 1

struct card {
    uint64_t version; /* of this layout */
    uint64_t deadline_ms;
    char name[16];
    char host[64];
};

static struct card write_card(const char *name, uint64_t deadline_ms)
{
    struct card card = {.version = CARD_VERSION, .deadline_ms = deadline_ms};

    (void)snprintf(card.name, sizeof(card.name), "%s", name);
    (void)gethostname(card.host, sizeof(card.host) - 1);
    return card;
}

static bool read_card(struct card *card, struct ce_bytes message)
{
    if (message.bytes != sizeof(*card)) {
        return false;
    }
    memcpy(card, message.data, sizeof(*card));
    return card->version == CARD_VERSION &&
           memchr(card->name, '\0', sizeof(card->name)) != NULL &&
           memchr(card->host, '\0', sizeof(card->host)) != NULL;
}

static enum ce_status compare(const struct card *card,
                              int rank,
                              const struct card *first,
                              struct ce_error *err)
{
    if (strcmp(card->name, first->name) != 0) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "rank %d (%s) was given transport %s, rank 0 (%s) %s: all ranks "
                       "need the same",
                       rank,
                       card->host,
                       card->name,
                       first->host,
                       first->name);
    }
    if (card->deadline_ms != first->deadline_ms) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "rank %d (%s) was given a deadline of %" PRIu64
                       " ms, rank 0 (%s) one of %" PRIu64
                       " ms: all ranks need the same",
                       rank,
                       card->host,
                       card->deadline_ms,
                       first->host,
                       first->deadline_ms);
    }
    return CE_OK;
}

enum ce_status ce_introduce(struct ce_transport *transport,
                            const char *name,
                            uint64_t deadline_ms,
                            struct ce_error *err)
{
    const struct card mine = write_card(name, deadline_ms);
    const struct ce_bytes *all = NULL;
    struct card first;
    struct card card;
    enum ce_status status =
        ce_allgather(transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    for (int rank = 0; status == CE_OK && rank < transport->ranks; rank++) {
        err->rank = rank;
        if (!read_card(&card, all[rank])) {
            return ce_fail(err,
                           CE_ERR_MISMATCH,
                           "rank %d is of another version: it introduced itself in a "
                           "way that is not known here",
                           rank);
        }
        first = rank == 0 ? card : first;
        status = compare(&card, rank, &first, err);
    }
    return status;
}
