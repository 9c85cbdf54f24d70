/* journal_image.h - the content of a journal, from bytes that nobody vouches for */

#ifndef CE_EVAL_JOURNAL_IMAGE_H
#define CE_EVAL_JOURNAL_IMAGE_H

#include "base/status.h"
#include "eval/journal.h"
#include "eval/journal_job.h"
#include "eval/journal_set.h"

#include <stddef.h>
#include <stdint.h>

struct ce_journal_image {
    struct ce_journal_job job;
    uint32_t header_crc;
    struct ce_journal_set done;
    struct ce_journal_entry *entry; /* by item */
    size_t entries;
    struct ce_journal_notice *notice; /* by offset */
    size_t notices;
    uint64_t end; /* of the last whole record */
};

/* Errors as ce_journal_open has them; `path` is only for the text. Nothing of the image
 * points into the data. */
CE_MUST_CHECK enum ce_status ce_journal_image_parse(struct ce_journal_image *image,
                                                    const unsigned char *data,
                                                    size_t bytes,
                                                    const char *path,
                                                    struct ce_error *err);
void ce_journal_image_destroy(
    struct ce_journal_image *image); /* accepts a zeroed one */

/* What a new journal is: the header twice. *data is malloc'ed. */
CE_MUST_CHECK enum ce_status
ce_journal_image_begin(const struct ce_journal_header *header,
                       unsigned char **data,
                       size_t *bytes,
                       struct ce_error *err);

#endif
