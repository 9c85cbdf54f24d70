/* calibrate_text.c - texts to windows of tokens
 *
 * Rank 0 reads and encodes; what it takes of the texts goes to the others as numbers.
 */

#include "base/log.h"
#include "base/random.h"
#include "base/text_file.h"
#include "comm/collective.h"
#include "eval/data_file.h"
#include "eval/jsonl.h"
#include "eval/task.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 32)

/* The documents of one file as tokens. */
struct documents {
    struct ce_ids ids;
    size_t *end;
    size_t count;
    size_t room;
};

static void free_documents(struct documents *documents)
{
    ce_ids_free(&documents->ids);
    free(documents->end);
}

static enum ce_status add_document(struct documents *documents,
                                   const struct ce_tokenizer *tokenizer,
                                   const char *text,
                                   size_t bytes,
                                   struct ce_error *err)
{
    enum ce_status status =
        ce_tokenizer_encode(tokenizer, text, bytes, false, &documents->ids, err);

    if (status == CE_OK && documents->count == documents->room) {
        const size_t room = 2 * documents->room + 1;
        size_t *grown = reallocarray(documents->end, room, sizeof(*grown));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the documents");
        }
        documents->end = grown;
        documents->room = room;
    }
    if (status == CE_OK) {
        documents->end[documents->count++] = documents->ids.count;
    }
    return status;
}

/* A document a line. */
static enum ce_status add_lines(struct documents *documents,
                                const struct ce_tokenizer *tokenizer,
                                struct ce_jsonl *lines,
                                const char *field,
                                struct ce_error *err)
{
    for (;;) {
        json_t *object = NULL;
        const char *text = NULL;
        enum ce_status status = ce_jsonl_next(lines, &object, err);

        if (status != CE_OK || object == NULL) {
            return status;
        }
        status = ce_jsonl_require_string(lines, object, field, &text, err);
        if (status == CE_OK) {
            status = add_document(documents, tokenizer, text, strlen(text), err);
        }
        json_decref(object);
        if (status != CE_OK) {
            return status;
        }
    }
}

static enum ce_status read_documents(struct documents *documents,
                                     const struct ce_tokenizer *tokenizer,
                                     const char *path,
                                     const char *field,
                                     struct ce_error *err)
{
    struct ce_jsonl lines = {0};
    char *text = NULL;
    size_t bytes = 0;
    bool has_lines = false;
    enum ce_status status = ce_text_file_read(path, TEXT_LIMIT, &text, &bytes, err);

    if (status == CE_OK) {
        status = ce_data_file_classify(path, text, bytes, field, &has_lines, err);
    }
    if (status == CE_OK && has_lines) {
        status = ce_jsonl_init(&lines, path, text, bytes, err);
        if (status == CE_OK) {
            status = add_lines(documents, tokenizer, &lines, field, err);
        }
        ce_jsonl_fini(&lines);
    } else if (status == CE_OK) {
        status = add_document(documents, tokenizer, text, bytes, err);
        if (status != CE_OK) {
            ce_error_prefix(err, "%s", path);
        }
    }
    free(text);
    return status;
}

/* ---- tasks: their prompts ---- */

/* The query that shows a document: with the right one of several choices. */
static const struct ce_query *query_of(const struct ce_task *task,
                                       const struct ce_document *document)
{
    const bool chooses = task->output == CE_OUTPUT_MULTIPLE_CHOICE;

    return &task->query[document->first + (chooses ? document->gold : 0)];
}

/* Context and continuation, of which a query may have one. */
static enum ce_status add_query(struct documents *documents,
                                const struct ce_tokenizer *tokenizer,
                                const struct ce_query *query,
                                struct ce_error *err)
{
    char *text = NULL;
    const int bytes = asprintf(&text,
                               "%s%s",
                               query->context != NULL ? query->context : "",
                               query->continuation != NULL ? query->continuation : "");
    enum ce_status status = CE_OK;

    if (bytes < 0) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a prompt");
    }
    status = add_document(documents, tokenizer, text, (size_t)bytes, err);
    free(text);
    return status;
}

static enum ce_status read_task(struct documents *documents,
                                const struct ce_tokenizer *tokenizer,
                                const char *name,
                                const char *data_dir,
                                struct ce_error *err)
{
    struct ce_task_place place = {0};
    struct ce_task task = {0};
    enum ce_status status = ce_task_find(&place, name, data_dir, err);

    if (status == CE_OK) {
        const struct ce_task_options options = {.description = place.description,
                                                .part = place.part,
                                                .data_dir = data_dir,
                                                .fewshot = CE_TASK_FEWSHOT_DEFAULT};

        status = ce_task_open(&task, &options, err);
    }
    for (size_t i = 0; status == CE_OK && i < task.documents; i++) {
        status =
            add_query(documents, tokenizer, query_of(&task, &task.document[i]), err);
        if (status != CE_OK) {
            ce_error_prefix(err, "task %s, line %zu", name, task.document[i].line);
        }
    }
    ce_task_close(&task);
    ce_task_place_free(&place);
    return status;
}

/* ---- all sources ---- */

static struct ce_text_choice choice_of(const struct ce_calibrate_values *values,
                                       size_t index)
{
    const size_t sources = values->data.count + values->tasks.count;

    return (struct ce_text_choice){.window = values->window,
                                   .tokens = values->tokens / sources +
                                             (index < values->tokens % sources),
                                   .heldout_every = values->heldout_every};
}

