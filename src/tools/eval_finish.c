/* eval_finish.c - the end of an evaluation: its files, its table, what the run cost */

#include "base/log.h"
#include "base/streams.h"
#include "model/parameters.h"
#include "tools/eval_job.h"
#include "tools/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t ce_eval_time_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- run_TIME.json: {"runs": [...]}, one a run that came to an end ---- */

static json_t *describe_cost(const struct ce_eval_cost *cost)
{
    json_t *object = json_object();
    double seconds = (double)cost->ns / 1e9;

    ce_json_set_integer(object, "queries", cost->queries);
    ce_json_set_integer(object, "steps", cost->steps);
    ce_json_set_integer(object, "tokens", cost->tokens);
    ce_json_set_integer(object, "reused_tokens", cost->reused);
    ce_json_set_seconds(object, "seconds", cost->ns);
    json_object_set_new(
        object, "tokens_per_second", json_real((double)cost->tokens / seconds));
    json_object_set_new(
        object, "occupancy", json_real((double)cost->tokens / (double)cost->room));
    ce_json_set_integer(object, "bytes_moved", cost->bytes);
    return object;
}

static json_t *describe_run(const struct ce_eval_job *job)
{
    json_t *object = ce_report_head(&job->session);
    json_t *variants = json_object();
    char began[CE_RESULTS_TIME_BYTES];
    char ended[CE_RESULTS_TIME_BYTES];

    ce_results_time(job->began_ns, began);
    ce_results_time(ce_eval_time_ns(), ended);
    json_object_set_new(object, "began", json_string(began));
    json_object_set_new(object, "ended", json_string(ended));
    json_object_set_new(object, "stopped_early", json_boolean(job->stopped));
    ce_json_set_integer(object, "ranks", (uint64_t)job->session.transport->ranks);
    json_object_set_new(object, "hosts", json_string(job->session.engine->hosts));
    ce_json_set_integer(object, "done_before", job->sheet.done);
    for (size_t v = 0; v < job->variants.count; v++) {
        if (job->cost[v].steps > 0) {
            json_object_set_new(
                variants, job->variants.name[v], describe_cost(&job->cost[v]));
        }
    }
    json_object_set_new(object, "variants", variants);
    return object;
}

static char *run_path(const struct ce_eval_job *job)
{
    char time_text[CE_RESULTS_TIME_BYTES];
    char *path = NULL;

    ce_results_time(ce_journal_header(job->journal)->start_ns, time_text);
    return asprintf(&path, "%s/run_%s.json", job->values->out, time_text) < 0 ? NULL
                                                                              : path;
}

/* What earlier runs left; an empty list where there is none that can be read. */
static json_t *read_runs(const struct ce_eval_job *job)
{
    char *path = run_path(job);
    json_t *document = path != NULL ? json_load_file(path, 0, NULL) : NULL;
    json_t *runs = json_incref(json_object_get(document, "runs"));

    json_decref(document);
    free(path);
    if (!json_is_array(runs)) {
        json_decref(runs);
        runs = json_array();
    }
    return runs;
}

static enum ce_status
write_runs(const struct ce_eval_job *job, json_t *runs, struct ce_error *err)
{
    const struct ce_results_job place = {.directory = job->values->out,
                                         .start_ns =
                                             ce_journal_header(job->journal)->start_ns};
    json_t *document = json_pack("{s:O}", "runs", runs);
    enum ce_status status = document == NULL
                                ? ce_fail(err, CE_ERR_NOMEM, "no memory for run_*.json")
                                : ce_results_write_run(&place, document, err);

    json_decref(document);
    return status;
}

/* ---- columns of a comparison ---- */

enum { COLUMN_RATE = 0, COLUMN_ACTIVE, COLUMN_BYTES, COLUMNS };

/* Of all runs that came to an end; a killed one has neither tokens nor time in it. */
static double sum_runs(const json_t *runs, const char *variant, const char *key)
{
    double sum = 0;
    size_t i = 0;
    json_t *run = NULL;

    json_array_foreach(runs, i, run)
    {
        const json_t *cost = json_object_get(json_object_get(run, "variants"), variant);

        sum += json_number_value(json_object_get(cost, key));
    }
    return sum;
}

static void fill_columns(const struct ce_eval_job *job,
                         const json_t *runs,
                         struct ce_comparison_cost column[COLUMNS])
{
    column[COLUMN_RATE] = (struct ce_comparison_cost){
        .name = "tokens/s", .key = "tokens_per_second", .decimals = 0, .varies = true};
    column[COLUMN_ACTIVE] =
        (struct ce_comparison_cost){.name = "active parameters (M)",
                                    .key = "active_parameters_millions",
                                    .decimals = 2};
    column[COLUMN_BYTES] = (struct ce_comparison_cost){.name = "moved bytes/token",
                                                       .key = "moved_bytes_per_token",
                                                       .decimals = 0,
                                                       .varies = true};
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        const struct ce_eval_mains *mains = &job->variants.mains[v];
        size_t dropped = (size_t)mains->compressed + (size_t)mains->truncated;
        double tokens = sum_runs(runs, ce_variant_name[v], "tokens");
        double seconds = sum_runs(runs, ce_variant_name[v], "seconds");
        double bytes = sum_runs(runs, ce_variant_name[v], "bytes_moved");

