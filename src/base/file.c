/* file.c - whole files: map, read, names */

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ_BYTES ((size_t)64 * 1024)

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
    if (!S_ISREG(info.st_mode)) {
        return ce_fail(err, CE_ERR_IO, "%s: not a regular file", path);
    }
    if (info.st_size == 0) {
        return CE_OK;
    }
    size_t bytes = (size_t)info.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);

    if (data == MAP_FAILED) {
        return ce_fail(err, CE_ERR_IO, "%s: cannot map: %s", path, strerror(errno));
    }
    *map = (struct ce_file_map){.data = data, .bytes = bytes};
    return CE_OK;
}

enum ce_status
ce_file_map_open(struct ce_file_map *map, const char *path, struct ce_error *err)
{
    /* NONBLOCK: the open of a FIFO returns, and is then refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *map = (struct ce_file_map){.data = NULL};
    if (fd < 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    enum ce_status status = ce_file_map_descriptor(map, fd, path, err);

    (void)close(fd);
    return status;
}

void ce_file_map_close(struct ce_file_map *map)
{
    if (map->data != NULL) {
        union {
            const unsigned char *shared;
            void *own;
        } data = {.shared = map->data};

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

enum ce_status ce_file_read(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err)
{
    *text = NULL;
    *bytes = 0;
    if (strcmp(path, "-") == 0) {
        return read_descriptor(STDIN_FILENO, limit, text, bytes, "stdin", err);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    enum ce_status status = read_descriptor(fd, limit, text, bytes, path, err);

    (void)close(fd);
    return status;
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
