/* outcome.h - from the parts of all layers to one file of compressed experts
 *
 *   parts ─► error curves ─► a rank and neurons an expert ─► compressed.safetensors
 *
 * Of the parts one is in memory at a time. For one rank.
 */

#ifndef CE_CALIBRATE_OUTCOME_H
#define CE_CALIBRATE_OUTCOME_H

#include "base/status.h"
#include "calibrate/compressed_file.h"
#include "calibrate/fit.h"
#include "calibrate/parts.h"
#include "calibrate/text_windows.h"

#include <stddef.h>
#include <stdint.h>

enum { CE_FIT_STATUSES = CE_FIT_UNSEEN + 1 };

struct ce_outcome_expert {
    enum ce_fit_status status;
    size_t rows;
    size_t heldout_rows;
    double effective_rows;
    double ridge;   /* of the chosen fit */
    size_t rank;    /* the most that was fitted */
    size_t chosen;  /* by ce_calibrate_choose */
    size_t neurons; /* kept, likewise */
    size_t fit;     /* of the record, that has so many */
};

/* Weighted squared errors, summed over the layer's experts: how far what a token's
 * auxiliary experts add is from what they should, one by one. */
struct ce_outcome_layer {
    double moe_out[CE_TEXT_SETS]; /* sum of |moe_out|^2 */
    double dropped[CE_TEXT_SETS]; /* the error of truncation */
    double *error[CE_TEXT_SETS];  /* [fits][most_rank + 1], of a uniform rank */
    double chosen[CE_TEXT_SETS];  /* of the chosen ranks and neurons */
    size_t statuses[CE_FIT_STATUSES];
};

struct ce_calibrate_outcome {
    size_t layers;
    size_t experts;
    struct ce_record_shape shape;
    struct ce_record_fits fits;
    struct ce_outcome_layer *layer;   /* [layers] */
    struct ce_outcome_expert *expert; /* [layers][experts] */
    double *expected;                 /* [layers][experts][fits.count][most_rank + 1] */
    double *errors[CE_TEXT_SETS];     /* alike, as measured */
    double *ridges;                   /* [layers][experts][fits.count] */
    uint64_t bytes;                   /* of the chosen */
};

/* Reads the curves of all layers. ce_calibrate_outcome_free frees, also after a
 * failure. */
CE_MUST_CHECK enum ce_status
ce_calibrate_outcome_read(struct ce_calibrate_outcome *outcome,
                          const struct ce_parts *parts,
                          struct ce_error *err);
void ce_calibrate_outcome_free(struct ce_calibrate_outcome *outcome);

/* How ranks and kept neurons are chosen. */
struct ce_calibrate_choice {
    size_t rank;     /* of all experts, if there is no budget: then they keep all the
                        neurons of the shape, but for those with rows for a constant */
    uint64_t budget; /* bytes of the file's values; 0: none */
};

/* A budget goes where it saves most of the experts' errors, relative to what truncating
 * their layer costs and to their own (README.md). Errors: CE_ERR_ARG for a budget that
 * is too small. */
CE_MUST_CHECK enum ce_status
ce_calibrate_choose(struct ce_calibrate_outcome *outcome,
                    const struct ce_calibrate_choice *choice,
                    struct ce_error *err);

/* Writes the file of the chosen ranks and neurons, atomically. */
CE_MUST_CHECK enum ce_status
ce_calibrate_write(const struct ce_calibrate_outcome *outcome,
                   const struct ce_parts *parts,
                   const char *path,
                   const struct ce_compressed_file_facts *facts,
                   struct ce_error *err);

#endif
