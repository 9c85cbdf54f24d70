/* description_scoring.c - how answers are judged: metrics, filters, generation */

#include "eval/description_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For messages; cut to fit. */
struct place {
    char prefix[160];
    struct ce_json_source source;
};

static const struct ce_json_source *
set_place(struct place *place, const char *file, const char *list, size_t index)
{
    (void)snprintf(place->prefix, sizeof(place->prefix), "%s[%zu].", list, index);
    place->source = (struct ce_json_source){.file = file, .prefix = place->prefix};
    return &place->source;
}

static enum ce_status fail_memory(const struct ce_json_source *source,
                                  struct ce_error *err)
{
    return ce_fail(
        err, CE_ERR_NOMEM, "%s: no memory for the description", source->file);
}

static enum ce_status fail_key(const struct ce_json_source *source,
                               const char *key,
                               const char *what,
                               struct ce_error *err)
{
    return ce_fail(
        err, CE_ERR_FORMAT, "%s: %s%s: %s", source->file, source->prefix, key, what);
}

/* A copy of a string field; `fallback`, if not NULL, where it is absent. */
static enum ce_status copy_string(const struct ce_json_source *source,
                                  const json_t *object,
                                  const char *key,
                                  const char *fallback,
                                  char **out,
                                  struct ce_error *err)
{
    const char *value = fallback;
    enum ce_status status = ce_json_read_string(source, object, key, &value, err);

    if (status == CE_OK && value == NULL) {
        status = fail_key(source, key, "is missing", err);
    }
    if (status == CE_OK) {
        *out = strdup(value);
        status = *out == NULL ? fail_memory(source, err) : CE_OK;
    }
    return status;
}

/* A list of strings that are not empty. */
static enum ce_status copy_list(const struct ce_json_source *source,
                                const json_t *object,
                                const char *key,
                                char ***list,
                                size_t *count,
                                struct ce_error *err)
{
    const json_t *value = ce_description_field(object, key);
    size_t size = json_array_size(value);

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_array(value)) {
        return fail_key(source, key, "is not a list", err);
    }
    *list = calloc(size + 1, sizeof(**list));
    if (*list == NULL) {
        return fail_memory(source, err);
    }
    for (size_t i = 0; i < size; i++) {
        const char *string = json_string_value(json_array_get(value, i));

        if (string == NULL || *string == '\0') {
            return fail_key(source, key, "is not a list of strings with text", err);
        }
        (*list)[i] = strdup(string);
        if ((*list)[i] == NULL) {
            return fail_memory(source, err);
        }
        *count = i + 1;
    }
    return CE_OK;
}

static const struct {
    const char *name;
    unsigned outputs; /* in which it has a meaning: 1 << enum ce_output_type */
    bool higher_is_better;
} metrics[] = {
    {"acc", 1 << CE_OUTPUT_MULTIPLE_CHOICE | 1 << CE_OUTPUT_LOGLIKELIHOOD, true},
    {"acc_norm", 1 << CE_OUTPUT_MULTIPLE_CHOICE, true},
    {"acc_bytes", 1 << CE_OUTPUT_MULTIPLE_CHOICE, true},
    {"acc_mutual_info", 1 << CE_OUTPUT_MULTIPLE_CHOICE, true},
    {"exact_match", 1 << CE_OUTPUT_MULTIPLE_CHOICE | 1 << CE_OUTPUT_GENERATE, true},
    {"perplexity", 1 << CE_OUTPUT_LOGLIKELIHOOD, false},
    {"word_perplexity", 1 << CE_OUTPUT_ROLLING, false},
    {"byte_perplexity", 1 << CE_OUTPUT_ROLLING, false},
    {"bits_per_byte", 1 << CE_OUTPUT_ROLLING, false},
};
#define METRICS (sizeof(metrics) / sizeof(metrics[0]))

