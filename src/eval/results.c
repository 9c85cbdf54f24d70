/* results.c - the files an evaluation ends with */

#include "eval/results.h"

#include "base/file.h"
#include "eval/markdown.h"
#include "eval/python_json.h"
#include "eval/results_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_EACH_SECOND UINT64_C(1000000000)
#define NS_EACH_US     UINT64_C(1000)

void ce_results_time(uint64_t start_ns, char text[CE_RESULTS_TIME_BYTES])
{
    time_t seconds = (time_t)(start_ns / NS_EACH_SECOND);
    unsigned microseconds = (unsigned)(start_ns % NS_EACH_SECOND / NS_EACH_US);
    struct tm parts;
    char whole[CE_RESULTS_TIME_BYTES - 8];

    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(whole, sizeof(whole), "%Y-%m-%dT%H-%M-%S", &parts) == 0) {
        (void)snprintf(whole, sizeof(whole), "unknown");
    }
    (void)snprintf(text, CE_RESULTS_TIME_BYTES, "%s.%06u", whole, microseconds);
}

char *ce_results_path(const struct ce_results_job *job,
                      const char *kind,
                      const char *name,
                      const char *ending)
{
    char time_text[CE_RESULTS_TIME_BYTES];
    char *file = NULL;
    char *path = NULL;

    ce_results_time(job->start_ns, time_text);
    if (asprintf(&file,
                 "%s%s%s_%s.%s",
                 kind,
                 name == NULL ? "" : "_",
                 name == NULL ? "" : name,
                 time_text,
                 ending) < 0) {
        return NULL;
    }
    for (char *c = strchr(file, '/'); c != NULL; c = strchr(c, '/')) {
        *c = '_';
    }
    path = ce_path_join(job->directory, file);
    free(file);
    return path;
}

char *ce_results_path_of_batch(const char *directory, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s_output.jsonl", directory, name) < 0 ? NULL : path;
}

static enum ce_status fail_memory(const char *kind, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory to write the %s", kind);
}

static enum ce_status put(const struct ce_results_job *job,
                          const char *kind,
                          const char *ending,
                          char *text,
                          struct ce_error *err)
{
    char *path = ce_results_path(job, kind, NULL, ending);
    enum ce_status status = text == NULL || path == NULL
                                ? fail_memory(kind, err)
                                : ce_file_write_atomic(path, text, strlen(text), err);

    free(path);
    free(text);
    return status;
}

enum ce_status ce_results_put_text(const struct ce_results_job *job,
                                   const char *kind,
                                   char *text,
                                   struct ce_error *err)
{
    return put(job, kind, "md", text, err);
}

enum ce_status ce_results_put_json(const struct ce_results_job *job,
                                   const char *kind,
                                   json_t *value,
                                   struct ce_error *err)
{
    struct ce_string text = {.failed = value == NULL};

    if (value != NULL) {
        ce_python_json(&text, value, 2);
        ce_string_append(&text, "\n");
        json_decref(value);
    }
    return put(job, kind, "json", ce_string_take(&text), err);
}

static const char *number_cell(struct ce_maybe number, char *text, size_t bytes)
{
    if (!number.known) {
        return "N/A";
    }
    (void)snprintf(text, bytes, "%.4f", number.value);
    return text;
}

static void add_row(struct ce_markdown *table,
                    const struct ce_task *task,
                    const struct ce_score *score)
{
    char text[350]; /* for any double */

    ce_markdown_add(table, "%s", task->name);
    ce_markdown_add(table, "%s", task->version != NULL ? task->version : "N/A");
    ce_markdown_add(table, "%s", score->filter);
    ce_markdown_add(table, "%zu", task->fewshot);
    ce_markdown_add(table, "%s", score->metric);
    ce_markdown_add(table, "%s", score->higher_is_better ? "↑" : "↓");
    ce_markdown_add(table, "%.4f", score->aggregate);
    ce_markdown_add(table, "±");
    ce_markdown_add(table, "%s", number_cell(score->error, text, sizeof(text)));
}

char *ce_results_markdown(const struct ce_results_task *task, size_t tasks)
{
    static const struct ce_markdown_column column[] = {{"Tasks", false},
                                                       {"Version", true},
                                                       {"Filter", false},
                                                       {"n-shot", true},
                                                       {"Metric", false},
                                                       {"", false},
                                                       {"Value", true},
                                                       {"", false},
                                                       {"Stderr", true}};
    struct ce_markdown table = {.column = column,
                                .columns = sizeof(column) / sizeof(column[0])};

    for (size_t t = 0; t < tasks; t++) {
        for (size_t i = 0; i < task[t].scores->count; i++) {
            add_row(&table, task[t].task, &task[t].scores->score[i]);
        }
    }
    return ce_markdown_take(&table);
}

enum ce_status ce_results_write(const struct ce_results_job *job,
                                const struct ce_results_task *task,
                                size_t tasks,
                                struct ce_error *err)
{
    char(*hash)[CE_DIGEST_BYTES] = calloc(tasks + 1, sizeof(*hash));
    enum ce_status status = hash == NULL ? fail_memory("results", err) : CE_OK;

    for (size_t t = 0; status == CE_OK && t < tasks; t++) {
        status = ce_results_write_samples(job, &task[t], hash[t], err);
    }
    if (status == CE_OK) {
        status =
            ce_results_put_text(job, "results", ce_results_markdown(task, tasks), err);
    }
    if (status == CE_OK) {
        status = ce_results_put_json(
            job,
            "results",
            ce_results_summary(job, task, tasks, (const char(*)[CE_DIGEST_BYTES])hash),
            err);
    }
    free(hash);
    return status;
}

enum ce_status ce_results_write_comparison(const struct ce_results_job *job,
                                           const struct ce_comparison *comparison,
                                           const struct ce_comparison_cost *cost,
                                           size_t costs,
                                           struct ce_error *err)
{
    enum ce_status status = ce_results_put_text(
        job, "comparison", ce_comparison_markdown(comparison, cost, costs, false), err);

    return status != CE_OK
               ? status
               : ce_results_put_json(job,
                                     "comparison",
                                     ce_comparison_json(comparison, cost, costs, false),
                                     err);
}

enum ce_status ce_results_write_run(const struct ce_results_job *job,
                                    const json_t *run,
                                    struct ce_error *err)
{
    struct ce_string text = {.data = NULL};

    ce_python_json(&text, run, 2);
    ce_string_append(&text, "\n");
    return put(job, "run", "json", ce_string_take(&text), err);
}
