/* description.c - what is asked: fields, templates, and which of them go together */

#include "base/options_table.h"
#include "eval/description_parts.h"

#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 20)

static const char *const known_fields[] = {
    "name",    "version",    "notes",    "output_type",      "documents", "id",
    "part",    "clean_up",   "header",   "prompt",           "prompts",   "choices",
    "gold",    "target",     "measured", "target_delimiter", "fewshot",   "metrics",
    "filters", "generation", NULL};

static const char *const output_names[] = {"multiple_choice",
                                           "loglikelihood",
                                           "loglikelihood_rolling",
                                           "generate_until",
                                           NULL};

const json_t *ce_description_field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

enum ce_status ce_description_check_keys(const struct ce_json_source *source,
                                         const json_t *object,
                                         const char *const *known,
                                         struct ce_error *err)
{
    void *at = json_object_iter((json_t *)(uintptr_t)object);

    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const char *key = json_object_iter_key(at);
        struct ce_suggestion near = {.name = NULL};
        const char *const *name = known;

        for (; *name != NULL && strcmp(*name, key) != 0; name++) {
            ce_suggestion_offer(&near, key, *name);
        }
        if (*name == NULL) {
            return ce_fail(err,
                           CE_ERR_FORMAT,
                           "%s: %s%.80s: is not a field of a task description%s%s%s",
                           source->file,
                           source->prefix,
                           key,
                           near.name == NULL ? "" : "; did you mean \"",
                           near.name == NULL ? "" : near.name,
                           near.name == NULL ? "" : "\"?");
        }
    }
    return CE_OK;
}

enum ce_status ce_description_read_name(const struct ce_json_source *source,
                                        const json_t *object,
                                        const char *key,
                                        const char *const *names,
                                        size_t *index,
                                        struct ce_error *err)
{
    const char *value = NULL;
    struct ce_suggestion near = {.name = NULL};
    enum ce_status status = ce_json_read_string(source, object, key, &value, err);

    if (status != CE_OK || value == NULL) {
        return status;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], value) == 0) {
            *index = i;
            return CE_OK;
        }
        ce_suggestion_offer(&near, value, names[i]);
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: %s%s: \"%.80s\" is not known%s%s%s",
                   source->file,
                   source->prefix,
                   key,
                   value,
                   near.name == NULL ? "" : "; did you mean \"",
                   near.name == NULL ? "" : near.name,
                   near.name == NULL ? "" : "\"?");
}

enum ce_status ce_description_require_string(const struct ce_json_source *source,
                                             const json_t *object,
                                             const char *key,
                                             const char **out,
                                             struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *out = NULL;
    status = ce_json_read_string(source, object, key, out, err);
    if (status == CE_OK && (*out == NULL || **out == '\0')) {
        status = ce_fail(err,
                         CE_ERR_FORMAT,
                         "%s: %s%s: is missing or empty",
                         source->file,
                         source->prefix,
                         key);
    }
    return status;
}

static enum ce_status fail_field(const struct ce_description *description,
                                 const char *key,
                                 const char *what,
                                 struct ce_error *err)
{
    return ce_fail(err, CE_ERR_FORMAT, "%s: %s: %s", description->path, key, what);
}

static enum ce_status compile(const struct ce_description *description,
                              const char *key,
                              const char *source,
                              struct ce_template **compiled,
                              struct ce_error *err)
{
    enum ce_status status = ce_template_create(compiled, source, err);

    if (status != CE_OK) {
        ce_error_prefix(err, "%s: %s", description->path, key);
    }
    return status;
}

static enum ce_status read_template(const struct ce_description *description,
                                    const char *key,
                                    struct ce_template **compiled,
                                    struct ce_error *err)
{
    struct ce_json_source source = {.file = description->path, .prefix = ""};
    const char *text = NULL;
    enum ce_status status =
        ce_json_read_string(&source, description->root, key, &text, err);

    return status == CE_OK && text != NULL
               ? compile(description, key, text, compiled, err)
               : status;
}

/* A string, or a list of strings. */
static enum ce_status read_list(const struct ce_description *description,
                                const char *key,
                                const json_t *value,
                                struct ce_template_list *list,
                                struct ce_error *err)
{
    size_t size = json_array_size(value);
    enum ce_status status = CE_OK;

    if (value == NULL) {
        return CE_OK;
    }
    if (json_is_string(value)) {
        return compile(description, key, json_string_value(value), &list->path, err);
    }
    if (size == 0) {
        return fail_field(
            description, key, "is neither one {{field}} nor a list of templates", err);
    }
    list->item = calloc(size, sizeof(list->item[0]));
    if (list->item == NULL) {
        return fail_field(description, key, "no memory for a list", err);
    }
    list->count = size;
    for (size_t i = 0; status == CE_OK && i < size; i++) {
        const char *text = json_string_value(json_array_get(value, i));

        status = text == NULL
                     ? fail_field(description, key, "is not a list of strings", err)
                     : compile(description, key, text, &list->item[i], err);
    }
    return status;
}

