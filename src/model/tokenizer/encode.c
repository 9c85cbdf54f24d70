/* encode.c - text to token ids
 *
 *   text -> raw added tokens -> [ids]
 *            | between them
 *            v
 *          normalizer -> normalized added tokens -> [ids]
 *                         | between them
 *                         v
 *                       pre-tokenizer -> pieces -> BPE -> [ids]
 */

#include "model/tokenizer/tokenizer_internal.h"
#include "model/tokenizer/utf8.h"

/* One call of ce_tokenizer_encode. */
struct encoding {
    const struct ce_tokenizer *tokenizer;
    bool plain_specials;
    struct ce_ids *ids;
    struct ce_budget budget;
    struct ce_regex_scratch *regex;
    struct ce_normalizer_scratch normalizing;
    struct ce_cutting cutting;
    struct ce_bpe_scratch bpe;
};

static enum ce_status
encode_piece(void *user, struct ce_span piece, struct ce_error *err)
{
    struct encoding *encoding = user;

    return ce_bpe_encode(
        &encoding->tokenizer->bpe, &encoding->bpe, piece, encoding->ids, err);
}

static enum ce_status encode_normalized(void *user,
                                        const struct ce_added_token *token,
                                        struct ce_span text,
                                        struct ce_error *err)
{
    struct encoding *encoding = user;

    if (token != NULL) {
        return ce_ids_append(encoding->ids, &token->id, 1, err);
    }
    return ce_pretokenizer_cut(&encoding->cutting, text, err);
}

static enum ce_status encode_raw(void *user,
                                 const struct ce_added_token *token,
                                 struct ce_span text,
                                 struct ce_error *err)
{
    struct encoding *encoding = user;
    const struct ce_tokenizer *tokenizer = encoding->tokenizer;

    if (token != NULL) {
        return ce_ids_append(encoding->ids, &token->id, 1, err);
    }
    enum ce_status status = ce_normalizer_apply(
        &tokenizer->normalizer, &encoding->normalizing, text, &text, err);

    if (status == CE_OK) {
        status = ce_added_tokens_split(&tokenizer->added,
                                       &tokenizer->added.normalized,
                                       text,
                                       encoding->plain_specials,
                                       &encoding->budget,
                                       encode_normalized,
                                       encoding,
                                       err);
    }
    return status;
}

static enum ce_status check_text(const char *text, size_t bytes, struct ce_error *err)
{
    if (bytes > INT32_MAX) {
        return ce_fail(err, CE_ERR_ARG, "the text is longer than 2 GiB");
    }
    size_t valid = ce_utf8_valid_bytes(text, bytes);

    if (valid < bytes) {
        return ce_fail(err, CE_ERR_FORMAT, "the text is not UTF-8 at byte %zu", valid);
    }
    return CE_OK;
}

static enum ce_status
append_all(struct ce_ids *ids, const struct ce_ids *more, struct ce_error *err)
{
    return ce_ids_append(ids, more->id, more->count, err);
}

static enum ce_status
encode_text(struct encoding *encoding, struct ce_span text, struct ce_error *err)
{
    const struct ce_tokenizer *tokenizer = encoding->tokenizer;

    return ce_added_tokens_split(&tokenizer->added,
                                 &tokenizer->added.raw,
                                 text,
                                 encoding->plain_specials,
                                 &encoding->budget,
                                 encode_raw,
                                 encoding,
                                 err);
}

/* `ids` is as it was after a failure. */
static enum ce_status
run(struct encoding *encoding, struct ce_span text, struct ce_error *err)
{
    struct ce_regex_scratch *regex = ce_regex_scratch_create(&encoding->budget);
    size_t count = encoding->ids->count;
    enum ce_status status;

    ce_budget_begin(&encoding->budget, text.bytes);
    encoding->normalizing.regex = regex;
    encoding->normalizing.budget = &encoding->budget;
    encoding->cutting =
        (struct ce_cutting){.pretokenizer = &encoding->tokenizer->pretokenizer,
                            .regex = regex,
                            .sink = encode_piece,
                            .user = encoding};
    status = regex == NULL ? ce_fail(err, CE_ERR_NOMEM, "out of memory for encoding")
                           : encode_text(encoding, text, err);
    if (status != CE_OK) {
        encoding->ids->count = count;
    }
    ce_regex_scratch_destroy(regex);
    ce_normalizer_scratch_fini(&encoding->normalizing);
    ce_text_free(&encoding->cutting.prefixed);
    ce_bpe_scratch_fini(&encoding->bpe);
    return status;
}

enum ce_status ce_tokenizer_encode_bare(const struct ce_tokenizer *tokenizer,
                                        const char *text,
                                        size_t bytes,
                                        bool plain_specials,
                                        struct ce_ids *ids,
                                        struct ce_error *err)
{
    struct encoding encoding = {.tokenizer = tokenizer,
                                .plain_specials =
                                    plain_specials || tokenizer->split_specials,
                                .ids = ids};
    enum ce_status status = check_text(text, bytes, err);

    return status == CE_OK
               ? run(&encoding, (struct ce_span){.data = text, .bytes = bytes}, err)
               : status;
}

enum ce_status ce_tokenizer_encode(const struct ce_tokenizer *tokenizer,
                                   const char *text,
                                   size_t bytes,
                                   bool plain_specials,
                                   struct ce_ids *ids,
                                   struct ce_error *err)
{
    size_t count = ids->count;
    enum ce_status status = append_all(ids, &tokenizer->post.before, err);

    if (status == CE_OK) {
        status =
            ce_tokenizer_encode_bare(tokenizer, text, bytes, plain_specials, ids, err);
    }
    if (status == CE_OK) {
        status = append_all(ids, &tokenizer->post.after, err);
    }
    if (status != CE_OK) {
        ids->count = count;
    }
    return status;
}
