/* results.h - the files an evaluation ends with
 *
 *   results_TIME.json         metrics, configurations and hashes, in lm-eval's shape
 *   samples_TASK_TIME.jsonl   a line for each document and filter, in lm-eval's shape
 *   results_TIME.md           the table
 *   comparison_TIME.json .md  the variants side by side
 *   run_TIME.json             times, hosts, ranks, speeds: what no other file may have
 *
 * All but the last are functions of the arguments alone, and those come from tasks,
 * outcomes and the first record of the journal: a job that was killed and resumed, on
 * any number of ranks, ends with the same bytes. Numbers are printed as Python prints
 * them: the fewest digits that read back as the same double.
 */

#ifndef CE_EVAL_RESULTS_H
#define CE_EVAL_RESULTS_H

#include "base/status.h"
#include "eval/comparison.h"
#include "eval/eval.h"
#include "eval/metric.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* "2026-11-26T10-05-21.000123", UTC */
#define CE_RESULTS_TIME_BYTES 32

/* Of the job, from the journal's first record. */
struct ce_results_job {
    const char *directory;  /* that the files go into; it exists */
    uint64_t start_ns;      /* Unix time; part of the file names */
    const char *program;    /* "cemoe 0.2.0" */
    const char *model_name; /* as lm-eval's pretrained=NAME */
    const json_t
        *config;  /* an object that joins "config": fingerprint, options; NULL */
    size_t draws; /* bootstrap_iters */
    size_t limit; /* of documents; 0: none */
};

/* What one task came to. */
struct ce_results_task {
    const struct ce_task *task;
    const struct ce_outcome *outcome; /* [task->queries] */
    const struct ce_scores *scores;
};

void ce_results_time(uint64_t start_ns, char text[CE_RESULTS_TIME_BYTES]);

/* samples_*, then results_*.json and results_*.md: when those are there, all is. */
CE_MUST_CHECK enum ce_status ce_results_write(const struct ce_results_job *job,
                                              const struct ce_results_task *task,
                                              size_t tasks,
                                              struct ce_error *err);

/* The table of results_*.md, to be freed; NULL when out of memory. */
char *ce_results_markdown(const struct ce_results_task *task, size_t tasks);

/* comparison_*; costs that vary from run to run are left out. */
CE_MUST_CHECK enum ce_status
ce_results_write_comparison(const struct ce_results_job *job,
                            const struct ce_comparison *comparison,
                            const struct ce_comparison_cost *cost,
                            size_t costs,
                            struct ce_error *err);

/* run_TIME.json, with `run` as it is. */
CE_MUST_CHECK enum ce_status ce_results_write_run(const struct ce_results_job *job,
                                                  const json_t *run,
                                                  struct ce_error *err);

#endif
