/* final.c - scores of each variant, and the files they go into */

#include "eval/final.h"

#include "base/file.h"
#include "base/hash.h"
#include "eval/results_parts.h"
#include "eval/strings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RESULTS_LIMIT ((size_t)1 << 30)

/* Tasks that have scores: all but OpenAI batches. */
struct judged {
    struct ce_task *task;                  /* [count] borrowed copies */
    struct ce_scores *scores[CE_VARIANTS]; /* [variants][count] */
    size_t *input;                         /* [count] */
    size_t count;
};

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the results");
}

const char *ce_final_note(const struct ce_journal_header *header, const char *name)
{
    for (size_t i = 0; i < header->notes; i++) {
        if (strcmp(header->note[i].name, name) == 0) {
            return header->note[i].value;
        }
    }
    return NULL;
}

static bool is_comparison(const struct ce_journal_header *header)
{
    return header->variants == CE_VARIANTS;
}

char *ce_final_marker(const char *directory, const struct ce_journal_header *header)
{
    char time_text[CE_RESULTS_TIME_BYTES];
    char *path = NULL;

    ce_results_time(header->start_ns, time_text);
    if (asprintf(&path,
                 "%s/%s_%s.json",
                 directory,
                 is_comparison(header) ? "comparison" : "results",
                 time_text) < 0) {
        return NULL;
    }
    return path;
}

void ce_final_text_free(struct ce_final_text *text)
{
    free(text->markdown);
    free(text->json);
    *text = (struct ce_final_text){.markdown = NULL};
}

static json_t *describe_fields(const struct ce_journal_field *field, size_t count)
{
    json_t *object = json_object();

    for (size_t i = 0; i < count; i++) {
        json_object_set_new(object, field[i].name, json_string(field[i].value));
    }
    return object;
}

/* The same for every run of the job, wherever it is. */
static uint64_t hash_job(const struct ce_journal_header *header)
{
    uint64_t hash = CE_HASH_START;

    for (size_t i = 0; i < header->fields; i++) {
        const struct ce_journal_field *field = &header->field[i];

        hash = ce_hash_bytes(hash, field->name, strlen(field->name) + 1);
        hash = ce_hash_bytes(hash, field->value, strlen(field->value) + 1);
    }
    return hash;
}

/* What joins "config" in the results. */
static json_t *describe_job(const struct ce_journal_header *header, const char *variant)
{
    return json_pack("{s:s, s:o}",
                     "variant",
                     variant,
                     "fingerprint",
                     describe_fields(header->field, header->fields));
}

/* ---- scores ---- */

static void free_judged(struct judged *judged)
{
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        for (size_t t = 0; judged->scores[v] != NULL && t < judged->count; t++) {
            ce_scores_free(&judged->scores[v][t]);
        }
        free(judged->scores[v]);
    }
    free(judged->task);
    free(judged->input);
}

static bool allocate(struct judged *judged, const struct ce_final *final)
{
    size_t inputs = final->inputs->count + 1;
    bool all = true;

    judged->task = calloc(inputs, sizeof(judged->task[0]));
    judged->input = calloc(inputs, sizeof(judged->input[0]));
    for (size_t v = 0; v < final->sheet->variants; v++) {
        judged->scores[v] = calloc(inputs, sizeof(judged->scores[v][0]));
        all = all && judged->scores[v] != NULL;
    }
    return all && judged->task != NULL && judged->input != NULL;
}

static enum ce_status
judge(struct judged *judged, const struct ce_final *final, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (!allocate(judged, final)) {
        return fail_memory(err);
    }
    for (size_t i = 0; i < final->inputs->count; i++) {
        if (final->inputs->input[i].kind != CE_INPUT_OPENAI) {
            judged->task[judged->count] = final->inputs->input[i].task;
            judged->input[judged->count++] = i;
        }
    }
    for (size_t v = 0; v < final->sheet->variants; v++) {
        const struct ce_outcome *outcome = ce_sheet_variant(final->sheet, v);

        for (size_t t = 0; status == CE_OK && t < judged->count; t++) {
            size_t first = final->inputs->input[judged->input[t]].first_query;

            status = ce_scores_compute(&judged->scores[v][t],
                                       &judged->task[t],
                                       outcome + first,
                                       CE_AGGREGATE_DRAWS,
                                       err);
        }
    }
    return status;
}

/* ---- files ---- */

static enum ce_status write_batch(const struct ce_final *final,
                                  const struct ce_input *input,
                                  const struct ce_outcome *outcome,
                                  const char *directory,
                                  struct ce_error *err)
{
    const struct ce_task *task = &input->batch.task;
    struct ce_string text = {.data = NULL};
    char *path = ce_results_path_of_batch(directory, task->name);
    enum ce_status status = path == NULL ? fail_memory(err) : CE_OK;

    for (size_t d = 0; status == CE_OK && d < task->documents; d++) {
        char *line = NULL;

        status = ce_openai_batch_write(&input->batch,
                                       d,
                                       outcome + task->document[d].first,
                                       hash_job(final->header),
                                       &line,
                                       err);
        if (status == CE_OK) {
            ce_string_append(&text, line);
            ce_string_append(&text, "\n");
        }
        free(line);
    }
    if (status == CE_OK) {
        char *whole = ce_string_take(&text);

        status = whole == NULL ? fail_memory(err)
                               : ce_file_write_atomic(path, whole, strlen(whole), err);
        free(whole);
    }
    ce_string_free(&text);
    free(path);
    return status;
}

