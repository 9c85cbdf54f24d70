/* encoder.c - which tokens stand at the ends of texts, and when they are added */

#include "eval/encoder.h"

#include "base/file.h"
#include "base/json.h"
#include "model/tokenizer/tokenizer_config.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)16 << 20)

struct reading {
    struct ce_encoder *encoder;
    const char *dir;
    int32_t bos; /* -1: none */
    int32_t eos;
    struct ce_error *err;
};

/* The text of "X" or {"content": "X"}; NULL where there is none. */
static const json_t *content_of(const json_t *token)
{
    const json_t *content =
        json_is_object(token) ? json_object_get(token, "content") : token;

    return json_is_string(content) ? content : NULL;
}

/* A token that the tokenizer does not have as one is no token. */
static enum ce_status
find_id(struct reading *reading, const json_t *content, int32_t *id)
{
    struct ce_ids ids = {.id = NULL};
    enum ce_status status = CE_OK;

    *id = ce_tokenizer_find_added(reading->encoder->tokenizer,
                                  json_string_value(content),
                                  json_string_length(content));
    if (*id >= 0) {
        return CE_OK;
    }
    status = ce_tokenizer_encode_bare(reading->encoder->tokenizer,
                                      json_string_value(content),
                                      json_string_length(content),
                                      false,
                                      &ids,
                                      reading->err);

    *id = status == CE_OK && ids.count == 1 ? ids.id[0] : -1;
    ce_ids_free(&ids);
    return status;
}

/* *known: the file says something about the token, if only null. */
static enum ce_status read_token(struct reading *reading,
                                 const json_t *config,
                                 const char *key,
                                 int32_t *id,
                                 bool *known)
{
    const json_t *token = json_object_get(config, key);
    const json_t *content = content_of(token);

    *known = token != NULL;
    return content != NULL ? find_id(reading, content, id) : CE_OK;
}

static enum ce_status load_config(struct reading *reading, json_t **object)
{
    char *path = ce_path_join(reading->dir, "config.json");
    enum ce_status status = CE_OK;

    *object = NULL;
    if (path == NULL) {
        status = ce_fail(reading->err, CE_ERR_NOMEM, "%s: out of memory", reading->dir);
    } else if (ce_file_exists(path)) {
        status = ce_json_load_object(path, MAX_FILE_BYTES, object, reading->err);
    }
    free(path);
    return status;
}

/* The first of several ids; -1 for what is none or not in the vocabulary. */
static int32_t id_of(const struct reading *reading, const json_t *value)
{
    const json_t *id = json_is_array(value) ? json_array_get(value, 0) : value;
    json_int_t number = json_is_integer(id) ? json_integer_value(id) : -1;
    size_t size = ce_tokenizer_size(reading->encoder->tokenizer);

    return number >= 0 && (size_t)number < size ? (int32_t)number : -1;
}

static enum ce_status read_config_ids(struct reading *reading, bool bos, bool eos)
{
    json_t *config = NULL;
    enum ce_status status = load_config(reading, &config);

    if (bos) {
        reading->bos = id_of(reading, json_object_get(config, "bos_token_id"));
    }
    if (eos) {
        reading->eos = id_of(reading, json_object_get(config, "eos_token_id"));
    }
    json_decref(config);
    return status;
}

static enum ce_status read_ids(struct reading *reading)
{
    json_t *config = NULL;
    bool bos_known = false;
    bool eos_known = false;
    enum ce_status status =
        ce_tokenizer_config_load(&config, reading->dir, reading->err);

    if (status == CE_OK) {
        status = read_token(reading, config, "bos_token", &reading->bos, &bos_known);
    }
    if (status == CE_OK) {
        status = read_token(reading, config, "eos_token", &reading->eos, &eos_known);
    }
    json_decref(config);
    if (status == CE_OK && (!bos_known || !eos_known)) {
        status = read_config_ids(reading, !bos_known, !eos_known);
    }
    return status;
}

/* NULL for no token. */
static enum ce_status text_of(struct reading *reading, int32_t id, char **out)
{
    struct ce_text text = {.data = NULL};
    enum ce_status status = CE_OK;

    *out = NULL;
    if (id >= 0) {
        status = ce_tokenizer_decode(
            reading->encoder->tokenizer, &id, 1, false, &text, reading->err);
        *out = text.data;
    }
    return status;
}

static enum ce_status fill(struct reading *reading)
{
    struct ce_encoder *encoder = reading->encoder;
    enum ce_status status = text_of(reading, reading->bos, &encoder->bos_text);

    encoder->prefix = reading->bos >= 0 ? reading->bos : reading->eos;
    if (encoder->prefix < 0) {
        return ce_fail(reading->err,
                       CE_ERR_FORMAT,
                       "%s: neither bos_token nor eos_token is a token, and one must "
                       "stand before a text that is scored from its beginning",
                       reading->dir);
    }
    if (status == CE_OK) {
        status = text_of(reading, reading->eos, &encoder->eos_text);
    }
    if (status == CE_OK) {
        status = text_of(reading, encoder->prefix, &encoder->prefix_text);
    }
    return status;
}

enum ce_status ce_encoder_open(struct ce_encoder *encoder,
                               const struct ce_tokenizer *tokenizer,
                               const char *dir,
                               size_t max_length,
                               struct ce_error *err)
{
    struct reading reading = {
        .encoder = encoder, .dir = dir, .bos = -1, .eos = -1, .err = err};
    enum ce_status status = CE_OK;

    *encoder = (struct ce_encoder){.tokenizer = tokenizer, .max_length = max_length};
    if (max_length < 2) {
        return ce_fail(
            err, CE_ERR_ARG, "a maximal length of %zu tokens is below 2", max_length);
    }
    status = read_ids(&reading);
    return status == CE_OK ? fill(&reading) : status;
}

void ce_encoder_close(struct ce_encoder *encoder)
{
    free(encoder->prefix_text);
    free(encoder->bos_text);
    free(encoder->eos_text);
    *encoder = (struct ce_encoder){.tokenizer = NULL};
}

/* As str.startswith: every text begins with "". */
static bool begins_with(const char *text, size_t bytes, const char *beginning)
{
    size_t length = strlen(beginning);

    return length <= bytes && memcmp(text, beginning, length) == 0;
}

static bool is_bare(const struct ce_encoder *encoder,
                    enum ce_encode_use use,
                    const char *text,
                    size_t bytes)
{
    switch (use) {
    case CE_ENCODE_SCORED:
        return encoder->prefix_text != NULL &&
               begins_with(text, bytes, encoder->prefix_text);
    case CE_ENCODE_CONTEXT:
        return encoder->bos_text != NULL && begins_with(text, bytes, encoder->bos_text);
    case CE_ENCODE_BARE:
        break;
    }
    return true;
}

enum ce_status ce_encoder_encode(const struct ce_encoder *encoder,
                                 enum ce_encode_use use,
                                 const char *text,
                                 size_t bytes,
                                 struct ce_ids *ids,
                                 struct ce_error *err)
{
    return is_bare(encoder, use, text, bytes)
               ? ce_tokenizer_encode_bare(
                     encoder->tokenizer, text, bytes, false, ids, err)
               : ce_tokenizer_encode(encoder->tokenizer, text, bytes, false, ids, err);
}
