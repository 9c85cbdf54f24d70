/* rendering.c - templates applied to a document, and the gold among its choices */

#include "eval/rendering.h"

#include <stdlib.h>
#include <string.h>

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the text of a document");
}

static enum ce_status render(const char *field,
                             const struct ce_template *compiled,
                             const json_t *document,
                             char **out,
                             struct ce_error *err)
{
    struct ce_string text = {.data = NULL};
    enum ce_status status = ce_template_render(compiled, document, &text, err);

    if (status == CE_OK) {
        *out = ce_string_take(&text);
        status = *out == NULL ? fail_memory(err) : CE_OK;
    } else {
        ce_error_prefix(err, "%s", field);
    }
    ce_string_free(&text);
    return status;
}

/* A list in the document that a template leads to. */
static enum ce_status find_list(const char *field,
                                const struct ce_template_list *list,
                                const json_t *document,
                                const json_t **value,
                                struct ce_error *err)
{
    enum ce_status status = ce_template_find(list->path, document, value, err);

    if (status != CE_OK) {
        ce_error_prefix(err, "%s", field);
    } else if (json_array_size(*value) == 0) {
        status = ce_fail(
            err, CE_ERR_FORMAT, "%s: is not a list in the document, or empty", field);
    }
    return status;
}

static enum ce_status render_item(const char *field,
                                  const struct ce_template_list *list,
                                  const json_t *document,
                                  const json_t *values,
                                  size_t index,
                                  char **out,
                                  struct ce_error *err)
{
    const char *string = json_string_value(json_array_get(values, index));

    if (list->path == NULL) {
        return render(field, list->item[index], document, out, err);
    }
    if (string == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: element %zu of the list in the document is not a string",
                       field,
                       index);
    }
    *out = strdup(string);
    return *out == NULL ? fail_memory(err) : CE_OK;
}

static enum ce_status render_list(const char *field,
                                  const struct ce_template_list *list,
                                  const json_t *document,
                                  char ***strings,
                                  size_t *count,
                                  struct ce_error *err)
{
    const json_t *values = NULL;
    size_t wanted = list->count;
    enum ce_status status = CE_OK;

    if (list->path != NULL) {
        status = find_list(field, list, document, &values, err);
        wanted = json_array_size(values);
    }
    if (status != CE_OK) {
        return status;
    }
    *strings = calloc(wanted, sizeof(**strings));
    if (*strings == NULL) {
        return fail_memory(err);
    }
    *count = wanted;
    for (size_t i = 0; status == CE_OK && i < wanted; i++) {
        status = render_item(field, list, document, values, i, &(*strings)[i], err);
    }
    return status;
}

static void free_list(char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(strings[i]);
    }
    free(strings);
}

static enum ce_status find_string(char *const *strings,
                                  size_t count,
                                  const char *wanted,
                                  const char *where,
                                  size_t *index,
                                  struct ce_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(strings[i], wanted) == 0) {
            *index = i;
            return CE_OK;
        }
    }
    return ce_fail(
        err, CE_ERR_FORMAT, "gold: \"%.80s\" is not among %s", wanted, where);
}

static enum ce_status find_among(struct ce_rendering *rendering,
                                 const struct ce_description *description,
                                 const json_t *document,
                                 const char *value,
                                 struct ce_error *err)
{
    char **among = NULL;
    size_t count = 0;
    enum ce_status status = render_list(
        "gold.among", &description->gold_among, document, &among, &count, err);

    if (status == CE_OK) {
        status = find_string(among, count, value, "gold.among", &rendering->gold, err);
    }
    free_list(among, count);
    return status;
}

/* As lm-eval has it: digits are an index, other text is that of a choice. */
static enum ce_status
read_gold(struct ce_rendering *rendering, char *value, struct ce_error *err)
{
    char *end = NULL;

    if (*value != '\0' && value[strspn(value, "0123456789")] == '\0') {
        rendering->gold = strtoull(value, &end, 10);
        return CE_OK;
    }
    rendering->gold_text = strdup(value);
    if (rendering->gold_text == NULL) {
        return fail_memory(err);
    }
    return find_string(rendering->choice,
                       rendering->choices,
                       value,
                       "the choices",
                       &rendering->gold,
                       err);
}

static enum ce_status find_gold(struct ce_rendering *rendering,
                                const struct ce_description *description,
                                const json_t *document,
                                struct ce_error *err)
{
    const struct ce_template_list *among = &description->gold_among;
    char *value = NULL;
    enum ce_status status = render("gold", description->gold, document, &value, err);

