/* tokenizer.c - opening a tokenizer: the stages of tokenizer.json put together */

#include "base/json.h"
#include "base/text_file.h"
#include "model/tokenizer/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

/* Bounds what an answer of some tokens can become; known ones have 500. */
#define MAX_TOKEN_BYTES ((size_t)16 * 1024)

enum ce_status ce_tokenizer_parse_document(json_t **root,
                                           const char *json,
                                           size_t bytes,
                                           const char *file,
                                           struct ce_error *err)
{
    struct ce_json_problem why;
    enum ce_status status = ce_text_check(json, bytes, file, err);

    *root = NULL;
    if (status == CE_OK) {
        status = ce_json_check_memory(json, bytes, file, err);
    }
    if (status != CE_OK) {
        return status;
    }
    *root = ce_json_text_parse(json, bytes, CE_JSON_NUL, &why);
    if (*root == NULL) {
        return ce_json_fail(file, &why, err);
    }
    if (!json_is_object(*root) || ce_json_odd(*root) != NULL) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: not a JSON object", file);
    }
    return CE_OK;
}

static enum ce_status
check_version(const json_t *root, const char *file, struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = ""};
    const char *version = "1.0";
    enum ce_status status =
        ce_json_read_string(&source, root, "version", &version, err);

    if (status == CE_OK && strcmp(version, "1.0") != 0) {
        status = ce_fail(err, CE_ERR_UNSUPPORTED, "%s: version: is not 1.0", file);
    }
    return status;
}

/* Text in, text out: a byte-level vocabulary at one end only is no tokenizer. */
static enum ce_status
check_ends(const struct ce_tokenizer *tokenizer, const char *file, struct ce_error *err)
{
    if (tokenizer->pretokenizer.byte_level == tokenizer->decoder.byte_level) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: decoder: ByteLevel in only one of pre_tokenizer and decoder "
                   "is not supported",
                   file);
}

/* The table of tokens while it is filled. */
struct filling {
    struct ce_tokenizer *tokenizer;
    struct ce_decoder_scratch scratch;
    const char *file;
};

static enum ce_status fail_id(const struct filling *filling,
                              struct ce_span token,
                              int32_t id,
                              struct ce_error *err)
{
    char name[64];

    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: the id %d of \"%s\" is that of another token",
                   filling->file,
                   (int)id,
                   ce_text_quote(name, sizeof(name), token));
}

static enum ce_status fail_length(const struct filling *filling,
                                  struct ce_span token,
                                  int32_t id,
                                  struct ce_error *err)
{
    char name[64];

    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: model.vocab: the token %d, \"%s\", stands for more than %zu "
                   "bytes of text",
                   filling->file,
                   (int)id,
                   ce_text_quote(name, sizeof(name), token),
                   MAX_TOKEN_BYTES);
}

static enum ce_status set_text(struct filling *filling,
                               struct ce_span token,
                               int32_t id,
                               struct ce_error *err)
{
    struct ce_token_table *table = &filling->tokenizer->tokens;
    size_t start = table->text.bytes;
    enum ce_status status = ce_decoder_append(
        &filling->tokenizer->decoder, &filling->scratch, token, &table->text, err);

    if (status == CE_OK && table->text.bytes - start > MAX_TOKEN_BYTES) {
        return fail_length(filling, token, id, err);
    }
    return status == CE_OK ? ce_token_table_set(table, id, start, err) : status;
}

static enum ce_status
fill_vocabulary(struct filling *filling, json_t *vocab, struct ce_error *err)
{
    enum ce_status status = CE_OK;
    void *entry = json_object_iter(vocab);

    for (; entry != NULL && status == CE_OK;
         entry = json_object_iter_next(vocab, entry)) {
        struct ce_span token = {.data = json_object_iter_key(entry),
                                .bytes = json_object_iter_key_len(entry)};
        int32_t id = (int32_t)json_integer_value(json_object_iter_value(entry));

        if (ce_token_table_find(&filling->tokenizer->tokens, id) != NULL) {
            return fail_id(filling, token, id, err);
        }
        status = set_text(filling, token, id, err);
    }
    return status;
}

static enum ce_status fill_added(struct filling *filling, struct ce_error *err)
{
    const struct ce_added_tokens *added = &filling->tokenizer->added;
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < added->count && status == CE_OK; i++) {
        const struct ce_added_token *token = &added->token[i];
        struct ce_token_entry *entry = &filling->tokenizer->tokens.entry[token->id];
        struct ce_span form = {.data = token->form.data, .bytes = token->form.bytes};

        if (entry->added || (entry->known && !token->in_vocabulary)) {
            return fail_id(filling, form, token->id, err);
        }
        entry->added = true;
        entry->special = token->special;
        status = set_text(filling, form, token->id, err);
    }
    return status;
}

static size_t count_ids(const struct ce_tokenizer *tokenizer)
{
    size_t size = tokenizer->bpe.vocabulary.size;

    for (size_t i = 0; i < tokenizer->added.count; i++) {
        size_t id = (size_t)tokenizer->added.token[i].id;

        size = id >= size ? id + 1 : size;
    }
    return size;
}

/* What the decoder will see when the table is filled. */
static size_t token_bytes(const struct ce_tokenizer *tokenizer, json_t *vocab)
{
    size_t bytes = 0;
    void *entry = json_object_iter(vocab);

    for (; entry != NULL; entry = json_object_iter_next(vocab, entry)) {
        bytes += json_object_iter_key_len(entry);
    }
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        bytes += tokenizer->added.token[i].form.bytes;
    }
    return bytes;
}

