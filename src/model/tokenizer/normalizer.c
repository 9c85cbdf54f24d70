/* normalizer.c - what happens to text before it is split */

#include "model/tokenizer/normalizer.h"

#include "model/tokenizer/nfc.h"

#include <stdio.h>

/* Known files prepend or insert one character. */
#define MAX_CONTENT_BYTES ((size_t)1024)

static enum ce_status read_content(struct ce_normalizer_step *step,
                                   const struct ce_component *component,
                                   const char *key,
                                   struct ce_error *err)
{
    struct ce_span content;
    enum ce_status status =
        ce_component_string(component, key, MAX_CONTENT_BYTES, &content, err);

    if (status == CE_OK) {
        status = ce_text_append(&step->content, content, err);
    }
    return status;
}

static enum ce_status read_replace(struct ce_normalizer_step *step,
                                   const struct ce_component *component,
                                   struct ce_error *err)
{
    enum ce_status status = ce_regex_read(&step->pattern, component, err);

    if (status == CE_OK) {
        status = read_content(step, component, "content", err);
    }
    return status;
}

static enum ce_status
read_step(void *user, const struct ce_component *component, struct ce_error *err)
{
    struct ce_normalizer *normalizer = user;
    struct ce_normalizer_step *step = &normalizer->step[normalizer->steps];

    if (normalizer->steps == CE_COMPONENTS_MAX) {
        return ce_component_fail(
            component, "type", CE_ERR_UNSUPPORTED, "one normalizer too many", err);
    }
    normalizer->steps++;
    (void)snprintf(
        step->where, sizeof(step->where), "%s: %s", component->file, component->path);
    if (ce_component_is(component, "NFC")) {
        step->kind = CE_NORMALIZER_NFC;
        return CE_OK;
    }
    if (ce_component_is(component, "Prepend")) {
        step->kind = CE_NORMALIZER_PREPEND;
        return read_content(step, component, "prepend", err);
    }
    if (ce_component_is(component, "Replace")) {
        step->kind = CE_NORMALIZER_REPLACE;
        return read_replace(step, component, err);
    }
    return ce_component_refuse(component, err);
}

enum ce_status ce_normalizer_read(struct ce_normalizer *normalizer,
                                  const json_t *root,
                                  const char *file,
                                  struct ce_error *err)
{
    return ce_component_each(json_object_get(root, "normalizer"),
                             file,
                             "normalizer",
                             "normalizers",
                             read_step,
                             normalizer,
                             err);
}

void ce_normalizer_fini(struct ce_normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->steps; i++) {
        ce_text_free(&normalizer->step[i].content);
        ce_regex_destroy(normalizer->step[i].pattern);
    }
}

void ce_normalizer_scratch_fini(struct ce_normalizer_scratch *scratch)
{
    ce_text_free(&scratch->buffer[0]);
    ce_text_free(&scratch->buffer[1]);
    ce_ids_free(&scratch->codes);
}

enum ce_status ce_replace_append(struct ce_text *out,
                                 struct ce_span text,
                                 const struct ce_regex *pattern,
                                 struct ce_span content,
                                 size_t most,
                                 struct ce_regex_scratch *scratch,
                                 struct ce_error *err)
{
    struct ce_regex_cursor cursor = {
        .regex = pattern, .scratch = scratch, .text = text};
    size_t copied = 0;
    bool found = true;
    enum ce_status status = CE_OK;

    while (found && status == CE_OK && out->bytes <= most) {
        size_t start;
        size_t end;

        status = ce_regex_next(&cursor, &found, &start, &end, err);
        if (status == CE_OK) {
            status = ce_text_append(
                out,
                (struct ce_span){.data = text.data + copied, .bytes = start - copied},
                err);
        }
        if (found && status == CE_OK) {
            status = ce_text_append(out, content, err);
        }
        copied = end;
    }
    return status;
}

static const char *name_of(enum ce_normalizer_kind kind)
{
    static const char *const names[] = {[CE_NORMALIZER_NFC] = "NFC",
                                        [CE_NORMALIZER_PREPEND] = "Prepend",
                                        [CE_NORMALIZER_REPLACE] = "Replace"};

    return names[kind];
}

static enum ce_status check_output(const struct ce_normalizer_step *step,
                                   const struct ce_budget *budget,
                                   size_t bytes,
                                   struct ce_error *err)
{
    if (bytes > budget->output_left) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: the normalizer %s makes too much of a text of %zu bytes: "
                       "all normalizers together may make %zu bytes of it",
                       step->where,
                       name_of(step->kind),
                       budget->text_bytes,
                       budget->output);
    }
    if (bytes > INT32_MAX) {
        return ce_fail(err, CE_ERR_ARG, "the normalized text is longer than 2 GiB");
    }
    return CE_OK;
}

static enum ce_status apply_step(const struct ce_normalizer_step *step,
                                 struct ce_normalizer_scratch *scratch,
                                 struct ce_span text,
                                 struct ce_text *out,
                                 struct ce_error *err)
{
    struct ce_span content = {.data = step->content.data, .bytes = step->content.bytes};
    enum ce_status status = CE_OK;

    switch (step->kind) {
    case CE_NORMALIZER_NFC:
        status = ce_nfc_append(out, text, &scratch->codes, err);
        break;
    case CE_NORMALIZER_PREPEND:
        status = ce_text_append(out, content, err);
        if (status == CE_OK) {
            status = ce_text_append(out, text, err);
        }
        break;
    case CE_NORMALIZER_REPLACE:
        status = ce_replace_append(out,
                                   text,
                                   step->pattern,
                                   content,
                                   scratch->budget->output_left,
                                   scratch->regex,
                                   err);
        break;
    }
    return status == CE_OK ? check_output(step, scratch->budget, out->bytes, err)
                           : status;
}

enum ce_status ce_normalizer_apply(const struct ce_normalizer *normalizer,
                                   struct ce_normalizer_scratch *scratch,
                                   struct ce_span text,
                                   struct ce_span *out,
                                   struct ce_error *err)
{
    unsigned into = 0;

    for (size_t i = 0; i < normalizer->steps && text.bytes > 0; i++) {
        const struct ce_normalizer_step *step = &normalizer->step[i];
        struct ce_text *buffer = &scratch->buffer[into];

        if (step->kind == CE_NORMALIZER_NFC && ce_nfc_is_plain(text)) {
            continue;
        }
        buffer->bytes = 0;
        enum ce_status status = apply_step(step, scratch, text, buffer, err);

        if (status != CE_OK) {
            return status;
        }
        text = (struct ce_span){.data = buffer->data, .bytes = buffer->bytes};
        into = 1 - into;
    }
    if (normalizer->steps > 0) {
        scratch->budget->output_left -= text.bytes < scratch->budget->output_left
                                            ? text.bytes
                                            : scratch->budget->output_left;
    }
    *out = text;
    return CE_OK;
}
