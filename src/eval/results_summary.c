/* results_summary.c - what results_TIME.json says
 *
 * Source: EvalAcc._to_eval_results() of lm_eval/evaluator_utils.py, simple_evaluate()
 * of lm_eval/evaluator.py and EvaluationTracker.save_results_aggregated(), version
 * 0.4.13. Left out is what a resumed job could not say the same way: times but for the
 * start, batch sizes, the machine.
 */

#include "eval/python_json.h"
#include "eval/results_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every helper returns a new value or NULL when out of memory; what jansson is given
 * that is NULL makes its call fail, so only the end of a chain has to ask. */

static json_t *number(struct ce_maybe maybe)
{
    return maybe.known && isfinite(maybe.value) ? json_real(maybe.value)
                                                : json_string("N/A");
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

/* "metric,filter" and "metric_stderr,filter" */
static bool add_score(json_t *object, const struct ce_score *score)
{
    struct ce_maybe aggregate = {.known = true, .value = score->aggregate};
    char *key[2] = {NULL, NULL};
    bool named = asprintf(&key[0], "%s,%s", score->metric, score->filter) > 0 &&
                 asprintf(&key[1], "%s_stderr,%s", score->metric, score->filter) > 0;
    bool added = named && set(object, key[0], number(aggregate)) &&
                 set(object, key[1], number(score->error));

    free(key[0]);
    free(named ? key[1] : NULL);
    return added;
}

static json_t *task_results(const struct ce_results_task *task)
{
    json_t *object = json_pack("{s:s, s:s, s:I}",
                               "name",
                               task->task->name,
                               "alias",
                               task->task->name,
                               "sample_len",
                               (json_int_t)task->task->documents);
    bool complete = object != NULL;

    for (size_t i = 0; complete && i < task->scores->count; i++) {
        complete = add_score(object, &task->scores->score[i]);
    }
    if (!complete) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *task_config(const struct ce_results_task *task)
{
    return task->task->config != NULL ? json_incref(task->task->config) : json_object();
}

/* lm-eval has versions as numbers where they look like one. */
static json_t *task_version(const struct ce_results_task *task)
{
    const char *text = task->task->version;
    char printed[CE_PYTHON_FLOAT_BYTES];
    double value = text == NULL ? 0.0 : strtod(text, NULL);

    if (text == NULL) {
        return json_null();
    }
    ce_python_float(value, printed);
    return strcmp(printed, text) == 0 && isfinite(value) ? json_real(value)
                                                         : json_string(text);
}

static json_t *task_fewshot(const struct ce_results_task *task)
{
    return json_integer((json_int_t)task->task->fewshot);
}

static json_t *task_directions(const struct ce_results_task *task)
{
    json_t *object = json_object();

    for (size_t i = 0; i < task->task->metrics; i++) {
        const struct ce_metric *metric = &task->task->metric[i];

        if (!set(object, metric->name, json_boolean(metric->higher_is_better))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *task_samples(const struct ce_results_task *task)
{
    json_int_t documents = (json_int_t)task->task->documents;

    return json_pack("{s:I, s:I}", "original", documents, "effective", documents);
}

/* Queries that lost tokens because they were too long, and texts that the limit of new
 * tokens ended: what may explain a surprising number. */
static json_t *task_cuts(const struct ce_results_task *task)
{
    json_int_t shortened = 0;
    json_int_t ended = 0;

    for (size_t i = 0; i < task->task->queries; i++) {
        shortened += task->outcome[i].dropped > 0 ? 1 : 0;
        ended += task->outcome[i].by_length ? 1 : 0;
    }
    return json_pack("{s:I, s:I, s:I}",
                     "queries",
                     (json_int_t)task->task->queries,
                     "shortened",
                     shortened,
                     "ended_by_length",
                     ended);
}

/* {task: value} */
static json_t *each_task(const struct ce_results_task *task,
                         size_t tasks,
                         json_t *(*make)(const struct ce_results_task *))
{
    json_t *object = json_object();

    for (size_t t = 0; t < tasks; t++) {
        if (!set(object, task[t].task->name, make(&task[t]))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *task_hashes(const struct ce_results_task *task,
                           size_t tasks,
                           const char (*hash)[CE_DIGEST_BYTES])
{
    json_t *object = json_object();

    for (size_t t = 0; t < tasks; t++) {
        if (!set(object, task[t].task->name, json_string(hash[t]))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *job_config(const struct ce_results_job *job)
{
    json_t *config = json_pack(
        "{s:s, s:s+}", "model", "cemoe", "model_args", "pretrained=", job->model_name);

    if (config == NULL ||
        !set(config,
             "limit",
             job->limit > 0 ? json_integer((json_int_t)job->limit) : json_null()) ||
        !set(config, "bootstrap_iters", json_integer((json_int_t)job->draws)) ||
        (job->config != NULL &&
         json_object_update(config, (json_t *)(uintptr_t)job->config) != 0)) {
        json_decref(config);
        return NULL;
    }
    return config;
}

/* sanitize_model_name(): each run of what a file name should not have becomes "__". */
static json_t *sanitized(const char *name)
{
    struct ce_string text = {.data = NULL};
    json_t *value = NULL;

    while (*name != '\0') {
        size_t good = strcspn(name, "\"<>:/|\\?*[]");
        size_t bad = strspn(name + good, "\"<>:/|\\?*[]");

        ce_string_append_bytes(&text, name, good);
        ce_string_append(&text, bad > 0 ? "__" : "");
        name += good + bad;
    }
    value = text.failed ? NULL : json_string(text.data != NULL ? text.data : "");
    ce_string_free(&text);
    return value;
}

json_t *ce_results_generation(const struct ce_generate_settings *settings)
{
    json_t *until = json_array();
    json_t *object = NULL;

    for (size_t i = 0; i < settings->untils; i++) {
        if (json_array_append_new(until, json_string(settings->until[i])) != 0) {
            json_decref(until);
            return NULL;
        }
    }
    object = json_pack("{s:o, s:b, s:f, s:I}",
                       "until",
                       until,
                       "do_sample",
                       (int)(settings->temperature > 0.0),
                       "temperature",
                       settings->temperature,
                       "max_gen_toks",
                       (json_int_t)settings->max_new_tokens);
    if (object != NULL && settings->temperature > 0.0 &&
        (!set(object, "top_p", json_real(settings->top_p)) ||
         !set(object, "seed", json_integer((json_int_t)settings->seed)))) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *ce_results_summary(const struct ce_results_job *job,
                           const struct ce_results_task *task,
                           size_t tasks,
                           const char (*hash)[CE_DIGEST_BYTES])
{
    json_t *root = json_object();
    bool complete =
        set(root, "results", each_task(task, tasks, task_results)) &&
        set(root, "group_subtasks", json_object()) &&
        set(root, "configs", each_task(task, tasks, task_config)) &&
        set(root, "versions", each_task(task, tasks, task_version)) &&
        set(root, "n-shot", each_task(task, tasks, task_fewshot)) &&
        set(root, "higher_is_better", each_task(task, tasks, task_directions)) &&
        set(root, "n-samples", each_task(task, tasks, task_samples)) &&
        set(root, "n-cuts", each_task(task, tasks, task_cuts)) &&
        set(root, "config", job_config(job)) &&
        set(root, "date", json_real((double)job->start_ns / 1e9)) &&
        set(root, "program", json_string(job->program)) &&
        set(root, "task_hashes", task_hashes(task, tasks, hash)) &&
        set(root, "model_source", json_string("cemoe")) &&
        set(root, "model_name", json_string(job->model_name)) &&
        set(root, "model_name_sanitized", sanitized(job->model_name));

    if (!complete) {
        json_decref(root);
        return NULL;
    }
    return root;
}