static enum ce_status fill_tokens(struct ce_tokenizer *tokenizer,
                                  json_t *vocab,
                                  const char *file,
                                  struct ce_error *err)
{
    struct ce_budget budget;
    struct filling filling = {
        .tokenizer = tokenizer,
        .scratch = {.regex = ce_regex_scratch_create(&budget), .budget = &budget},
        .file = file};
    enum ce_status status =
        ce_token_table_init(&tokenizer->tokens, count_ids(tokenizer), err);

    ce_budget_begin(&budget, token_bytes(tokenizer, vocab));
    if (status == CE_OK && filling.scratch.regex == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "out of memory for the tokens");
    }
    if (status == CE_OK) {
        status = fill_vocabulary(&filling, vocab, err);
    }
    if (status == CE_OK) {
        status = fill_added(&filling, err);
    }
    ce_regex_scratch_destroy(filling.scratch.regex);
    ce_decoder_scratch_fini(&filling.scratch);
    return status;
}

static enum ce_status read_stages(struct ce_tokenizer *tokenizer,
                                  const json_t *root,
                                  const char *file,
                                  struct ce_error *err)
{
    enum ce_status status = ce_normalizer_read(&tokenizer->normalizer, root, file, err);

    if (status == CE_OK) {
        status = ce_pretokenizer_read(&tokenizer->pretokenizer, root, file, err);
    }
    if (status == CE_OK) {
        status = ce_decoder_read(&tokenizer->decoder, root, file, err);
    }
    if (status == CE_OK) {
        status = check_ends(tokenizer, file, err);
    }
    if (status == CE_OK) {
        status = ce_post_processor_read(&tokenizer->post, root, file, err);
    }
    return status;
}

static enum ce_status read_tokens(struct ce_tokenizer *tokenizer,
                                  const json_t *root,
                                  const char *file,
                                  struct ce_error *err)
{
    const json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    bool byte_level = tokenizer->pretokenizer.byte_level;
    enum ce_status status = ce_bpe_read(&tokenizer->bpe, model, byte_level, file, err);

    if (status == CE_OK) {
        status = ce_added_tokens_read(
            &tokenizer->added, root, vocab, &tokenizer->normalizer, file, err);
    }
    if (status == CE_OK) {
        status = fill_tokens(tokenizer, vocab, file, err);
    }
    return status;
}

static enum ce_status check_template(const struct ce_tokenizer *tokenizer,
                                     const struct ce_ids *ids,
                                     const char *file,
                                     struct ce_error *err)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (ce_token_table_find(&tokenizer->tokens, ids->id[i]) == NULL) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: post_processor: there is no token %d",
                           file,
                           (int)ids->id[i]);
        }
    }
    return CE_OK;
}

static enum ce_status read_document(struct ce_tokenizer *tokenizer,
                                    const json_t *root,
                                    const char *file,
                                    struct ce_error *err)
{
    enum ce_status status = check_version(root, file, err);

    if (status == CE_OK) {
        status = read_stages(tokenizer, root, file, err);
    }
    if (status == CE_OK) {
        status = read_tokens(tokenizer, root, file, err);
    }
    if (status == CE_OK) {
        status = check_template(tokenizer, &tokenizer->post.before, file, err);
    }
    if (status == CE_OK) {
        status = check_template(tokenizer, &tokenizer->post.after, file, err);
    }
    return status;
}

enum ce_status ce_tokenizer_read(struct ce_tokenizer **tokenizer,
                                 const json_t *document,
                                 const char *file,
                                 struct ce_error *err)
{
    struct ce_tokenizer *new = calloc(1, sizeof(*new));
    enum ce_status status = new == NULL
                                ? ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", file)
                                : read_document(new, document, file, err);

    *tokenizer = NULL;
    if (status != CE_OK) {
        ce_tokenizer_close(new);
        return status;
    }
    *tokenizer = new;
    return CE_OK;
}

enum ce_status ce_tokenizer_parse(struct ce_tokenizer **tokenizer,
                                  const char *json,
                                  size_t bytes,
                                  const char *file,
                                  struct ce_error *err)
{
    json_t *root = NULL;
    enum ce_status status = ce_tokenizer_parse_document(&root, json, bytes, file, err);

    *tokenizer = NULL;
    if (status == CE_OK) {
        status = ce_tokenizer_read(tokenizer, root, file, err);
    }
    json_decref(root);
    return status;
}

void ce_tokenizer_close(struct ce_tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    ce_added_tokens_fini(&tokenizer->added);
    ce_normalizer_fini(&tokenizer->normalizer);
    ce_pretokenizer_fini(&tokenizer->pretokenizer);
    ce_bpe_fini(&tokenizer->bpe);
    ce_post_processor_fini(&tokenizer->post);
    ce_token_table_fini(&tokenizer->tokens);
    ce_decoder_fini(&tokenizer->decoder);
    free(tokenizer);
}

size_t ce_tokenizer_size(const struct ce_tokenizer *tokenizer)
{
    return tokenizer->tokens.size;
}

int32_t ce_tokenizer_find_added(const struct ce_tokenizer *tokenizer,
                                const char *text,
                                size_t bytes)
{
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        const struct ce_added_token *added = &tokenizer->added.token[i];

        if (added->content.bytes == bytes &&
            memcmp(added->content.data, text, bytes) == 0) {
            return added->id;
        }
    }
    return -1;
}
