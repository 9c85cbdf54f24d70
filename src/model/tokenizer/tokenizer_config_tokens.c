/* tokenizer_config_tokens.c - tokens of tokenizer_config.json into those of
 * tokenizer.json
 *
 * A token that the vocabulary has keeps its id there; one that nobody has gets the next
 * id, whatever id added_tokens_decoder gives it. So it is in transformers, and a
 * difference is warned of.
 */

#include "base/log.h"
#include "model/tokenizer/text.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/vocabulary.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The document's tokens while others are added. */
struct adding {
    json_t *list;        /* added_tokens */
    json_t *place;       /* content: index in the list */
    const json_t *vocab; /* model.vocab */
    json_t *config;
    json_int_t next;  /* the id of a token that nobody has */
    size_t warnings;  /* tokens that were warned of, or are counted only */
    const char *file; /* tokenizer_config.json */
    struct ce_error *err;
};

/* A token as tokenizer_config.json describes it. */
struct described {
    const json_t *content;
    bool single_word;
    bool lstrip;
    bool rstrip;
    bool normalized;
    bool special;
    json_int_t id; /* -1: not said */
};

static enum ce_status
fail(const struct adding *adding, const char *key, const char *why)
{
    return ce_fail(
        adding->err, CE_ERR_FORMAT, "%s: %.128s: %s", adding->file, key, why);
}

static enum ce_status fail_memory(const struct adding *adding)
{
    return ce_fail(
        adding->err, CE_ERR_NOMEM, "%s: no memory for its tokens", adding->file);
}

static enum ce_status read_flag(const struct adding *adding,
                                const json_t *token,
                                const char *key,
                                const char *flag,
                                bool *value)
{
    const json_t *given = json_object_get(token, flag);

    if (given == NULL || json_is_null(given)) {
        return CE_OK;
    }
    if (!json_is_boolean(given)) {
        char why[64];

        (void)snprintf(why, sizeof(why), "%s is not true or false", flag);
        return fail(adding, key, why);
    }
    *value = json_is_true(given);
    return CE_OK;
}

/* "X", or an object with the flags; `special` is the default of that flag. */
static enum ce_status describe(const struct adding *adding,
                               const char *key,
                               const json_t *token,
                               bool special,
                               struct described *out)
{
    const struct {
        const char *name;
        bool *value;
    } flags[] = {
        {"single_word", &out->single_word},
        {"lstrip", &out->lstrip},
        {"rstrip", &out->rstrip},
        {"normalized", &out->normalized},
    };
    enum ce_status status = CE_OK;

    *out = (struct described){.content = token, .special = special, .id = -1};
    if (json_is_object(token)) {
        out->content = json_object_get(token, "content");
        status = read_flag(adding, token, key, "special", &out->special);
    }
    if (status == CE_OK && !json_is_string(out->content)) {
        return fail(adding, key, "is not a token");
    }
    out->normalized = !out->special;
    for (size_t i = 0; status == CE_OK && i < sizeof(flags) / sizeof(flags[0]); i++) {
        status = read_flag(adding, token, key, flags[i].name, flags[i].value);
    }
    return status;
}

static json_t *find(const struct adding *adding, const json_t *content)
{
    const json_t *place = json_object_getn(
        adding->place, json_string_value(content), json_string_length(content));

    return place == NULL
               ? NULL
               : json_array_get(adding->list, (size_t)json_integer_value(place));
}

static enum ce_status remember(const struct adding *adding, const json_t *content)
{
    const size_t last = json_array_size(adding->list) - 1;

    return json_object_setn_new(adding->place,
                                json_string_value(content),
                                json_string_length(content),
                                json_integer((json_int_t)last)) == 0
               ? CE_OK
               : fail_memory(adding);
}

static enum ce_status
set_flags(const struct adding *adding, json_t *entry, const struct described *token)
{
    const struct {
        const char *name;
        bool value;
    } flags[] = {
        {"single_word", token->single_word},
        {"lstrip", token->lstrip},
        {"rstrip", token->rstrip},
        {"normalized", token->normalized},
        {"special", token->special},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (json_object_set_new(entry, flags[i].name, json_boolean(flags[i].value)) !=
            0) {
            return fail_memory(adding);
        }
    }
    return CE_OK;
}

static enum ce_status append(struct adding *adding, const struct described *token)
{
    const json_t *known = json_object_getn(adding->vocab,
                                           json_string_value(token->content),
                                           json_string_length(token->content));
    const json_int_t id =
        json_is_integer(known) ? json_integer_value(known) : adding->next;
    json_t *entry = json_object();

    if (entry == NULL || json_object_set_new(entry, "id", json_integer(id)) != 0 ||
        json_object_set(entry, "content", (json_t *)(uintptr_t)token->content) != 0 ||
        json_array_append(adding->list, entry) != 0) {
        json_decref(entry);
        return fail_memory(adding);
    }
    json_decref(entry); /* the list has it */
    adding->next += known == NULL;
    enum ce_status status = set_flags(adding, entry, token);

