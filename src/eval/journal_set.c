/* journal_set.c - a bit an item */

#include "eval/journal_set.h"

#include <stdlib.h>

enum ce_status ce_journal_set_create(struct ce_journal_set *set,
                                     const struct ce_journal_header *header,
                                     struct ce_error *err)
{
    *set = (struct ce_journal_set){
        .header = header, .first = calloc(header->tasks + 1, sizeof(set->first[0]))};
    if (set->first != NULL) {
        for (size_t i = 0; i < header->tasks; i++) {
            set->first[i + 1] = set->first[i] + header->task[i].queries;
        }
        set->bit = calloc(header->variants * set->first[header->tasks] / 8 + 1, 1);
    }
    if (set->bit == NULL) {
        ce_journal_set_destroy(set);
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the items of a journal");
    }
    return CE_OK;
}

void ce_journal_set_destroy(struct ce_journal_set *set)
{
    free(set->first);
    free(set->bit);
    *set = (struct ce_journal_set){.header = NULL};
}

bool ce_journal_set_may_have(const struct ce_journal_set *set,
                             const struct ce_journal_item *item)
{
    return item->variant < set->header->variants && item->task < set->header->tasks &&
           item->query < set->header->task[item->task].queries;
}

static uint64_t index_of(const struct ce_journal_set *set,
                         const struct ce_journal_item *item)
{
    return item->variant * set->first[set->header->tasks] + set->first[item->task] +
           item->query;
}

bool ce_journal_set_has(const struct ce_journal_set *set,
                        const struct ce_journal_item *item)
{
    uint64_t index = index_of(set, item);

    return (set->bit[index / 8] >> (index % 8) & 1) != 0;
}

void ce_journal_set_add(struct ce_journal_set *set, const struct ce_journal_item *item)
{
    uint64_t index = index_of(set, item);

    set->bit[index / 8] |= (unsigned char)(1U << (index % 8));
}