static enum ce_status name_metric(const struct ce_json_source *source,
                                  const struct ce_task *task,
                                  const json_t *object,
                                  struct ce_metric *metric,
                                  struct ce_error *err)
{
    const char *names[METRICS + 1] = {NULL};
    size_t which = SIZE_MAX;
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < METRICS; i++) {
        names[i] = metrics[i].name;
    }
    status = ce_description_read_name(source, object, "name", names, &which, err);
    if (status == CE_OK && which == SIZE_MAX) {
        return fail_key(source, "name", "is missing", err);
    }
    if (status == CE_OK && (metrics[which].outputs & 1u << task->output) == 0) {
        return fail_key(
            source, "name", "is not a metric of the task's output_type", err);
    }
    if (status == CE_OK) {
        metric->higher_is_better = metrics[which].higher_is_better;
        metric->name = strdup(names[which]);
        status = metric->name == NULL ? fail_memory(source, err) : CE_OK;
    }
    return status;
}

/* exact_match alone has these. */
static enum ce_status read_ignored(const struct ce_json_source *source,
                                   const json_t *object,
                                   struct ce_metric *metric,
                                   struct ce_error *err)
{
    const struct {
        const char *key;
        bool *out;
    } flags[] = {
        {"ignore_case", &metric->ignore_case},
        {"ignore_punctuation", &metric->ignore_punctuation},
        {"ignore_numbers", &metric->ignore_numbers},
    };
    enum ce_status status =
        copy_list(source, object, "ignore", &metric->ignore, &metric->ignores, err);

    for (size_t i = 0; status == CE_OK && i < sizeof(flags) / sizeof(flags[0]); i++) {
        status = ce_json_read_bool(source, object, flags[i].key, flags[i].out, err);
    }
    return status;
}

static enum ce_status read_metric(const struct ce_json_source *source,
                                  const struct ce_task *task,
                                  const json_t *object,
                                  struct ce_metric *metric,
                                  struct ce_error *err)
{
    static const char *const known[] = {"name",
                                        "higher_is_better",
                                        "ignore",
                                        "ignore_case",
                                        "ignore_punctuation",
                                        "ignore_numbers",
                                        NULL};
    /* The first two of the list are all that other metrics have. */
    const char *const few[] = {known[0], known[1], NULL};
    enum ce_status status = name_metric(source, task, object, metric, err);
    bool exact = status == CE_OK && strcmp(metric->name, "exact_match") == 0;

    if (status == CE_OK) {
        status = ce_description_check_keys(source, object, exact ? known : few, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_bool(
            source, object, "higher_is_better", &metric->higher_is_better, err);
    }
    return status == CE_OK ? read_ignored(source, object, metric, err) : status;
}

/* A list of objects that is there. */
static enum ce_status require_objects(const struct ce_json_source *source,
                                      const json_t *parent,
                                      const char *key,
                                      const json_t **list,
                                      struct ce_error *err)
{
    size_t index = 0;
    const json_t *object = NULL;

    *list = ce_description_field(parent, key);
    if (json_array_size(*list) == 0) {
        return fail_key(source, key, "is missing, not a list, or empty", err);
    }
    json_array_foreach(*list, index, object)
    {
        if (!json_is_object(object)) {
            return fail_key(source, key, "is not a list of objects", err);
        }
    }
    return CE_OK;
}

static enum ce_status read_metrics(const char *file,
                                   const json_t *root,
                                   struct ce_task *task,
                                   struct ce_error *err)
{
    const struct ce_json_source top = {.file = file, .prefix = ""};
    const json_t *list = NULL;
    enum ce_status status = require_objects(&top, root, "metrics", &list, err);
    struct place place;

