/* placement_file.h - placements in files, as proto/placement.proto describes them */

#ifndef CE_MOE_PLACEMENT_FILE_H
#define CE_MOE_PLACEMENT_FILE_H

#include "moe/placement.h"

/* Replaces `path` atomically. */
CE_MUST_CHECK enum ce_status ce_placement_write(const struct ce_placement *placement,
                                                const char *path,
                                                struct ce_error *err);

/* Nothing in the file is trusted; a placement that was read is valid. Errors name
 * file and field. */
CE_MUST_CHECK enum ce_status ce_placement_read(struct ce_placement *placement,
                                               const char *path,
                                               struct ce_error *err);

/* The same from memory, for tests and fuzzing. The file name is for messages. */
CE_MUST_CHECK enum ce_status ce_placement_parse(struct ce_placement *placement,
                                                const void *data,
                                                size_t bytes,
                                                const char *file,
                                                struct ce_error *err);

/* By what a user says: "contiguous" (or NULL), "strided", else the path of a file,
 * which must have been made for these sizes. */
CE_MUST_CHECK enum ce_status ce_placement_open(struct ce_placement *placement,
                                               const char *what,
                                               size_t layers,
                                               size_t experts,
                                               int ranks,
                                               struct ce_error *err);

#endif