/* Files, then tasks. */
static enum ce_status add_source(struct ce_text_stream *stream,
                                 const struct ce_calibrate_values *values,
                                 const struct ce_tokenizer *tokenizer,
                                 size_t index,
                                 struct ce_error *err)
{
    const size_t files = values->data.count;
    const char *name =
        index < files ? values->data.item[index] : values->tasks.item[index - files];
    const struct ce_text_choice choice = choice_of(values, index);
    const size_t before = stream->tokens;
    struct documents documents = {0};
    enum ce_status status =
        index < files ? read_documents(&documents, tokenizer, name, values->field, err)
                      : read_task(&documents, tokenizer, name, values->tasks_data, err);

    if (status == CE_OK) {
        const struct ce_documents_ids all = {
            documents.ids.id, documents.end, documents.count};

        status = ce_text_stream_add(stream, &all, &choice, err);
    }
    free_documents(&documents);
    if (status == CE_OK && stream->tokens == before) {
        status = ce_fail(err, CE_ERR_ARG, "%s: fewer than 2 tokens", name);
    }
    return status;
}

/* A session's source: the stream of windows as bytes. */
static enum ce_status
read_sources(const void *untyped, char **text, size_t *bytes, struct ce_error *err)
{
    const struct ce_calibrate_values *values = untyped;
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_text_stream stream = {0};
    enum ce_status status = ce_tokenizer_open(&tokenizer, values->model, err);

    for (size_t i = 0; status == CE_OK && i < values->data.count + values->tasks.count;
         i++) {
        status = add_source(&stream, values, tokenizer, i, err);
    }
    ce_tokenizer_close(tokenizer);
    *text = (char *)stream.value;
    *bytes = stream.count * sizeof(stream.value[0]);
    return status;
}

/* ---- random ids: a dummy model has no use for texts ---- */

static enum ce_status make_random(const struct ce_calibrate_job *job,
                                  struct ce_text_stream *stream,
                                  struct ce_error *err)
{
    const struct ce_calibrate_values *values = job->values;
    const size_t count = values->tokens;
    int32_t *ids = calloc(count, sizeof(*ids));
    const struct ce_documents_ids documents = {ids, &count, 1};
    const struct ce_text_choice choice = {.window = values->window,
                                          .tokens = count,
                                          .heldout_every = values->heldout_every};
    enum ce_status status = CE_OK;

    if (ids == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu tokens", count);
    }
    for (size_t i = 0; i < count; i++) {
        ids[i] = (int32_t)(ce_random_unit(values->dummy_weights, i, 0) *
                           (double)job->config.vocab_size);
    }
    status = ce_text_stream_add(stream, &documents, &choice, err);
    free(ids);
    return status;
}

/* ---- windows ---- */

static enum ce_status check_windows(const struct ce_calibrate_job *job,
                                    struct ce_error *err)
{
    const struct ce_calibrate_values *values = job->values;
    const struct ce_text_windows *windows = &job->windows;
    const bool holds_out = values->heldout_every > 0;

    if (windows->count[CE_TEXT_FIT] == 0 ||
        (holds_out && windows->count[CE_TEXT_HELDOUT] == 0)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "the text is too short: %zu window(s) of at most %zu tokens, of "
                       "which every %zuth of a file is held out; give more --data or a "
                       "smaller --window",
                       windows->count[CE_TEXT_FIT] + windows->count[CE_TEXT_HELDOUT],
                       values->window,
                       values->heldout_every);
    }
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        for (size_t i = 0; i < windows->count[set]; i++) {
            const struct ce_text_window *window = &windows->window[set][i];

            for (size_t t = 0; t < window->count; t++) {
                if (window->ids[t] < 0 ||
                    (size_t)window->ids[t] >= job->config.vocab_size) {
                    return ce_fail(err,
                                   CE_ERR_ARG,
                                   "token %d is outside the vocabulary of %zu",
                                   window->ids[t],
                                   job->config.vocab_size);
                }
            }
        }
    }
    return CE_OK;
}

static void say_tokens(const struct ce_calibrate_job *job)
{
    const struct ce_text_windows *windows = &job->windows;
    const size_t all = windows->tokens[CE_TEXT_FIT] + windows->tokens[CE_TEXT_HELDOUT];

    if (!ce_log_is_speaker()) {
        return;
    }
    ce_log(CE_LOG_INFO,
           "%zu tokens to fit in %zu windows, %zu held out in %zu",
           windows->tokens[CE_TEXT_FIT],
           windows->count[CE_TEXT_FIT],
           windows->tokens[CE_TEXT_HELDOUT],
           windows->count[CE_TEXT_HELDOUT]);
    if (all < job->values->tokens) {
        ce_log(CE_LOG_WARN,
               "the texts have %zu of the %zu tokens asked for (--tokens)",
               all,
               job->values->tokens);
    }
}

enum ce_status ce_calibrate_read_text(struct ce_calibrate_job *job,
                                      struct ce_error *err)
{
    struct ce_text_stream stream = {0};
    char *bytes = NULL;
    size_t count = 0;
    enum ce_status status = CE_OK;

    if (job->values->dummy_given) {
        status = make_random(job, &stream, err);
        bytes = (char *)stream.value;
        count = stream.count * sizeof(int32_t);
    } else {
        status = ce_session_share(
            &job->session, read_sources, job->values, &bytes, &count, err);
    }
    if (status == CE_OK) {
        status = ce_text_windows_open(
            &job->windows, (int32_t *)(void *)bytes, count / sizeof(int32_t), err);
    } else {
        free(bytes);
    }
    if (status == CE_OK) {
        status = check_windows(job, err);
    }
    status = ce_agree(job->session.transport, status, err);
    if (status == CE_OK) {
        job->text_hash = ce_text_windows_hash(&job->windows);
        say_tokens(job);
    }
    return status;
}
