/* data_file.h - a file of texts: plain text, or JSON Lines, by its name and what is in
 * it */

#ifndef CE_EVAL_DATA_FILE_H
#define CE_EVAL_DATA_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* *lines: the file is JSON Lines: by its name (.jsonl, .ndjson or .jsonlines in letters
 * of any case), or because every line is a JSON object, which is said in the log with
 * `field`. Another JSON document is refused where its name says that it is one, and
 * warned of otherwise. */
CE_MUST_CHECK enum ce_status ce_data_file_classify(const char *path,
                                                   const char *text,
                                                   size_t bytes,
                                                   const char *field,
                                                   bool *lines,
                                                   struct ce_error *err);

/* Warns of JSON that is read as text. */
void ce_data_file_warn_of_json(const char *path, const char *text, size_t bytes);

#endif
