/* post_processor.c - the ids that are put around those of a text */

#include "model/tokenizer/post_processor.h"

#include "model/tokenizer/vocabulary.h"

#include <string.h>

/* They are put around every text; known templates have one or two. */
#define MAX_IDS ((size_t)1024)

struct reading {
    struct ce_post_processor *post;
    const struct ce_component *component;
    bool sequence_seen; /* ids now go behind it */
};

static enum ce_status
fail_template(const struct reading *reading, const char *why, struct ce_error *err)
{
    return ce_component_fail(
        reading->component, "single", CE_ERR_UNSUPPORTED, why, err);
}

/* The ids of {"SpecialToken": {"id": NAME}}, which stand in `special_tokens`. */
static enum ce_status
read_special(struct reading *reading, const json_t *special, struct ce_error *err)
{
    const char *name = json_string_value(json_object_get(special, "id"));
    const json_t *tokens =
        json_object_get(reading->component->object, "special_tokens");
    const json_t *ids =
        name == NULL ? NULL : json_object_get(json_object_get(tokens, name), "ids");
    struct ce_ids *out =
        reading->sequence_seen ? &reading->post->after : &reading->post->before;
    enum ce_status status = CE_OK;

    if (!json_is_array(ids)) {
        return fail_template(reading, "names a token without ids", err);
    }
    for (size_t i = 0; i < json_array_size(ids) && status == CE_OK; i++) {
        const json_t *item = json_array_get(ids, i);
        json_int_t value = json_integer_value(item);
        int32_t id = (int32_t)value;

        if (!json_is_integer(item) || value < 0 ||
            value >= (json_int_t)CE_TOKEN_ID_LIMIT) {
            return fail_template(reading, "has an id that is out of range", err);
        }
        if (reading->post->before.count + reading->post->after.count == MAX_IDS) {
            return fail_template(reading, "puts more than 1024 ids around a text", err);
        }
        status = ce_ids_append(out, &id, 1, err);
    }
    return status;
}

static enum ce_status
read_sequence(struct reading *reading, const json_t *sequence, struct ce_error *err)
{
    const char *name = json_string_value(json_object_get(sequence, "id"));

    if (name == NULL || strcmp(name, "A") != 0 || reading->sequence_seen) {
        return fail_template(reading, "is not of one sequence A", err);
    }
    reading->sequence_seen = true;
    return CE_OK;
}

static enum ce_status read_template(struct reading *reading, struct ce_error *err)
{
    const json_t *single = json_object_get(reading->component->object, "single");
    enum ce_status status = CE_OK;

    if (!json_is_array(single)) {
        return fail_template(reading, "is not a list", err);
    }
    for (size_t i = 0; i < json_array_size(single) && status == CE_OK; i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        const json_t *sequence = json_object_get(item, "Sequence");

        if (special != NULL) {
            status = read_special(reading, special, err);
        } else {
            status = read_sequence(reading, sequence, err);
        }
    }
    if (status == CE_OK && !reading->sequence_seen) {
        status = fail_template(reading, "is not of one sequence A", err);
    }
    return status;
}

static enum ce_status
read_step(void *user, const struct ce_component *component, struct ce_error *err)
{
    struct ce_post_processor *post = user;
    struct reading reading = {.post = post, .component = component};

    /* It only moves offsets, which nobody here asks for. */
    if (ce_component_is(component, "ByteLevel")) {
        return CE_OK;
    }
    if (!ce_component_is(component, "TemplateProcessing")) {
        return ce_component_refuse(component, err);
    }
    if (post->before.count > 0 || post->after.count > 0) {
        return fail_template(&reading, "stands behind another template", err);
    }
    return read_template(&reading, err);
}

enum ce_status ce_post_processor_read(struct ce_post_processor *post,
                                      const json_t *root,
                                      const char *file,
                                      struct ce_error *err)
{
    return ce_component_each(json_object_get(root, "post_processor"),
                             file,
                             "post_processor",
                             "processors",
                             read_step,
                             post,
                             err);
}

void ce_post_processor_fini(struct ce_post_processor *post)
{
    ce_ids_free(&post->before);
    ce_ids_free(&post->after);
}