    if (status != CE_OK) {
        return status;
    }
    task->metric = calloc(json_array_size(list), sizeof(task->metric[0]));
    if (task->metric == NULL) {
        return fail_memory(&top, err);
    }
    task->metrics = json_array_size(list);
    for (size_t i = 0; status == CE_OK && i < task->metrics; i++) {
        status = read_metric(set_place(&place, file, "metrics", i),
                             task,
                             json_array_get(list, i),
                             &task->metric[i],
                             err);
    }
    return status;
}

/* list_index is negative or not; int like the rest of Python's. */
static enum ce_status read_select(const struct ce_json_source *source,
                                  const json_t *object,
                                  int *select,
                                  struct ce_error *err)
{
    const json_t *value = ce_description_field(object, "select");

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < -1000 ||
        json_integer_value(value) > 1000) {
        return fail_key(source, "select", "is not an integer from -1000 to 1000", err);
    }
    *select = (int)json_integer_value(value);
    return CE_OK;
}

static enum ce_status read_step(const struct ce_json_source *source,
                                const json_t *object,
                                struct ce_filter_step *step,
                                struct ce_error *err)
{
    static const char *const known[] = {"kind", "pattern", "fallback", "select", NULL};
    static const char *const kind_alone[] = {"kind", NULL};
    static const char *const kinds[] = {
        "regex", "take_first", "remove_whitespace", "lowercase", NULL};
    size_t kind = SIZE_MAX;
    enum ce_status status =
        ce_description_read_name(source, object, "kind", kinds, &kind, err);

    if (status == CE_OK && kind == SIZE_MAX) {
        return fail_key(source, "kind", "is missing", err);
    }
    if (status == CE_OK) {
        step->kind = (enum ce_filter_step_kind)kind;
        status = ce_description_check_keys(
            source, object, kind == CE_FILTER_REGEX ? known : kind_alone, err);
    }
    if (status != CE_OK || kind != CE_FILTER_REGEX) {
        return status;
    }
    status = copy_string(source, object, "pattern", NULL, &step->pattern, err);
    if (status == CE_OK) {
        status =
            copy_string(source, object, "fallback", "[invalid]", &step->fallback, err);
    }
    return status == CE_OK ? read_select(source, object, &step->select, err) : status;
}

static enum ce_status read_filter(const struct ce_json_source *source,
                                  const json_t *object,
                                  struct ce_filter *filter,
                                  struct ce_error *err)
{
    static const char *const known[] = {"name", "steps", NULL};
    const json_t *list = NULL;
    enum ce_status status = ce_description_check_keys(source, object, known, err);
    struct place place;
    char name[96];

    if (status == CE_OK) {
        status = copy_string(source, object, "name", NULL, &filter->name, err);
    }
    if (status == CE_OK) {
        status = require_objects(source, object, "steps", &list, err);
    }
    if (status != CE_OK) {
        return status;
    }
    filter->step = calloc(json_array_size(list), sizeof(filter->step[0]));
    if (filter->step == NULL) {
        return fail_memory(source, err);
    }
    filter->steps = json_array_size(list);
    (void)snprintf(name, sizeof(name), "%ssteps", source->prefix);
    for (size_t i = 0; status == CE_OK && i < filter->steps; i++) {
        status = read_step(set_place(&place, source->file, name, i),
                           json_array_get(list, i),
                           &filter->step[i],
                           err);
    }
    return status;
}

/* What lm-eval has where a task has no filter: the first answer as it is. */
static enum ce_status add_default_filter(const struct ce_json_source *source,
                                         struct ce_task *task,
                                         struct ce_error *err)
{
    task->filter = calloc(1, sizeof(task->filter[0]));
    if (task->filter == NULL) {
        return fail_memory(source, err);
    }
    task->filters = 1;
    task->filter[0].name = strdup("none");
    task->filter[0].step = calloc(1, sizeof(task->filter[0].step[0]));
    if (task->filter[0].name == NULL || task->filter[0].step == NULL) {
        return fail_memory(source, err);
    }
    task->filter[0].steps = 1;
    task->filter[0].step[0].kind = CE_FILTER_TAKE_FIRST;
    return CE_OK;
}

