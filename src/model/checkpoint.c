/* checkpoint.c - which files a directory's weights are in, and one list of all
 * their tensors */

#include "model/checkpoint.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/checkpoint_parts.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME  "model.safetensors.index.json"

/* PEFT writes it; transformers then adds the adapter to the model. */
#define ADAPTER_NAME "adapter_config.json"

static enum ce_status fail_memory(const char *dir, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to open it", dir);
}

enum ce_status ce_checkpoint_open_file(struct ce_checkpoint *checkpoint,
                                       const char *name,
                                       struct ce_error *err)
{
    char *path = ce_path_join(checkpoint->dir, name);

    if (path == NULL) {
        return fail_memory(checkpoint->dir, err);
    }
    enum ce_status status =
        ce_safetensors_open(&checkpoint->file[checkpoint->files], path, err);

    if (status == CE_OK) {
        checkpoint->files++;
    }
    free(path);
    return status;
}

static enum ce_status open_single(struct ce_checkpoint *checkpoint,
                                  struct ce_error *err)
{
    checkpoint->file = calloc(1, sizeof(*checkpoint->file));
    if (checkpoint->file == NULL) {
        return fail_memory(checkpoint->dir, err);
    }
    return ce_checkpoint_open_file(checkpoint, SINGLE_NAME, err);
}

static bool is_pickle(const char *name)
{
    size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".bin") == 0;
}

/* Pickled weights are programs: reading them would run them. */
static enum ce_status fail_without_weights(const char *dir, struct ce_error *err)
{
    const struct dirent *entry = NULL;
    DIR *listing = opendir(dir);
    enum ce_status status;

    if (listing == NULL) {
        return ce_fail(err, CE_ERR_IO, "%s: not a directory that can be read", dir);
    }
    do {
        entry = readdir(listing);
    } while (entry != NULL && !is_pickle(entry->d_name));
    if (entry != NULL) {
        status = ce_fail(err,
                         CE_ERR_UNSUPPORTED,
                         "%s: weights only as %.64s, which is not read because it can "
                         "contain code; convert it with transformers: "
                         "save_pretrained(DIR, safe_serialization=True)",
                         dir,
                         entry->d_name);
    } else {
        status =
            ce_fail(err, CE_ERR_IO, "%s: neither " SINGLE_NAME " nor " INDEX_NAME, dir);
    }
    (void)closedir(listing);
    return status;
}

static enum ce_status open_files(struct ce_checkpoint *checkpoint, struct ce_error *err)
{
    char *single = ce_path_join(checkpoint->dir, SINGLE_NAME);
    char *index = ce_path_join(checkpoint->dir, INDEX_NAME);
    enum ce_status status;

    if (single == NULL || index == NULL) {
        status = fail_memory(checkpoint->dir, err);
    } else if (ce_file_exists(single)) {
        status = open_single(checkpoint, err);
    } else if (ce_file_exists(index)) {
        status = ce_checkpoint_open_shards(checkpoint, index, err);
    } else {
        status = fail_without_weights(checkpoint->dir, err);
    }
    free(single);
    free(index);
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    const struct ce_checkpoint_entry *left = a;
    const struct ce_checkpoint_entry *right = b;

    return strcmp(left->name, right->name);
}

static enum ce_status list_tensors(struct ce_checkpoint *checkpoint,
                                   struct ce_error *err)
{
    size_t total = 0;

    for (size_t i = 0; i < checkpoint->files; i++) {
        total += checkpoint->file[i].count;
    }
    checkpoint->entries = calloc(total + 1, sizeof(*checkpoint->entries));
    if (checkpoint->entries == NULL) {
        return fail_memory(checkpoint->dir, err);
    }
    for (size_t i = 0; i < checkpoint->files; i++) {
        const struct ce_safetensors *file = &checkpoint->file[i];

        for (size_t k = 0; k < file->count; k++) {
            checkpoint->entries[checkpoint->count++] =
                (struct ce_checkpoint_entry){.name = file->entries[k].name,
                                             .tensor = &file->entries[k].tensor,
                                             .file = file};
        }
    }
    qsort(checkpoint->entries,
          checkpoint->count,
          sizeof(*checkpoint->entries),
          compare_entries);
    return CE_OK;
}

static enum ce_status warn_of_adapter(const char *dir, struct ce_error *err)
{
    char *path = ce_path_join(dir, ADAPTER_NAME);

    if (path == NULL) {
        return fail_memory(dir, err);
    }
    if (ce_file_exists(path) && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: an adapter is not applied, though transformers with PEFT does it: "
               "merge it (merge_and_unload), or remove the file if that was done",
               path);
    }
    free(path);
    return CE_OK;
}

