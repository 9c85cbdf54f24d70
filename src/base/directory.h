/* directory.h - directories, and ones that appear with all their files or not at all
 *
 * The files of a writer are written under a temporary name beside it; the commit
 * renames. A crash leaves perhaps a stray NAME.tmp-*.
 */

#ifndef CE_BASE_DIRECTORY_H
#define CE_BASE_DIRECTORY_H

#include "base/status.h"

struct ce_directory_writer {
    char *path;      /* without slashes at its end */
    char *temporary; /* where the files go; NULL when there is nothing to remove */
};

/* A directory, with its parents, as `mkdir -p` has it; one that is there is fine. */
CE_MUST_CHECK enum ce_status ce_directory_make(const char *path, struct ce_error *err);

/* There must be nothing of this name yet, or an empty directory. */
CE_MUST_CHECK enum ce_status ce_directory_writer_open(
    struct ce_directory_writer *writer, const char *path, struct ce_error *err);
CE_MUST_CHECK enum ce_status
ce_directory_writer_commit(struct ce_directory_writer *writer, struct ce_error *err);
/* Without a commit, removes the files; directories among them stay. Accepts a zeroed
 * object. */
void ce_directory_writer_close(struct ce_directory_writer *writer);

#endif
