/* eval.h - the nouns of an evaluation
 *
 *   task      a description and its documents
 *   document  a line of the data, or one that a request file names; asks queries
 *   query     one thing asked of the model, as text
 *   outcome   what the model said to a query
 *
 * The words and conventions are those of lm-evaluation-harness. Only rank 0 has these
 * objects; the other ranks get token ids (engine/scheduler.h).
 */

#ifndef CE_EVAL_EVAL_H
#define CE_EVAL_EVAL_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_query_kind {
    CE_QUERY_LOGLIKELIHOOD = 0, /* of continuation after context */
    CE_QUERY_ROLLING,           /* of every token of continuation; no context */
    CE_QUERY_GENERATE,          /* what follows context */
};

/* How text is generated; shared by all queries of a task that generates. */
struct ce_generate_settings {
    char **until; /* stop strings; the text ends before the first */
    size_t untils;
    size_t max_new_tokens;
    double temperature; /* 0: greedy */
    double top_p;
    uint64_t seed;
    bool openai; /* as OpenAI's API has it: nothing is added to `until`, and random
                    numbers depend on the seed and on the query's place in its document,
                    not on the document; else as lm-eval: the text of the end token is
                    one more stop string */
};

/* Strings are NUL-terminated UTF-8 and belong to the task. What is after the strings is
 * zero where a task does not need it. */
struct ce_query {
    enum ce_query_kind kind;
    char *context;      /* NULL for CE_QUERY_ROLLING */
    char *continuation; /* with its delimiter; NULL for CE_QUERY_GENERATE */
    struct ce_generate_settings *generate; /* of this query; NULL: the task's */
    int32_t *ids; /* CE_QUERY_GENERATE: [id_count] the context as tokens, to be taken as
                     they are; NULL: encode the text */
    size_t id_count;
};

struct ce_document {
    json_t *source; /* the document as the file has it, or as the task changed it */
    size_t line;    /* in the file, from 1 */
    size_t id;      /* lm-eval's doc_id: from 0, in the order of the file */
    size_t first;   /* its queries are first .. first + queries - 1 of the task */
    size_t queries;
    size_t gold;    /* of several choices, the right one */
    char **choice;  /* [queries] the text whose length acc_norm divides by; NULL unless
                       the task has choices */
    char *target;   /* lm-eval's target of a document, as a string */
    char *measured; /* ROLLING: the text whose words and bytes a perplexity is of, which
                       may be before a clean-up; NULL for other kinds */
};

enum ce_output_type {
    CE_OUTPUT_MULTIPLE_CHOICE = 0,
    CE_OUTPUT_LOGLIKELIHOOD,
    CE_OUTPUT_ROLLING,
    CE_OUTPUT_GENERATE,
    CE_OUTPUT_REQUESTS, /* a file of requests: the kind of each query says what comes
                           out; no metrics */
};

/* One step of a filter, applied to the text of an answer. */
enum ce_filter_step_kind {
    CE_FILTER_REGEX = 0, /* of match `select` the first group with text; or fallback */
    CE_FILTER_TAKE_FIRST,
    CE_FILTER_REMOVE_WHITESPACE, /* at both ends */
    CE_FILTER_LOWERCASE,
};

struct ce_filter_step {
    enum ce_filter_step_kind kind;
    int select;     /* CE_FILTER_REGEX: which match: 0 the first, -1 the last */
    char *pattern;  /* Python's re, as far as libonig's is alike */
    char *fallback; /* when nothing matches */
};

struct ce_filter {
    char *name; /* "none" where a task has no filter */
    struct ce_filter_step *step;
    size_t steps;
};

/* A metric of the task by its public name: acc, acc_norm, acc_bytes,
 * acc_mutual_info, exact_match, perplexity, word_perplexity, byte_perplexity,
 * bits_per_byte. */
struct ce_metric {
    char *name;
    char **ignore; /* exact_match: patterns that are deleted from both sides */
    size_t ignores;
    bool higher_is_better;
    bool ignore_case;
    bool ignore_punctuation;
    bool ignore_numbers;
};

struct ce_task {
    char *name;
    char *version;
    enum ce_output_type output;
    struct ce_generate_settings generate;
    struct ce_metric *metric;
    size_t metrics;
    struct ce_filter *filter; /* at least one */
    size_t filters;
    size_t fewshot; /* examples before each document */
    struct ce_document *document;
    size_t documents;
    struct ce_query *query;
    size_t queries;
    json_t *config; /* the description, for the results */
    uint64_t hash;  /* of everything that a query or a metric depends on */
};

/* What the model said. Owned by whoever has the array of outcomes. */
struct ce_outcome {
    double logprob;   /* LOGLIKELIHOOD and ROLLING: sum, natural logarithm */
    char *text;       /* GENERATE; malloc'ed, without the stop string */
    uint32_t tokens;  /* scored or generated */
    uint32_t context; /* tokens before those */
    uint32_t dropped; /* tokens that did not fit into the context and were cut off */
    bool done;
    bool greedy;    /* LOGLIKELIHOOD: each token was the most likely one */
    bool by_length; /* GENERATE: ended by max_new_tokens or the context */
};

#endif
