/* progress.h - says in the log how far many bytes are, whoever moves them */

#ifndef CE_BASE_PROGRESS_H
#define CE_BASE_PROGRESS_H

#include <stddef.h>

struct ce_progress {
    const char *verb; /* "loaded" */
    size_t total;     /* bytes */
    size_t done;
};

/* So many bytes more are done; a line every 4 GiB. Any thread may say so. */
void ce_progress_add(struct ce_progress *progress, size_t bytes);

#endif
