/* compare_job.h - a job of `cemoe compare` on all ranks
 *
 *   compare.c           options, from the command line to the exit code
 *   compare_job.c       what is to be compared: texts, files, settings
 *   compare_settings.c  which files at which n_ce
 *   compare_loop.c      every setting on every text, on one engine
 *   compare_finish.c    the files and the table
 */

#ifndef CE_TOOLS_COMPARE_JOB_H
#define CE_TOOLS_COMPARE_JOB_H

#include "eval/frontier.h"
#include "model/compressed_experts.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_compare_values {
    struct ce_model_values model; /* without its compressed and truncated experts */
    struct ce_run_values run;
    struct ce_option_list data;
    struct ce_option_list files;
    struct ce_option_list compressed; /* n_ce, in words */
    const char *out;                  /* NULL: no files */
    size_t window;
    size_t windows; /* of a text at most */
    bool any_n;
    bool json;
};

struct ce_compare_text {
    const char *path;
    char *name;
    struct ce_ids ids; /* count: those that are run */
};

/* Compressed experts of one file, or the checkpoint's own. */
struct ce_compare_source {
    const char *path; /* NULL: the checkpoint's */
    char *name;
    enum ce_compressed_kind kind;
    size_t n_ce;         /* that it was fitted for, 0: it does not say */
    uint64_t bytes;      /* on every rank */
    uint64_t parameters; /* values in the file */
    uint64_t hash;
};

#define CE_COMPARE_NO_SOURCE SIZE_MAX

struct ce_compare_job {
    const struct ce_compare_values *values;
    struct ce_session session;
    struct ce_config config;
    struct ce_tokenizer *tokenizer;
    struct ce_compare_text *text; /* [texts] */
    size_t texts;
    struct ce_compare_source *source; /* [sources] */
    size_t sources;
    size_t *n_ce; /* [n_ces] in ascending order */
    size_t n_ces;
    struct ce_frontier frontier;
    size_t *source_of; /* [settings] or CE_COMPARE_NO_SOURCE */
};

/* Texts, files and settings; the output directory. ce_compare_job_close frees, also
 * after a failure. Collective. */
CE_MUST_CHECK enum ce_status ce_compare_job_open(struct ce_compare_job *job,
                                                 struct ce_error *err);
void ce_compare_job_close(struct ce_compare_job *job);

/* From texts and sources to n_ce, frontier.setting and source_of; each rank alone.
 * Errors: an n_ce that the model does not have, a file that would be left out. */
CE_MUST_CHECK enum ce_status ce_compare_choose_settings(struct ce_compare_job *job,
                                                        struct ce_error *err);

/* Loads the engine, checks that all files belong to its model, runs everything.
 * Collective. */
CE_MUST_CHECK enum ce_status ce_compare_job_run(struct ce_compare_job *job,
                                                struct ce_error *err);

/* Writes the files and prints the table. Collective. */
CE_MUST_CHECK enum ce_status ce_compare_job_finish(struct ce_compare_job *job,
                                                   struct ce_error *err);

#endif
