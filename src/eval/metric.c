/* metric.c - what the outcomes of a task say about each document, and about all */

#include "eval/metric.h"

#include "eval/filter.h"
#include "eval/metric_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct ce_metric_definition *find(const char *name,
                                               enum ce_output_type output)
{
    size_t count = 0;
    const struct ce_metric_definition *definition = ce_metric_definitions(&count);

    for (size_t i = 0; i < count; i++) {
        if (definition[i].output == output && strcmp(definition[i].name, name) == 0) {
            return &definition[i];
        }
    }
    return NULL;
}

static const struct ce_metric *metric_named(const struct ce_task *task,
                                            const char *name)
{
    for (size_t i = 0; i < task->metrics; i++) {
        if (strcmp(task->metric[i].name, name) == 0) {
            return &task->metric[i];
        }
    }
    return NULL;
}

/* How many of a document's queries are its choices in their context. */
static size_t choices_of(const struct ce_task *task, const struct ce_document *document)
{
    return metric_named(task, "acc_mutual_info") != NULL ? document->queries / 2
                                                         : document->queries;
}

static enum ce_status check_metric(const struct ce_task *task,
                                   const struct ce_metric *metric,
                                   struct ce_error *err)
{
    struct ce_exact_match match = {.metric = NULL};
    enum ce_status status = CE_OK;

    if (find(metric->name, task->output) == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "metric %s: there is none of that name for this kind of task",
                       metric->name);
    }
    status = ce_exact_match_open(&match, metric, err);
    ce_exact_match_close(&match);
    return status;
}

enum ce_status ce_scores_check(const struct ce_task *task, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < task->metrics; i++) {
        status = check_metric(task, &task->metric[i], err);
    }
    for (size_t i = 0; status == CE_OK && i < task->filters; i++) {
        struct ce_filter_program program;

        status = ce_filter_open(&program, &task->filter[i], err);
        ce_filter_close(&program);
    }
    for (size_t i = 0; status == CE_OK && i < task->documents; i++) {
        const struct ce_document *document = &task->document[i];

        if (task->output == CE_OUTPUT_MULTIPLE_CHOICE &&
            document->gold >= choices_of(task, document)) {
            status = ce_fail(err,
                             CE_ERR_FORMAT,
                             "line %zu: the right choice is not one of the %zu",
                             document->line,
                             choices_of(task, document));
        }
    }
    if (status != CE_OK) {
        ce_error_prefix(err, "task %s", task->name);
    }
    return status;
}

static enum ce_status check_outcomes(const struct ce_task *task,
                                     const struct ce_outcome *outcome,
                                     struct ce_error *err)
{
    for (size_t i = 0; i < task->queries; i++) {
        if (!outcome[i].done) {
            return ce_fail(
                err, CE_ERR_ARG, "task %s: query %zu has no outcome", task->name, i);
        }
        if (!isfinite(outcome[i].logprob)) {
            return ce_fail(
                err,
                CE_ERR_FORMAT,
                "task %s: query %zu has a log-probability that is not finite",
                task->name,
                i);
        }
    }
    return CE_OK;
}

/* ---- the list of scores, without values */

static void add_score(struct ce_scores *scores,
                      const struct ce_task *task,
                      size_t filter,
                      const struct ce_metric *metric,
                      const struct ce_metric_definition *definition)
{
    size_t values = scores->documents + 1;

    scores->score[scores->count++] = (struct ce_score){
        .metric = metric->name,
        .filter = task->filter[filter].name,
        .filter_index = filter,
        .higher_is_better = metric->higher_is_better,
        .aggregation = definition->aggregation,
        .form = definition->form,
        .value = calloc(values, sizeof(double)),
        .weight = definition->form == CE_VALUE_WEIGHTED ? calloc(values, sizeof(double))
                                                        : NULL,
    };
}

/* In the order of the definitions; a metric that the task names twice counts once. */
static void add_scores(struct ce_scores *scores, const struct ce_task *task)
{
    size_t count = 0;
    const struct ce_metric_definition *definition = ce_metric_definitions(&count);

    for (size_t f = 0; f < task->filters; f++) {
        for (size_t i = 0; i < count; i++) {
            const struct ce_metric *metric = metric_named(task, definition[i].name);

            if (metric != NULL && definition[i].output == task->output) {
                add_score(scores, task, f, metric, &definition[i]);
            }
        }
    }
}