        column[COLUMN_RATE].variant[v] =
            (struct ce_maybe){seconds > 0, seconds > 0 ? tokens / seconds : 0};
        column[COLUMN_ACTIVE].variant[v] = (struct ce_maybe){
            true,
            (double)ce_parameters_active(&job->config, job->config.top_k - dropped) /
                1e6};
        column[COLUMN_BYTES].variant[v] =
            (struct ce_maybe){tokens > 0, tokens > 0 ? bytes / tokens : 0};
    }
}

/* ---- final files ---- */

/* What goes back from the thread that writes. */
struct finishing {
    struct ce_eval_job *job;
    struct ce_final_text text;
};

static enum ce_status write_files(struct finishing *finishing,
                                  const struct ce_journal *journal,
                                  const json_t *runs,
                                  struct ce_error *err)
{
    struct ce_eval_job *job = finishing->job;
    struct ce_comparison_cost column[COLUMNS];
    struct ce_sheet sheet = {0};
    enum ce_status status = ce_sheet_fill(&sheet, &job->inputs, journal, err);

    if (status == CE_OK && !ce_sheet_is_complete(&sheet)) {
        status = ce_fail(err,
                         CE_ERR_IO,
                         "%s/%s has %zu of %zu answers although all were given",
                         job->values->out,
                         CE_JOURNAL_NAME,
                         sheet.done,
                         sheet.variants * sheet.queries);
    }
    if (status == CE_OK) {
        const struct ce_final final = {.inputs = &job->inputs,
                                       .header = ce_journal_header(journal),
                                       .sheet = &sheet,
                                       .directory = job->values->out,
                                       .limit = job->values->limit,
                                       .cost = column,
                                       .costs = COLUMNS};

        if (sheet.variants == CE_VARIANTS) {
            fill_columns(job, runs, column);
        }
        status = ce_final_write(&final, &finishing->text, err);
    }
    ce_sheet_free(&sheet);
    return status;
}

/* Rank 0, on a thread: a bootstrap takes its time. The journal is read again, so that
 * nothing but what is on the disk gets into a file. */
static enum ce_status
finish_on_rank_0(const void *values, char **text, size_t *bytes, struct ce_error *err)
{
    struct finishing *finishing = *(struct finishing *const *)values;
    struct ce_eval_job *job = finishing->job;
    struct ce_journal *journal = NULL;
    json_t *runs = read_runs(job);
    enum ce_status status = ce_journal_sync(job->journal, err);

    *text = NULL; /* the files are enough: only this rank prints */
    *bytes = 0;
    if (status == CE_OK && job->session.engine != NULL) {
        json_array_append_new(runs, describe_run(job));
        status = write_runs(job, runs, err);
    }
    if (status == CE_OK && !job->stopped) {
        status =
            ce_journal_open(&journal, job->values->out, NULL, CE_JOURNAL_READ, err);
        if (status == CE_OK) {
            status = write_files(finishing, journal, runs, err);
        }
    }
    ce_journal_close(journal);
    json_decref(runs);
    return status;
}

static enum ce_status print(const void *values, struct ce_error *err)
{
    const struct finishing *finishing = *(struct finishing *const *)values;
    const struct ce_eval_job *job = finishing->job;
    const char *text =
        job->values->json ? finishing->text.json : finishing->text.markdown;

    if (job->stopped) {
        size_t recorded = job->sheet.done;

        for (size_t v = 0; v < job->variants.count; v++) {
            recorded += job->cost[v].queries;
        }
        ce_log(
            CE_LOG_INFO,
            "stopped early: %zu of %zu answers are in %s; run the same command again "
            "to go on, on any number of ranks",
            recorded,
            job->sheet.variants * job->sheet.queries,
            job->values->out);
        return CE_OK;
    }
    (void)fputs(text, ce_results());
    if (job->values->json && text[0] != '\0' && text[strlen(text) - 1] != '\n') {
        ce_print("\n");
    }
    return ce_finish_output() == CE_EXIT_DONE
               ? CE_OK
               : ce_fail(err, CE_ERR_IO, "the table cannot be written");
}

enum ce_status ce_eval_job_finish(struct ce_eval_job *job, struct ce_error *err)
{
    struct finishing finishing = {.job = job};
    struct finishing *pointer = &finishing;
    enum ce_status status =
        ce_session_conclude(&job->session, finish_on_rank_0, print, &pointer, err);

    ce_final_text_free(&finishing.text);
    return status;
}