    return status == CE_OK ? remember(adding, token->content) : status;
}

/* Tokens that are named; of more only their number is said. */
#define MOST_WARNINGS 4

static void warn_of_differences(struct adding *adding,
                                const char *key,
                                const json_t *entry,
                                const struct described *token,
                                bool was_special)
{
    const json_int_t id = json_integer_value(json_object_get(entry, "id"));
    const bool moved = token->id >= 0 && token->id != id;

    if (!ce_log_is_speaker() || (!moved && was_special == token->special) ||
        adding->warnings++ >= MOST_WARNINGS) {
        return;
    }
    if (moved) {
        ce_log(CE_LOG_WARN,
               "%s: %s: the token has the id %lld, as in transformers",
               adding->file,
               key,
               (long long)id);
    }
    if (was_special != token->special) {
        ce_log(CE_LOG_WARN,
               "%s: %s.special: is %s, which counts; tokenizer.json says %s",
               adding->file,
               key,
               token->special ? "true" : "false",
               was_special ? "true" : "false");
    }
}

static void warn_of_number(const struct adding *adding)
{
    if (adding->warnings > MOST_WARNINGS) {
        ce_log(CE_LOG_WARN,
               "%s: added_tokens_decoder: %zu more tokens have another id or kind",
               adding->file,
               adding->warnings - MOST_WARNINGS);
    }
}

/* A token of added_tokens_decoder: its flags overrule those of tokenizer.json. */
static enum ce_status
add_decoded(struct adding *adding, const char *key, const struct described *token)
{
    json_t *entry = find(adding, token->content);
    bool was_special = token->special;
    enum ce_status status = CE_OK;

    if (json_string_length(token->content) == 0) {
        return CE_OK;
    }
    if (entry == NULL) {
        status = append(adding, token);
        entry = json_array_get(adding->list, json_array_size(adding->list) - 1);
    } else {
        was_special = json_is_true(json_object_get(entry, "special"));
        status = set_flags(adding, entry, token);
    }
    if (status == CE_OK) {
        warn_of_differences(adding, key, entry, token, was_special);
    }
    return status;
}

static const char *const named[] = {"bos_token",
                                    "eos_token",
                                    "unk_token",
                                    "sep_token",
                                    "pad_token",
                                    "cls_token",
                                    "mask_token"};
#define NAMED (sizeof(named) / sizeof(named[0]))

/* One of these is special whatever added_tokens_decoder says. */
static bool is_named(const struct adding *adding, const json_t *content)
{
    for (size_t i = 0; i < NAMED; i++) {
        const json_t *token = json_object_get(adding->config, named[i]);

        if (json_equal(json_is_object(token) ? json_object_get(token, "content")
                                             : token,
                       content)) {
            return true;
        }
    }
    return false;
}

struct numbered {
    json_int_t id;
    const json_t *token;
};

static int compare_numbers(const void *a, const void *b)
{
    const struct numbered *left = a;
    const struct numbered *right = b;

    return (left->id > right->id) - (left->id < right->id);
}

static enum ce_status collect(const struct adding *adding,
                              json_t *decoder,
                              struct numbered *numbered,
                              size_t *count)
{
    const char *key;
    json_t *token;

    json_object_foreach(decoder, key, token)
    {
        char *end = NULL;
        const long long id = strtoll(key, &end, 10);

        if (key[0] < '0' || key[0] > '9' || *end != '\0' ||
            id >= (long long)CE_TOKEN_ID_LIMIT) {
            return fail(
                adding, "added_tokens_decoder", "has a key that is no token id");
        }
        numbered[(*count)++] = (struct numbered){id, token};
    }
    qsort(numbered, *count, sizeof(*numbered), compare_numbers);
    return CE_OK;
}

static enum ce_status add_decoder(struct adding *adding, json_t *decoder)
{
    size_t count = 0;
    struct numbered *numbered =
        calloc(json_object_size(decoder) + 1, sizeof(*numbered));
    enum ce_status status = numbered == NULL
                                ? fail_memory(adding)
                                : collect(adding, decoder, numbered, &count);

    for (size_t i = 0; status == CE_OK && i < count; i++) {
        struct described token;
        char key[64];

        (void)snprintf(
            key, sizeof(key), "added_tokens_decoder.%lld", (long long)numbered[i].id);
        if (!json_is_object(numbered[i].token)) {
            status = fail(adding, key, "is not an object");
            break;
        }
        status = describe(adding, key, numbered[i].token, false, &token);
        token.id = numbered[i].id;
        if (status == CE_OK) {
            token.special = token.special || is_named(adding, token.content);
            status = add_decoded(adding, key, &token);
        }
    }
    free(numbered);
    return status;
}