static enum ce_status
allocate(struct ce_scores *scores, const struct ce_task *task, struct ce_error *err)
{
    bool complete = true;

    *scores =
        (struct ce_scores){.documents = task->documents, .filters = task->filters};
    scores->score = calloc(task->filters * task->metrics + 1, sizeof(struct ce_score));
    if (task->output == CE_OUTPUT_GENERATE) {
        scores->answer = calloc(task->filters * task->documents + 1, sizeof(char *));
        complete = scores->answer != NULL;
    }
    if (scores->score != NULL && task->documents > 0) {
        add_scores(scores, task);
    }
    for (size_t i = 0; i < scores->count; i++) {
        const struct ce_score *score = &scores->score[i];

        complete = complete && score->value != NULL &&
                   (score->weight != NULL || score->form != CE_VALUE_WEIGHTED);
    }
    return scores->score != NULL && complete
               ? CE_OK
               : ce_fail(
                     err, CE_ERR_NOMEM, "task %s: no memory for scores", task->name);
}

void ce_scores_free(struct ce_scores *scores)
{
    for (size_t i = 0; i < scores->count; i++) {
        free(scores->score[i].value);
        free(scores->score[i].weight);
    }
    for (size_t i = 0;
         scores->answer != NULL && i < scores->filters * scores->documents;
         i++) {
        free(scores->answer[i]);
    }
    free(scores->score);
    free(scores->answer);
    *scores = (struct ce_scores){.count = 0};
}

/* ---- values */

static enum ce_status filter_answers(struct ce_scores *scores,
                                     const struct ce_task *task,
                                     const struct ce_outcome *outcome,
                                     struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t f = 0; scores->answer != NULL && status == CE_OK && f < task->filters;
         f++) {
        char **answer = &scores->answer[f * task->documents];
        struct ce_filter_program program;

        status = ce_filter_open(&program, &task->filter[f], err);
        for (size_t i = 0; status == CE_OK && i < task->documents; i++) {
            status = ce_filter_apply(
                &program, outcome[task->document[i].first].text, &answer[i], err);
        }
        ce_filter_close(&program);
    }
    return status;
}

static enum ce_status fill(struct ce_score *score,
                           const struct ce_scores *scores,
                           const struct ce_task *task,
                           const struct ce_outcome *outcome,
                           struct ce_error *err)
{
    const struct ce_metric_definition *definition = find(score->metric, task->output);
    char *const *text = scores->answer == NULL
                            ? NULL
                            : &scores->answer[score->filter_index * task->documents];
    struct ce_exact_match match = {.metric = NULL};
    enum ce_status status =
        ce_exact_match_open(&match, metric_named(task, score->metric), err);

    for (size_t i = 0; status == CE_OK && i < task->documents; i++) {
        const struct ce_document *document = &task->document[i];
        const struct ce_answer answer = {.document = document,
                                         .outcome = &outcome[document->first],
                                         .choices = choices_of(task, document),
                                         .text = text == NULL ? NULL : text[i],
                                         .match = &match};
        struct ce_value value = {.value = 0.0};

        status = definition->function(&answer, &value, err);
        score->value[i] = value.value;
        if (score->weight != NULL) {
            score->weight[i] = value.weight;
        }
    }
    ce_exact_match_close(&match);
    return status;
}

static enum ce_status
aggregate(struct ce_score *score, size_t documents, size_t draws, struct ce_error *err)
{
    if (score->weight != NULL && ce_aggregate_mean(score->weight, documents) == 0.0) {
        return ce_fail(
            err, CE_ERR_FORMAT, "metric %s: all documents are empty", score->metric);
    }
    score->aggregate =
        ce_aggregate(score->aggregation, score->value, score->weight, documents);
    return ce_aggregate_error(
        score->aggregation, score->value, documents, draws, &score->error, err);
}

enum ce_status ce_scores_compute(struct ce_scores *scores,
                                 const struct ce_task *task,
                                 const struct ce_outcome *outcome,
                                 size_t draws,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *scores = (struct ce_scores){.count = 0};
    status = ce_scores_check(task, err);
    if (status == CE_OK) {
        status = check_outcomes(task, outcome, err);
    }
    if (status != CE_OK) {
        return status;
    }
    status = allocate(scores, task, err);
    if (status == CE_OK) {
        status = filter_answers(scores, task, outcome, err);
    }
    for (size_t i = 0; status == CE_OK && i < scores->count; i++) {
        struct ce_score *score = &scores->score[i];

        status = fill(score, scores, task, outcome, err);
        if (status == CE_OK) {
            status = aggregate(score, task->documents, draws, err);
        }
        if (status != CE_OK) {
            ce_error_prefix(err, "task %s", task->name);
        }
    }
    return status;
}
