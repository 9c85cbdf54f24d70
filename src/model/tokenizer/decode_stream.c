/* decode_stream.c - token ids to text, token by token
 *
 * Text is given out as soon as no later token can change it. Held back is, with
 * ByteLevel, the beginning of a character; with ByteFallback, a run of byte
 * tokens, which as a whole is either text or replaced byte by byte.
 */

#include "model/tokenizer/tokenizer_internal.h"
#include "model/tokenizer/utf8.h"

#include <string.h>

void ce_decode_stream_init(struct ce_decode_stream *stream,
                           const struct ce_tokenizer *tokenizer,
                           bool skip_specials)
{
    *stream = (struct ce_decode_stream){.tokenizer = tokenizer,
                                        .skip_specials = skip_specials};
}

void ce_decode_stream_fini(struct ce_decode_stream *stream)
{
    ce_text_free(&stream->held);
}

static enum ce_status append_replacement(struct ce_text *out, struct ce_error *err)
{
    return ce_text_append(out,
                          (struct ce_span){.data = CE_UTF8_REPLACEMENT,
                                           .bytes = CE_UTF8_REPLACEMENT_BYTES},
                          err);
}

/* Moves what is held to `out`, but for the beginning of a character. */
static enum ce_status
give_characters(struct ce_text *held, struct ce_text *out, struct ce_error *err)
{
    size_t at = 0;
    enum ce_status status = CE_OK;

    while (at < held->bytes && status == CE_OK) {
        size_t left = held->bytes - at;
        size_t valid = ce_utf8_valid_bytes(held->data + at, left);

        status = ce_text_append(
            out, (struct ce_span){.data = held->data + at, .bytes = valid}, err);
        at += valid;
        if (status != CE_OK || valid == left) {
            break;
        }
        struct ce_utf8 broken = ce_utf8_read(held->data + at, left - valid);

        if (broken.kind == CE_UTF8_TRUNCATED) {
            break;
        }
        status = append_replacement(out, err);
        at += broken.bytes;
    }
    memmove(held->data, held->data + at, held->bytes - at);
    held->bytes -= at;
    return status;
}

static enum ce_status push_bytes(struct ce_decode_stream *stream,
                                 struct ce_span text,
                                 struct ce_text *piece,
                                 struct ce_error *err)
{
    enum ce_status status = ce_text_append(&stream->held, text, err);

    return status == CE_OK ? give_characters(&stream->held, piece, err) : status;
}

/* Appends text, without what Strip drops at the beginning of all text. */
static enum ce_status give_text(struct ce_decode_stream *stream,
                                struct ce_span text,
                                struct ce_text *piece,
                                struct ce_error *err)
{
    const struct ce_decoder *decoder = &stream->tokenizer->decoder;
    const struct ce_text *strip = &decoder->strip;

    while (!stream->begun && text.bytes > 0) {
        if (stream->stripped < decoder->strip_most && strip->bytes <= text.bytes &&
            memcmp(text.data, strip->data, strip->bytes) == 0) {
            text.data += strip->bytes;
            text.bytes -= strip->bytes;
            stream->stripped++;
        } else {
            stream->begun = true;
        }
    }
    return ce_text_append(piece, text, err);
}

/* Ends a run of byte tokens. */
static enum ce_status
give_run(struct ce_decode_stream *stream, struct ce_text *piece, struct ce_error *err)
{
    struct ce_span run = {.data = stream->held.data, .bytes = stream->held.bytes};
    enum ce_status status = CE_OK;

    stream->held.bytes = 0;
    if (run.bytes == 0) {
        return CE_OK;
    }
    if (ce_utf8_valid_bytes(run.data, run.bytes) == run.bytes) {
        return give_text(stream, run, piece, err);
    }
    for (size_t i = 0; i < run.bytes && status == CE_OK; i++) {
        struct ce_span replacement = {.data = CE_UTF8_REPLACEMENT,
                                      .bytes = CE_UTF8_REPLACEMENT_BYTES};

        status = give_text(stream, replacement, piece, err);
    }
    return status;
}

static enum ce_status push_text(struct ce_decode_stream *stream,
                                const struct ce_token_entry *entry,
                                struct ce_text *piece,
                                struct ce_error *err)
{
    const struct ce_tokenizer *tokenizer = stream->tokenizer;
    struct ce_span text = ce_token_table_text(&tokenizer->tokens, entry);

    if (tokenizer->decoder.byte_fallback && entry->byte >= 0) {
        char byte[1] = {(char)entry->byte};

        return ce_text_append(
            &stream->held, (struct ce_span){.data = byte, .bytes = 1}, err);
    }
    enum ce_status status = give_run(stream, piece, err);

    return status == CE_OK ? give_text(stream, text, piece, err) : status;
}

enum ce_status ce_decode_stream_push(struct ce_decode_stream *stream,
                                     int32_t id,
                                     struct ce_text *piece,
                                     struct ce_error *err)
{
    const struct ce_tokenizer *tokenizer = stream->tokenizer;
    const struct ce_token_entry *entry = ce_token_table_find(&tokenizer->tokens, id);

    if (entry == NULL) {
        return ce_fail(err, CE_ERR_ARG, "the vocabulary has no token %d", (int)id);
    }
    if (stream->skip_specials && entry->special) {
        return CE_OK;
    }
    return tokenizer->decoder.byte_level
               ? push_bytes(
                     stream, ce_token_table_text(&tokenizer->tokens, entry), piece, err)
               : push_text(stream, entry, piece, err);
}

enum ce_status ce_decode_stream_finish(struct ce_decode_stream *stream,
                                       struct ce_text *piece,
                                       struct ce_error *err)
{
    if (!stream->tokenizer->decoder.byte_level) {
        return give_run(stream, piece, err);
    }
    /* The beginning of a character that never ended. */
    if (stream->held.bytes == 0) {
        return CE_OK;
    }
    stream->held.bytes = 0;
    return append_replacement(piece, err);
}

enum ce_status ce_tokenizer_decode(const struct ce_tokenizer *tokenizer,
                                   const int32_t *ids,
                                   size_t count,
                                   bool skip_specials,
                                   struct ce_text *text,
                                   struct ce_error *err)
{
    struct ce_decode_stream stream;
    size_t bytes = text->bytes;
    enum ce_status status = CE_OK;

    ce_decode_stream_init(&stream, tokenizer, skip_specials);
    for (size_t i = 0; i < count && status == CE_OK; i++) {
        status = ce_decode_stream_push(&stream, ids[i], text, err);
    }
    if (status == CE_OK) {
        status = ce_decode_stream_finish(&stream, text, err);
    }
    if (status != CE_OK && text->data != NULL) {
        text->bytes = bytes;
        text->data[bytes] = '\0';
    }
    ce_decode_stream_fini(&stream);
    return status;
}