static enum ce_status write_batches(const struct ce_final *final,
                                    size_t variant,
                                    const char *directory,
                                    struct ce_error *err)
{
    const struct ce_outcome *outcome = ce_sheet_variant(final->sheet, variant);
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < final->inputs->count; i++) {
        const struct ce_input *input = &final->inputs->input[i];

        if (input->kind == CE_INPUT_OPENAI) {
            status =
                write_batch(final, input, outcome + input->first_query, directory, err);
        }
    }
    return status;
}

/* The results of one variant. */
static enum ce_status write_variant(const struct ce_final *final,
                                    const struct judged *judged,
                                    size_t variant,
                                    const char *directory,
                                    char **markdown,
                                    struct ce_error *err)
{
    const struct ce_outcome *outcome = ce_sheet_variant(final->sheet, variant);
    struct ce_results_task *task = calloc(judged->count + 1, sizeof(task[0]));
    json_t *config = describe_job(final->header, final->header->variant[variant]);
    const struct ce_results_job job = {.directory = directory,
                                       .start_ns = final->header->start_ns,
                                       .program = final->header->program,
                                       .model_name =
                                           ce_final_note(final->header, "model"),
                                       .config = config,
                                       .draws = CE_AGGREGATE_DRAWS,
                                       .limit = final->limit};
    enum ce_status status = task == NULL || config == NULL
                                ? fail_memory(err)
                                : write_batches(final, variant, directory, err);

    for (size_t t = 0; task != NULL && t < judged->count; t++) {
        size_t first = final->inputs->input[judged->input[t]].first_query;

        task[t] = (struct ce_results_task){
            &judged->task[t], outcome + first, &judged->scores[variant][t]};
    }
    if (status == CE_OK) {
        status = ce_results_write(&job, task, judged->count, err);
    }
    if (status == CE_OK && markdown != NULL) {
        *markdown = ce_results_markdown(task, judged->count);
        status = *markdown == NULL ? fail_memory(err) : CE_OK;
    }
    json_decref(config);
    free(task);
    return status;
}

static enum ce_status write_single(const struct ce_final *final,
                                   const struct judged *judged,
                                   struct ce_final_text *text,
                                   struct ce_error *err)
{
    char *path = ce_final_marker(final->directory, final->header);
    size_t bytes = 0;
    enum ce_status status =
        write_variant(final, judged, 0, final->directory, &text->markdown, err);

    if (status == CE_OK) {
        status = path == NULL
                     ? fail_memory(err)
                     : ce_file_read(path, RESULTS_LIMIT, &text->json, &bytes, err);
    }
    free(path);
    return status;
}

/* ---- a comparison ---- */

static enum ce_status
make_directory(char **path, const char *parent, const char *name, struct ce_error *err)
{
    *path = ce_path_join(parent, name);
    if (*path == NULL) {
        return fail_memory(err);
    }
    if (mkdir(*path, 0777) != 0 && errno != EEXIST) {
        return ce_fail(err, CE_ERR_IO, "%s: %s", *path, strerror(errno));
    }
    return CE_OK;
}

static enum ce_status write_variants(const struct ce_final *final,
                                     const struct judged *judged,
                                     struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t v = 0; status == CE_OK && v < final->sheet->variants; v++) {
        char *path = NULL;

        status =
            make_directory(&path, final->directory, final->header->variant[v], err);
        if (status == CE_OK) {
            status = write_variant(final, judged, v, path, NULL, err);
        }
        free(path);
    }
    return status;
}

static enum ce_status print_comparison(const struct ce_final *final,
                                       const struct ce_comparison *comparison,
                                       struct ce_final_text *text,
                                       struct ce_error *err)
{
    json_t *json = ce_comparison_json(comparison, final->cost, final->costs, true);

    text->markdown =
        ce_comparison_markdown(comparison, final->cost, final->costs, true);
    text->json = json == NULL ? NULL : json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    return text->markdown == NULL || text->json == NULL ? fail_memory(err) : CE_OK;
}

static enum ce_status compare(const struct ce_final *final,
                              const struct judged *judged,
                              struct ce_final_text *text,
                              struct ce_error *err)
{
    const struct ce_scores *const scores[CE_VARIANTS] = {
        judged->scores[0], judged->scores[1], judged->scores[2]};
    const struct ce_results_job job = {.directory = final->directory,
                                       .start_ns = final->header->start_ns,
                                       .program = final->header->program};
    struct ce_comparison comparison = {.rows = 0};
    enum ce_status status = write_variants(final, judged, err);

    if (status == CE_OK) {
        status =
            ce_comparison_make(&comparison, judged->task, judged->count, scores, err);
    }
    if (status == CE_OK) {
        status = print_comparison(final, &comparison, text, err);
    }
    if (status == CE_OK) {
        status = ce_results_write_comparison(
            &job, &comparison, final->cost, final->costs, err);
    }
    ce_comparison_free(&comparison);
    return status;
}

enum ce_status ce_final_write(const struct ce_final *final,
                              struct ce_final_text *text,
                              struct ce_error *err)
{
    struct judged judged = {.count = 0};
    enum ce_status status = CE_OK;

    *text = (struct ce_final_text){.markdown = NULL};
    status = judge(&judged, final, err);
    if (status == CE_OK) {
        status = is_comparison(final->header) ? compare(final, &judged, text, err)
                                              : write_single(final, &judged, text, err);
    }
    free_judged(&judged);
    return status;
}
