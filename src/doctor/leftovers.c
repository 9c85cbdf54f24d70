/* leftovers.c - shared memory that jobs which were killed have left on a host */

#include "doctor/leftovers.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More are counted as they come in the next look, when these are gone. */
#define MOST_FILES 512

struct file {
    char path[512];
    uint64_t bytes;
    bool used;
};

struct search {
    struct file *file;
    size_t count;
};

/* Open MPI's of versions 4 and 5, UCX's. */
static bool is_of_a_job(const char *name)
{
    static const char *const beginnings[] = {
        "vader_segment.", "sm_segment.", "ucx_shm_", "ucx_posix_"};

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void add_file(struct search *search, const char *folder, const char *name)
{
    struct file *file = &search->file[search->count];
    struct stat info;
    int length = snprintf(file->path, sizeof(file->path), "%s/%s", folder, name);

    if (length < 0 || (size_t)length >= sizeof(file->path) ||
        lstat(file->path, &info) != 0 || !S_ISREG(info.st_mode) ||
        (geteuid() != 0 && info.st_uid != geteuid())) {
        return;
    }
    file->bytes = (uint64_t)info.st_blocks * 512;
    search->count++;
}

static void list_files(struct search *search, const char *folder)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry = NULL;

    while (listing != NULL && search->count < MOST_FILES &&
           (entry = readdir(listing)) != NULL) {
        if (is_of_a_job(entry->d_name)) {
            add_file(search, folder, entry->d_name);
        }
    }
    if (listing != NULL) {
        (void)closedir(listing);
    }
}

/* A line of /proc/PROCESS/maps ends in the path of what is mapped. */
static void mark_used(struct search *search, const char *line)
{
    const char *path = strchr(line, '/');

    for (size_t i = 0; path != NULL && i < search->count; i++) {
        const size_t length = strlen(search->file[i].path);

        if (strncmp(path, search->file[i].path, length) == 0 &&
            (path[length] == '\n' || path[length] == '\0')) {
            search->file[i].used = true;
        }
    }
}

static void look_at_process(struct search *search, const char *process)
{
    char path[300];
    char *line = NULL;
    size_t size = 0;

    (void)snprintf(path, sizeof(path), "/proc/%s/maps", process);
    FILE *maps = fopen(path, "re");

    while (maps != NULL && getline(&line, &size, maps) > 0) {
        mark_used(search, line);
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    free(line);
}

static void look_at_processes(struct search *search)
{
    DIR *listing = opendir("/proc");
    const struct dirent *entry = NULL;

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            look_at_process(search, entry->d_name);
        }
    }
    if (listing != NULL) {
        (void)closedir(listing);
    }
}

/* One that has gone meanwhile was of a job that has ended well. */
static void count_file(struct ce_leftovers *leftovers, const struct file *file)
{
    if (file->used || access(file->path, F_OK) != 0) {
        return;
    }
    if (leftovers->count == 0) {
        (void)snprintf(leftovers->first,
                       sizeof(leftovers->first),
                       "%.95s",
                       strrchr(file->path, '/') + 1);
    }
    leftovers->count++;
    leftovers->bytes += file->bytes;
}

void ce_leftovers_find(struct ce_leftovers *leftovers, const char *folder)
{
    struct search search = {.file = calloc(MOST_FILES, sizeof(struct file))};

    *leftovers = (struct ce_leftovers){.count = 0};
    if (search.file == NULL) {
        return;
    }
    list_files(&search, folder);
    if (search.count > 0) {
        look_at_processes(&search);
    }
    for (size_t i = 0; i < search.count; i++) {
        count_file(leftovers, &search.file[i]);
    }
    free(search.file);
}
