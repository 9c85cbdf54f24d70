/* common.h - options that several commands share, and how they report */

#ifndef CE_TOOLS_COMMON_H
#define CE_TOOLS_COMMON_H

#include "base/options.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which model, and how its auxiliary experts are treated. */
struct ce_model_values {
    const char *model;
    const char *compressed_experts;
    int compressed; /* -1: by the checkpoint */
    int truncated;
    const char *weights;
    const char *dense_weights;
    bool map_weights;
    const char *wire;
    const char *kv;
    const char *combine;
};

/* How a job runs; nothing of it changes results. */
struct ce_run_values {
    const char *transport;
    const char *overlap;
    const char *placement;
    const char *expert_split;
    uint64_t deadline_ms;
    size_t step_tokens;
    size_t cache_tokens; /* 0: what the job needs */
    const char *stats;
    const char *traffic;
    bool quiet;
    bool verbose;
};

extern const struct ce_option ce_model_options[];
/* Where in it others begin, for commands with options of their own instead: of the
 * first that says which experts are compressed or dropped, and of the first behind
 * these. */
enum { CE_MODEL_OPTIONS_MAINS = 1, CE_MODEL_OPTIONS_FORMATS = 4 };
extern const struct ce_option ce_run_options[];

/* Says what is wrong with options that exclude each other; true when all is well.
 * The exit code is then CE_EXIT_USAGE. */
bool ce_check_model_values(const char *command, const struct ce_model_values *values);

/* Prints one line on stderr, on the speaking rank only; returns the exit code. */
int ce_report_failure(const char *command, const struct ce_error *err);

void ce_json_set_integer(json_t *object, const char *key, uint64_t value);
void ce_json_set_seconds(json_t *object, const char *key, uint64_t ns);

/* Prints a JSON document and a newline on stdout; frees it. Returns the exit
 * code: a failed write is a failure. */
int ce_print_json(json_t *document);

/* Flushes stdout; CE_EXIT_FAILED when something could not be written. */
int ce_finish_output(void);

#endif
