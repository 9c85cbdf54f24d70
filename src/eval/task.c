/* task.c - a description, its documents and its examples become a task */

#include "eval/task.h"

#include "base/file.h"
#include "eval/task_parts.h"

#include <stdlib.h>
#include <string.h>

/* The folder of a path, malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* "folder/name" if there is such a file, or `name` alone where it is absolute. */
static enum ce_status
look_in(const char *folder, const char *name, char **path, struct ce_error *err)
{
    char *joined = *name == '/' ? strdup(name) : ce_path_join(folder, name);

    *path = NULL;
    if (joined == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the path of %s", name);
    }
    if (ce_file_exists(joined)) {
        *path = joined;
    } else {
        free(joined);
    }
    return CE_OK;
}

static enum ce_status find_data(const struct ce_task_options *options,
                                const char *name,
                                char **path,
                                struct ce_error *err)
{
    char *folder = folder_of(options->description);
    enum ce_status status = CE_OK;

    *path = NULL;
    if (folder == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the path of %s", name);
    }
    if (options->data_dir != NULL) {
        status = look_in(options->data_dir, name, path, err);
    }
    if (status == CE_OK && *path == NULL) {
        status = look_in(folder, name, path, err);
    }
    if (status == CE_OK && *path == NULL) {
        status = ce_fail(err,
                         CE_ERR_IO,
                         "%s: there is no %s in %s%s%s; tasks of public data sets need "
                         "the data as JSON Lines in the folder of --data",
                         options->description,
                         name,
                         options->data_dir != NULL ? options->data_dir : "",
                         options->data_dir != NULL ? " and none in " : "",
                         folder);
    }
    free(folder);
    return status;
}

/* "mmlu", or "mmlu_astronomy" of a part. */
static enum ce_status name_task(struct ce_task *task,
                                const struct ce_description *description,
                                const char *part,
                                struct ce_error *err)
{
    struct ce_string name = {.data = NULL};

    ce_string_append(&name, description->name);
    if (part != NULL) {
        ce_string_append(&name, "_");
        ce_string_append(&name, part);
    }
    task->name = ce_string_take(&name);
    task->version = strdup(description->version);
    ce_string_free(&name);
    if (task->name == NULL || task->version == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the name of a task");
    }
    return CE_OK;
}

/* The description with what the options changed. */
static enum ce_status keep_config(struct ce_task *task,
                                  const struct ce_description *description,
                                  const char *part,
                                  struct ce_error *err)
{
    json_t *fewshot = NULL;
    int failed = 0;

    task->config = json_deep_copy(description->root);
    failed = task->config == NULL;
    fewshot = json_object_get(task->config, "fewshot");
    if (json_is_object(fewshot)) {
        failed |= json_object_set_new(
            fewshot, "count", json_integer((json_int_t)task->fewshot));
    }
    failed |= json_object_set_new(task->config, "name", json_string(task->name));
    if (part != NULL) {
        failed |= json_object_set_new(task->config, "part_value", json_string(part));
    }
    return failed ? ce_fail(err, CE_ERR_NOMEM, "no memory for a description") : CE_OK;
}

static enum ce_status check_options(const struct ce_description *description,
                                    const struct ce_task_options *options,
                                    size_t fewshot,
                                    struct ce_error *err)
{
    if (options->part != NULL && description->part_field == NULL) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: part: the task has no parts, so none that is \"%s\"",
                       description->path,
                       options->part);
    }
    if (fewshot > 0 && description->fewshot.documents == NULL) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: fewshot.documents: is missing, so there are no examples",
                       description->path);
    }
    return CE_OK;
}

static enum ce_status read_fewshot(struct ce_fewshot *fewshot,
                                   const struct ce_description *description,
                                   const struct ce_task_options *options,
                                   size_t count,
                                   struct ce_error *err)
{
    char *path = NULL;
    enum ce_status status =
        count == 0 ? CE_OK
                   : find_data(options, description->fewshot.documents, &path, err);

