/* file.c - whole files: map, read, names */

#include "base/file.h"

#include "base/mapped.h"
#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ_BYTES ((size_t)64 * 1024)

/* Smaller files are read without asking how much memory is left. */
#define MEMORY_MATTERS ((off_t)1 << 20)

/* What `mode` says that it is, when it is no regular file. */
static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) {
        return "a directory";
    }
    if (S_ISFIFO(mode)) {
        return "a FIFO";
    }
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

static enum ce_status
check_regular(const struct stat *info, const char *path, struct ce_error *err)
{
    if (S_ISREG(info->st_mode)) {
        return CE_OK;
    }
    return ce_fail(
        err, CE_ERR_IO, "%s: is %s, not a regular file", path, kind_of(info->st_mode));
}

/* An open that fails may say less than what is there: "no such device" of a socket. */
static enum ce_status fail_open(const char *path, struct ce_error *err)
{
    const int why = errno;
    struct stat info;

    if ((why == ENXIO || why == EISDIR) && stat(path, &info) == 0 &&
        !S_ISREG(info.st_mode)) {
        return check_regular(&info, path, err);
    }
    return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(why));
}

enum ce_status ce_file_open(int *fd, const char *path, int flags, struct ce_error *err)
{
    struct stat info;
    enum ce_status status = CE_OK;

    *fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0) {
        return fail_open(path, err);
    }
    if (fstat(*fd, &info) != 0) {
        status = ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    } else {
        status = check_regular(&info, path, err);
    }
    if (status != CE_OK) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

enum ce_status ce_file_map_descriptor(struct ce_file_map *map,
                                      int fd,
                                      const char *path,
                                      struct ce_error *err)
{
    struct stat info;

    *map = (struct ce_file_map){.data = NULL};
    if (fstat(fd, &info) != 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    enum ce_status status = check_regular(&info, path, err);

    if (status == CE_OK) {
        status = ce_file_stamp_descriptor(&map->stamp, fd, path, err);
    }
    if (status != CE_OK || info.st_size == 0) {
        return status;
    }
    size_t bytes = (size_t)info.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);

    if (data == MAP_FAILED) {
        return ce_fail(err, CE_ERR_IO, "%s: cannot map: %s", path, strerror(errno));
    }
    map->data = data;
    map->bytes = bytes;
    ce_mapped_add(data, bytes, path);
    return CE_OK;
}

enum ce_status
ce_file_map_open(struct ce_file_map *map, const char *path, struct ce_error *err)
{
    int fd = -1;
    enum ce_status status = ce_file_open(&fd, path, O_RDONLY, err);

    *map = (struct ce_file_map){.data = NULL};
    if (status == CE_OK) {
        status = ce_file_map_descriptor(map, fd, path, err);
        (void)close(fd);
    }
    return status;
}

void ce_file_map_close(struct ce_file_map *map)
{
    if (map->data != NULL) {
        union {
            const unsigned char *shared;
            void *own;
        } data = {.shared = map->data};

        ce_mapped_remove(map->data);
        (void)munmap(data.own, map->bytes);
    }
    *map = (struct ce_file_map){.data = NULL};
}

/* Doubles the buffer, but never beyond `most`, which it has not reached yet. */
static enum ce_status grow(char **buffer, size_t *capacity, size_t most)
{
    size_t wanted = *capacity > most / 2 ? most : *capacity * 2;
    char *larger = realloc(*buffer, wanted);

    if (larger == NULL) {
        return CE_ERR_NOMEM;
    }
    *buffer = larger;
    *capacity = wanted;
    return CE_OK;
}

/* One read that survives signals: bytes, 0 at the end, -1 on failure. */
static ssize_t read_some(int fd, char *data, size_t bytes)
{
    ssize_t count;

    do {
        count = read(fd, data, bytes);
    } while (count < 0 && errno == EINTR);
    return count;
}

/* A file of unknown length (it may be a pipe): room for `limit` bytes, one more
 * that tells a file at the limit from one beyond it, and the NUL. */
static enum ce_status read_descriptor(int fd,
                                      size_t limit,
                                      char **text,
                                      size_t *bytes,
                                      const char *path,
                                      struct ce_error *err)
{
    size_t most = limit > SIZE_MAX - 2 ? SIZE_MAX : limit + 2;
    size_t capacity = most < FIRST_READ_BYTES ? most : FIRST_READ_BYTES;
    size_t used = 0;
    ssize_t count = 1;
    char *buffer = malloc(capacity);

    while (buffer != NULL && used <= limit && count > 0) {
        if (capacity - used < 2 && grow(&buffer, &capacity, most) != CE_OK) {
            break;
        }
        count = read_some(fd, buffer + used, capacity - used - 1);
        used += count > 0 ? (size_t)count : 0;
    }
    if (count == 0 && used <= limit) {
        buffer[used] = '\0';
        *text = buffer;
        *bytes = used;
        return CE_OK;
    }
    int why = errno;

    free(buffer);
    if (count < 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(why));
    }
    if (used > limit) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: larger than %zu bytes", path, limit);
    }
    return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to read it", path);
}

/* A sparse file is as large as one likes. Files of /proc have no size before they are
 * read. */
static enum ce_status
check_size(int fd, size_t limit, const char *path, struct ce_error *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    if ((uint64_t)info.st_size > limit) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: larger than %zu bytes", path, limit);
    }
    const uint64_t left =
        info.st_size < MEMORY_MATTERS ? UINT64_MAX : ce_memory_available();

    return (uint64_t)info.st_size <= left
               ? CE_OK
               : ce_fail(
                     err,
                     CE_ERR_NOMEM,
                     "%s: has %.1f MiB, which do not fit into the %.1f MiB of memory "
                     "that are left",
                     path,
                     (double)info.st_size / 0x1p20,
                     (double)left / 0x1p20);
}

enum ce_status ce_file_read(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err)
{
    *text = NULL;
    *bytes = 0;
    int fd = -1;
    enum ce_status status = ce_file_open(&fd, path, O_RDONLY, err);

    if (status == CE_OK) {
        status = check_size(fd, limit, path, err);
        if (status != CE_OK) {
            (void)close(fd);
            return status;
        }
        status = read_descriptor(fd, limit, text, bytes, path, err);
        (void)close(fd);
    }
    return status;
}

/* The descriptor that a path names as shells do: <(...) is /dev/fd/63; else -1. */
static int named_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    char *end = NULL;

    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdin") == 0) {
        return STDIN_FILENO;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        const size_t length = strlen(folders[i]);

        if (strncmp(path, folders[i], length) == 0 && isdigit(path[length])) {
            const long number = strtol(path + length, &end, 10);

            return *end == '\0' && number <= INT_MAX ? (int)number : -1;
        }
    }
    return -1;
}

/* Endless ones would only be noticed at the limit; a socket may be a library's. */
static bool is_stream(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 &&
           (S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode) || isatty(fd));
}

enum ce_status ce_file_read_input(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err)
{
    const int fd = named_descriptor(path);

    if (fd == STDIN_FILENO) {
        return read_descriptor(fd, limit, text, bytes, "standard input", err);
    }
    if (fd > STDERR_FILENO && is_stream(fd)) {
        return read_descriptor(fd, limit, text, bytes, path, err);
    }
    return ce_file_read(path, limit, text, bytes, err);
}

bool ce_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *ce_path_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);
    const char *separator = length > 0 && dir[length - 1] == '/' ? "" : "/";
    char *path = NULL;

    return asprintf(&path, "%s%s%s", dir, separator, name) < 0 ? NULL : path;
}
