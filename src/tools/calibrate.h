/* calibrate.h - the parts of `cemoe calibrate`
 *
 *   calibrate.c         the command
 *   calibrate_options.c its options
 *   calibrate_job.c     its phases, one after the other
 *   calibrate_text.c    files and tasks to windows of tokens, on rank 0
 *   calibrate_needs.c   the memory, and --plan
 *   calibrate_finish.c  ranks, the file, and what is said of it
 *   calibrate_dump.c    the rows of a layer
 *   calibrate_scaling.c what is different about --kind scaling
 */

#ifndef CE_TOOLS_CALIBRATE_H
#define CE_TOOLS_CALIBRATE_H

#include "calibrate/layers.h"
#include "calibrate/needs.h"
#include "calibrate/outcome.h"
#include "calibrate/parts.h"
#include "calibrate/scaling.h"
#include "calibrate/scaling_outcome.h"
#include "calibrate/text_windows.h"
#include "tools/session.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_calibrate_values {
    const char *model;
    const char *weights;
    const char *dense_weights;
    const char *kv;
    bool map_weights;
    bool dummy_given;
    bool ridge_given;
    uint64_t dummy_weights;
    struct ce_option_list data;
    const char *field;
    struct ce_option_list tasks;
    const char *tasks_data;
    size_t tokens;
    size_t window;
    size_t heldout_every;
    int compressed;
    const char *kind;
    double ridge;
    size_t rank; /* SIZE_MAX: not given */
    const char *budget;
    size_t most_rank; /* 0: not given */
    size_t neurons;
    const char *out;
    const char *parts;
    bool keep_parts;
    const char *report;
    size_t memory; /* 0: what is free */
    bool plan;
    size_t dump_layer;
    const char *dump;
    bool json;
    struct ce_run_values run;
};

/* A growing list of rows of experts; see calibrate_dump.c. */
struct ce_calibrate_dump;

/* What the program, its libraries and their buffers take of a rank's memory: some 50
 * MiB with Open MPI, UCX and OpenBLAS. */
#define CE_CALIBRATE_PROGRAM_BYTES ((size_t)64 << 20)

struct ce_calibrate_job {
    const struct ce_calibrate_values *values;
    struct ce_session session;
    struct ce_config config;
    struct ce_text_windows windows;
    uint64_t text_hash;
    struct ce_memory_plan engine_plan;
    struct ce_calibrate_needs needs;
    size_t memory_limit; /* of this rank */
    struct ce_calibrate_choice choice;
    char *parts_dir;
    struct ce_parts parts; /* rank 0 */
    struct ce_calibrate_run layers;
    struct ce_calibrate_outcome outcome; /* rank 0 */
    struct ce_scaling_needs scaling_needs;
    struct ce_scaling_outcome scaling; /* rank 0 */
    struct ce_calibrate_dump *dump;
    size_t resumed;    /* layers that had a part */
    uint64_t began_ns; /* the first layer */
    uint64_t ended_ns;
    uint64_t said_ns; /* when progress was logged last */
};

extern const struct ce_option_group ce_calibrate_groups[];

/* From the session's transport to the file, or with --plan to the needs. Collective. */
CE_MUST_CHECK enum ce_status ce_calibrate_job_run(struct ce_calibrate_job *job,
                                                  struct ce_error *err);

/* Options of the engine, but for `job`. */
struct ce_engine_options
ce_calibrate_engine_options(const struct ce_calibrate_job *job);

/* Fills windows, of files and tasks or, with dummy weights, of random ids. Collective.
 */
CE_MUST_CHECK enum ce_status ce_calibrate_read_text(struct ce_calibrate_job *job,
                                                    struct ce_error *err);

/* Fills needs, the same passes on all ranks. Collective. */
CE_MUST_CHECK enum ce_status ce_calibrate_find_needs(struct ce_calibrate_job *job,
                                                     struct ce_error *err);
/* A line of --plan: its key in JSON, and what it is called in the table. */
struct ce_calibrate_need {
    const char *key;
    const char *name;
    size_t bytes;
    char note[48]; /* behind it in the table */
};

/* The needs that all kinds have, those of one kind and the total: as an object, which
 * the caller prints, or as a table. */
json_t *ce_calibrate_describe_needs(const struct ce_calibrate_job *job,
                                    const struct ce_calibrate_need *own,
                                    size_t count);
void ce_calibrate_print_needs(const struct ce_calibrate_job *job,
                              const struct ce_calibrate_need *own,
                              size_t count);

/* Program, model and needs: what this rank takes at most. */
size_t ce_calibrate_planned_bytes(const struct ce_calibrate_job *job);
/* What --plan prints; the exit code. */
int ce_calibrate_print_plan(const struct ce_calibrate_job *job);

/* Reads the parts, chooses ranks and writes the file; rank 0 alone. */
CE_MUST_CHECK enum ce_status ce_calibrate_finish(struct ce_calibrate_job *job,
                                                 struct ce_error *err);
/* Writes --report. */
CE_MUST_CHECK enum ce_status
ce_calibrate_write_report(const struct ce_calibrate_job *job, struct ce_error *err);
/* The table or, with --json, the document; the exit code. */
int ce_calibrate_print(const struct ce_calibrate_job *job);

/* Begins to keep the rows of --dump-layer. */
CE_MUST_CHECK enum ce_status ce_calibrate_dump_open(struct ce_calibrate_job *job,
                                                    struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_calibrate_dump_write(struct ce_calibrate_job *job,
                                                     struct ce_error *err);
void ce_calibrate_dump_close(struct ce_calibrate_dump *dump); /* accepts NULL */

/* ---- vectors instead of affine maps (calibrate_scaling.c) ---- */

bool ce_calibrate_is_scaling(const struct ce_calibrate_job *job);
/* Fills scaling_needs, and of needs what both kinds have. Errors: CE_ERR_NOMEM for more
 * than `limit` bytes. */
CE_MUST_CHECK enum ce_status ce_calibrate_scaling_needs(struct ce_calibrate_job *job,
                                                        size_t limit,
                                                        struct ce_error *err);
int ce_calibrate_scaling_print_plan(const struct ce_calibrate_job *job);
CE_MUST_CHECK enum ce_status ce_calibrate_scaling_finish(struct ce_calibrate_job *job,
                                                         struct ce_error *err);
/* Adds the kind's own values to a result. */
void ce_calibrate_scaling_describe(const struct ce_calibrate_job *job, json_t *object);
int ce_calibrate_scaling_print(const struct ce_calibrate_job *job);

#endif
