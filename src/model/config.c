/* config.c - config.json to the reader of its architecture */

#include "model/config.h"

#include "base/file.h"
#include "base/json.h"
#include "model/config_parts.h"

#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)4 << 20)

static const struct {
    const char *name;       /* model_type */
    const char *class_name; /* architectures[0] */
    enum ce_status (*read)(struct ce_config *config,
                           const json_t *root,
                           const char *file,
                           struct ce_error *err);
} architectures[] = {
    [CE_ARCH_OLMOE] = {"olmoe", "OlmoeForCausalLM", ce_config_read_olmoe},
};
#define ARCHITECTURE_COUNT (sizeof(architectures) / sizeof(architectures[0]))

const char *ce_architecture_name(enum ce_architecture architecture)
{
    return architectures[architecture].name;
}

static enum ce_status
fail_unknown(const char *model_type, const char *file, struct ce_error *err)
{
    char known[128] = "";
    size_t used = 0;

    for (size_t i = 0; i < ARCHITECTURE_COUNT && used < sizeof(known); i++) {
        used += (size_t)snprintf(known + used,
                                 sizeof(known) - used,
                                 "%s%s",
                                 i == 0 ? "" : ", ",
                                 architectures[i].name);
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: model_type: '%.64s' is not supported; supported: %s",
                   file,
                   model_type,
                   known);
}

static enum ce_status find_architecture(enum ce_architecture *architecture,
                                        const json_t *root,
                                        const char *file,
                                        struct ce_error *err)
{
    const struct ce_json_source source = {.file = file, .prefix = ""};
    const char *name = NULL;
    enum ce_status status =
        ce_json_read_string(&source, root, "model_type", &name, err);

    if (status != CE_OK) {
        return status;
    }
    if (name == NULL) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: model_type: is missing", file);
    }
    for (size_t i = 0; i < ARCHITECTURE_COUNT; i++) {
        if (strcmp(name, architectures[i].name) == 0) {
            *architecture = (enum ce_architecture)i;
            return CE_OK;
        }
    }
    return fail_unknown(name, file, err);
}

/* A checkpoint of the same model_type can hold another head, e.g. a classifier. */
static enum ce_status check_class(enum ce_architecture architecture,
                                  const json_t *root,
                                  const char *file,
                                  struct ce_error *err)
{
    const char *wanted = architectures[architecture].class_name;
    const json_t *list = json_object_get(root, "architectures");
    const char *first = json_string_value(json_array_get(list, 0));

    if (list == NULL || json_is_null(list) ||
        (json_is_array(list) && json_array_size(list) == 0)) {
        return CE_OK;
    }
    if (first == NULL) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: architectures: is not a list of names", file);
    }
    if (strcmp(first, wanted) != 0) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: architectures: '%.64s' is not supported; supported: %s",
                       file,
                       first,
                       wanted);
    }
    return CE_OK;
}

static enum ce_status
read_root(struct ce_config *out, json_t *root, const char *file, struct ce_error *err)
{
    struct ce_config config;
    enum ce_architecture architecture;
    enum ce_status status = find_architecture(&architecture, root, file, err);

    if (status == CE_OK) {
        status = check_class(architecture, root, file, err);
    }
    if (status == CE_OK) {
        status = architectures[architecture].read(&config, root, file, err);
    }
    if (status == CE_OK) {
        status = ce_config_check(&config, file, err);
    }
    if (status == CE_OK) {
        status = ce_config_check_keys(&config, root, file, err);
    }
    if (status == CE_OK) {
        *out = config;
    }
    return status;
}

enum ce_status ce_config_parse(struct ce_config *config,
                               const char *text,
                               size_t bytes,
                               const char *file,
                               struct ce_error *err)
{
    json_t *root;
    enum ce_status status = ce_json_parse_object(text, bytes, file, &root, err);

    *config = (struct ce_config){.layers = 0};
    if (status == CE_OK) {
        status = read_root(config, root, file, err);
    }
    json_decref(root);
    return status;
}

typedef enum ce_status parse_function(struct ce_config *config,
                                      const char *text,
                                      size_t bytes,
                                      const char *file,
                                      struct ce_error *err);

static enum ce_status load_file(struct ce_config *config,
                                const char *path,
                                parse_function *parse,
                                struct ce_error *err)
{
    char *text;
    size_t bytes;
    enum ce_status status = ce_file_read(path, FILE_LIMIT, &text, &bytes, err);

    if (status == CE_OK) {
        status = parse(config, text, bytes, path, err);
        free(text);
    }
    return status;
}

static enum ce_status load_config(struct ce_config *config,
                                  const char *dir,
                                  const char *path,
                                  struct ce_error *err)
{
    if (!ce_file_exists(dir)) {
        return ce_fail(err, CE_ERR_IO, "%s: no such directory", dir);
    }
    if (!ce_file_exists(path)) {
        return ce_fail(err,
                       CE_ERR_IO,
                       "%s: not found; a model is a directory with config.json, "
                       "tokenizer.json and model.safetensors (or "
                       "model.safetensors.index.json and its shards)",
                       path);
    }
    return load_file(config, path, ce_config_parse, err);
}

enum ce_status
ce_config_load(struct ce_config *config, const char *dir, struct ce_error *err)
{
    char *path = ce_path_join(dir, "config.json");
    char *generation = ce_path_join(dir, "generation_config.json");
    enum ce_status status;

    *config = (struct ce_config){.layers = 0};
    if (path == NULL || generation == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its paths", dir);
    } else {
        status = load_config(config, dir, path, err);
    }
    if (status == CE_OK && ce_file_exists(generation)) {
        status = load_file(config, generation, ce_config_parse_generation, err);
    }
    free(path);
    free(generation);
    return status;
}
