/* component.c - the stages of tokenizer.json: lists of objects with a "type" */

#include "model/tokenizer/component.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 8

struct walk {
    const char *list;
    ce_component_reader *reader;
    void *user;
};

enum ce_status ce_component_fail(const struct ce_component *component,
                                 const char *key,
                                 enum ce_status status,
                                 const char *why,
                                 struct ce_error *err)
{
    return ce_fail(
        err, status, "%s: %s.%s: %s", component->file, component->path, key, why);
}

bool ce_component_is(const struct ce_component *component, const char *type)
{
    return strcmp(component->type, type) == 0;
}

enum ce_status ce_component_refuse(const struct ce_component *component,
                                   struct ce_error *err)
{
    struct ce_span type = {.data = component->type, .bytes = strlen(component->type)};
    char name[64];

    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: %s: type \"%s\" is not supported",
                   component->file,
                   component->path,
                   ce_text_quote(name, sizeof(name), type));
}

static enum ce_status read_type(struct ce_component *component, struct ce_error *err)
{
    if (!json_is_object(component->object)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: is not an object",
                       component->file,
                       component->path);
    }
    component->type = json_string_value(json_object_get(component->object, "type"));
    if (component->type == NULL) {
        return ce_component_fail(
            component, "type", CE_ERR_FORMAT, "is not a string", err);
    }
    return CE_OK;
}

static enum ce_status walk_component(const struct walk *walk,
                                     struct ce_component *component,
                                     int depth,
                                     struct ce_error *err);

static enum ce_status walk_sequence(const struct walk *walk,
                                    const struct ce_component *sequence,
                                    int depth,
                                    struct ce_error *err)
{
    const json_t *members = json_object_get(sequence->object, walk->list);
    enum ce_status status = CE_OK;

    if (!json_is_array(members)) {
        return ce_component_fail(
            sequence, walk->list, CE_ERR_FORMAT, "is not a list", err);
    }
    for (size_t i = 0; i < json_array_size(members) && status == CE_OK; i++) {
        struct ce_component member = {.object = json_array_get(members, i),
                                      .file = sequence->file};
        int length = snprintf(member.path,
                              sizeof(member.path),
                              "%s.%s[%zu]",
                              sequence->path,
                              walk->list,
                              i);

        if (depth == MAX_DEPTH || length < 0 || (size_t)length >= sizeof(member.path)) {
            return ce_fail(err,
                           CE_ERR_UNSUPPORTED,
                           "%s: %s: Sequences are nested too deep",
                           sequence->file,
                           sequence->path);
        }
        status = walk_component(walk, &member, depth + 1, err);
    }
    return status;
}

static enum ce_status walk_component(const struct walk *walk,
                                     struct ce_component *component,
                                     int depth,
                                     struct ce_error *err)
{
    enum ce_status status = read_type(component, err);

    if (status != CE_OK) {
        return status;
    }
    if (ce_component_is(component, "Sequence")) {
        return walk_sequence(walk, component, depth, err);
    }
    return walk->reader(walk->user, component, err);
}

enum ce_status ce_component_each(const json_t *root,
                                 const char *file,
                                 const char *stage,
                                 const char *list,
                                 ce_component_reader *reader,
                                 void *user,
                                 struct ce_error *err)
{
    struct walk walk = {.list = list, .reader = reader, .user = user};
    struct ce_component component = {.object = root, .file = file};

    if (root == NULL || json_is_null(root)) {
        return CE_OK;
    }
    (void)snprintf(component.path, sizeof(component.path), "%s", stage);
    return walk_component(&walk, &component, 0, err);
}

/* "PATH." for the typed readers. */
struct prefix {
    char text[sizeof(((struct ce_component *)NULL)->path) + 1];
};

static const char *write_prefix(struct prefix *prefix,
                                const struct ce_component *component)
{
    (void)snprintf(prefix->text, sizeof(prefix->text), "%s.", component->path);
    return prefix->text;
}

enum ce_status ce_component_bool(const struct ce_component *component,
                                 const char *key,
                                 bool *out,
                                 struct ce_error *err)
{
    struct prefix prefix;
    struct ce_json_source source = {.file = component->file,
                                    .prefix = write_prefix(&prefix, component)};

    return ce_json_read_bool(&source, component->object, key, out, err);
}

enum ce_status ce_component_size(const struct ce_component *component,
                                 const char *key,
                                 size_t *out,
                                 struct ce_error *err)
{
    struct prefix prefix;
    struct ce_json_source source = {.file = component->file,
                                    .prefix = write_prefix(&prefix, component)};

    return ce_json_read_size(&source, component->object, key, out, err);
}

enum ce_status ce_component_string(const struct ce_component *component,
                                   const char *key,
                                   size_t limit,
                                   struct ce_span *out,
                                   struct ce_error *err)
{
    const json_t *value = json_object_get(component->object, key);

    if (!json_is_string(value)) {
        return ce_component_fail(component, key, CE_ERR_FORMAT, "is not a string", err);
    }
    *out = (struct ce_span){.data = json_string_value(value),
                            .bytes = json_string_length(value)};
    if (out->bytes > limit) {
        return ce_component_fail(
            component, key, CE_ERR_UNSUPPORTED, "is too long", err);
    }
    return CE_OK;
}
