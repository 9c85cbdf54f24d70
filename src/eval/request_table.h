/* request_table.h - token requests as bytes that rank 0 sends to all
 *
 *   | header | requests | settings | stop strings | tokens | text |
 *
 * Rank 0 collects requests in a list, builds the bytes and broadcasts them; every rank,
 * also rank 0, views them. A view checks every number before it is used: a peer's bytes
 * are no better than those of a file. Offsets count from the start of their section, so
 * the bytes mean the same wherever they are. In the byte order of the machine: the
 * ranks of a job have the same.
 */

#ifndef CE_EVAL_REQUEST_TABLE_H
#define CE_EVAL_REQUEST_TABLE_H

#include "base/status.h"
#include "eval/eval.h"
#include "model/tokenizer/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

/* One sequence for the engine. */
struct ce_token_request {
    const int32_t *tokens;
    size_t count;
    size_t scored;         /* the last of them are scored; 0: generate */
    size_t max_new_tokens; /* 0 unless it generates */
    uint64_t key;          /* of its random numbers: the same in every run of the job */
    uint32_t group;    /* its document: requests of a group are likely to share their
                          beginning */
    uint32_t settings; /* index; 0 unless it generates */
    uint32_t query;    /* of the job; windows of a text have the same, in order */
    uint32_t dropped;  /* tokens of the query that did not fit */
};

struct ce_stop_string {
    const char *text; /* not NUL-terminated, not empty, UTF-8 */
    size_t bytes;
};

struct ce_request_settings {
    double temperature;
    double top_p;
    uint64_t seed;
    const struct ce_stop_string *stop; /* in the order in which they cut */
    size_t stops;
};

/* Grows; zero it before first use. */
struct ce_request_list {
    struct ce_request_entry *entry;
    size_t count;
    size_t capacity;
    struct ce_ids tokens; /* of all */
    struct ce_settings_entry *settings;
    size_t settings_count;
    size_t settings_capacity;
    struct ce_stop_entry *stop;
    size_t stops;
    size_t stop_capacity;
    struct ce_text text; /* of all stop strings */
};
void ce_request_list_free(struct ce_request_list *list);

/* Copies; request->tokens too. */
CE_MUST_CHECK enum ce_status ce_request_list_add(struct ce_request_list *list,
                                                 const struct ce_token_request *request,
                                                 struct ce_error *err);
/* Copies; empty strings in `until` are left out. eos may be NULL; unless it is already
 * there it becomes the last stop string. *index is the settings' index: that of equal
 * ones that were added before them. */
CE_MUST_CHECK enum ce_status
ce_request_list_add_settings(struct ce_request_list *list,
                             const struct ce_generate_settings *settings,
                             const char *eos,
                             uint32_t *index,
                             struct ce_error *err);

/* *data is malloc'ed; the caller frees it. */
CE_MUST_CHECK enum ce_status ce_request_table_build(const struct ce_request_list *list,
                                                    void **data,
                                                    size_t *bytes,
                                                    struct ce_error *err);

/* What the engine can take. */
struct ce_request_limits {
    size_t vocab;     /* ids are 0 .. vocab - 1 */
    size_t positions; /* a request may take */
};

/* Tokens and texts point into the bytes it was made of. */
struct ce_request_table {
    struct ce_token_request *request; /* [count] */
    size_t count;
    struct ce_request_settings *settings; /* [settings_count] */
    size_t settings_count;
    struct ce_stop_string *stop; /* of all settings */
    size_t dropping;             /* requests that dropped tokens */
    uint64_t dropped;            /* tokens that all of them dropped */
};

/* `data` is aligned as malloc aligns and outlives the table. CE_ERR_FORMAT for bytes
 * that are not a table, CE_ERR_ARG for requests beyond the limits.
 * ce_request_table_free frees, also after a failure. */
CE_MUST_CHECK enum ce_status
ce_request_table_view(struct ce_request_table *table,
                      const void *data,
                      size_t bytes,
                      const struct ce_request_limits *limits,
                      struct ce_error *err);
void ce_request_table_free(struct ce_request_table *table);

#endif
