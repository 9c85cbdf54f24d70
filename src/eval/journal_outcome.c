/* journal_outcome.c - outcomes to and from protobuf, bit by bit */

#include "eval/journal_outcome.h"

#include "journal.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* The message points into the outcome. */
static void fill_message(Cemoe__JournalItem *message,
                         const struct ce_journal_item *item,
                         const struct ce_outcome *outcome)
{
    cemoe__journal_item__init(message);
    message->variant = item->variant;
    message->task = item->task;
    message->query = item->query;
    memcpy(&message->logprob, &outcome->logprob, sizeof(message->logprob));
    message->greedy = outcome->greedy;
    message->has_text = outcome->text != NULL;
    message->text.data = (unsigned char *)outcome->text;
    message->text.len = outcome->text != NULL ? strlen(outcome->text) : 0;
    message->tokens = outcome->tokens;
    message->context = outcome->context;
    message->dropped = outcome->dropped;
    message->by_length = outcome->by_length;
}

size_t ce_journal_outcome_bytes(const struct ce_journal_item *item,
                                const struct ce_outcome *outcome)
{
    Cemoe__JournalItem message;

    fill_message(&message, item, outcome);
    return cemoe__journal_item__get_packed_size(&message);
}

void ce_journal_outcome_pack(const struct ce_journal_item *item,
                             const struct ce_outcome *outcome,
                             unsigned char *message)
{
    Cemoe__JournalItem fields;

    fill_message(&fields, item, outcome);
    (void)cemoe__journal_item__pack(&fields, message);
}

static enum ce_status take_message(struct ce_journal_entry *entry,
                                   const Cemoe__JournalItem *message,
                                   struct ce_error *err)
{
    const ProtobufCBinaryData *text = &message->text;
    struct ce_outcome *outcome = &entry->outcome;

    *entry = (struct ce_journal_entry){.item = {.variant = message->variant,
                                                .task = message->task,
                                                .query = message->query},
                                       .outcome = {.done = true,
                                                   .greedy = message->greedy,
                                                   .tokens = message->tokens,
                                                   .context = message->context,
                                                   .dropped = message->dropped,
                                                   .by_length = message->by_length}};
    memcpy(&outcome->logprob, &message->logprob, sizeof(outcome->logprob));
    if (!message->has_text) {
        return text->len == 0 ? CE_OK : CE_ERR_FORMAT;
    }
    if (text->len > 0 && memchr(text->data, '\0', text->len) != NULL) {
        return CE_ERR_FORMAT;
    }
    outcome->text = calloc(text->len + 1, 1);
    if (outcome->text == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for an outcome");
    }
    if (text->len > 0) {
        memcpy(outcome->text, text->data, text->len);
    }
    return CE_OK;
}

enum ce_status ce_journal_outcome_parse(struct ce_journal_entry *entry,
                                        const unsigned char *message,
                                        size_t bytes,
                                        struct ce_error *err)
{
    Cemoe__JournalItem *fields = cemoe__journal_item__unpack(NULL, bytes, message);
    enum ce_status status =
        fields == NULL ? CE_ERR_FORMAT : take_message(entry, fields, err);

    cemoe__journal_item__free_unpacked(fields, NULL);
    return status;
}
