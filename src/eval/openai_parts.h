/* openai_parts.h - what the files that read and write OpenAI batches share */

#ifndef CE_EVAL_OPENAI_PARTS_H
#define CE_EVAL_OPENAI_PARTS_H

#include "eval/openai_batch.h"

#include <stdbool.h>

/* What a line is besides its document and queries. */
struct ce_openai_line {
    char *message;     /* why it is an error; NULL: it is none */
    const char *param; /* the field that is wrong; NULL: none alone */
    const char *code;  /* NULL: none */
    bool echo;         /* prompts are repeated before the answers */
};

/* Makes the line an error, unless it is one already. False when memory runs out. */
bool ce_openai_refuse(struct ce_openai_line *line,
                      const char *param,
                      const char *code,
                      const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* Reads the body of the last document of the task and adds its queries; what is wrong
 * makes the line an error. `vocab` bounds token ids. Fails only for lack of memory. */
CE_MUST_CHECK enum ce_status ce_openai_read_body(struct ce_task *task,
                                                 struct ce_openai_line *line,
                                                 const json_t *body,
                                                 size_t vocab,
                                                 struct ce_error *err);

#endif
