/* open.c - a tokenizer from the files of a model directory */

#include "base/file.h"
#include "base/json.h"
#include "model/tokenizer/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

static enum ce_status
load_tokenizer(struct ce_tokenizer **tokenizer, const char *path, struct ce_error *err)
{
    char *json = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(path, MAX_FILE_BYTES, &json, &bytes, err);

    if (status == CE_OK) {
        status = ce_tokenizer_parse(tokenizer, json, bytes, path, err);
        free(json);
    }
    return status;
}

/* The id of a token that is written as "X" or {"content": "X"}; -1: none. */
static int32_t find_token(const struct ce_tokenizer *tokenizer, const json_t *token)
{
    const json_t *content =
        json_is_object(token) ? json_object_get(token, "content") : token;
    const char *text = json_string_value(content);

    for (size_t i = 0; i < tokenizer->added.count && text != NULL; i++) {
        const struct ce_added_token *added = &tokenizer->added.token[i];

        if (added->content.bytes == json_string_length(content) &&
            memcmp(added->content.data, text, added->content.bytes) == 0) {
            return added->id;
        }
    }
    return -1;
}

/* One of the two ends of a text: "add_bos_token" says whether, "bos_token" what. */
struct end {
    const char *switch_key;
    const char *token_key;
    struct ce_ids *ids;
};

static enum ce_status apply_end(const struct ce_tokenizer *tokenizer,
                                const struct end *end,
                                const json_t *config,
                                const char *path,
                                struct ce_error *err)
{
    struct ce_json_source source = {.file = path, .prefix = ""};
    const json_t *value = json_object_get(config, end->switch_key);
    bool wanted = false;
    enum ce_status status =
        ce_json_read_bool(&source, config, end->switch_key, &wanted, err);

    if (status != CE_OK || value == NULL || json_is_null(value)) {
        return status;
    }
    end->ids->count = 0;
    if (!wanted) {
        return CE_OK;
    }
    int32_t id = find_token(tokenizer, json_object_get(config, end->token_key));

    if (id < 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: is not an added token, but %s is true",
                       path,
                       end->token_key,
                       end->switch_key);
    }
    return ce_ids_append(end->ids, &id, 1, err);
}

static enum ce_status
apply_config(struct ce_tokenizer *tokenizer, const char *path, struct ce_error *err)
{
    const struct end ends[] = {
        {"add_bos_token", "bos_token", &tokenizer->post.before},
        {"add_eos_token", "eos_token", &tokenizer->post.after},
    };
    json_t *config = NULL;
    enum ce_status status = ce_json_load_object(path, MAX_FILE_BYTES, &config, err);

    for (size_t i = 0; i < 2 && status == CE_OK; i++) {
        status = apply_end(tokenizer, &ends[i], config, path, err);
    }
    json_decref(config);
    return status;
}

enum ce_status ce_tokenizer_open(struct ce_tokenizer **tokenizer,
                                 const char *dir,
                                 struct ce_error *err)
{
    char *path = ce_path_join(dir, "tokenizer.json");
    char *config = ce_path_join(dir, "tokenizer_config.json");
    enum ce_status status;

    *tokenizer = NULL;
    if (path == NULL || config == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir);
    } else {
        status = load_tokenizer(tokenizer, path, err);
    }
    if (status == CE_OK && ce_file_exists(config)) {
        status = apply_config(*tokenizer, config, err);
    }
    if (status != CE_OK) {
        ce_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    free(path);
    free(config);
    return status;
}