    if (status == CE_OK) {
        status = among->count > 0 || among->path != NULL
                     ? find_among(rendering, description, document, value, err)
                     : read_gold(rendering, value, err);
    }
    if (status == CE_OK && rendering->gold >= rendering->choices) {
        status = ce_fail(err,
                         CE_ERR_FORMAT,
                         "gold: is \"%.40s\", but the document has %zu choices",
                         value,
                         rendering->choices);
    }
    free(value);
    return status;
}

/* A model cannot be asked how likely nothing is. */
static enum ce_status check_choices(const struct ce_rendering *rendering,
                                    struct ce_error *err)
{
    for (size_t i = 0; i < rendering->choices; i++) {
        if (rendering->choice[i][0] == '\0') {
            return ce_fail(err, CE_ERR_FORMAT, "choices: number %zu is empty", i);
        }
    }
    return CE_OK;
}

/* A text that is scored from its beginning may be empty: its sum is 0, as in lm-eval.
 */
static enum ce_status check_target(const struct ce_rendering *rendering,
                                   const struct ce_description *description,
                                   struct ce_error *err)
{
    bool asked = description->output == CE_OUTPUT_LOGLIKELIHOOD;

    if (asked && rendering->target != NULL && rendering->target[0] == '\0') {
        return ce_fail(err, CE_ERR_FORMAT, "target: is empty");
    }
    return CE_OK;
}

static enum ce_status render_choices(struct ce_rendering *rendering,
                                     const struct ce_description *description,
                                     const json_t *document,
                                     struct ce_error *err)
{
    bool swapped = description->prompt == NULL;
    enum ce_status status =
        render_list("choices",
                    swapped ? &description->prompts : &description->choices,
                    document,
                    &rendering->choice,
                    &rendering->choices,
                    err);

    if (status == CE_OK) {
        status = check_choices(rendering, err);
    }
    return status == CE_OK ? find_gold(rendering, description, document, err) : status;
}

static enum ce_status render_prompts(struct ce_rendering *rendering,
                                     const struct ce_description *description,
                                     const json_t *document,
                                     struct ce_error *err)
{
    if (description->prompt == NULL) {
        return render_list("prompts",
                           &description->prompts,
                           document,
                           &rendering->prompt,
                           &rendering->prompts,
                           err);
    }
    rendering->prompt = calloc(1, sizeof(rendering->prompt[0]));
    if (rendering->prompt == NULL) {
        return fail_memory(err);
    }
    rendering->prompts = 1;
    return render("prompt", description->prompt, document, &rendering->prompt[0], err);
}

/* Fields that are one template each, and may be absent. */
static enum ce_status render_single(struct ce_rendering *rendering,
                                    const struct ce_description *description,
                                    const json_t *document,
                                    struct ce_error *err)
{
    const struct {
        const char *field;
        const struct ce_template *compiled;
        char **out;
    } fields[] = {
        {"header", description->header, &rendering->header},
        {"target", description->target, &rendering->target},
        {"measured", description->measured, &rendering->measured},
    };
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].compiled != NULL) {
            status = render(
                fields[i].field, fields[i].compiled, document, fields[i].out, err);
        }
    }
    if (status == CE_OK && rendering->header == NULL) {
        rendering->header = strdup("");
        status = rendering->header == NULL ? fail_memory(err) : CE_OK;
    }
    return status;
}

enum ce_status ce_rendering_make(struct ce_rendering *rendering,
                                 const struct ce_description *description,
                                 const json_t *document,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *rendering = (struct ce_rendering){.header = NULL};
    status = render_single(rendering, description, document, err);
    if (status == CE_OK) {
        status = check_target(rendering, description, err);
    }
    if (status == CE_OK && description->output != CE_OUTPUT_ROLLING) {
        status = render_prompts(rendering, description, document, err);
    }
    if (status == CE_OK && description->output == CE_OUTPUT_MULTIPLE_CHOICE) {
        status = render_choices(rendering, description, document, err);
    }
    return status;
}

void ce_rendering_free(struct ce_rendering *rendering)
{
    free(rendering->header);
    free_list(rendering->prompt, rendering->prompts);
    free_list(rendering->choice, rendering->choices);
    free(rendering->target);
    free(rendering->gold_text);
    free(rendering->measured);
    *rendering = (struct ce_rendering){.header = NULL};
}
