/* tokenizer_config.c - tokenizer_config.json and the older files beside it */

#include "model/tokenizer/tokenizer_config.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

/* NULL where there is no such file. */
static enum ce_status
load(json_t **object, const char *dir, const char *name, struct ce_error *err)
{
    char *path = ce_path_join(dir, name);
    enum ce_status status = CE_OK;

    *object = NULL;
    if (path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir);
    }
    if (ce_file_exists(path)) {
        status = ce_json_load_object(path, MAX_FILE_BYTES, object, err);
    }
    free(path);
    return status;
}

/* ---- the older files ---- */

static bool is_special(json_t *config, const char *content)
{
    const char *key;
    json_t *value;

    json_object_foreach(config, key, value)
    {
        const json_t *name =
            json_is_object(value) ? json_object_get(value, "content") : value;
        const char *text = json_string_value(name);

        if (text != NULL && strcmp(text, content) == 0) {
            return true;
        }
    }
    return false;
}

/* {CONTENT: ID} as {ID: {"content": CONTENT, "special": ...}}. */
static enum ce_status
put_added(json_t *config, json_t *added, const char *dir, struct ce_error *err)
{
    const char *content;
    json_t *id;
    json_t *decoder = json_object();
    bool fits = decoder != NULL;

    json_object_foreach(added, content, id)
    {
        char key[32];

        if (!json_is_integer(id)) {
            json_decref(decoder);
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s/added_tokens.json: %.128s: is not a token id",
                           dir,
                           content);
        }
        (void)snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(id));
        fits = fits && json_object_set_new(decoder,
                                           key,
                                           json_pack("{s:s, s:b}",
                                                     "content",
                                                     content,
                                                     "special",
                                                     is_special(config, content))) == 0;
    }
    if (!fits || json_object_set(config, "added_tokens_decoder", decoder) != 0) {
        json_decref(decoder);
        return ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir);
    }
    json_decref(decoder);
    return CE_OK;
}

/* transformers reads them where there is no added_tokens_decoder. */
static enum ce_status put_older(json_t *config, const char *dir, struct ce_error *err)
{
    json_t *map = NULL;
    json_t *added = NULL;
    enum ce_status status = load(&map, dir, "special_tokens_map.json", err);

    if (status == CE_OK && map != NULL && json_object_update(config, map) != 0) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir);
    }
    if (status == CE_OK) {
        status = load(&added, dir, "added_tokens.json", err);
    }
    if (status == CE_OK && added != NULL) {
        status = put_added(config, added, dir, err);
    }
    json_decref(map);
    json_decref(added);
    return status;
}

enum ce_status
ce_tokenizer_config_load(json_t **config, const char *dir, struct ce_error *err)
{
    enum ce_status status = load(config, dir, "tokenizer_config.json", err);

    if (status == CE_OK && *config == NULL) {
        *config = json_object();
        status = *config == NULL ? ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", dir)
                                 : CE_OK;
    }
    if (status == CE_OK && json_object_get(*config, "added_tokens_decoder") == NULL) {
        status = put_older(*config, dir, err);
    }
    return status;
}

/* ---- keys ---- */

/* Computed, or without effect on ids and text in transformers 5.23; tokens are named by
 * their ending. */
static const char *const known[] = {"add_bos_token",
                                    "add_eos_token",
                                    "add_prefix_space",
                                    "added_tokens_decoder",
                                    "additional_special_tokens",
                                    "auto_map",
                                    "backend",
                                    "chat_template",
                                    "clean_up_tokenization_spaces",
                                    "errors",
                                    "extra_special_tokens",
                                    "from_slow",
                                    "init_inputs",
                                    "is_local",
                                    "legacy",
                                    "local_files_only",
                                    "max_length",
                                    "merges_file",
                                    "model_input_names",
                                    "model_max_length",
                                    "model_specific_special_tokens",
                                    "name_or_path",
                                    "pad_to_multiple_of",
                                    "pad_token_type_id",
                                    "padding",
                                    "padding_side",
                                    "processor_class",
                                    "response_schema",
                                    "return_token_type_ids",
                                    "sp_model_kwargs",
                                    "spaces_between_special_tokens",
                                    "special_tokens_map_file",
                                    "split_special_tokens",
                                    "stride",
                                    "tokenizer_class",
                                    "tokenizer_file",
                                    "trim_offsets",
                                    "truncation",
                                    "truncation_side",
                                    "truncation_strategy",
                                    "trust_remote_code",
                                    "unsloth_version",
                                    "use_default_system_prompt",
                                    "use_fast",
                                    "verbose",
                                    "vocab_file"};

