/* compare_finish.c - the files of a comparison, and its table */

#include "base/file.h"
#include "base/log.h"
#include "base/streams.h"
#include "base/version.h"
#include "tools/compare_job.h"
#include "tools/plot.h"
#include "tools/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What goes back from the thread that writes. */
struct finishing {
    struct ce_compare_job *job;
    char *markdown;
    char *json;
};

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the results");
}

/* ---- JSON ---- */

static json_t *describe_source(const struct ce_compare_job *job,
                               const struct ce_compare_source *source)
{
    char hash[17];

    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, source->hash);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s}",
                     "name",
                     source->name,
                     "path",
                     source->path != NULL ? source->path : job->values->model.model,
                     "kind",
                     ce_compressed_kind_name(source->kind),
                     "n_ce",
                     (json_int_t)source->n_ce,
                     "bytes",
                     (json_int_t)source->bytes,
                     "parameters",
                     (json_int_t)source->parameters,
                     "hash",
                     hash);
}

static json_t *describe_sources(const struct ce_compare_job *job)
{
    json_t *array = json_array();

    for (size_t s = 0; s < job->sources; s++) {
        if (json_array_append_new(array, describe_source(job, &job->source[s])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* The same on any ranks. */
static json_t *describe_model(const struct ce_compare_job *job)
{
    const struct ce_engine *engine = job->session.engine;

    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o}",
                     "program",
                     "cemoe " CE_VERSION,
                     "model",
                     job->values->model.model,
                     "experts_of_a_token",
                     (json_int_t)job->config.top_k,
                     "weights",
                     ce_weight_format_name(engine->formats.experts),
                     "dense_weights",
                     ce_weight_format_name(engine->formats.dense),
                     "wire",
                     ce_wire_name(engine->wire),
                     "kv",
                     ce_kv_dtype_name(engine->kv),
                     "combine",
                     ce_combine_name(engine->combine),
                     "window",
                     (json_int_t)job->values->window,
                     "most_windows",
                     (json_int_t)job->values->windows,
                     "compressed_experts",
                     describe_sources(job));
}

/* What differs from run to run. */
static json_t *describe_run(const struct ce_compare_job *job)
{
    json_t *object = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s}",
                               "ranks",
                               (json_int_t)job->session.transport->ranks,
                               "threads",
                               (json_int_t)job->session.engine->threads,
                               "hosts",
                               job->session.engine->hosts,
                               "transport",
                               job->session.transport->ops->name,
                               "kernels",
                               job->session.engine->kernels->name,
                               "placement",
                               job->session.engine->placement.name);
    json_t *settings = ce_frontier_describe_runs(&job->frontier);

    if (json_object_set_new(object, "settings", settings) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* Where the texts came from, which the names do not say. */
static bool add_paths(const struct ce_compare_job *job, json_t *document)
{
    const json_t *texts = json_object_get(document, "texts");
    bool right = true;

    for (size_t t = 0; t < job->texts; t++) {
        json_t *path = json_string(job->text[t].path);

        right =
            json_object_set_new(json_array_get(texts, t), "path", path) == 0 && right;
    }
    return right;
}

/* NULL: no memory. */
static char *write_json(const struct ce_compare_job *job)
{
    json_t *document = describe_model(job);
    bool right = ce_frontier_describe(&job->frontier, document) &&
                 add_paths(job, document) &&
                 json_object_set_new(document, "run", describe_run(job)) == 0;
    char *text = right ? ce_frontier_json(document) : NULL;

    json_decref(document);
    return text;
}

/* ---- Markdown ---- */

static char *write_markdown(const struct ce_compare_job *job)
{
    char *results = ce_frontier_markdown(&job->frontier);
    char *runs = ce_frontier_runs_markdown(&job->frontier);
    int ranks = job->session.transport->ranks;
    char *text = NULL;

    if (results != NULL && runs != NULL &&
        asprintf(&text,
                 "# %s\n\n"
                 "Differences are means over pairs of windows ± their standard error; "
                 "recovered is the share of\nwhat truncation to as many experts loses; "
                 "best is what no other setting beats in both NLL and\nactive "
                 "parameters.\n\n%s\n## This run, on %d rank%s\n\n%s",
                 job->values->model.model,
                 results,
                 ranks,
                 ranks == 1 ? "" : "s",
                 runs) < 0) {
        text = NULL;
    }
    free(results);
    free(runs);
    return text;
}

/* ---- files ---- */

/* Frees the text, of which NULL means that there was no memory. */
static enum ce_status write_file(const struct ce_compare_job *job,
                                 const char *name,
                                 char *text,
                                 struct ce_error *err)
{
    char *path = ce_path_join(job->values->out, name);
    enum ce_status status = path == NULL || text == NULL
                                ? fail_memory(err)
                                : ce_file_write_atomic(path, text, strlen(text), err);

    free(path);
    free(text);
    return status;
}

/* Without a gnuplot the data are there to be drawn elsewhere. */
static void draw(const struct ce_compare_job *job)
{
    struct ce_error err = {.text = ""};

    if (ce_plot_draw(job->values->out,
                     "frontier.gp",
                     "frontier.svg",
                     job->values->run.deadline_ms,
                     &err) != CE_OK) {
        ce_log(CE_LOG_WARN,
               "no %s/frontier.svg: %s; \"gnuplot frontier.gp\" in that directory "
               "draws it",
               job->values->out,
               err.text);
    }
}

static enum ce_status write_files(const struct finishing *finishing,
                                  struct ce_error *err)
{
    const struct ce_compare_job *job = finishing->job;
    const struct ce_frontier *frontier = &job->frontier;
    enum ce_status status =
        write_file(job, "frontier.dat", ce_frontier_plot_data(frontier), err);

    if (status == CE_OK) {
        status = write_file(
            job,
            "frontier.gp",
            ce_frontier_plot_script(frontier, job->values->model.model, "frontier.dat"),
            err);
    }
    if (status == CE_OK) {
        draw(job);
        status = write_file(job, "comparison.md", strdup(finishing->markdown), err);
    }
    if (status == CE_OK) {
        status = write_file(job, "comparison.json", strdup(finishing->json), err);
    }
    return status;
}

/* Rank 0, on a thread: gnuplot and the disk take their time. */
static enum ce_status
finish_on_rank_0(const void *values, char **text, size_t *bytes, struct ce_error *err)
{
    struct finishing *finishing = *(struct finishing *const *)values;
    struct ce_compare_job *job = finishing->job;
    enum ce_status status = ce_frontier_compare(&job->frontier, err);

    *text = NULL; /* the files are enough: only this rank prints */
    *bytes = 0;
    if (status == CE_OK) {
        finishing->markdown = write_markdown(job);
        finishing->json = write_json(job);
        status = finishing->markdown == NULL || finishing->json == NULL
                     ? fail_memory(err)
                     : CE_OK;
    }
    return status == CE_OK && job->values->out != NULL ? write_files(finishing, err)
                                                       : status;
}

static enum ce_status print(const void *values, struct ce_error *err)
{
    const struct finishing *finishing = *(struct finishing *const *)values;
    (void)fputs(finishing->job->values->json ? finishing->json : finishing->markdown,
                ce_results());
    return ce_finish_output() == CE_EXIT_DONE
               ? CE_OK
               : ce_fail(err, CE_ERR_IO, "the table cannot be written");
}

enum ce_status ce_compare_job_finish(struct ce_compare_job *job, struct ce_error *err)
{
    struct finishing finishing = {.job = job};
    struct finishing *pointer = &finishing;
    enum ce_status status =
        ce_session_conclude(&job->session, finish_on_rank_0, print, &pointer, err);

    free(finishing.markdown);
    free(finishing.json);
    return status;
}
