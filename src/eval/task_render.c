/* task_render.c - documents to queries, as lm-evaluation-harness constructs requests */

#include "base/memory.h"
#include "eval/rendering.h"
#include "eval/task_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct maker {
    struct ce_task *task;
    const struct ce_description *description;
    struct ce_fewshot *fewshot;
    size_t capacity; /* of queries */
    size_t bytes;    /* of contexts and continuations */
    size_t most;     /* of these, so that they fit into memory */
    struct ce_error *err;
};

static enum ce_status fail_memory(const struct maker *maker)
{
    return ce_fail(maker->err, CE_ERR_NOMEM, "no memory for the queries");
}

static bool has_metric(const struct ce_task *task, const char *name)
{
    for (size_t i = 0; i < task->metrics; i++) {
        if (strcmp(task->metric[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static size_t length_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

static enum ce_status fail_size(const struct maker *maker)
{
    return ce_fail(maker->err,
                   CE_ERR_NOMEM,
                   "the prompts of task %s take more than %.1f MiB, half of the memory "
                   "that is left: fewer documents (--limit), fewer examples "
                   "(--num-fewshot), or several jobs",
                   maker->task->name,
                   (double)maker->most / 0x1p20);
}

/* Takes the continuation, also when it fails; the context is the caller's then. */
static enum ce_status add_query(struct maker *maker, struct ce_query query)
{
    struct ce_task *task = maker->task;

    if (task->queries == maker->capacity) {
        size_t capacity = maker->capacity * 2 + 64;
        struct ce_query *grown =
            realloc(task->query, capacity * sizeof(task->query[0]));

        if (grown == NULL) {
            free(query.continuation);
            return fail_memory(maker);
        }
        task->query = grown;
        maker->capacity = capacity;
    }
    maker->bytes += sizeof(query) + length_of(query.continuation);
    if (maker->bytes > maker->most) {
        free(query.continuation);
        return fail_size(maker);
    }
    task->query[task->queries++] = query;
    return CE_OK;
}

/* The two joined; NULL when out of memory. */
static char *join(const char *first, const char *second)
{
    struct ce_string text = {.data = NULL};
    char *joined = NULL;

    ce_string_append(&text, first);
    ce_string_append(&text, second);
    joined = ce_string_take(&text);
    ce_string_free(&text);
    return joined;
}

/* Header, examples, prompt. */
static enum ce_status make_context(struct maker *maker,
                                   const char *before,
                                   const char *prompt,
                                   char **context)
{
    *context = join(before, prompt);
    maker->bytes += length_of(*context);
    return *context == NULL ? fail_memory(maker) : CE_OK;
}

static enum ce_status add_loglikelihood(struct maker *maker,
                                        char *context,
                                        const char *delimiter,
                                        const char *text)
{
    char *continuation = join(delimiter, text);

    if (continuation == NULL) {
        return fail_memory(maker);
    }
    return add_query(maker,
                     (struct ce_query){.kind = CE_QUERY_LOGLIKELIHOOD,
                                       .context = context,
                                       .continuation = continuation});
}

/* Choices share the context, unless each has its own and the continuation is shared. */
static enum ce_status add_choices(struct maker *maker,
                                  const struct ce_rendering *rendering,
                                  const char *before)
{
    const char *delimiter = maker->description->target_delimiter;
    bool swapped = maker->description->prompt == NULL;
    char *context = NULL;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < rendering->choices; i++) {
        const char *text = swapped ? rendering->target : rendering->choice[i];

        if (i == 0 || swapped) {
            status = make_context(maker, before, rendering->prompt[i], &context);
        }
        if (status == CE_OK) {
            status = add_loglikelihood(maker, context, delimiter, text);
            if (status != CE_OK && (i == 0 || swapped)) {
                free(context);
            }
        }
    }
    return status;
}

/* acc_mutual_info asks for the choices without a context as well. */
static enum ce_status add_unconditional(struct maker *maker,
                                        const struct ce_rendering *rendering)
{
    const char *delimiter = maker->description->target_delimiter;
    enum ce_status status = CE_OK;
    char *context = NULL;

    for (size_t i = 0; status == CE_OK && i < rendering->choices; i++) {
        status = make_context(maker, "", "", &context);
        if (status == CE_OK) {
            status = add_loglikelihood(maker, context, delimiter, rendering->choice[i]);
            if (status != CE_OK) {
                free(context);
            }
        }
    }
    return status;
}

static enum ce_status add_single(struct maker *maker,
                                 const struct ce_rendering *rendering,
                                 const char *before)
{
    struct ce_query query = {.kind = CE_QUERY_ROLLING};
    enum ce_status status = CE_OK;

    if (maker->description->output != CE_OUTPUT_ROLLING) {
        query.kind = maker->description->output == CE_OUTPUT_GENERATE
                         ? CE_QUERY_GENERATE
                         : CE_QUERY_LOGLIKELIHOOD;
        status = make_context(maker, before, rendering->prompt[0], &query.context);
    }
    if (status == CE_OK && query.kind != CE_QUERY_GENERATE) {
        query.continuation = strdup(rendering->target);
        status = query.continuation == NULL ? fail_memory(maker) : CE_OK;
    }
    if (status == CE_OK) {
        status = add_query(maker, query);
    }
    if (status != CE_OK) {
        free(query.context);
    }
    return status;
}

static enum ce_status add_queries(struct maker *maker,
                                  const struct ce_rendering *rendering,
                                  const char *before)
{
    enum ce_status status = CE_OK;

    if (maker->description->output != CE_OUTPUT_MULTIPLE_CHOICE) {
        return add_single(maker, rendering, before);
    }
    status = add_choices(maker, rendering, before);
    return status == CE_OK && has_metric(maker->task, "acc_mutual_info")
               ? add_unconditional(maker, rendering)
               : status;
}

/* For every query its choice, so also for those without a context. */
static enum ce_status keep_choices(const struct maker *maker,
                                   const struct ce_rendering *rendering,
                                   struct ce_document *document)
{
    document->choice = calloc(document->queries, sizeof(document->choice[0]));
    if (document->choice == NULL) {
        return fail_memory(maker);
    }
    for (size_t i = 0; i < document->queries; i++) {
        document->choice[i] = strdup(rendering->choice[i % rendering->choices]);
        if (document->choice[i] == NULL) {
            return fail_memory(maker);
        }
    }
    return CE_OK;
}

/* What lm-eval writes as the target: its text, or the index of the right choice. */
static char *target_of(const struct ce_rendering *rendering)
{
    char digits[32];

    if (rendering->target != NULL) {
        return strdup(rendering->target);
    }
    if (rendering->gold_text != NULL) {
        return strdup(rendering->gold_text);
    }
    (void)snprintf(digits, sizeof(digits), "%zu", rendering->gold);
    return strdup(digits);
}

static enum ce_status keep_rendering(const struct maker *maker,
                                     const struct ce_rendering *rendering,
                                     struct ce_document *document)
{
    const char *measured = rendering->measured;

    document->gold = rendering->gold;
    document->target = target_of(rendering);
    if (document->target == NULL) {
        return fail_memory(maker);
    }
    if (maker->description->output == CE_OUTPUT_ROLLING) {
        document->measured = strdup(measured != NULL ? measured : rendering->target);
        return document->measured == NULL ? fail_memory(maker) : CE_OK;
    }
    return rendering->choices > 0 ? keep_choices(maker, rendering, document) : CE_OK;
}

static enum ce_status make_queries(struct maker *maker,
                                   struct ce_document *document,
                                   const struct ce_rendering *rendering)
{
    struct ce_string before = {.data = NULL};
    enum ce_status status = CE_OK;

    ce_string_append(&before, rendering->header);
    status = ce_fewshot_add(maker->fewshot, document->source, &before, maker->err);
    if (status == CE_OK && before.failed) {
        status = fail_memory(maker);
    }
    if (status == CE_OK) {
        document->first = maker->task->queries;
        status = add_queries(maker, rendering, before.data);
        document->queries = maker->task->queries - document->first;
    }
    ce_string_free(&before);
    return status;
}

static enum ce_status make_document(struct maker *maker, struct ce_document *document)
{
    ce_cleanup_function *clean_up = maker->description->clean_up;
    struct ce_rendering rendering = {.header = NULL};
    enum ce_status status =
        clean_up != NULL ? clean_up(document->source, maker->err) : CE_OK;

    if (status == CE_OK) {
        status = ce_rendering_make(
            &rendering, maker->description, document->source, maker->err);
    }
    if (status == CE_OK) {
        status = make_queries(maker, document, &rendering);
    }
    if (status == CE_OK) {
        status = keep_rendering(maker, &rendering, document);
    }
    ce_rendering_free(&rendering);
    return status;
}

enum ce_status ce_task_render(struct ce_task *task,
                              const struct ce_description *description,
                              const struct ce_documents *documents,
                              struct ce_fewshot *fewshot,
                              struct ce_error *err)
{
    struct maker maker = {.task = task,
                          .description = description,
                          .fewshot = fewshot,
                          .most = ce_memory_available() / 2,
                          .err = err};
    enum ce_status status = CE_OK;

    task->document = calloc(documents->count, sizeof(task->document[0]));
    if (task->document == NULL) {
        return fail_memory(&maker);
    }
    for (size_t i = 0; status == CE_OK && i < documents->count; i++) {
        struct ce_document *document = &task->document[i];

        task->documents = i + 1;
        document->source = json_incref(documents->object[i]);
        document->line = documents->line[i];
        document->id = i;
        status = make_document(&maker, document);
        if (status != CE_OK) {
            ce_error_prefix(err, "%s: line %zu", documents->path, document->line);
        }
    }
    return status;
}