static bool is_known(const char *key)
{
    static const char ending[] = "_token";
    const size_t length = strlen(key);
    const size_t end = sizeof(ending) - 1;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(key, known[i]) == 0) {
            return true;
        }
    }
    return key[0] == '_' || (length > end && strcmp(key + length - end, ending) == 0);
}

static void warn_of_unknown(json_t *config, const char *file)
{
    const char *key;
    json_t *value;

    json_object_foreach(config, key, value)
    {
        if (!is_known(key) && !json_is_null(value) && !json_is_false(value) &&
            ce_log_is_speaker()) {
            ce_log(CE_LOG_WARN,
                   "%s: %.128s: is not known to this version and not followed",
                   file,
                   key);
        }
    }
}

/* ---- the class and the leading space ---- */

static bool is_generic(const char *name)
{
    return strcmp(name, "PreTrainedTokenizerFast") == 0 ||
           strcmp(name, "PreTrainedTokenizer") == 0 ||
           strcmp(name, "TokenizersBackend") == 0;
}

static json_t *find_byte_level(json_t *stage)
{
    const char *type = json_string_value(json_object_get(stage, "type"));
    json_t *list = json_object_get(stage, "pretokenizers");
    json_t *part;
    size_t i;

    if (type != NULL && strcmp(type, "ByteLevel") == 0) {
        return stage;
    }
    json_array_foreach(list, i, part)
    {
        json_t *found = find_byte_level(part);

        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

static enum ce_status set_prefix_space(json_t *document,
                                       const json_t *config,
                                       const char *class_name,
                                       const char *file,
                                       struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = ""};
    json_t *stage = find_byte_level(json_object_get(document, "pre_tokenizer"));
    bool now = json_is_true(json_object_get(stage, "add_prefix_space"));
    bool wanted = now;
    enum ce_status status =
        ce_json_read_bool(&source, config, "add_prefix_space", &wanted, err);

    if (status != CE_OK || wanted == now) {
        return status;
    }
    if (stage != NULL && ce_tokenizer_class_is_made(class_name)) {
        return json_object_set_new(stage, "add_prefix_space", json_boolean(wanted)) == 0
                   ? CE_OK
                   : ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", file);
    }
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: add_prefix_space: is %s, but the pre_tokenizer of tokenizer.json "
               "says %s, which counts",
               file,
               wanted ? "true" : "false",
               now ? "true" : "false");
    }
    return CE_OK;
}

enum ce_status ce_tokenizer_config_apply(json_t *document,
                                         json_t *config,
                                         const char *file,
                                         struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = ""};
    const char *class_name = NULL;
    enum ce_status status =
        ce_json_read_string(&source, config, "tokenizer_class", &class_name, err);

    if (status == CE_OK) {
        warn_of_unknown(config, file);
        ce_tokenizer_config_warn_of_class(document, config, class_name, file);
        status = set_prefix_space(document, config, class_name, file, err);
    }
    if (status == CE_OK && !ce_tokenizer_class_is_made(class_name) &&
        !is_generic(class_name) && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: tokenizer_class: '%.64s' is not followed; tokenizer.json is",
               file,
               class_name);
    }
    return status == CE_OK ? ce_tokenizer_config_add_tokens(document, config, file, err)
                           : status;
}
