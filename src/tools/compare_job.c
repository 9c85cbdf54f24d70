/* compare_job.c - what is to be compared, found out before the model is loaded */

#include "tools/compare_job.h"

#include "base/directory.h"
#include "base/log.h"
#include "comm/collective.h"
#include "tools/held_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for what is to be compared");
}

/* ---- names ---- */

/* "dir/math.txt" is "math"; NULL: no memory. */
static char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t length = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);

    return length > 0 ? strndup(name, length) : strdup(path);
}

/* Whether two of a list have the same short name: then all keep their paths. */
static bool are_ambiguous(const struct ce_option_list *list)
{
    bool found = false;

    for (size_t i = 0; i < list->count; i++) {
        char *name = short_name(list->item[i]);

        for (size_t j = 0; j < i; j++) {
            char *other = short_name(list->item[j]);

            found =
                found || (name != NULL && other != NULL && strcmp(name, other) == 0);
            free(other);
        }
        free(name);
    }
    return found;
}

static char *choose_name(const char *path, bool whole)
{
    return whole ? strdup(path) : short_name(path);
}

/* The same file by whatever path; what cannot be resolved will not be read either. */
static bool are_same(const char *a, const char *b)
{
    char *real_a = realpath(a, NULL);
    char *real_b = realpath(b, NULL);
    bool same = strcmp(a, b) == 0 ||
                (real_a != NULL && real_b != NULL && strcmp(real_a, real_b) == 0);

    free(real_a);
    free(real_b);
    return same;
}

static enum ce_status
check_twice(const char *option, const struct ce_option_list *list, struct ce_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (are_same(list->item[i], list->item[j])) {
                return ce_fail(
                    err, CE_ERR_ARG, "%s: %s is there twice", option, list->item[i]);
            }
        }
    }
    return CE_OK;
}

/* ---- compressed experts ---- */

/* Loads it, to know before the work that all its values are numbers. */
static enum ce_status
add_file(struct ce_compare_job *job, const char *path, bool whole, struct ce_error *err)
{
    struct ce_safetensors file = {0};
    struct ce_compressed_experts loaded = {.kind = CE_COMPRESSED_NONE};
    enum ce_status status = ce_safetensors_open(&file, path, err);

    if (status == CE_OK) {
        status = ce_file_watch_add(&job->session.files, path, &file.map.stamp, err);
    }
    if (status == CE_OK) {
        status = ce_compressed_experts_load(&loaded, &file, &job->config, err);
    }
    if (status == CE_OK) {
        struct ce_compare_source *source = &job->source[job->sources++];

        *source = (struct ce_compare_source){
            .path = path,
            .name = choose_name(path, whole),
            .kind = loaded.kind,
            .n_ce = loaded.n_ce,
            .bytes = loaded.bytes,
            .parameters = loaded.parameters,
            .hash = ce_safetensors_checksum(&file, ce_kernels_get(CE_ISA_REF))};
        status = source->name == NULL ? fail_memory(err) : CE_OK;
    }
    ce_compressed_experts_destroy(&loaded);
    ce_safetensors_close(&file);
    return status;
}

/* The tables of a checkpoint that uses them by itself. */
static enum ce_status add_own(struct ce_compare_job *job, struct ce_error *err)
{
    const struct ce_config *config = &job->config;
    struct ce_compare_source *source = &job->source[job->sources];

    if (!config->use_ce) {
        return CE_OK;
    }
    *source = (struct ce_compare_source){.name = strdup("checkpoint"),
                                         .kind = CE_COMPRESSED_SCALING,
                                         .n_ce = config->n_ce};
    job->sources++;
    return source->name == NULL ? fail_memory(err) : CE_OK;
}

static enum ce_status add_sources(struct ce_compare_job *job, struct ce_error *err)
{
    const struct ce_option_list *files = &job->values->files;
    bool whole = are_ambiguous(files);
    enum ce_status status = CE_OK;

    job->source = calloc(files->count + 1, sizeof(job->source[0]));
    if (job->source == NULL) {
        return fail_memory(err);
    }
    status = add_own(job, err);
    for (size_t i = 0; status == CE_OK && i < files->count; i++) {
        status = add_file(job, files->item[i], whole, err);
    }
    return status;
}