/* "{{label}}", or {"value": "{{answerKey}}", "among": LIST}. */
static enum ce_status read_gold(struct ce_description *description,
                                struct ce_error *err)
{
    static const char *const known[] = {"value", "among", NULL};
    const struct ce_json_source source = {.file = description->path, .prefix = "gold."};
    const json_t *gold = ce_description_field(description->root, "gold");
    const char *value = NULL;
    enum ce_status status = CE_OK;

    if (!json_is_object(gold)) {
        return read_template(description, "gold", &description->gold, err);
    }
    status = ce_description_check_keys(&source, gold, known, err);
    if (status == CE_OK) {
        status = ce_description_require_string(&source, gold, "value", &value, err);
    }
    if (status == CE_OK) {
        status = compile(description, "gold.value", value, &description->gold, err);
    }
    if (status == CE_OK && ce_description_field(gold, "among") == NULL) {
        status = fail_field(description, "gold.among", "is missing", err);
    }
    return status == CE_OK ? read_list(description,
                                       "gold.among",
                                       ce_description_field(gold, "among"),
                                       &description->gold_among,
                                       err)
                           : status;
}

static enum ce_status read_templates(struct ce_description *description,
                                     struct ce_error *err)
{
    const struct {
        const char *key;
        struct ce_template **compiled;
    } single[] = {
        {"header", &description->header},
        {"prompt", &description->prompt},
        {"target", &description->target},
        {"measured", &description->measured},
    };
    const struct {
        const char *key;
        struct ce_template_list *list;
    } several[] = {
        {"prompts", &description->prompts},
        {"choices", &description->choices},
    };
    enum ce_status status = read_gold(description, err);

    for (size_t i = 0; status == CE_OK && i < sizeof(single) / sizeof(single[0]); i++) {
        status = read_template(description, single[i].key, single[i].compiled, err);
    }
    for (size_t i = 0; status == CE_OK && i < sizeof(several) / sizeof(several[0]);
         i++) {
        status = read_list(description,
                           several[i].key,
                           ce_description_field(description->root, several[i].key),
                           several[i].list,
                           err);
    }
    return status;
}

static enum ce_status read_fewshot(struct ce_description *description,
                                   struct ce_error *err)
{
    static const char *const known[] = {
        "count", "documents", "sampler", "seed", "delimiter", "exclude", NULL};
    static const char *const samplers[] = {"random", "first_n", NULL};
    const struct ce_json_source source = {.file = description->path,
                                          .prefix = "fewshot."};
    const json_t *object = ce_description_field(description->root, "fewshot");
    struct ce_fewshot_description *fewshot = &description->fewshot;
    size_t sampler = 0, seed = 1234;
    enum ce_status status = CE_OK;

    fewshot->delimiter = "\n\n";
    if (object == NULL) {
        return CE_OK;
    }
    if (!json_is_object(object)) {
        return fail_field(description, "fewshot", "is not an object", err);
    }
    status = ce_description_check_keys(&source, object, known, err);
    if (status == CE_OK) {
        status = ce_json_read_size(&source, object, "count", &fewshot->count, err);
    }
    if (status == CE_OK) {
        status =
            ce_json_read_string(&source, object, "documents", &fewshot->documents, err);
    }
    if (status == CE_OK) {
        status = ce_description_read_name(
            &source, object, "sampler", samplers, &sampler, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_size(&source, object, "seed", &seed, err);
    }
    if (status == CE_OK) {
        status =
            ce_json_read_string(&source, object, "delimiter", &fewshot->delimiter, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_bool(&source, object, "exclude", &fewshot->exclude, err);
    }
    fewshot->first_n = sampler == 1;
    fewshot->seed = seed;
    return status;
}

static enum ce_status read_clean_up(struct ce_description *description,
                                    struct ce_error *err)
{
    const struct ce_json_source source = {.file = description->path, .prefix = ""};
    const char *name = NULL;
    enum ce_status status =
        ce_json_read_string(&source, description->root, "clean_up", &name, err);

    if (status == CE_OK && name != NULL) {
        description->clean_up = ce_cleanup_find(name);
        if (description->clean_up == NULL) {
            status = ce_fail(err,
                             CE_ERR_FORMAT,
                             "%s: clean_up: \"%.80s\" is not known; there is "
                             "\"hellaswag\"",
                             description->path,
                             name);
        }
    }
    return status;
}

static enum ce_status read_strings(struct ce_description *description,
                                   struct ce_error *err)
{
    const struct ce_json_source source = {.file = description->path, .prefix = ""};
    const json_t *root = description->root;
    size_t output = SIZE_MAX;
    enum ce_status status =
        ce_description_require_string(&source, root, "name", &description->name, err);

    description->version = "1.0";
    description->target_delimiter = " ";
    if (status == CE_OK) {
        status =
            ce_json_read_string(&source, root, "version", &description->version, err);
    }
    if (status == CE_OK) {
        status = ce_description_require_string(
            &source, root, "documents", &description->documents, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_string(&source, root, "id", &description->id_field, err);
    }
    if (status == CE_OK) {
        status =
            ce_json_read_string(&source, root, "part", &description->part_field, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_string(
            &source, root, "target_delimiter", &description->target_delimiter, err);
    }
    if (status == CE_OK) {
        status = ce_description_read_name(
            &source, root, "output_type", output_names, &output, err);
    }
    if (status == CE_OK && output == SIZE_MAX) {
        status = fail_field(description, "output_type", "is missing", err);
    }
    description->output = (enum ce_output_type)output;
    return status;
}

enum presence { ABSENT = 0, OPTIONAL, REQUIRED };

static enum ce_status check_presence(const struct ce_description *description,
                                     const char *key,
                                     enum presence presence,
                                     struct ce_error *err)
{
    bool there = ce_description_field(description->root, key) != NULL;

    if (!there && presence == REQUIRED) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: is missing, which a task of output_type \"%s\" needs",
                       description->path,
                       key,
                       output_names[description->output]);
    }
    if (there && presence == ABSENT) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: has no meaning in a task of output_type \"%s\" that "
                       "has the other fields of this one",
                       description->path,
                       key,
                       output_names[description->output]);
    }
    return CE_OK;
}