static enum ce_status read_filters(const char *file,
                                   const json_t *root,
                                   struct ce_task *task,
                                   struct ce_error *err)
{
    const struct ce_json_source top = {.file = file, .prefix = ""};
    const json_t *list = NULL;
    enum ce_status status = CE_OK;
    struct place place;

    if (ce_description_field(root, "filters") == NULL) {
        return add_default_filter(&top, task, err);
    }
    status = require_objects(&top, root, "filters", &list, err);
    if (status != CE_OK) {
        return status;
    }
    task->filter = calloc(json_array_size(list), sizeof(task->filter[0]));
    if (task->filter == NULL) {
        return fail_memory(&top, err);
    }
    task->filters = json_array_size(list);
    for (size_t i = 0; status == CE_OK && i < task->filters; i++) {
        status = read_filter(set_place(&place, file, "filters", i),
                             json_array_get(list, i),
                             &task->filter[i],
                             err);
    }
    return status;
}

static enum ce_status check_generation(const struct ce_json_source *source,
                                       const struct ce_generate_settings *generate,
                                       struct ce_error *err)
{
    if (generate->max_new_tokens == 0) {
        return fail_key(source, "max_new_tokens", "is 0", err);
    }
    if (generate->temperature < 0.0) {
        return fail_key(source, "temperature", "is negative", err);
    }
    if (generate->top_p <= 0.0 || generate->top_p > 1.0) {
        return fail_key(source, "top_p", "is not above 0 and at most 1", err);
    }
    return CE_OK;
}

static enum ce_status read_generation(const struct ce_description *description,
                                      struct ce_generate_settings *generate,
                                      struct ce_error *err)
{
    static const char *const known[] = {
        "until", "max_new_tokens", "temperature", "top_p", "seed", NULL};
    const struct ce_json_source source = {.file = description->path,
                                          .prefix = "generation."};
    const json_t *object = ce_description_field(description->root, "generation");
    size_t seed = 1234;
    enum ce_status status = CE_OK;

    if (object != NULL && !json_is_object(object)) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: generation: is not an object", description->path);
    }
    status = ce_description_check_keys(&source, object, known, err);
    if (status == CE_OK) {
        status = copy_list(
            &source, object, "until", &generate->until, &generate->untils, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_size(
            &source, object, "max_new_tokens", &generate->max_new_tokens, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_double(
            &source, object, "temperature", &generate->temperature, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_double(&source, object, "top_p", &generate->top_p, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_size(&source, object, "seed", &seed, err);
    }
    generate->seed = seed;
    return status == CE_OK ? check_generation(&source, generate, err) : status;
}

/* lm-eval's: what separates examples. */
static enum ce_status add_default_until(const struct ce_description *description,
                                        struct ce_generate_settings *generate,
                                        struct ce_error *err)
{
    const struct ce_json_source source = {.file = description->path, .prefix = ""};

    generate->until = calloc(1, sizeof(generate->until[0]));
    if (generate->until == NULL) {
        return fail_memory(&source, err);
    }
    generate->until[0] = strdup(description->fewshot.delimiter);
    generate->untils = 1;
    return generate->until[0] == NULL ? fail_memory(&source, err) : CE_OK;
}

enum ce_status ce_description_read_scoring(const struct ce_description *description,
                                           struct ce_task *task,
                                           struct ce_error *err)
{
    const char *file = description->path;
    enum ce_status status = read_metrics(file, description->root, task, err);

    if (status == CE_OK) {
        status = read_filters(file, description->root, task, err);
    }
    if (status != CE_OK || description->output != CE_OUTPUT_GENERATE) {
        return status;
    }
    task->generate.max_new_tokens = 256;
    task->generate.top_p = 1.0;
    status = read_generation(description, &task->generate, err);
    return status == CE_OK && task->generate.until == NULL
               ? add_default_until(description, &task->generate, err)
               : status;
}
