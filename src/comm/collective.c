/* collective.c - gather, broadcast and agreement as exchanges on the control slot */

#include "comm/collective.h"

#include <stdio.h>
#include <string.h>

static const struct ce_bytes nothing = {NULL, 0};

/* One whole exchange of what transport->outgoing names. */
static enum ce_status exchange_outgoing(struct ce_transport *t, struct ce_error *err)
{
    enum ce_status status = ce_exchange_start(t, CE_SLOT_CONTROL, t->outgoing, err);

    return status == CE_OK ? ce_exchange_finish(t, CE_SLOT_CONTROL, err) : status;
}

static void send_to_all(struct ce_transport *t, struct ce_bytes message)
{
    for (int peer = 0; peer < t->ranks; peer++) {
        t->outgoing[peer] = message;
    }
}

enum ce_status ce_allgather(struct ce_transport *transport,
                            struct ce_bytes mine,
                            const struct ce_bytes **all,
                            struct ce_error *err)
{
    send_to_all(transport, mine);
    *all = transport->slot[CE_SLOT_CONTROL].received;
    return exchange_outgoing(transport, err);
}

enum ce_status ce_gather(struct ce_transport *transport,
                         struct ce_bytes mine,
                         const struct ce_bytes **all,
                         struct ce_error *err)
{
    send_to_all(transport, nothing);
    transport->outgoing[0] = mine;
    *all = transport->rank == 0 ? transport->slot[CE_SLOT_CONTROL].received : NULL;
    return exchange_outgoing(transport, err);
}

enum ce_status ce_broadcast(struct ce_transport *transport,
                            struct ce_bytes mine,
                            struct ce_bytes *out,
                            struct ce_error *err)
{
    send_to_all(transport, transport->rank == 0 ? mine : nothing);
    enum ce_status status = exchange_outgoing(transport, err);
    *out = status == CE_OK ? transport->slot[CE_SLOT_CONTROL].received[0] : nothing;
    return status;
}

/* What a rank says in ce_agree; the text travels without its NUL. */
struct verdict {
    uint32_t status;
    uint32_t rank;
    char text[sizeof(((struct ce_error *)0)->text)];
};

#define VERDICT_MIN offsetof(struct verdict, text)

static size_t write_verdict(struct verdict *verdict,
                            int rank,
                            enum ce_status status,
                            const struct ce_error *err)
{
    const char *text = err != NULL ? err->text : ce_status_name(status);
    size_t length = status == CE_OK ? 0 : strnlen(text, sizeof(verdict->text));

    verdict->status = (uint32_t)status;
    verdict->rank = (uint32_t)rank;
    memcpy(verdict->text, text, length);
    return VERDICT_MIN + length;
}

/* Reads what rank `source` said; false when it makes no sense. */
static bool read_verdict(struct verdict *verdict, struct ce_bytes message, int source)
{
    memset(verdict, 0, sizeof(*verdict));
    if (message.bytes < VERDICT_MIN || message.bytes > sizeof(*verdict)) {
        return false;
    }
    memcpy(verdict, message.data, message.bytes);
    return verdict->rank == (uint32_t)source && verdict->status != CE_AGAIN &&
           verdict->status <= CE_ERR_MISMATCH;
}

/* The verdict of the lowest rank that failed; CE_OK when none did. */
static enum ce_status
judge(const struct ce_transport *t, const struct ce_bytes *all, struct ce_error *err)
{
    struct verdict verdict;

    for (int source = 0; source < t->ranks; source++) {
        const bool readable = read_verdict(&verdict, all[source], source);

        if (readable && verdict.status == CE_OK) {
            continue;
        }
        if (err != NULL) {
            err->rank = source;
        }
        if (!readable) {
            return ce_fail(err,
                           CE_ERR_COMM,
                           "rank %d sent no readable status (%zu bytes)",
                           source,
                           all[source].bytes);
        }
        return ce_fail(err,
                       (enum ce_status)verdict.status,
                       "%.*s",
                       (int)sizeof(verdict.text),
                       verdict.text);
    }
    return CE_OK;
}

enum ce_status
ce_agree(struct ce_transport *transport, enum ce_status mine, struct ce_error *err)
{
    struct verdict verdict;
    const struct ce_bytes *all;
    struct ce_error unused; /* keeps a failure here from covering the cause */

    size_t bytes = write_verdict(&verdict, transport->rank, mine, err);
    enum ce_status status = ce_allgather(transport,
                                         (struct ce_bytes){&verdict, bytes},
                                         &all,
                                         mine == CE_OK ? err : &unused);
    if (status != CE_OK) {
        return mine == CE_OK ? status : mine;
    }
    return judge(transport, all, err);
}