    if (status == CE_OK) {
        status = ce_fewshot_open(fewshot, description, count, path, err);
    }
    free(path);
    return status;
}

static enum ce_status read_documents(struct ce_documents *documents,
                                     const struct ce_description *description,
                                     const struct ce_task_options *options,
                                     struct ce_error *err)
{
    const struct ce_document_selection selection = {
        .id_field = description->id_field,
        .part_field = description->part_field,
        .part = options->part,
        .limit = options->limit,
    };
    char *path = NULL;
    enum ce_status status = find_data(options, description->documents, &path, err);

    if (status == CE_OK) {
        status = ce_documents_read(documents, path, &selection, err);
    }
    free(path);
    return status;
}

/* What the documents make of the task, whose description is read. */
static enum ce_status fill(struct ce_task *task,
                           const struct ce_description *description,
                           const struct ce_task_options *options,
                           struct ce_error *err)
{
    struct ce_documents documents = {.path = NULL};
    struct ce_fewshot fewshot = {.count = 0};
    enum ce_status status = read_documents(&documents, description, options, err);

    if (status == CE_OK) {
        status = read_fewshot(&fewshot, description, options, task->fewshot, err);
    }
    if (status == CE_OK) {
        status = ce_task_render(task, description, &documents, &fewshot, err);
    }
    ce_fewshot_close(&fewshot);
    ce_documents_free(&documents);
    return status;
}

enum ce_status ce_task_open(struct ce_task *task,
                            const struct ce_task_options *options,
                            struct ce_error *err)
{
    struct ce_description description = {.path = NULL};
    enum ce_status status =
        ce_description_open(&description, options->description, err);

    *task = (struct ce_task){.name = NULL};
    if (status == CE_OK) {
        task->output = description.output;
        task->fewshot = options->fewshot == CE_TASK_FEWSHOT_DEFAULT
                            ? description.fewshot.count
                            : options->fewshot;
        status = check_options(&description, options, task->fewshot, err);
    }
    if (status == CE_OK) {
        status = name_task(task, &description, options->part, err);
    }
    if (status == CE_OK) {
        status = keep_config(task, &description, options->part, err);
    }
    if (status == CE_OK) {
        status = ce_description_read_scoring(&description, task, err);
    }
    if (status == CE_OK) {
        status = fill(task, &description, options, err);
    }
    if (status == CE_OK) {
        task->hash = ce_task_hash(task);
    }
    ce_description_close(&description);
    return status;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++) {
        free(list[i]);
    }
    free(list);
}

static void free_scoring(struct ce_task *task)
{
    free_list(task->generate.until, task->generate.untils);
    for (size_t i = 0; i < task->metrics; i++) {
        free(task->metric[i].name);
        free_list(task->metric[i].ignore, task->metric[i].ignores);
    }
    free(task->metric);
    for (size_t i = 0; i < task->filters; i++) {
        struct ce_filter *filter = &task->filter[i];

        for (size_t j = 0; j < filter->steps; j++) {
            free(filter->step[j].pattern);
            free(filter->step[j].fallback);
        }
        free(filter->step);
        free(filter->name);
    }
    free(task->filter);
}

static void free_documents(struct ce_task *task)
{
    for (size_t i = 0; i < task->queries; i++) {
        struct ce_query *query = &task->query[i];

        /* The queries of a document may share a context. */
        if (i + 1 == task->queries || query[1].context != query->context) {
            free(query->context);
        }
        free(query->continuation);
    }
    free(task->query);
    for (size_t i = 0; i < task->documents; i++) {
        struct ce_document *document = &task->document[i];

        json_decref(document->source);
        free_list(document->choice, document->queries);
        free(document->target);
        free(document->measured);
    }
    free(task->document);
}

void ce_task_close(struct ce_task *task)
{
    free_scoring(task);
    free_documents(task);
    free(task->name);
    free(task->version);
    json_decref(task->config);
    *task = (struct ce_task){.name = NULL};
}
