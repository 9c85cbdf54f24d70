/* added_tokens_read.c - the list of added tokens of tokenizer.json */

#include "base/log.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>

/* Bounds the time of a search, which is a walk from each byte of the text. */
#define MAX_CONTENT_BYTES ((size_t)1024)

static enum ce_status read_flags(struct ce_added_token *token,
                                 const struct ce_component *entry,
                                 struct ce_error *err)
{
    const struct {
        const char *key;
        bool *value;
    } flags[] = {
        {"single_word", &token->single_word},
        {"lstrip", &token->strip_left},
        {"rstrip", &token->strip_right},
        {"normalized", &token->normalized},
        {"special", &token->special},
    };
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && status == CE_OK; i++) {
        status = ce_component_bool(entry, flags[i].key, flags[i].value, err);
    }
    return status;
}

/* Where they differ, the vocabulary counts: so it does in the reference. */
static void warn_of_two_ids(const struct ce_added_token *token,
                            const struct ce_component *entry,
                            size_t id)
{
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: %s.id: is %zu, but %d in model.vocab, which counts",
               entry->file,
               entry->path,
               id,
               (int)token->id);
    }
}

static enum ce_status read_id(struct ce_added_token *token,
                              const struct ce_component *entry,
                              const json_t *vocab,
                              struct ce_error *err)
{
    const json_t *known =
        json_object_getn(vocab, token->content.data, token->content.bytes);
    size_t id = CE_TOKEN_ID_LIMIT;
    enum ce_status status = ce_component_size(entry, "id", &id, err);

    if (status == CE_OK && id >= CE_TOKEN_ID_LIMIT) {
        status = ce_component_fail(
            entry, "id", CE_ERR_FORMAT, "is not a number from 0 to 2^24 - 1", err);
    }
    if (status != CE_OK) {
        return status;
    }
    token->in_vocabulary = known != NULL;
    token->id = (int32_t)(known != NULL ? json_integer_value(known) : (json_int_t)id);
    if ((size_t)token->id != id) {
        warn_of_two_ids(token, entry, id);
    }
    return CE_OK;
}

static enum ce_status read_form(struct ce_added_token *token,
                                const struct ce_normalizer *normalizer,
                                struct ce_normalizer_scratch *scratch,
                                struct ce_error *err)
{
    struct ce_span form = {.data = token->content.data, .bytes = token->content.bytes};
    enum ce_status status = CE_OK;

    if (token->normalized) {
        status = ce_normalizer_apply(normalizer, scratch, form, &form, err);
    }
    return status == CE_OK ? ce_text_append(&token->form, form, err) : status;
}

static enum ce_status add_to_set(struct ce_added_tokens *added,
                                 size_t index,
                                 const struct ce_component *entry,
                                 struct ce_error *err)
{
    const struct ce_added_token *token = &added->token[index];
    struct ce_span form = {.data = token->form.data, .bytes = token->form.bytes};
    bool is_new = true;

    /* The reference leaves it out. */
    if (token->content.bytes == 0) {
        return CE_OK;
    }
    if (form.bytes == 0) {
        return ce_component_fail(
            entry, "content", CE_ERR_UNSUPPORTED, "is empty once normalized", err);
    }
    enum ce_status status =
        ce_trie_add(token->normalized ? &added->normalized : &added->raw,
                    form,
                    (int32_t)index,
                    &is_new,
                    err);

    if (status == CE_OK && !is_new) {
        status = ce_component_fail(
            entry, "content", CE_ERR_FORMAT, "is that of another added token", err);
    }
    return status;
}

static enum ce_status read_token(struct ce_added_tokens *added,
                                 const struct ce_component *entry,
                                 const json_t *vocab,
                                 const struct ce_normalizer *normalizer,
                                 struct ce_normalizer_scratch *scratch,
                                 struct ce_error *err)
{
    size_t index = added->count++;
    struct ce_added_token *token = &added->token[index];
    struct ce_span content;
    enum ce_status status =
        ce_component_string(entry, "content", MAX_CONTENT_BYTES, &content, err);

    if (status == CE_OK) {
        status = ce_text_append(&token->content, content, err);
    }
    if (status == CE_OK) {
        status = read_flags(token, entry, err);
    }
    if (status == CE_OK) {
        status = read_id(token, entry, vocab, err);
    }
    if (status == CE_OK) {
        status = read_form(token, normalizer, scratch, err);
    }
    if (status == CE_OK) {
        status = add_to_set(added, index, entry, err);
    }
    return status;
}

static size_t content_bytes(const json_t *list)
{
    size_t bytes = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        bytes +=
            json_string_length(json_object_get(json_array_get(list, i), "content"));
    }
    return bytes;
}

static enum ce_status read_list(struct ce_added_tokens *added,
                                const json_t *list,
                                const json_t *vocab,
                                const struct ce_normalizer *normalizer,
                                const char *file,
                                struct ce_error *err)
{
    struct ce_budget budget;
    struct ce_normalizer_scratch scratch = {.budget = &budget};
    enum ce_status status = CE_OK;

    ce_budget_begin(&budget, content_bytes(list));
    scratch.regex = ce_regex_scratch_create(&budget);
    (void)snprintf(added->file, sizeof(added->file), "%s", file);
    added->token = calloc(json_array_size(list) + 1, sizeof(*added->token));
    if (added->token == NULL || scratch.regex == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "out of memory for the added tokens");
    }
    for (size_t i = 0; i < json_array_size(list) && status == CE_OK; i++) {
        struct ce_component entry = {.object = json_array_get(list, i), .file = file};

        (void)snprintf(entry.path, sizeof(entry.path), "added_tokens[%zu]", i);
        status = read_token(added, &entry, vocab, normalizer, &scratch, err);
    }
    ce_regex_scratch_destroy(scratch.regex);
    ce_normalizer_scratch_fini(&scratch);
    return status;
}

enum ce_status ce_added_tokens_read(struct ce_added_tokens *added,
                                    const json_t *root,
                                    const json_t *vocab,
                                    const struct ce_normalizer *normalizer,
                                    const char *file,
                                    struct ce_error *err)
{
    const json_t *list = json_object_get(root, "added_tokens");

    if (list == NULL || json_is_null(list)) {
        return CE_OK;
    }
    if (!json_is_array(list)) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: added_tokens: is not a list", file);
    }
    return read_list(added, list, vocab, normalizer, file, err);
}

void ce_added_tokens_fini(struct ce_added_tokens *added)
{
    for (size_t i = 0; i < added->count; i++) {
        ce_text_free(&added->token[i].content);
        ce_text_free(&added->token[i].form);
    }
    free(added->token);
    ce_trie_fini(&added->raw);
    ce_trie_fini(&added->normalized);
}
