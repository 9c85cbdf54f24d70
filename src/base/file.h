/* file.h - whole files: read, map, write atomically */

#ifndef CE_BASE_FILE_H
#define CE_BASE_FILE_H

#include "base/file_stamp.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_file_map {
    const unsigned char *data; /* NULL when empty */
    size_t bytes;
    struct ce_file_stamp stamp; /* of the file when it was mapped */
};

/* Opens a regular file and never waits: the writer that a FIFO has not, a device that
 * gives nothing or has no end would hang a rank, and with it all. What else is there is
 * refused, and the text says what it is. `flags` are those of open(2) that say how;
 * *fd, to be closed by the caller, is -1 after a failure. */
CE_MUST_CHECK enum ce_status
ce_file_open(int *fd, const char *path, int flags, struct ce_error *err);

/* Maps a regular file read-only. Errors name the path and the reason. A file
 * that is cut shorter while it is mapped raises SIGBUS (mapped.h): replace files
 * by renaming, as ce_file_write_atomic does. */
CE_MUST_CHECK enum ce_status
ce_file_map_open(struct ce_file_map *map, const char *path, struct ce_error *err);
/* The same of an open file, which is called `path`; the map outlives the descriptor. */
CE_MUST_CHECK enum ce_status ce_file_map_descriptor(struct ce_file_map *map,
                                                    int fd,
                                                    const char *path,
                                                    struct ce_error *err);
void ce_file_map_close(struct ce_file_map *map); /* accepts a zeroed map */

/* Reads a whole regular file of at most `limit` bytes into malloc'ed memory with a NUL
 * appended. The caller frees *text. */
CE_MUST_CHECK enum ce_status ce_file_read(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err);

/* The same of what a person gives to be read once: also standard input as "-" or
 * /dev/stdin, and a pipe that the shell opened, as it does for <(...). These may take
 * any time: one rank reads while the others are told that it does (tools/share.c). */
CE_MUST_CHECK enum ce_status ce_file_read_input(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err);

/* Writes `path` so that a reader sees the old file or the whole new one:
 * temporary file in the same directory, fsync, rename. Replaces only regular
 * files: not a device, not a symbolic link. */
CE_MUST_CHECK enum ce_status ce_file_write_atomic(const char *path,
                                                  const void *data,
                                                  size_t bytes,
                                                  struct ce_error *err);

/* The same from several pieces, written one after the other. */
struct ce_file_piece {
    const void *data;
    size_t bytes;
};
CE_MUST_CHECK enum ce_status
ce_file_write_pieces_atomic(const char *path,
                            const struct ce_file_piece *pieces,
                            size_t count,
                            struct ce_error *err);

/* The same for content that is never in memory as a whole: nobody sees the file
 * under its name before the commit, and without one nothing is left of it. */
struct ce_file_writer {
    char *path;
    char *temporary; /* NULL when there is nothing to remove */
    int fd;
};
CE_MUST_CHECK enum ce_status ce_file_writer_open(struct ce_file_writer *writer,
                                                 const char *path,
                                                 struct ce_error *err);
/* In any order; what is never written reads as zeros. */
CE_MUST_CHECK enum ce_status ce_file_writer_put(struct ce_file_writer *writer,
                                                uint64_t offset,
                                                const void *data,
                                                size_t bytes,
                                                struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_file_writer_commit(struct ce_file_writer *writer,
                                                   struct ce_error *err);
void ce_file_writer_close(struct ce_file_writer *writer); /* accepts a zeroed object */

/* Makes the newest name in the directory of `path` durable; some file systems cannot,
 * which costs only that name after a power failure. */
void ce_file_sync_name(const char *path);

bool ce_file_exists(const char *path);

/* "dir/name", malloc'ed; NULL when out of memory. */
char *ce_path_join(const char *dir, const char *name);

#endif