/* ---- texts ---- */

/* Only the first windows are run. */
static enum ce_status
add_text(struct ce_compare_job *job, const char *path, bool whole, struct ce_error *err)
{
    struct ce_compare_text *text = &job->text[job->texts++];
    size_t most = job->values->window * job->values->windows;
    enum ce_status status = CE_OK;

    text->path = path;
    text->name = choose_name(path, whole);
    status = ce_held_out_read(&job->session, job->tokenizer, path, &text->ids, err);
    if (status != CE_OK) {
        return status;
    }
    text->ids.count = text->ids.count < most ? text->ids.count : most;
    status =
        text->name == NULL
            ? fail_memory(err)
            : ce_frontier_add_text(&job->frontier, text->name, text->ids.count, err);
    return ce_agree(job->session.transport, status, err);
}

/* One window has no spread; the errors are then missing. */
static void warn_short(const struct ce_compare_job *job)
{
    for (size_t t = 0; t < job->texts && ce_log_is_speaker(); t++) {
        if (job->frontier.text[t].windows < 2) {
            ce_log(CE_LOG_WARN,
                   "%s: %zu tokens are one window, from which no error can be "
                   "estimated; give more text or a smaller --window",
                   job->text[t].path,
                   job->text[t].ids.count);
        }
    }
}

static enum ce_status read_texts(struct ce_compare_job *job, struct ce_error *err)
{
    const struct ce_option_list *data = &job->values->data;
    bool whole = are_ambiguous(data);
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < data->count; i++) {
        status = add_text(job, data->item[i], whole, err);
    }
    if (status == CE_OK) {
        warn_short(job);
    }
    return status;
}

/* ---- all of it ---- */

/* Hours of work are not to end with a directory that cannot be written. */
static enum ce_status make_out(const struct ce_compare_job *job, struct ce_error *err)
{
    const char *out = job->values->out;
    enum ce_status status = CE_OK;

    if (out == NULL || job->session.transport->rank != 0) {
        return CE_OK;
    }
    status = ce_directory_make(out, err);
    if (status == CE_OK && access(out, W_OK | X_OK) != 0) {
        status = ce_fail(err, CE_ERR_IO, "%s: %s", out, strerror(errno));
    }
    if (status != CE_OK) {
        ce_error_prefix(err, "--out");
    }
    return status;
}

/* What every rank finds out alone. */
static enum ce_status prepare(struct ce_compare_job *job, struct ce_error *err)
{
    const struct ce_compare_values *values = job->values;
    enum ce_status status =
        ce_session_watch_files(&job->session, values->model.model, NULL, err);

    if (status == CE_OK) {
        status = ce_config_load(&job->config, values->model.model, err);
    }
    if (status == CE_OK) {
        status = check_twice("--data", &values->data, err);
    }
    if (status == CE_OK) {
        status = check_twice("--compressed-experts", &values->files, err);
    }
    if (status == CE_OK) {
        status = add_sources(job, err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_open(&job->tokenizer, values->model.model, err);
    }
    if (status == CE_OK) {
        job->text = calloc(values->data.count + 1, sizeof(job->text[0]));
        status = job->text == NULL ? fail_memory(err) : make_out(job, err);
    }
    return status;
}

enum ce_status ce_compare_job_open(struct ce_compare_job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    enum ce_status status = CE_OK;

    job->frontier.window = job->values->window;
    status = ce_agree(transport, prepare(job, err), err);
    if (status == CE_OK) {
        status = read_texts(job, err);
    }
    return status == CE_OK
               ? ce_agree(transport, ce_compare_choose_settings(job, err), err)
               : status;
}

void ce_compare_job_close(struct ce_compare_job *job)
{
    for (size_t t = 0; t < job->texts; t++) {
        ce_ids_free(&job->text[t].ids);
        free(job->text[t].name);
    }
    for (size_t s = 0; s < job->sources; s++) {
        free(job->source[s].name);
    }
    ce_frontier_free(&job->frontier);
    ce_tokenizer_close(job->tokenizer);
    free(job->text);
    free(job->source);
    free(job->n_ce);
    free(job->source_of);
}
