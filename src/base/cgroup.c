/* cgroup.c - memory limits of control groups, version 1 and 2
 *
 * /proc/self/cgroup names the process's group in each hierarchy and
 * /proc/self/mountinfo where the hierarchy is mounted and which group is the
 * root of that mount: in a container the two paths overlap or are unrelated.
 * Limits nest, so every directory from the own group up to the mount counts.
 */

#include "base/cgroup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

/* What differs between the versions. */
struct hierarchy {
    const char *filesystem;
    const char *limit_file;
    const char *use_file;
    const char *prefix; /* of the keys of memory.stat that count children, too */
    const char *file_key;
    const char *dirty_key;
    const char *writeback_key;
};

static const struct hierarchy version_1 = {
    .filesystem = "cgroup",
    .limit_file = "memory.limit_in_bytes",
    .use_file = "memory.usage_in_bytes",
    .prefix = "total_",
    .file_key = "cache",
    .dirty_key = "dirty",
    .writeback_key = "writeback",
};
static const struct hierarchy version_2 = {
    .filesystem = "cgroup2",
    .limit_file = "memory.max",
    .use_file = "memory.current",
    .prefix = "",
    .file_key = "file",
    .dirty_key = "file_dirty",
    .writeback_key = "file_writeback",
};

struct mount {
    char root[PATH_BYTES];  /* the group that is shown ... */
    char point[PATH_BYTES]; /* ... at this directory */
};

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (list != NULL) {
        size_t item = strcspn(list, ",\n");

        if (item == length && strncmp(list, word, length) == 0) {
            return true;
        }
        list = list[item] == ',' ? list + item + 1 : NULL;
    }
    return false;
}

/* "ID PARENT DEVICE ROOT POINT OPTIONS [tags] - FILESYSTEM SOURCE OPTIONS" */
static bool
mount_line_matches(const char *line, const struct hierarchy *version, struct mount *out)
{
    char filesystem[32];
    char options[256];
    const char *tail = strstr(line, " - ");

    if (tail == NULL || sscanf(tail, " - %31s %*s %255s", filesystem, options) != 2 ||
        strcmp(filesystem, version->filesystem) != 0) {
        return false;
    }
    if (version == &version_1 && !has_word(options, "memory")) {
        return false;
    }
    return sscanf(line, "%*s %*s %*s %4095s %4095s", out->root, out->point) == 2;
}

static bool find_mount(const char *mountinfo_path,
                       const struct hierarchy *version,
                       struct mount *out)
{
    bool found = false;
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(mountinfo_path, "re");

    while (file != NULL && !found && getline(&line, &size, file) > 0) {
        found = mount_line_matches(line, version, out);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(line);
    return found;
}

/* The path in "ID:CONTROLLERS:PATH\n", or NULL when it is another hierarchy's. */
static char *group_of_line(char *line, const struct hierarchy *version)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

    if (path == NULL) {
        return NULL;
    }
    *controllers++ = '\0';
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';

    bool wanted = version == &version_2 ? strcmp(line, "0") == 0 && *controllers == '\0'
                                        : has_word(controllers, "memory");

    return wanted ? path : NULL;
}

static bool
find_group(const char *cgroup_path, const struct hierarchy *version, char *group)
{
    bool found = false;
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(cgroup_path, "re");

    while (file != NULL && !found && getline(&line, &size, file) > 0) {
        const char *path = group_of_line(line, version);

        found = path != NULL && strlen(path) < PATH_BYTES;
        if (found) {
            memcpy(group, path, strlen(path) + 1);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(line);
    return found;
}

/* The number in DIR/NAME; `otherwise` when there is none ("max", no file). */
static uint64_t read_number(const char *dir, const char *name, uint64_t otherwise)
{
    char path[2 * PATH_BYTES + 64];
    uint64_t value;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return otherwise;
    }
    if (fscanf(file, "%" SCNu64, &value) != 1) {
        value = otherwise;
    }
    (void)fclose(file);
    return value;
}

/* 0 where the key is missing. */
static uint64_t
read_statistic(const char *dir, const struct hierarchy *version, const char *key)
{
    char path[2 * PATH_BYTES + 64];
    char name[64];
    size_t prefix = strlen(version->prefix);
    uint64_t value;
    uint64_t found = 0;

    (void)snprintf(path, sizeof(path), "%s/memory.stat", dir);
    FILE *file = fopen(path, "re");

    while (file != NULL && fscanf(file, "%63s %" SCNu64, name, &value) == 2) {
        if (strncmp(name, version->prefix, prefix) == 0 &&
            strcmp(name + prefix, key) == 0) {
            found = value;
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static uint64_t minus(uint64_t from, uint64_t taken)
{
    return from > taken ? from - taken : 0;
}

/* Page cache that goes when memory is wanted, whether it was used once or often. What
 * tmpfs and shared memory hold stays, and so does what is locked or not yet written.
 * All that is unevictable is taken off, though some of it may be memory of processes.
 */
static uint64_t read_droppable(const char *dir, const struct hierarchy *version)
{
    uint64_t listed = read_statistic(dir, version, "inactive_file") +
                      read_statistic(dir, version, "active_file");
    uint64_t file = read_statistic(dir, version, version->file_key);

    file = minus(file, read_statistic(dir, version, "shmem"));
    file = minus(file, read_statistic(dir, version, "unevictable"));
    listed = file < listed ? file : listed;
    listed = minus(listed, read_statistic(dir, version, version->dirty_key));
    return minus(listed, read_statistic(dir, version, version->writeback_key));
}

static uint64_t left_in(const char *dir, const struct hierarchy *version)
{
    uint64_t limit = read_number(dir, version->limit_file, UINT64_MAX);

    if (limit == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t use = read_number(dir, version->use_file, 0);

    return minus(limit, minus(use, read_droppable(dir, version)));
}

static uint64_t least_on_the_way_up(const struct mount *mount,
                                    const char *group,
                                    const struct hierarchy *version)
{
    char dir[2 * PATH_BYTES];
    size_t root = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);
    bool inside = strncmp(group, mount->root, root) == 0 &&
                  (group[root] == '/' || group[root] == '\0');
    uint64_t least = UINT64_MAX;

    (void)snprintf(dir, sizeof(dir), "%s%s", mount->point, inside ? group + root : "");
    while (strlen(dir) >= strlen(mount->point)) {
        uint64_t left = left_in(dir, version);
        char *slash = strrchr(dir, '/');

        least = left < least ? left : least;
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return least;
}

static uint64_t left_of_version(const char *mountinfo_path,
                                const char *cgroup_path,
                                const struct hierarchy *version)
{
    struct mount mount;
    char group[PATH_BYTES];

    if (!find_mount(mountinfo_path, version, &mount) ||
        !find_group(cgroup_path, version, group)) {
        return UINT64_MAX;
    }
    return least_on_the_way_up(&mount, group, version);
}

uint64_t ce_cgroup_memory_left(const char *mountinfo_path, const char *cgroup_path)
{
    uint64_t first = left_of_version(mountinfo_path, cgroup_path, &version_1);
    uint64_t second = left_of_version(mountinfo_path, cgroup_path, &version_2);

    return first < second ? first : second;
}