/* Which fields go together. */
static enum ce_status check_fields(const struct ce_description *description,
                                   struct ce_error *err)
{
    bool choice = description->output == CE_OUTPUT_MULTIPLE_CHOICE;
    bool rolling = description->output == CE_OUTPUT_ROLLING;
    bool swapped = ce_description_field(description->root, "prompts") != NULL;
    const struct {
        const char *key;
        enum presence presence;
    } rules[] = {
        {"prompts", choice ? OPTIONAL : ABSENT},
        {"prompt", rolling || (choice && swapped) ? ABSENT : REQUIRED},
        {"choices", choice && !swapped ? REQUIRED : ABSENT},
        {"gold", choice ? REQUIRED : ABSENT},
        {"target", choice && !swapped ? ABSENT : REQUIRED},
        {"measured", rolling ? OPTIONAL : ABSENT},
        {"fewshot", rolling ? ABSENT : OPTIONAL},
        {"header", rolling ? ABSENT : OPTIONAL},
        {"generation", description->output == CE_OUTPUT_GENERATE ? OPTIONAL : ABSENT},
        {"metrics", REQUIRED},
    };
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < sizeof(rules) / sizeof(rules[0]); i++) {
        status = check_presence(description, rules[i].key, rules[i].presence, err);
    }
    if (status == CE_OK && description->part_field != NULL &&
        description->fewshot.documents != NULL && !description->fewshot.first_n) {
        status = fail_field(description,
                            "fewshot.sampler",
                            "must be \"first_n\" in a task with parts",
                            err);
    }
    return status;
}

/* `root` is there. */
static enum ce_status read_root(struct ce_description *description,
                                struct ce_error *err)
{
    const struct ce_json_source source = {.file = description->path, .prefix = ""};
    enum ce_status status =
        ce_description_check_keys(&source, description->root, known_fields, err);

    if (status == CE_OK) {
        status = read_strings(description, err);
    }
    if (status == CE_OK) {
        status = read_templates(description, err);
    }
    if (status == CE_OK) {
        status = read_clean_up(description, err);
    }
    if (status == CE_OK) {
        status = read_fewshot(description, err);
    }
    return status == CE_OK ? check_fields(description, err) : status;
}

enum ce_status ce_description_open(struct ce_description *description,
                                   const char *path,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *description = (struct ce_description){.path = path};
    status = ce_json_load_object(path, MOST_BYTES, &description->root, err);
    return status == CE_OK ? read_root(description, err) : status;
}

enum ce_status ce_description_parse(struct ce_description *description,
                                    const char *text,
                                    size_t bytes,
                                    const char *path,
                                    struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *description = (struct ce_description){.path = path};
    status = ce_json_parse_object(text, bytes, path, &description->root, err);
    return status == CE_OK ? read_root(description, err) : status;
}

static void list_free(struct ce_template_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        ce_template_destroy(list->item[i]);
    }
    free(list->item);
    ce_template_destroy(list->path);
}

void ce_description_close(struct ce_description *description)
{
    ce_template_destroy(description->header);
    ce_template_destroy(description->prompt);
    ce_template_destroy(description->gold);
    ce_template_destroy(description->target);
    ce_template_destroy(description->measured);
    list_free(&description->prompts);
    list_free(&description->choices);
    list_free(&description->gold_among);
    json_decref(description->root);
    *description = (struct ce_description){.path = NULL};
}
