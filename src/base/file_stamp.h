/* file_stamp.h - whether a file is still what it was: size, times, which file it is
 *
 * Tells that somebody wrote to a file or put another in its place, without reading it.
 * What a program writes within the clock tick of the file system after the stamp was
 * taken (some milliseconds) can be missed.
 */

#ifndef CE_BASE_FILE_STAMP_H
#define CE_BASE_FILE_STAMP_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_file_stamp {
    uint64_t device;
    uint64_t inode;
    uint64_t bytes;
    int64_t modified_ns; /* of the content, as programs may set it */
    int64_t changed_ns;  /* of the content or of who may read it; nobody sets it */
};

/* Of an open file. Errors: CE_ERR_IO with `path`, which is for messages. */
CE_MUST_CHECK enum ce_status ce_file_stamp_descriptor(struct ce_file_stamp *stamp,
                                                      int fd,
                                                      const char *path,
                                                      struct ce_error *err);

/* Files that are in use. Zeroed: none. One that is not there has a stamp of zeros. */
struct ce_file_watch {
    struct ce_file_watched {
        char *path;
        struct ce_file_stamp stamp;
    } * file;
    size_t count;
    size_t capacity;
};

/* Remembers a file as it was at `stamp`; NULL: as it is now, where one that is not
 * there must not come. Errors: CE_ERR_NOMEM, CE_ERR_IO. */
CE_MUST_CHECK enum ce_status ce_file_watch_add(struct ce_file_watch *watch,
                                               const char *path,
                                               const struct ce_file_stamp *stamp,
                                               struct ce_error *err);

/* CE_ERR_IO with the path of the first file that is gone, has come, is another one, or
 * has another size or time of its content. With `strictly` also any other change
 * counts, since a program that writes may set the time of the content back. */
CE_MUST_CHECK enum ce_status ce_file_watch_check(const struct ce_file_watch *watch,
                                                 bool strictly,
                                                 struct ce_error *err);
void ce_file_watch_free(struct ce_file_watch *watch); /* accepts a zeroed one */

#endif
