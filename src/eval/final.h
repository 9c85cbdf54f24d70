/* final.h - from a complete journal to the files that an evaluation ends with
 *
 *   one variant        DIR/results_TIME.json ...     (results.h)
 *   a comparison       DIR/full/results_TIME.json ..., DIR/truncated, DIR/compressed,
 *                      DIR/comparison_TIME.json
 *   an OpenAI batch    NAME_output.jsonl beside the results
 *
 * A function of the inputs and the journal alone. The file that ce_final_marker names
 * is the last: where it is, all are.
 */

#ifndef CE_EVAL_FINAL_H
#define CE_EVAL_FINAL_H

#include "base/status.h"
#include "eval/comparison.h"
#include "eval/inputs.h"
#include "eval/journal.h"
#include "eval/results.h"
#include "eval/sheet.h"

#include <stddef.h>

struct ce_final {
    const struct ce_inputs *inputs;
    const struct ce_journal_header *header; /* of the journal */
    const struct ce_sheet *sheet;           /* complete */
    const char *directory;
    size_t limit;
    /* Of a comparison, columns of the table; those that vary are left out of files. */
    const struct ce_comparison_cost *cost;
    size_t costs;
};

/* What is printed in the end; to be freed. */
struct ce_final_text {
    char *markdown;
    char *json;
};

/* "DIR/results_TIME.json" or the comparison's; to be freed, NULL: no memory. */
char *ce_final_marker(const char *directory, const struct ce_journal_header *header);

/* Whether a file can have each of the names that ce_final_write will write; leaves
 * nothing. Before anything is computed. Errors: CE_ERR_IO names the task. */
CE_MUST_CHECK enum ce_status ce_final_check(const struct ce_inputs *inputs,
                                            const struct ce_journal_header *header,
                                            const char *directory,
                                            struct ce_error *err);

/* Writes all files. */
CE_MUST_CHECK enum ce_status ce_final_write(const struct ce_final *final,
                                            struct ce_final_text *text,
                                            struct ce_error *err);
void ce_final_text_free(struct ce_final_text *text);

/* The value of a field or note of the header; NULL when there is none. */
const char *ce_final_note(const struct ce_journal_header *header, const char *name);

#endif
