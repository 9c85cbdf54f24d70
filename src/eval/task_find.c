/* task_find.c - from the name of a task to its description */

#include "base/file.h"
#include "base/json.h"
#include "base/options_table.h"
#include "eval/strings.h"
#include "eval/task.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_FOLDERS 64
#define MOST_BYTES   ((size_t)1 << 20)
#define ENDING       ".json"

/* Where descriptions are searched, in this order. */
struct folders {
    char *item[MOST_FOLDERS];
    size_t count;
};

static void folders_free(struct folders *folders)
{
    for (size_t i = 0; i < folders->count; i++) {
        free(folders->item[i]);
    }
}

/* Takes the string; false when there is none, which means no memory. */
static bool folders_add(struct folders *folders, char *folder)
{
    if (folder != NULL && folders->count < MOST_FOLDERS) {
        folders->item[folders->count++] = folder;
        return true;
    }
    free(folder);
    return folder != NULL;
}

/* A folder of descriptions under `parent`, if there is one. */
static bool
folders_add_existing(struct folders *folders, const char *parent, const char *name)
{
    char *folder = ce_path_join(parent, name);

    if (folder != NULL && access(folder, X_OK) != 0) {
        free(folder);
        return true;
    }
    return folders_add(folders, folder);
}

/* An installed program is in PREFIX/bin, one that was just built in
 * SOURCE/build/PRESET: looking in every folder above it finds the descriptions that
 * belong to it. */
static bool folders_add_program(struct folders *folders)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    bool enough = true;

    program[length > 0 ? length : 0] = '\0';
    for (char *slash = strrchr(program, '/'); enough && slash != NULL;
         slash = strrchr(program, '/')) {
        *slash = '\0';
        enough = folders_add_existing(folders, program, "share/cemoe/tasks") &&
                 folders_add_existing(folders, program, "deploy/tasks");
    }
    return enough;
}

/* "folder/name.json" if there is one: *path, malloc'ed, else NULL. False: no memory. */
static bool try_name(const char *folder, const char *name, size_t length, char **path)
{
    struct ce_string text = {.data = NULL};

    ce_string_append(&text, folder);
    ce_string_append(&text, "/");
    ce_string_append_bytes(&text, name, length);
    ce_string_append(&text, ENDING);
    *path = ce_string_take(&text);
    ce_string_free(&text);
    if (*path == NULL) {
        return false;
    }
    if (!ce_file_exists(*path)) {
        free(*path);
        *path = NULL;
    }
    return true;
}

static enum ce_status find_name(const struct folders *folders,
                                const char *name,
                                size_t length,
                                char **path,
                                struct ce_error *err)
{
    *path = NULL;
    for (size_t i = 0; *path == NULL && i < folders->count; i++) {
        if (!try_name(folders->item[i], name, length, path)) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory to find task %s", name);
        }
    }
    return CE_OK;
}

/* A description that cannot be read has no parts: what is wrong with it is said to
 * those who ask for it by its own name. */
static bool has_parts(const char *path)
{
    json_t *description = NULL;
    struct ce_error err = {.text = ""};
    bool parts = ce_json_load_object(path, MOST_BYTES, &description, &err) == CE_OK &&
                 json_is_string(json_object_get(description, "part"));

    json_decref(description);
    return parts;
}

/* "mmlu_us_history" is part "us_history" of "mmlu". */
static enum ce_status find_part(const struct folders *folders,
                                const char *name,
                                struct ce_task_place *place,
                                struct ce_error *err)
{
    const char *bar = strchr(name, '_');
    enum ce_status status = CE_OK;

    for (; bar != NULL; bar = strchr(bar + 1, '_')) {
        char *path = NULL;

        status = find_name(folders, name, (size_t)(bar - name), &path, err);
        if (status != CE_OK) {
            return status;
        }
        if (path != NULL && bar[1] != '\0' && has_parts(path)) {
            place->description = path;
            place->part = strdup(bar + 1);
            return place->part != NULL
                       ? CE_OK
                       : ce_fail(err, CE_ERR_NOMEM, "no memory to find task %s", name);
        }
        free(path);
    }
    return CE_OK;
}

/* The task in one folder that the name may have meant, into *best of `size` bytes. */
static void suggest_from(const char *folder, const char *name, char *best, size_t size)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry = NULL;
    struct ce_suggestion near = {.name = best[0] == '\0' ? NULL : best};

    if (directory == NULL) {
        return;
    }
    while ((entry = readdir(directory)) != NULL) {
        char task[256];
        size_t length = strlen(entry->d_name);
        size_t ending = strlen(ENDING);

        if (length <= ending || length - ending >= size ||
            strcmp(entry->d_name + length - ending, ENDING) != 0) {
            continue;
        }
        memcpy(task, entry->d_name, length - ending);
        task[length - ending] = '\0';
        ce_suggestion_offer(&near, name, task);
        if (near.name == task) {
            memcpy(best, task, length - ending + 1);
            near.name = best;
        }
    }
    closedir(directory);
}

static enum ce_status
fail_unknown(const struct folders *folders, const char *name, struct ce_error *err)
{
    char best[256] = "";
    struct ce_string searched = {.data = NULL};

    for (size_t i = 0; i < folders->count; i++) {
        if (best[0] == '\0') {
            suggest_from(folders->item[i], name, best, sizeof(best));
        }
        ce_string_append(&searched, i == 0 ? "" : ", ");
        ce_string_append(&searched, folders->item[i]);
    }
    ce_string_append_bytes(&searched, "", 0);
    (void)ce_fail(err,
                  CE_ERR_ARG,
                  "there is no task \"%s\"%s%s%s; searched: %s",
                  name,
                  best[0] == '\0' ? "" : "; did you mean \"",
                  best,
                  best[0] == '\0' ? "" : "\"?",
                  searched.length == 0 ? "nowhere, as no folder of tasks was found"
                                       : searched.data);
    ce_string_free(&searched);
    return CE_ERR_ARG;
}

static enum ce_status find_in(const struct folders *folders,
                              const char *name,
                              struct ce_task_place *place,
                              struct ce_error *err)
{
    enum ce_status status =
        find_name(folders, name, strlen(name), &place->description, err);

    if (status == CE_OK && place->description == NULL) {
        status = find_part(folders, name, place, err);
    }
    if (status == CE_OK && place->description == NULL) {
        status = fail_unknown(folders, name, err);
    }
    return status;
}

static bool is_path(const char *name)
{
    size_t length = strlen(name);

    return strchr(name, '/') != NULL ||
           (length > strlen(ENDING) &&
            strcmp(name + length - strlen(ENDING), ENDING) == 0);
}

enum ce_status ce_task_find(struct ce_task_place *place,
                            const char *name,
                            const char *dir,
                            struct ce_error *err)
{
    struct folders folders = {.count = 0};
    bool enough = true;
    enum ce_status status = CE_OK;

    *place = (struct ce_task_place){.description = NULL};
    if (is_path(name)) {
        place->description = strdup(name);
        enough = place->description != NULL;
    } else {
        enough = (dir == NULL || folders_add(&folders, strdup(dir))) &&
                 folders_add_program(&folders);
    }
    if (!enough) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to find task %s", name);
    }
    if (status == CE_OK && place->description == NULL) {
        status = find_in(&folders, name, place, err);
    }
    folders_free(&folders);
    return status;
}

void ce_task_place_free(struct ce_task_place *place)
{
    free(place->description);
    free(place->part);
    *place = (struct ce_task_place){.description = NULL};
}
