/* results_samples.c - samples_TASK_TIME.jsonl
 *
 * Source: evaluate() of lm_eval/evaluator.py, which makes the samples, and
 * EvaluationTracker.save_results_samples() of lm_eval/loggers/evaluation_tracker.py,
 * which writes them; version 0.4.13. Lines go to the disk in pieces: with long contexts
 * the file may be large.
 */

#include "base/file.h"
#include "eval/python_json.h"
#include "eval/results_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)

/* One file as it grows. */
struct samples {
    const struct ce_results_task *task;
    size_t filter;
    size_t document;
    struct ce_string text; /* not yet in the file */
    struct ce_file_writer writer;
    uint64_t offset;
    struct ce_digest digest;
};

static const struct ce_document *document_of(const struct samples *samples)
{
    return &samples->task->task->document[samples->document];
}

static void append_key(struct ce_string *text, const char *key)
{
    ce_string_append(text, ", ");
    ce_python_json_string(text, key);
    ce_string_append(text, ": ");
}

static void append_string(struct ce_string *text, const char *key, const char *value)
{
    append_key(text, key);
    ce_python_json_string(text, value);
}

/* A generated text may have what a JSON string cannot, but lm-eval's gets there too. */
static void append_settings(struct ce_string *text,
                            const struct ce_task *task,
                            const struct ce_query *query)
{
    json_t *settings = ce_results_generation(query->generate != NULL ? query->generate
                                                                     : &task->generate);

    if (settings == NULL) {
        text->failed = true;
        return;
    }
    ce_python_json(text, settings, 0);
    json_decref(settings);
}

static void append_arguments(struct samples *samples)
{
    struct ce_string *text = &samples->text;
    const struct ce_document *document = document_of(samples);

    append_key(text, "arguments");
    for (size_t i = 0; i < document->queries; i++) {
        const struct ce_query *query = &samples->task->task->query[document->first + i];
        char key[48];

        (void)snprintf(key,
                       sizeof(key),
                       "%s\"gen_args_%zu\": {\"arg_0\": ",
                       i == 0 ? "{" : ", ",
                       i);
        ce_string_append(text, key);
        if (query->kind == CE_QUERY_ROLLING) {
            ce_python_json_string(text, query->continuation);
        } else {
            ce_python_json_string(text, query->context != NULL ? query->context : "");
            ce_string_append(text, ", \"arg_1\": ");
        }
        if (query->kind == CE_QUERY_LOGLIKELIHOOD) {
            ce_python_json_string(text, query->continuation);
        } else if (query->kind == CE_QUERY_GENERATE) {
            append_settings(text, samples->task->task, query);
        }
        ce_string_append(text, "}");
    }
    ce_string_append(text, "}");
}

/* What the model said, each number as a string. */
static void append_response(struct ce_string *text,
                            const struct ce_query *query,
                            const struct ce_outcome *outcome,
                            const char *answer)
{
    char number[CE_PYTHON_FLOAT_BYTES];

    ce_python_float(outcome->logprob, number);
    if (query->kind == CE_QUERY_LOGLIKELIHOOD) {
        ce_string_append(text, "[\"");
        ce_string_append(text, number);
        ce_string_append(text, outcome->greedy ? "\", \"True\"]" : "\", \"False\"]");
    } else if (query->kind == CE_QUERY_ROLLING) {
        /* Of an empty text: Python's sum of nothing is an integer. */
        ce_python_json_string(text, query->continuation[0] == '\0' ? "0" : number);
    } else {
        ce_python_json_string(text, answer != NULL ? answer : "");
    }
}

/* resps has a list of repeats for each query, which is of one; filtered_resps what the
 * filter took of it. */
static void append_responses(struct samples *samples, bool filtered)
{
    struct ce_string *text = &samples->text;
    const struct ce_results_task *task = samples->task;
    const struct ce_document *document = document_of(samples);

    append_key(text, filtered ? "filtered_resps" : "resps");
    ce_string_append(text, "[");
    for (size_t i = 0; i < document->queries; i++) {
        const struct ce_outcome *outcome = &task->outcome[document->first + i];
        const char *answer = outcome->text;

        if (filtered && task->scores->answer != NULL) {
            answer = task->scores->answer[samples->filter * task->task->documents +
                                          samples->document];
        }
        ce_string_append(text, i > 0 ? ", " : "");
        ce_string_append(text, filtered ? "" : "[");
        append_response(text, &task->task->query[document->first + i], outcome, answer);
        ce_string_append(text, filtered ? "" : "]");
    }
    ce_string_append(text, "]");
}

static void append_metric_names(struct samples *samples)
{
    const struct ce_scores *scores = samples->task->scores;
    bool comma = false;

    append_key(&samples->text, "metrics");
    ce_string_append(&samples->text, "[");
    for (size_t i = 0; i < scores->count; i++) {
        if (scores->score[i].filter_index == samples->filter) {
            ce_string_append(&samples->text, comma ? ", " : "");
            ce_python_json_string(&samples->text, scores->score[i].metric);
            comma = true;
        }
    }
    ce_string_append(&samples->text, "]");
}