enum ce_status ce_checkpoint_open(struct ce_checkpoint *checkpoint,
                                  const char *dir,
                                  struct ce_error *err)
{
    enum ce_status status;

    *checkpoint = (struct ce_checkpoint){.dir = strdup(dir)};
    if (checkpoint->dir == NULL) {
        return fail_memory(dir, err);
    }
    status = open_files(checkpoint, err);
    if (status == CE_OK) {
        status = list_tensors(checkpoint, err);
    }
    if (status == CE_OK) {
        status = warn_of_adapter(dir, err);
    }
    if (status != CE_OK) {
        ce_checkpoint_close(checkpoint);
    }
    return status;
}

void ce_checkpoint_close(struct ce_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->files; i++) {
        ce_safetensors_close(&checkpoint->file[i]);
    }
    free(checkpoint->file);
    free(checkpoint->entries);
    free(checkpoint->dir);
    *checkpoint = (struct ce_checkpoint){.dir = NULL};
}

enum ce_status ce_checkpoint_watch(const struct ce_checkpoint *checkpoint,
                                   struct ce_file_watch *watch,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < checkpoint->files; i++) {
        const struct ce_safetensors *file = &checkpoint->file[i];

        status = ce_file_watch_add(watch, file->path, &file->map.stamp, err);
    }
    return status;
}

enum ce_status ce_checkpoint_check_unchanged(const struct ce_checkpoint *checkpoint,
                                             struct ce_error *err)
{
    struct ce_file_watch watch = {.count = 0};
    enum ce_status status = ce_checkpoint_watch(checkpoint, &watch, err);

    if (status == CE_OK) {
        status = ce_file_watch_check(&watch, true, err);
    }
    ce_file_watch_free(&watch);
    return status;
}

static int compare_name_with_entry(const void *name, const void *entry)
{
    return strcmp(name, ((const struct ce_checkpoint_entry *)entry)->name);
}

const struct ce_tensor *ce_checkpoint_find(const struct ce_checkpoint *checkpoint,
                                           const char *name,
                                           const char **path)
{
    if (checkpoint->count == 0) {
        return NULL;
    }
    const struct ce_checkpoint_entry *entry = bsearch(name,
                                                      checkpoint->entries,
                                                      checkpoint->count,
                                                      sizeof(*checkpoint->entries),
                                                      compare_name_with_entry);

    if (entry == NULL) {
        return NULL;
    }
    if (path != NULL) {
        *path = entry->file->path;
    }
    return entry->tensor;
}

static enum ce_status check_tensor(const struct ce_tensor *found,
                                   const struct ce_tensor *wanted,
                                   const char *path,
                                   const char *name,
                                   struct ce_error *err)
{
    char found_text[96];
    char wanted_text[96];

    if (!ce_dtype_is_float(found->dtype)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%.128s': dtype %s, wanted F32, BF16 or F16",
                       path,
                       name,
                       ce_dtype_name(found->dtype));
    }
    if (found->dims == wanted->dims &&
        memcmp(found->shape, wanted->shape, found->dims * sizeof(size_t)) == 0) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor '%.128s': shape %s, wanted %s",
                   path,
                   name,
                   ce_tensor_shape_text(found, found_text, sizeof(found_text)),
                   ce_tensor_shape_text(wanted, wanted_text, sizeof(wanted_text)));
}

enum ce_status ce_checkpoint_require(const struct ce_checkpoint *checkpoint,
                                     const char *name,
                                     unsigned dims,
                                     const size_t *shape,
                                     struct ce_tensor *out,
                                     struct ce_error *err)
{
    const char *path = NULL;
    const struct ce_tensor *found = ce_checkpoint_find(checkpoint, name, &path);
    struct ce_tensor wanted = {.dims = dims};
    char text[96];

    memcpy(wanted.shape, shape, dims * sizeof(*shape));
    if (found == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: tensor '%.128s' is missing, wanted shape %s",
                       checkpoint->dir,
                       name,
                       ce_tensor_shape_text(&wanted, text, sizeof(text)));
    }
    enum ce_status status = check_tensor(found, &wanted, path, name, err);

    if (status == CE_OK) {
        *out = *found;
    }
    return status;
}

uint64_t ce_checkpoint_hash(const struct ce_checkpoint *checkpoint)
{
    uint64_t hash = CE_HASH_START;

    for (size_t i = 0; i < checkpoint->files; i++) {
        hash = ce_hash_u64(hash, ce_safetensors_hash(&checkpoint->file[i]));
    }
    return hash;
}
