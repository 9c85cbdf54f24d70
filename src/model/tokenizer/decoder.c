/* decoder.c - how the text of tokens becomes the text of an answer */

#include "model/tokenizer/decoder.h"

#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/utf8.h"

#include <stdio.h>

#define MAX_CONTENT_BYTES ((size_t)1024)

static enum ce_status refuse_order(const struct ce_component *component,
                                   struct ce_error *err)
{
    return ce_component_fail(component,
                             "type",
                             CE_ERR_UNSUPPORTED,
                             "is supported only in the order "
                             "Replace, ByteFallback, Fuse, Strip",
                             err);
}

static enum ce_status read_replace(struct ce_decoder *decoder,
                                   const struct ce_component *component,
                                   struct ce_error *err)
{
    struct ce_span content;

    if (decoder->byte_fallback || decoder->fuse ||
        decoder->replaces == CE_COMPONENTS_MAX) {
        return refuse_order(component, err);
    }
    struct ce_decoder_replace *replace = &decoder->replace[decoder->replaces++];

    (void)snprintf(replace->where,
                   sizeof(replace->where),
                   "%s: %s",
                   component->file,
                   component->path);
    enum ce_status status = ce_regex_read(&replace->pattern, component, err);

    if (status == CE_OK) {
        status =
            ce_component_string(component, "content", MAX_CONTENT_BYTES, &content, err);
    }
    return status == CE_OK ? ce_text_append(&replace->content, content, err) : status;
}

static enum ce_status read_strip(struct ce_decoder *decoder,
                                 const struct ce_component *component,
                                 struct ce_error *err)
{
    struct ce_span content;
    size_t stop = 0;

    if (!decoder->fuse || decoder->strip.bytes > 0) {
        return refuse_order(component, err);
    }
    enum ce_status status =
        ce_component_string(component, "content", MAX_CONTENT_BYTES, &content, err);

    if (status == CE_OK) {
        status = ce_component_size(component, "start", &decoder->strip_most, err);
    }
    if (status == CE_OK) {
        status = ce_component_size(component, "stop", &stop, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (stop != 0) {
        return ce_component_fail(
            component, "stop", CE_ERR_UNSUPPORTED, "is supported only as 0", err);
    }
    if (content.bytes == 0 ||
        ce_utf8_read(content.data, content.bytes).bytes != content.bytes) {
        return ce_component_fail(
            component, "content", CE_ERR_FORMAT, "is not one character", err);
    }
    return ce_text_append(&decoder->strip, content, err);
}

static enum ce_status read_switch(bool *value,
                                  bool in_order,
                                  const struct ce_component *component,
                                  struct ce_error *err)
{
    if (!in_order || *value) {
        return refuse_order(component, err);
    }
    *value = true;
    return CE_OK;
}

static enum ce_status
read_step(void *user, const struct ce_component *component, struct ce_error *err)
{
    struct ce_decoder *decoder = user;
    bool empty = decoder->replaces == 0 && !decoder->byte_fallback && !decoder->fuse;

    if (decoder->byte_level) {
        return ce_component_fail(
            component, "type", CE_ERR_UNSUPPORTED, "stands behind ByteLevel", err);
    }
    if (ce_component_is(component, "ByteLevel")) {
        return read_switch(&decoder->byte_level, empty, component, err);
    }
    if (ce_component_is(component, "Replace")) {
        return read_replace(decoder, component, err);
    }
    if (ce_component_is(component, "ByteFallback")) {
        return read_switch(&decoder->byte_fallback, !decoder->fuse, component, err);
    }
    if (ce_component_is(component, "Fuse")) {
        return read_switch(&decoder->fuse, true, component, err);
    }
    if (ce_component_is(component, "Strip")) {
        return read_strip(decoder, component, err);
    }
    return ce_component_refuse(component, err);
}

enum ce_status ce_decoder_read(struct ce_decoder *decoder,
                               const json_t *root,
                               const char *file,
                               struct ce_error *err)
{
    const json_t *stage = json_object_get(root, "decoder");

    /* The reference would join the tokens with spaces: no model means that. */
    if (stage == NULL || json_is_null(stage)) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "%s: decoder: is missing", file);
    }
    return ce_component_each(
        stage, file, "decoder", "decoders", read_step, decoder, err);
}

void ce_decoder_fini(struct ce_decoder *decoder)
{
    for (size_t i = 0; i < decoder->replaces; i++) {
        ce_regex_destroy(decoder->replace[i].pattern);
        ce_text_free(&decoder->replace[i].content);
    }
    ce_text_free(&decoder->strip);
}

void ce_decoder_scratch_fini(struct ce_decoder_scratch *scratch)
{
    ce_text_free(&scratch->buffer[0]);
    ce_text_free(&scratch->buffer[1]);
}

/* A token with a character outside the alphabet stands for itself. */
static enum ce_status
append_bytes(struct ce_text *out, struct ce_span token, struct ce_error *err)
{
    size_t bytes;
    enum ce_status status = ce_text_reserve(out, token.bytes, err);

    if (status != CE_OK) {
        return status;
    }
    if (!ce_byte_alphabet_decode(token, out->data + out->bytes, &bytes)) {
        return ce_text_append(out, token, err);
    }
    out->bytes += bytes;
    return CE_OK;
}

static enum ce_status check_output(const struct ce_decoder_replace *replace,
                                   const struct ce_budget *budget,
                                   size_t bytes,
                                   struct ce_error *err)
{
    return bytes <= budget->output_left
               ? CE_OK
               : ce_fail(err,
                         CE_ERR_UNSUPPORTED,
                         "%s: makes too much of the tokens: all together may become "
                         "%zu bytes",
                         replace->where,
                         budget->output);
}

enum ce_status ce_decoder_append(const struct ce_decoder *decoder,
                                 struct ce_decoder_scratch *scratch,
                                 struct ce_span token,
                                 struct ce_text *out,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (decoder->byte_level) {
        return append_bytes(out, token, err);
    }
    for (size_t i = 0; i < decoder->replaces && status == CE_OK; i++) {
        const struct ce_decoder_replace *replace = &decoder->replace[i];
        struct ce_text *buffer = &scratch->buffer[i % 2];

        buffer->bytes = 0;
        status = ce_replace_append(buffer,
                                   token,
                                   replace->pattern,
                                   (struct ce_span){.data = replace->content.data,
                                                    .bytes = replace->content.bytes},
                                   scratch->budget->output_left,
                                   scratch->regex,
                                   err);
        if (status == CE_OK) {
            status = check_output(replace, scratch->budget, buffer->bytes, err);
        }
        token = (struct ce_span){.data = buffer->data, .bytes = buffer->bytes};
    }
    if (status == CE_OK && decoder->replaces > 0) {
        scratch->budget->output_left -= token.bytes;
    }
    return status == CE_OK ? ce_text_append(out, token, err) : status;
}