/* A special token, where there is none of this text yet. */
static enum ce_status
add_special(struct adding *adding, const char *key, const json_t *value, bool force)
{
    struct described token;
    enum ce_status status = CE_OK;

    if (json_is_null(value)) {
        return CE_OK;
    }
    status = describe(adding, key, value, force || json_is_string(value), &token);
    if (status != CE_OK || json_string_length(token.content) == 0 ||
        find(adding, token.content) != NULL) {
        return status;
    }
    token.special = token.special || force;
    return append(adding, &token);
}

static bool is_model_token(const char *key, const json_t *value)
{
    static const char ending[] = "_token";
    const size_t length = strlen(key);
    const size_t end = sizeof(ending) - 1;

    for (size_t i = 0; i < NAMED; i++) {
        if (strcmp(key, named[i]) == 0) {
            return false;
        }
    }
    return length > end && strcmp(key + length - end, ending) == 0 &&
           (json_is_string(value) || json_is_object(value));
}

static enum ce_status add_named(struct adding *adding)
{
    const char *key;
    json_t *value;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < NAMED; i++) {
        value = json_object_get(adding->config, named[i]);
        status = value == NULL ? CE_OK : add_special(adding, named[i], value, true);
    }
    json_object_foreach(adding->config, key, value)
    {
        if (status == CE_OK && is_model_token(key, value)) {
            status = add_special(adding, key, value, true);
        }
    }
    return status;
}

/* A list of tokens, or an object whose values are tokens. */
static enum ce_status
add_further(struct adding *adding, const char *key, json_t *tokens)
{
    const char *name;
    json_t *value;
    size_t i;
    enum ce_status status = CE_OK;

    if (json_is_object(tokens)) {
        json_object_foreach(tokens, name, value)
        {
            status = status == CE_OK ? add_special(adding, key, value, true) : status;
        }
    } else if (json_is_array(tokens)) {
        json_array_foreach(tokens, i, value)
        {
            status = status == CE_OK ? add_special(adding, key, value, false) : status;
        }
    } else if (tokens != NULL && !json_is_null(tokens)) {
        status = fail(adding, key, "is not a list of tokens");
    }
    return status;
}

static enum ce_status add_all(struct adding *adding)
{
    json_t *config = adding->config;
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    json_t *extra = json_object_get(config, "extra_special_tokens");
    enum ce_status status = CE_OK;

    if (decoder != NULL && !json_is_null(decoder) && !json_is_object(decoder)) {
        return fail(adding, "added_tokens_decoder", "is not an object");
    }
    status = add_decoder(adding, decoder);
    warn_of_number(adding);
    if (status == CE_OK) {
        status = add_named(adding);
    }
    if (status == CE_OK) {
        status = add_further(adding,
                             "model_specific_special_tokens",
                             json_object_get(config, "model_specific_special_tokens"));
    }
    if (status == CE_OK) {
        status = add_further(adding, "extra_special_tokens", extra);
    }
    /* An older name, read where the new one has nothing. */
    if (status == CE_OK && json_array_size(extra) + json_object_size(extra) == 0) {
        status = add_further(adding,
                             "additional_special_tokens",
                             json_object_get(config, "additional_special_tokens"));
    }
    return status;
}

/* What stands in the vocabulary and the list already. */
static enum ce_status take_known(struct adding *adding)
{
    const char *key;
    json_t *value;
    size_t i;
    enum ce_status status = CE_OK;

    json_object_foreach((json_t *)(uintptr_t)adding->vocab, key, value)
    {
        if (json_integer_value(value) >= adding->next) {
            adding->next = json_integer_value(value) + 1;
        }
    }
    json_array_foreach(adding->list, i, value)
    {
        const json_t *content = json_object_get(value, "content");
        const json_int_t id = json_integer_value(json_object_get(value, "id"));

        if (id >= adding->next && id < (json_int_t)CE_TOKEN_ID_LIMIT) {
            adding->next = id + 1;
        }
        if (status == CE_OK && json_is_string(content) &&
            json_object_setn_new(adding->place,
                                 json_string_value(content),
                                 json_string_length(content),
                                 json_integer((json_int_t)i)) != 0) {
            status = fail_memory(adding);
        }
    }
    return status;
}

enum ce_status ce_tokenizer_config_add_tokens(json_t *document,
                                              json_t *config,
                                              const char *file,
                                              struct ce_error *err)
{
    struct adding adding = {
        .list = json_object_get(document, "added_tokens"),
        .place = json_object(),
        .vocab = json_object_get(json_object_get(document, "model"), "vocab"),
        .config = config,
        .file = file,
        .err = err};
    enum ce_status status = CE_OK;

    if (adding.list == NULL || json_is_null(adding.list)) {
        adding.list = json_array();
        if (json_object_set_new(document, "added_tokens", adding.list) != 0) {
            adding.list = NULL;
        }
    }
    if (adding.list == NULL || adding.place == NULL) {
        status = fail_memory(&adding);
    } else if (json_is_array(adding.list)) { /* else its reader refuses it */
        status = take_known(&adding);
        status = status == CE_OK ? add_all(&adding) : status;
    }
    json_decref(adding.place);
    return status;
}
