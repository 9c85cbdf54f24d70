/* calibrate.c - `cemoe calibrate`: compressed experts from what the experts compute */

#include "tools/calibrate.h"

#include "base/log.h"
#include "tools/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print(const struct ce_calibrate_job *job)
{
    return job->values->plan ? ce_calibrate_print_plan(job) : ce_calibrate_print(job);
}

static int run_job(struct ce_calibrate_job *job)
{
    struct ce_error err = {.text = ""};
    int printed = CE_EXIT_DONE;
    enum ce_status status =
        ce_session_open(&job->session, "calibrate", &job->values->run, &err);

    if (status == CE_OK) {
        status = ce_calibrate_job_run(job, &err);
    }
    if (status == CE_OK && job->session.transport->rank == 0) {
        printed = print(job);
    }
    if (status == CE_OK && !job->values->plan) {
        status = ce_session_report(&job->session, job->layers.counters.tokens, 0, &err);
    }
    const int code = ce_session_close(&job->session, status, &err);

    return code != CE_EXIT_DONE ? code : printed;
}

static int refuse(const char *what)
{
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR, "calibrate: %s; see cemoe calibrate --help", what);
    }
    return CE_EXIT_USAGE;
}

static int check_usage(const struct ce_calibrate_values *values)
{
    if (values->data.count + values->tasks.count == 0 && !values->dummy_given) {
        return refuse("no text: give --data FILE or --tasks NAME");
    }
    if (values->out == NULL && !values->plan) {
        return refuse("--out FILE is missing");
    }
    if (values->budget != NULL && values->rank != SIZE_MAX) {
        return refuse("--rank and --budget exclude each other");
    }
    if (values->rank != SIZE_MAX && values->most_rank > 0 &&
        values->most_rank < values->rank) {
        return refuse("--most-rank is less than --rank");
    }
    if (strcmp(values->kind, "scaling") == 0 &&
        (values->budget != NULL || values->rank != SIZE_MAX || values->most_rank > 0 ||
         values->dump != NULL)) {
        return refuse("--rank, --budget, --most-rank and --dump are of --kind affine");
    }
    if (strcmp(values->kind, "scaling") != 0 && values->ridge_given) {
        return refuse("--ridge is of --kind scaling");
    }
    if (values->heldout_every == 1) {
        return refuse("--heldout-every 1 leaves nothing to fit; 0 holds nothing out");
    }
    if (strcmp(values->run.expert_split, "none") != 0) {
        return refuse("--expert-split node cuts experts apart: it cannot be used here");
    }
    if ((values->dump == NULL) != (values->dump_layer == SIZE_MAX)) {
        return refuse("--dump FILE and --dump-layer L belong together");
    }
    return CE_EXIT_DONE;
}

/* malloc'ed; NULL when out of memory. */
static char *name_parts(const struct ce_calibrate_values *values)
{
    char *name = NULL;

    if (values->parts != NULL || values->out == NULL) {
        return strdup(values->parts != NULL ? values->parts : "");
    }
    return asprintf(&name, "%s.parts", values->out) < 0 ? NULL : name;
}

static int run(const void *untyped)
{
    struct ce_calibrate_job job = {.values = untyped};
    int code = check_usage(job.values);

    job.parts_dir = name_parts(job.values);
    if (code == CE_EXIT_DONE && job.parts_dir == NULL) {
        code = refuse("no memory");
    }
    if (code == CE_EXIT_DONE) {
        code = run_job(&job);
    }
    ce_calibrate_dump_close(job.dump);
    ce_calibrate_outcome_free(&job.outcome);
    ce_scaling_outcome_free(&job.scaling);
    ce_parts_close(&job.parts);
    ce_text_windows_close(&job.windows);
    free(job.layers.solved);
    free(job.parts_dir);
    return code;
}

static const struct ce_example examples[] = {
    {"Substitutes of rank 8 for 2 of 4 experts, and what they are worth",
     "cemoe calibrate --model deploy/model --data deploy/model/calibration/math.txt "
     "--compressed 2 --rank 8 --out math.safetensors\n"
     "cemoe score --model deploy/model --compressed-experts math.safetensors --file "
     "deploy/model/eval/math.txt"},
    {"Ranks chosen expert by expert, within half a percent of the experts' bytes, on 8 "
     "ranks",
     "mpirun -n 8 cemoe calibrate --model DIR --data wiki.jsonl code.jsonl "
     "--compressed 4 --budget 0.5% --out compressed.safetensors"},
    {"The paper's scaling vectors for the same",
     "cemoe calibrate --model deploy/model --data deploy/model/calibration/math.txt "
     "--compressed 2 --kind scaling --out math.safetensors"},
    {"What memory it would take",
     "cemoe calibrate --model DIR --dummy-weights 1 --compressed 4 --plan"},
    {0}};

static const char *const usage[] = {"--model DIR --data FILE... --out FILE "
                                    "[--compressed N] [--rank R | --budget BYTES]",
                                    "--kind scaling --model DIR --data FILE... --out "
                                    "FILE [--compressed N] [--ridge R]",
                                    "--model DIR --data FILE... --plan",
                                    NULL};

const struct ce_command ce_command_calibrate = {
    .name = "calibrate",
    .summary = "Fit compressed experts to what a model's experts compute on a text",
    .usage = usage,
    .description =
        "Runs the full model over the texts, layer by layer, and fits for every expert "
        "an affine map that stands in for it where its routing weight is among the N "
        "lowest of a token: E(x) ~ U V x + b with U V of low rank, by weighted least "
        "squares in closed form, from sums of products. Nothing is trained. Each rank "
        "collects and fits its own experts; one file comes out. Give it texts of the "
        "kind the model will be used for.\n\n"
        "With --kind scaling it fits vectors that scale what a token's main experts "
        "give to their last matrix, all of a layer's together, so that the block's "
        "output is nearest to the full one: least squares by conjugate gradients, some "
        "20 sweeps over the tokens per layer. The table then has the error of the "
        "whole "
        "output, truncated and fitted.\n\n"
        "Every layer that is done is on disk, whole: whatever ends the job (SIGTERM, a "
        "killed node), the same command goes on there and gives the same file, byte by "
        "byte on any number of ranks and threads of the same processors (see "
        "OPENBLAS_CORETYPE in cemoe(1)). What is in --parts of another text, "
        "model or option is refused, naming it. --out is replaced at the very end.\n\n"
        "The table has, layer by layer, the squared error of what auxiliary experts "
        "add "
        "to a held-out token's output, expert by expert, over that of the whole "
        "output: truncated, then by rank. Errors of one token's experts may cancel or "
        "add up; that is left out. cemoe score says what it means for the model. "
        "Experts with few rows get a smaller rank or a constant, and are named.",
    .examples = examples,
    .groups = ce_calibrate_groups,
    .values_size = sizeof(struct ce_calibrate_values),
    .uses_blas = true,
    .run = run};
