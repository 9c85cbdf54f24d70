/* file_stamp.c - what stat says of files that are in use, at first and later */

#include "base/file_stamp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NS_PER_S INT64_C(1000000000)

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

static struct ce_file_stamp stamp_of(const struct stat *info)
{
    return (struct ce_file_stamp){.device = (uint64_t)info->st_dev,
                                  .inode = (uint64_t)info->st_ino,
                                  .bytes = (uint64_t)info->st_size,
                                  .modified_ns = nanoseconds(info->st_mtim),
                                  .changed_ns = nanoseconds(info->st_ctim)};
}

enum ce_status ce_file_stamp_descriptor(struct ce_file_stamp *stamp,
                                        int fd,
                                        const char *path,
                                        struct ce_error *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    *stamp = stamp_of(&info);
    return CE_OK;
}

static bool grow(struct ce_file_watch *watch)
{
    size_t capacity = watch->capacity * 2 + 16;
    struct ce_file_watched *grown =
        reallocarray(watch->file, capacity, sizeof(watch->file[0]));

    if (grown != NULL) {
        watch->file = grown;
        watch->capacity = capacity;
    }
    return grown != NULL;
}

enum ce_status ce_file_watch_add(struct ce_file_watch *watch,
                                 const char *path,
                                 const struct ce_file_stamp *stamp,
                                 struct ce_error *err)
{
    struct ce_file_watched file = {.path = NULL};
    struct stat info;

    if (stamp != NULL) {
        file.stamp = *stamp;
    } else if (stat(path, &info) == 0) {
        file.stamp = stamp_of(&info);
    } else if (errno != ENOENT) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", path, strerror(errno));
    }
    file.path = strdup(path);
    if (file.path == NULL || (watch->count == watch->capacity && !grow(watch))) {
        free(file.path);
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to remember it", path);
    }
    watch->file[watch->count++] = file;
    return CE_OK;
}

/* NULL: nothing. */
static const char *find_change(const struct ce_file_stamp *before,
                               const struct ce_file_stamp *now,
                               bool strictly)
{
    if (before->device != now->device || before->inode != now->inode) {
        return "another file has its name now";
    }
    if (before->bytes != now->bytes) {
        return "it has another size now";
    }
    if (before->modified_ns != now->modified_ns) {
        return "it was written to";
    }
    return strictly && before->changed_ns != now->changed_ns
               ? "it, or who may read it, was changed"
               : NULL;
}

static enum ce_status
check_file(const struct ce_file_watched *file, bool strictly, struct ce_error *err)
{
    const bool was_there = file->stamp.inode != 0;
    struct stat info;
    const char *change = NULL;

    if (stat(file->path, &info) != 0) {
        change = was_there || errno != ENOENT ? strerror(errno) : NULL;
    } else if (!was_there) {
        change = "it was not there before";
    } else {
        const struct ce_file_stamp now = stamp_of(&info);

        change = find_change(&file->stamp, &now, strictly);
    }
    if (change == NULL) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_IO,
                   "%s: changed while it was used: %s; run again with files that stay "
                   "as they are",
                   file->path,
                   change);
}

enum ce_status ce_file_watch_check(const struct ce_file_watch *watch,
                                   bool strictly,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < watch->count; i++) {
        status = check_file(&watch->file[i], strictly, err);
    }
    return status;
}

void ce_file_watch_free(struct ce_file_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        free(watch->file[i].path);
    }
    free(watch->file);
    *watch = (struct ce_file_watch){.count = 0};
}
