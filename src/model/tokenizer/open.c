/* open.c - a tokenizer from the files of a model directory */

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/tokenizer_internal.h"

#include <stdlib.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

static enum ce_status
load_document(json_t **document, const char *path, struct ce_error *err)
{
    char *json = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(path, MAX_FILE_BYTES, &json, &bytes, err);

    if (status == CE_OK) {
        status = ce_tokenizer_parse_document(document, json, bytes, path, err);
        free(json);
    }
    return status;
}

/* The id of a token that is written as "X" or {"content": "X"}; -1: none. */
static int32_t find_token(const struct ce_tokenizer *tokenizer, const json_t *token)
{
    const json_t *content =
        json_is_object(token) ? json_object_get(token, "content") : token;

    return json_is_string(content)
               ? ce_tokenizer_find_added(
                     tokenizer, json_string_value(content), json_string_length(content))
               : -1;
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
    int32_t id = -1;

    if (wanted) {
        id = find_token(tokenizer, json_object_get(config, end->token_key));
        if (id < 0) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: %s: is not an added token, but %s is true",
                           path,
                           end->token_key,
                           end->switch_key);
        }
    }
    if (ce_log_is_speaker() &&
        (end->ids->count != wanted || (wanted && end->ids->id[0] != id))) {
        ce_log(CE_LOG_WARN,
               "%s: %s: is %s, which counts; the post_processor of tokenizer.json does "
               "otherwise, and transformers 5 goes by that",
               path,
               end->switch_key,
               wanted ? "true" : "false");
    }
    end->ids->count = 0;
    return wanted ? ce_ids_append(end->ids, &id, 1, err) : CE_OK;
}

/* What is known only once there is a tokenizer. */
static enum ce_status apply_config(struct ce_tokenizer *tokenizer,
                                   const json_t *config,
                                   const char *path,
                                   struct ce_error *err)
{
    const struct end ends[] = {
        {"add_bos_token", "bos_token", &tokenizer->post.before},
        {"add_eos_token", "eos_token", &tokenizer->post.after},
    };
    struct ce_json_source source = {.file = path, .prefix = ""};
    enum ce_status status = ce_json_read_bool(
        &source, config, "split_special_tokens", &tokenizer->split_specials, err);

    for (size_t i = 0; i < 2 && status == CE_OK; i++) {
        status = apply_end(tokenizer, &ends[i], config, path, err);
    }
    return status;
}

static enum ce_status open_files(struct ce_tokenizer **tokenizer,
                                 const char *dir,
                                 const char *path,
                                 const char *config_path,
                                 struct ce_error *err)
{
    json_t *document = NULL;
    json_t *config = NULL;
    enum ce_status status = load_document(&document, path, err);

    if (status == CE_OK) {
        status = ce_tokenizer_config_load(&config, dir, err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_config_apply(document, config, config_path, err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_read(tokenizer, document, path, err);
    }
    if (status == CE_OK) {
        status = apply_config(*tokenizer, config, config_path, err);
    }
    json_decref(document);
    json_decref(config);
    return status;
}

enum ce_status ce_tokenizer_open(struct ce_tokenizer **tokenizer,
                                 const char *dir,
                                 struct ce_error *err)
{
    char *path = ce_path_join(dir, "tokenizer.json");
    char *config = ce_path_join(dir, "tokenizer_config.json");
    enum ce_status status = CE_OK;

    *tokenizer = NULL;
    if (path == NULL || config == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir);
    } else {
        status = open_files(tokenizer, dir, path, config, err);
    }
    if (status != CE_OK) {
        ce_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    free(path);
    free(config);
    return status;
}
