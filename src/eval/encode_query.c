/* encode_query.c - where context ends and continuation begins */

#include "eval/encode_parts.h"
#include "eval/trailing_space.h"
#include "model/tokenizer/text.h"

#include <string.h>

static enum ce_status add_prefix(const struct ce_encoder *encoder,
                                 struct ce_encoded_query *encoded,
                                 struct ce_error *err)
{
    encoded->context = 1;
    return ce_ids_append(&encoded->ids, &encoder->prefix, 1, err);
}

/* The prefix is not put before itself. */
static void drop_second_prefix(const struct ce_encoder *encoder,
                               struct ce_encoded_query *encoded)
{
    struct ce_ids *ids = &encoded->ids;

    if (ids->count > 1 && ids->id[1] == encoder->prefix) {
        ids->count--;
        memmove(ids->id, ids->id + 1, ids->count * sizeof(ids->id[0]));
    }
}

static enum ce_status encode_without_context(const struct ce_encoder *encoder,
                                             struct ce_span continuation,
                                             enum ce_encode_use use,
                                             struct ce_encoded_query *encoded,
                                             struct ce_error *err)
{
    enum ce_status status = add_prefix(encoder, encoded, err);

    if (status == CE_OK) {
        status = ce_encoder_encode(
            encoder, use, continuation.data, continuation.bytes, &encoded->ids, err);
    }
    if (status == CE_OK) {
        drop_second_prefix(encoder, encoded);
    }
    return status;
}

/* The context alone, which the query before may have had. */
static enum ce_status use_context(const struct ce_encoder *encoder,
                                  struct ce_span context,
                                  struct ce_encoded_context *before,
                                  struct ce_error *err)
{
    if (before->text != NULL && before->bytes == context.bytes &&
        memcmp(before->text, context.data, context.bytes) == 0) {
        return CE_OK;
    }
    before->text = NULL;
    before->ids.count = 0;
    enum ce_status status = ce_encoder_encode(
        encoder, CE_ENCODE_SCORED, context.data, context.bytes, &before->ids, err);

    if (status == CE_OK) {
        before->text = context.data;
        before->bytes = context.bytes;
    }
    return status;
}

/* As many tokens of the whole as the context takes alone are replaced by those of the
 * context: they differ where a token of the whole reaches over the end of the context,
 * and the reference takes them from there. */
static void put_context(struct ce_encoded_query *encoded, const struct ce_ids *context)
{
    size_t common =
        context->count < encoded->ids.count ? context->count : encoded->ids.count;

    memcpy(encoded->ids.id, context->id, common * sizeof(context->id[0]));
    encoded->context = context->count;
}

/* White space that moves from the end of the context to the continuation does not
 * change what both are together, only where the context ends. */
static enum ce_status encode_whole(const struct ce_encoder *encoder,
                                   struct ce_span context,
                                   struct ce_span whole,
                                   struct ce_encoded_context *before,
                                   struct ce_encoded_query *encoded,
                                   struct ce_error *err)
{
    enum ce_status status;

    context.bytes -= ce_trailing_space(context.data, context.bytes);
    status = use_context(encoder, context, before, err);
    if (status == CE_OK && before->ids.count == 0) {
        return encode_without_context(encoder, whole, CE_ENCODE_SCORED, encoded, err);
    }
    if (status == CE_OK) {
        status = ce_encoder_encode(
            encoder, CE_ENCODE_SCORED, whole.data, whole.bytes, &encoded->ids, err);
    }
    if (status == CE_OK && encoded->ids.count > 0) {
        put_context(encoded, &before->ids);
    }
    return status;
}

static enum ce_status encode_scored(const struct ce_encoder *encoder,
                                    const struct ce_query *query,
                                    struct ce_encoded_context *before,
                                    struct ce_encoded_query *encoded,
                                    struct ce_error *err)
{
    struct ce_span context = {.data = query->context, .bytes = strlen(query->context)};
    struct ce_span continuation = {.data = query->continuation,
                                   .bytes = strlen(query->continuation)};
    struct ce_text whole = {.data = NULL};
    enum ce_status status = CE_OK;

    if (context.bytes == 0) {
        return encode_without_context(
            encoder, continuation, CE_ENCODE_BARE, encoded, err);
    }
    status = ce_text_append(&whole, context, err);
    if (status == CE_OK) {
        status = ce_text_append(&whole, continuation, err);
    }
    if (status == CE_OK) {
        status =
            encode_whole(encoder,
                         context,
                         (struct ce_span){.data = whole.data, .bytes = whole.bytes},
                         before,
                         encoded,
                         err);
    }
    ce_text_free(&whole);
    return status;
}

static enum ce_status encode_context(const struct ce_encoder *encoder,
                                     const struct ce_query *query,
                                     struct ce_encoded_query *encoded,
                                     struct ce_error *err)
{
    enum ce_status status =
        query->ids != NULL
            ? ce_ids_append(&encoded->ids, query->ids, query->id_count, err)
            : ce_encoder_encode(encoder,
                                CE_ENCODE_CONTEXT,
                                query->context,
                                strlen(query->context),
                                &encoded->ids,
                                err);

    if (status == CE_OK && encoded->ids.count == 0) {
        status = add_prefix(encoder, encoded, err);
    }
    encoded->context = encoded->ids.count;
    return status;
}

static enum ce_status encode_rolling(const struct ce_encoder *encoder,
                                     const struct ce_query *query,
                                     struct ce_encoded_query *encoded,
                                     struct ce_error *err)
{
    enum ce_status status = add_prefix(encoder, encoded, err);

    return status == CE_OK ? ce_encoder_encode(encoder,
                                               CE_ENCODE_SCORED,
                                               query->continuation,
                                               strlen(query->continuation),
                                               &encoded->ids,
                                               err)
                           : status;
}

enum ce_status ce_encode_query(const struct ce_encoder *encoder,
                               const struct ce_query *query,
                               struct ce_encoded_context *before,
                               struct ce_encoded_query *encoded,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    switch (query->kind) {
    case CE_QUERY_LOGLIKELIHOOD:
        status = encode_scored(encoder, query, before, encoded, err);
        break;
    case CE_QUERY_ROLLING: /* of an empty text no token is scored, as in lm-eval */
        return encode_rolling(encoder, query, encoded, err);
    case CE_QUERY_GENERATE:
        return encode_context(encoder, query, encoded, err);
    }
    if (status == CE_OK && encoded->ids.count <= encoded->context) {
        status = ce_fail(err, CE_ERR_FORMAT, "there is no token to score");
    }
    return status;
}
