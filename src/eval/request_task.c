/* request_task.c - documents and queries that are added one by one */

#include "eval/request_task.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the requests");
}

/* "dir/name.jsonl" is "name". */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');

    return strndup(name,
                   dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name));
}

enum ce_status ce_request_task_init(struct ce_task *task,
                                    const char *path,
                                    const void *text,
                                    size_t bytes,
                                    struct ce_error *err)
{
    *task = (struct ce_task){.name = name_of(path),
                             .version = strdup("1"),
                             .output = CE_OUTPUT_REQUESTS,
                             .filter = calloc(1, sizeof(task->filter[0])),
                             .hash = ce_hash_bytes(CE_HASH_START, text, bytes)};
    if (task->name == NULL || task->version == NULL || task->filter == NULL) {
        return fail_memory(err);
    }
    task->filters = 1;
    task->filter[0].name = strdup("none");
    task->config = json_pack("{s:s}", "task", task->name);
    return task->filter[0].name != NULL && task->config != NULL ? CE_OK
                                                                : fail_memory(err);
}

void ce_request_task_free_query(struct ce_query *query)
{
    struct ce_generate_settings *generate = query->generate;

    free(query->context);
    free(query->continuation);
    free(query->ids);
    for (size_t i = 0; generate != NULL && i < generate->untils; i++) {
        free(generate->until[i]);
    }
    if (generate != NULL) {
        free(generate->until);
    }
    free(generate);
}

void ce_request_task_free(struct ce_task *task)
{
    for (size_t i = 0; i < task->documents; i++) {
        json_decref(task->document[i].source);
        free(task->document[i].target);
    }
    for (size_t i = 0; i < task->queries; i++) {
        ce_request_task_free_query(&task->query[i]);
    }
    for (size_t i = 0; i < task->filters; i++) {
        free(task->filter[i].name);
    }
    free(task->document);
    free(task->query);
    free(task->filter);
    free(task->name);
    free(task->version);
    json_decref(task->config);
    *task = (struct ce_task){.name = NULL};
}

/* Room for one more; the capacity is the next power of two, so that it needs no place.
 */
static void *grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0) {
        return array;
    }
    return realloc(array, (count == 0 ? 1 : 2 * count) * size);
}

enum ce_status ce_request_task_add_document(struct ce_task *task,
                                            json_t *source,
                                            size_t line,
                                            struct ce_error *err)
{
    struct ce_document *documents =
        grow(task->document, task->documents, sizeof(task->document[0]));
    char *target = strdup("");

    task->document = documents != NULL ? documents : task->document;
    if (documents == NULL || target == NULL) {
        free(target);
        return fail_memory(err);
    }
    documents[task->documents] = (struct ce_document){.source = json_incref(source),
                                                      .line = line,
                                                      .id = task->documents,
                                                      .first = task->queries,
                                                      .target = target};
    task->documents++;
    return CE_OK;
}

struct ce_query *ce_request_task_add_query(struct ce_task *task, struct ce_error *err)
{
    struct ce_query *queries = grow(task->query, task->queries, sizeof(task->query[0]));

    if (queries == NULL) {
        (void)fail_memory(err);
        return NULL;
    }
    task->query = queries;
    task->query[task->queries] = (struct ce_query){.kind = CE_QUERY_GENERATE};
    task->document[task->documents - 1].queries++;
    return &task->query[task->queries++];
}

static enum ce_status add_until(struct ce_generate_settings *settings,
                                const json_t *string,
                                struct ce_error *err)
{
    char *copy = strdup(json_string_value(string));

    if (copy == NULL) {
        return fail_memory(err);
    }
    settings->until[settings->untils++] = copy;
    return CE_OK;
}

bool ce_request_task_read_until(struct ce_generate_settings *settings,
                                const json_t *value,
                                enum ce_status *status,
                                struct ce_error *err)
{
    bool is_list = json_is_array(value);
    size_t count = is_list ? json_array_size(value) : 1;

    *status = CE_OK;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(is_list ? json_array_get(value, i) : value)) {
            return false;
        }
    }
    settings->until = calloc(count + 1, sizeof(settings->until[0]));
    *status = settings->until == NULL ? fail_memory(err) : CE_OK;
    for (size_t i = 0; *status == CE_OK && i < count; i++) {
        *status = add_until(settings, is_list ? json_array_get(value, i) : value, err);
    }
    return true;
}
