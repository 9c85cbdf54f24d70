/* directory.c - files in a directory that gets its name when they are all there */

#include "base/directory.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_empty(DIR *listing)
{
    const struct dirent *entry = readdir(listing);

    while (entry != NULL && is_dots(entry->d_name)) {
        entry = readdir(listing);
    }
    return entry == NULL;
}

enum ce_status ce_directory_make(const char *path, struct ce_error *err)
{
    char *copy = strdup(path);
    struct stat info;

    if (copy == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a path");
    }
    for (char *c = strchr(copy + (*copy == '/'), '/'); c != NULL;
         c = strchr(c + 1, '/')) {
        *c = '\0';
        (void)mkdir(copy, 0777);
        *c = '/';
    }
    free(copy);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return ce_fail(err, CE_ERR_IO, "%s: is there and not a directory", path);
    }
    return CE_OK;
}

/* A rename replaces an empty directory and nothing else; say so before the work. */
static enum ce_status check_free(const char *path, struct ce_error *err)
{
    struct stat info;
    DIR *listing = NULL;
    bool empty = false;

    if (lstat(path, &info) != 0) {
        return errno == ENOENT
                   ? CE_OK
                   : ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return ce_fail(err, CE_ERR_IO, "%s: is there and not a directory", path);
    }
    listing = opendir(path);
    if (listing != NULL) {
        empty = is_empty(listing);
        (void)closedir(listing);
    }
    return empty ? CE_OK
                 : ce_fail(err,
                           CE_ERR_IO,
                           "%s: is a directory with something in it; a new or empty "
                           "one is wanted",
                           path);
}

/* "new///" is "new". */
static char *without_slashes(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    return strndup(path, length);
}

static enum ce_status create_temporary(struct ce_directory_writer *writer,
                                       struct ce_error *err)
{
    if (asprintf(&writer->temporary,
                 "%s.tmp-%ld-%llx",
                 writer->path,
                 (long)getpid(),
                 (unsigned long long)ce_clock_ns()) < 0) {
        writer->temporary = NULL;
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", writer->path);
    }
    if (mkdir(writer->temporary, 0777) == 0) {
        return CE_OK;
    }
    enum ce_status status =
        ce_fail(err, CE_ERR_IO, "%s: %s", writer->path, strerror(errno));

    free(writer->temporary);
    writer->temporary = NULL;
    return status;
}

enum ce_status ce_directory_writer_open(struct ce_directory_writer *writer,
                                        const char *path,
                                        struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *writer = (struct ce_directory_writer){.path = without_slashes(path)};
    if (writer->path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", path);
    }
    status = check_free(writer->path, err);
    if (status == CE_OK) {
        status = create_temporary(writer, err);
    }
    if (status != CE_OK) {
        ce_directory_writer_close(writer);
    }
    return status;
}

enum ce_status ce_directory_writer_commit(struct ce_directory_writer *writer,
                                          struct ce_error *err)
{
    if (rename(writer->temporary, writer->path) != 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", writer->path, strerror(errno));
    }
    ce_file_sync_name(writer->path);
    free(writer->temporary);
    writer->temporary = NULL;
    return CE_OK;
}

static void remove_files(const char *dir)
{
    DIR *listing = opendir(dir);
    const struct dirent *entry = NULL;

    if (listing == NULL) {
        return;
    }
    while ((entry = readdir(listing)) != NULL) {
        if (!is_dots(entry->d_name)) {
            (void)unlinkat(dirfd(listing), entry->d_name, 0);
        }
    }
    (void)closedir(listing);
}

void ce_directory_writer_close(struct ce_directory_writer *writer)
{
    if (writer->temporary != NULL) {
        remove_files(writer->temporary);
        (void)rmdir(writer->temporary);
    }
    free(writer->temporary);
    free(writer->path);
    *writer = (struct ce_directory_writer){.path = NULL};
}