static void
append_value(struct ce_string *text, const struct ce_score *score, size_t document)
{
    char number[CE_PYTHON_FLOAT_BYTES];
    char whole[64];

    ce_python_float(score->value[document], number);
    switch (score->form) {
    case CE_VALUE_REAL:
        ce_string_append(text, number);
        break;
    case CE_VALUE_INTEGER:
        (void)snprintf(whole, sizeof(whole), "%.0f", score->value[document]);
        ce_string_append(text, whole);
        break;
    case CE_VALUE_WEIGHTED:
        (void)snprintf(
            whole, sizeof(whole), "[%s, %.0f]", number, score->weight[document]);
        ce_string_append(text, whole);
        break;
    }
}

static void append_metrics(struct samples *samples)
{
    const struct ce_scores *scores = samples->task->scores;

    for (size_t i = 0; i < scores->count; i++) {
        if (scores->score[i].filter_index == samples->filter) {
            append_key(&samples->text, scores->score[i].metric);
            append_value(&samples->text, &scores->score[i], samples->document);
        }
    }
}

/* Of json.dumps(doc, indent=2, ensure_ascii=False). */
static void hash_document(struct samples *samples, char hex[CE_DIGEST_BYTES])
{
    struct ce_string text = {.data = NULL};

    ce_python_json(&text, document_of(samples)->source, 2);
    samples->text.failed = samples->text.failed || text.failed;
    ce_digest_string(text.data, hex);
    ce_string_free(&text);
}

static void append_hashes(struct samples *samples)
{
    const struct ce_document *document = document_of(samples);
    const struct ce_query *query = &samples->task->task->query[document->first];
    const char *const key[3] = {"doc_hash", "prompt_hash", "target_hash"};
    char hex[3][CE_DIGEST_BYTES];

    hash_document(samples, hex[0]);
    ce_digest_string(
        query->kind == CE_QUERY_ROLLING ? query->continuation : query->context, hex[1]);
    ce_digest_string(document->target, hex[2]);
    for (size_t i = 0; i < 3; i++) {
        append_string(&samples->text, key[i], hex[i]);
        ce_digest_add(&samples->digest, hex[i], CE_DIGEST_BYTES - 1);
    }
}

static void append_line(struct samples *samples)
{
    struct ce_string *text = &samples->text;
    const struct ce_document *document = document_of(samples);
    char start[48];

    (void)snprintf(start, sizeof(start), "{\"doc_id\": %zu", document->id);
    ce_string_append(text, start);
    append_key(text, "doc");
    ce_python_json(text, document->source, 0);
    append_string(text, "target", document->target != NULL ? document->target : "");
    append_arguments(samples);
    append_responses(samples, false);
    append_responses(samples, true);
    append_string(text, "filter", samples->task->task->filter[samples->filter].name);
    append_metric_names(samples);
    append_hashes(samples);
    append_metrics(samples);
    ce_string_append(text, "}\n");
}

static enum ce_status flush(struct samples *samples, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (samples->text.failed) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory", samples->writer.path);
    }
    status = ce_file_writer_put(&samples->writer,
                                samples->offset,
                                samples->text.data,
                                samples->text.length,
                                err);
    samples->offset += samples->text.length;
    samples->text.length = 0;
    return status;
}

static enum ce_status write_lines(struct samples *samples, struct ce_error *err)
{
    const struct ce_task *task = samples->task->task;
    enum ce_status status = CE_OK;

    for (samples->filter = 0; samples->filter < task->filters; samples->filter++) {
        for (samples->document = 0; samples->document < task->documents;
             samples->document++) {
            append_line(samples);
            if (samples->text.length >= PIECE_BYTES || samples->text.failed) {
                status = flush(samples, err);
            }
            if (status != CE_OK) {
                return status;
            }
        }
    }
    return flush(samples, err);
}

enum ce_status ce_results_write_samples(const struct ce_results_job *job,
                                        const struct ce_results_task *task,
                                        char hash[CE_DIGEST_BYTES],
                                        struct ce_error *err)
{
    struct samples samples = {.task = task};
    char *path = ce_results_path(job, "samples", task->task->name, "jsonl");
    enum ce_status status = path == NULL
                                ? ce_fail(err, CE_ERR_NOMEM, "no memory for samples")
                                : ce_file_writer_open(&samples.writer, path, err);

    free(path);
    if (status != CE_OK) {
        return status;
    }
    ce_digest_start(&samples.digest);
    status = write_lines(&samples, err);
    if (status == CE_OK) {
        status = ce_file_writer_commit(&samples.writer, err);
    }
    ce_file_writer_close(&samples.writer);
    ce_string_free(&samples.text);
    ce_digest_finish(&samples.digest, hash);
    return status;
}
