/* eval_job.h - a job of `cemoe eval` on all ranks
 *
 *   eval_job.c      what is to be done: rank 0 reads and opens, all ranks get token
 * requests eval_loop.c     one variant after the other through the scheduler, into the
 * journal eval_finish.c   final files from the journal, and what the run cost
 */

#ifndef CE_TOOLS_EVAL_JOB_H
#define CE_TOOLS_EVAL_JOB_H

#include "eval/encoder.h"
#include "eval/final.h"
#include "eval/request_table.h"
#include "eval/sheet.h"
#include "tools/eval_identity.h"
#include "tools/eval_progress.h"
#include "tools/session.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a variant cost in this run, of all ranks. */
struct ce_eval_cost {
    size_t queries; /* recorded */
    uint64_t steps;
    uint64_t tokens; /* fed to the model */
    uint64_t room;   /* for tokens in those steps */
    uint64_t reused; /* tokens that were found in the cache */
    uint64_t ns;
    uint64_t bytes; /* between different ranks, of the experts' exchanges */
};

struct ce_eval_job {
    const struct ce_eval_values *values;

    /* Of all ranks. */
    struct ce_session session;
    struct ce_config config;
    enum ce_isa isa;
    struct ce_eval_variants variants;
    size_t max_length;
    struct ce_tokenizer *tokenizer;
    char *bytes; /* what the table points into */
    size_t byte_count;
    struct ce_request_table table; /* what some variant has still to do */
    struct ce_eval_cost cost[CE_VARIANTS];
    bool stopped; /* early */

    /* Of rank 0. */
    struct ce_encoder encoder;
    struct ce_inputs inputs;
    struct ce_eval_identity identity;
    struct ce_journal *journal;
    struct ce_sheet sheet; /* what was done before */
    struct ce_eval_progress progress;
    uint64_t began_ns; /* Unix time */
};

/* From the command line to the table of requests, the journal open but not written to;
 * collective.
 * ce_eval_job_close frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_eval_job_open(struct ce_eval_job *job,
                                              struct ce_error *err);
void ce_eval_job_close(struct ce_eval_job *job);

/* Loads the engine if anything is left, else only reads the model, to know that the
 * journal is of it; collective. */
CE_MUST_CHECK enum ce_status ce_eval_job_load(struct ce_eval_job *job,
                                              struct ce_error *err);

/* Runs what is left; collective. */
CE_MUST_CHECK enum ce_status ce_eval_job_run(struct ce_eval_job *job,
                                             struct ce_error *err);

/* Writes run_TIME.json and, unless stopped early, all other files, and prints the
 * table; collective. */
CE_MUST_CHECK enum ce_status ce_eval_job_finish(struct ce_eval_job *job,
                                                struct ce_error *err);

/* Unix time. */
uint64_t ce_eval_time_ns(void);

#endif
