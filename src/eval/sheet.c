/* sheet.c - from the journal's entries to arrays, and what is not in them to requests
 */

#include "eval/sheet.h"

#include "eval/encode.h"
#include "eval/request_table_parts.h"

#include <stdlib.h>

const struct ce_outcome *ce_sheet_variant(const struct ce_sheet *sheet, size_t variant)
{
    return sheet->outcome + variant * sheet->queries;
}

bool ce_sheet_is_complete(const struct ce_sheet *sheet)
{
    return sheet->done == sheet->variants * sheet->queries;
}

enum ce_status ce_sheet_fill(struct ce_sheet *sheet,
                             const struct ce_inputs *inputs,
                             const struct ce_journal *journal,
                             struct ce_error *err)
{
    size_t count = 0;
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);

    *sheet = (struct ce_sheet){.variants = ce_journal_header(journal)->variants,
                               .queries = inputs->queries};
    sheet->outcome =
        calloc(sheet->variants * sheet->queries + 1, sizeof(sheet->outcome[0]));
    if (sheet->outcome == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the outcomes");
    }
    for (size_t i = 0; i < count; i++) {
        const struct ce_journal_item *item = &entry[i].item;
        size_t query = inputs->input[item->task].first_query + item->query;

        sheet->outcome[item->variant * sheet->queries + query] = entry[i].outcome;
    }
    sheet->done = count;
    return CE_OK;
}

void ce_sheet_free(struct ce_sheet *sheet)
{
    free(sheet->outcome);
    *sheet = (struct ce_sheet){.outcome = NULL};
}

/* [queries of the job] those that all variants have done; NULL: no memory. */
static bool *find_done(const struct ce_sheet *sheet)
{
    bool *done = calloc(sheet->queries + 1, sizeof(done[0]));

    for (size_t q = 0; done != NULL && q < sheet->queries; q++) {
        done[q] = true;
        for (size_t v = 0; v < sheet->variants; v++) {
            done[q] = done[q] && ce_sheet_variant(sheet, v)[q].done;
        }
    }
    return done;
}

enum ce_status ce_sheet_encode(const struct ce_sheet *sheet,
                               const struct ce_inputs *inputs,
                               const struct ce_encoder *encoder,
                               struct ce_request_list *list,
                               struct ce_error *err)
{
    bool *done = find_done(sheet);
    enum ce_status status =
        done == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory for the queries") : CE_OK;

    for (size_t i = 0; status == CE_OK && i < inputs->count; i++) {
        const struct ce_input *input = &inputs->input[i];
        const struct ce_encode_place place = {.first_query = input->first_query,
                                              .first_document = input->first_document,
                                              .skip = done + input->first_query};

        status = ce_encode_task(encoder, ce_input_task(input), &place, list, err);
    }
    free(done);
    return status;
}

/* Of one variant: what is neither done nor asked. */
static enum ce_status record_variant(const struct ce_sheet *sheet,
                                     const struct ce_inputs *inputs,
                                     uint32_t variant,
                                     const bool *asked,
                                     struct ce_journal *journal,
                                     struct ce_error *err)
{
    const struct ce_outcome *outcome = ce_sheet_variant(sheet, variant);
    const struct ce_outcome nothing = {.done = true, .greedy = true, .context = 1};
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < inputs->count; i++) {
        const struct ce_input *input = &inputs->input[i];

        for (size_t q = 0; status == CE_OK && q < ce_input_task(input)->queries; q++) {
            const struct ce_journal_item item = {
                .variant = variant, .task = (uint32_t)i, .query = q};
            const size_t number = input->first_query + q;

            if (!outcome[number].done && !asked[number]) {
                status = ce_journal_append(journal, &item, &nothing, err);
            }
        }
    }
    return status;
}

enum ce_status ce_sheet_record_empty(const struct ce_sheet *sheet,
                                     const struct ce_inputs *inputs,
                                     const struct ce_request_list *list,
                                     struct ce_journal *journal,
                                     struct ce_error *err)
{
    bool *asked = calloc(sheet->queries + 1, sizeof(asked[0]));
    enum ce_status status =
        asked == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory for the queries") : CE_OK;

    for (size_t i = 0; asked != NULL && i < list->count; i++) {
        asked[list->entry[i].query] = true;
    }
    for (size_t v = 0; status == CE_OK && v < sheet->variants; v++) {
        status = record_variant(sheet, inputs, (uint32_t)v, asked, journal, err);
    }
    free(asked);
    return status;
}
