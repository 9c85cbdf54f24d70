/* checkpoint_index.c - model.safetensors.index.json and its shards
 *
 *     {"metadata": {...}, "weight_map": {TENSOR: FILE, ...}}
 *
 * The metadata is informative and often wrong, so it is not read. The map is
 * checked both ways: every tensor it lists is in the file it names, and every
 * tensor of the files is listed for the file it is in. So no tensor comes twice
 * and none is forgotten.
 */

#include "base/json.h"
#include "model/checkpoint_parts.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_LIMIT ((size_t)64 << 20)

/* A file in the directory or in a folder of it: nothing hidden, no way out. */
static bool is_inside(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t length = strlen(name);
    size_t end = sizeof(ending) - 1;

    if (length <= end || strcmp(name + length - end, ending) != 0 || name[0] == '/' ||
        name[length - end - 1] == '/') {
        return false;
    }
    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        part += part != name; /* the slash */
        if (part[0] == '.' || part[0] == '/') {
            return false;
        }
    }
    return true;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t drop_repeated(const char **names, size_t count)
{
    size_t kept = 0;

    qsort(names, count, sizeof(*names), compare_strings);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0) {
            names[kept++] = names[i];
        }
    }
    return kept;
}

/* The different files of the map, sorted; `names` has room for one a tensor. */
static enum ce_status collect_shards(json_t *map,
                                     const char *index_path,
                                     const char **names,
                                     size_t *count,
                                     struct ce_error *err)
{
    const char *tensor;
    json_t *value;
    size_t used = 0;

    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);

        if (name == NULL || !is_inside(name)) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: weight_map: %.128s: '%.64s' is not the name of a "
                           ".safetensors file in the directory or a folder of it",
                           index_path,
                           tensor,
                           name == NULL ? "" : name);
        }
        names[used++] = name;
    }
    *count = drop_repeated(names, used);
    return CE_OK;
}

/* Every tensor of a shard is listed, and for this shard. */
static enum ce_status check_shard(const struct ce_safetensors *shard,
                                  const char *name,
                                  const json_t *map,
                                  struct ce_error *err)
{
    for (size_t i = 0; i < shard->count; i++) {
        const char *tensor = shard->entries[i].name;
        const char *listed = json_string_value(json_object_get(map, tensor));

        if (listed == NULL) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: tensor '%.128s': the index does not list it",
                           shard->path,
                           tensor);
        }
        if (strcmp(listed, name) != 0) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: tensor '%.128s': the index lists it in '%.64s'",
                           shard->path,
                           tensor,
                           listed);
        }
    }
    return CE_OK;
}

/* Every listed tensor is in a shard; after check_shard it is in the right one,
 * so that only a tensor in no shard at all is left to find. */
static enum ce_status check_listed(const struct ce_checkpoint *checkpoint,
                                   json_t *map,
                                   const char *index_path,
                                   struct ce_error *err)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(map, tensor, value)
    {
        bool found = false;

        for (size_t i = 0; !found && i < checkpoint->files; i++) {
            found = ce_safetensors_find(&checkpoint->file[i], tensor) != NULL;
        }
        if (!found) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: weight_map: tensor '%.128s' is not in '%.64s'",
                           index_path,
                           tensor,
                           json_string_value(value));
        }
    }
    return CE_OK;
}

static enum ce_status open_named(struct ce_checkpoint *checkpoint,
                                 const char *const *names,
                                 size_t count,
                                 json_t *map,
                                 const char *index_path,
                                 struct ce_error *err)
{
    size_t tensors = 0;
    enum ce_status status = CE_OK;

    checkpoint->file = calloc(count + 1, sizeof(*checkpoint->file));
    if (checkpoint->file == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its shards", index_path);
    }
    for (size_t i = 0; status == CE_OK && i < count; i++) {
        status = ce_checkpoint_open_file(checkpoint, names[i], err);
        if (status == CE_OK) {
            status = check_shard(&checkpoint->file[i], names[i], map, err);
            tensors += checkpoint->file[i].count;
        }
    }
    if (status == CE_OK && tensors != json_object_size(map)) {
        status = check_listed(checkpoint, map, index_path, err);
    }
    return status;
}

static enum ce_status open_map(struct ce_checkpoint *checkpoint,
                               json_t *map,
                               const char *index_path,
                               struct ce_error *err)
{
    size_t tensors = json_object_size(map);

    if (tensors == 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: weight_map: is not an object that lists tensors",
                       index_path);
    }
    const char **names = calloc(tensors, sizeof(*names));

    if (names == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its names", index_path);
    }
    size_t count = 0;
    enum ce_status status = collect_shards(map, index_path, names, &count, err);

    if (status == CE_OK) {
        status = open_named(checkpoint, names, count, map, index_path, err);
    }
    free(names);
    return status;
}

enum ce_status ce_checkpoint_open_shards(struct ce_checkpoint *checkpoint,
                                         const char *index_path,
                                         struct ce_error *err)
{
    json_t *root;
    enum ce_status status = ce_json_load_object(index_path, INDEX_LIMIT, &root, err);

    if (status == CE_OK) {
        json_t *map = json_object_get(root, "weight_map");

        status = open_map(checkpoint, map, index_path, err);
    }
    json_decref(root);
    return status;
}
