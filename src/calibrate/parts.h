/* parts.h - a calibration under way, on disk: one file per layer
 *
 *   DIR/job          what all of it is of, as "name=value" lines
 *   DIR/layer-7.part | head | a record an expert (record.h) | checksum |
 *
 * A file appears whole or not at all, so a run may be ended at any moment. One that is
 * damaged, or of another job, counts as not there. For one rank, which writes what it
 * got from the others.
 */

#ifndef CE_CALIBRATE_PARTS_H
#define CE_CALIBRATE_PARTS_H

#include "base/status.h"
#include "calibrate/record.h"
#include "calibrate/text_windows.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_parts {
    const struct ce_kernels *kernels;
    char *dir;
    uint64_t job; /* hash of the lines given to ce_parts_open */
    size_t layers;
    size_t experts;
    struct ce_record_shape shape;
    size_t body_bytes; /* of a layer's file behind its head; 0: of the records */
};

/* Of a layer as a whole. */
struct ce_part_facts {
    double moe_out[CE_TEXT_SETS]; /* sum of |moe_out|^2 over the tokens */
};

/* Makes the directory, or takes up what is there of the same job. Errors: CE_ERR_ARG
 * naming the first line in which `job` differs from what the directory is of. */
CE_MUST_CHECK enum ce_status ce_parts_open(struct ce_parts *parts,
                                           const char *dir,
                                           const char *job,
                                           struct ce_error *err);
void ce_parts_close(struct ce_parts *parts); /* accepts a zeroed object */

/* Removes the files of all layers, and the directory if there is nothing else in it. */
void ce_parts_remove(const struct ce_parts *parts);

/* records: [experts], in order; or else body_bytes of a form of the caller's. */
CE_MUST_CHECK enum ce_status ce_parts_write(const struct ce_parts *parts,
                                            size_t layer,
                                            const struct ce_part_facts *facts,
                                            const void *records,
                                            struct ce_error *err);

/* One layer's file in memory. */
struct ce_part {
    char *image;
    struct ce_part_facts facts;
    unsigned char *records;
};

bool ce_parts_has(const struct ce_parts *parts, size_t layer);
/* Errors: CE_ERR_IO, and CE_ERR_FORMAT for a damaged file. ce_part_free frees. */
CE_MUST_CHECK enum ce_status ce_parts_read(const struct ce_parts *parts,
                                           size_t layer,
                                           struct ce_part *part,
                                           struct ce_error *err);
void ce_part_free(struct ce_part *part); /* accepts a zeroed object */

#endif
