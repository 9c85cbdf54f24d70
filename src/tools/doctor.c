/* doctor.c - `cemoe doctor`: looks at a launch before a job is trusted to it */

#include "base/log.h"
#include "comm/collective.h"
#include "doctor/check.h"
#include "engine/engine.h"
#include "tools/commands.h"
#include "tools/doctor_report.h"
#include "tools/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    struct ce_model_values model;
    struct ce_run_values run;
    const char *out;
    bool json;
};

struct job {
    const struct values *values;
    struct ce_session session;
    struct ce_launch launch;
    struct ce_error problem;     /* of the launch */
    struct ce_rank_facts mine;   /* of this rank */
    struct ce_rank_facts *facts; /* [ranks] of all, on rank 0 */
    struct ce_findings findings; /* on rank 0 */
};

static const struct ce_option options[] = {
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct values, out),
     .help = "Where results shall go: is tried by making a file that is removed at "
             "once. Without, nothing is tried."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print one JSON document; its fields are described above."},
    {0}};

static bool is_alone(const struct job *job)
{
    return job->session.transport == NULL;
}

/* The model as this rank sees it. */
static void observe_model(struct job *job)
{
    struct ce_rank_facts *mine = &job->mine;
    struct ce_engine_options wanted =
        ce_session_engine_options(&job->session, &job->values->model);
    struct ce_engine_options usual;
    struct ce_memory_plan plan = {0};
    struct ce_config config;
    struct ce_error err = {.text = ""};
    enum ce_status status = ce_config_load(&config, wanted.model, &err);

    ce_engine_options_init(&usual);
    if (wanted.cache_tokens == 0) {
        wanted.cache_tokens = usual.cache_tokens;
    }
    if (status == CE_OK) {
        mine->config_hash = ce_config_hash(&config);
    }
    if (status == CE_OK && !is_alone(job)) {
        status = ce_engine_foresee(&plan, job->session.transport, &wanted, &err);
        mine->planned = plan.total;
    }
    if (status != CE_OK) {
        (void)snprintf(mine->model_error, sizeof(mine->model_error), "%s", err.text);
    }
}

/* Does what a job's ranks compare at start hold? The same answer on all ranks. */
static void compare_models(struct job *job)
{
    struct ce_rank_facts *mine = &job->mine;
    struct ce_engine_options wanted =
        ce_session_engine_options(&job->session, &job->values->model);
    struct ce_engine_options usual;
    struct ce_error err = {.text = ""};

    ce_engine_options_init(&usual);
    if (wanted.cache_tokens == 0) {
        wanted.cache_tokens = usual.cache_tokens;
    }
    if (!is_alone(job) &&
        ce_engine_compare(job->session.transport, &wanted, &err) != CE_OK) {
        (void)snprintf(mine->difference, sizeof(mine->difference), "%s", err.text);
    }
}

/* Facts of all ranks for rank 0. */
static enum ce_status gather(struct job *job, struct ce_error *err)
{
    struct ce_bytes mine = {&job->mine, sizeof(job->mine)};
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    job->facts[0] = job->mine;
    if (!is_alone(job)) {
        status = ce_gather(job->session.transport, mine, &all, err);
    }
    if (status != CE_OK || all == NULL) {
        return status;
    }
    for (int r = 0; r < job->launch.ranks; r++) {
        if (all[r].bytes != sizeof(job->mine)) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent bad facts", r);
        }
        memcpy(&job->facts[r], all[r].data, sizeof(job->mine));
    }
    ce_host_number(
        &job->facts[0].host, sizeof(job->facts[0]), (size_t)job->launch.ranks);
    return CE_OK;
}

static void check_transport(struct job *job)
{
    const struct ce_transport *transport = job->session.transport;
    const char *wanted = job->values->run.transport;

    if (transport == NULL) {
        return;
    }
    if (strcmp(wanted, "auto") == 0 && strcmp(transport->ops->name, "mpi") == 0) {
        ce_findings_add(&job->findings,
                        "transport",
                        CE_VERDICT_WARNING,
                        "Messages of MPI work, but ucx is faster; see the check ucx.",
                        "mpi: %s",
                        transport->reason);
    } else {
        ce_findings_add(&job->findings,
                        "transport",
                        CE_VERDICT_OK,
                        NULL,
                        "%s: %s",
                        transport->ops->name,
                        transport->reason);
    }
    if (strcmp(wanted, "mpi") == 0 || strcmp(wanted, "self") == 0) {
        ce_findings_add(
            &job->findings, "ucx", CE_VERDICT_SKIPPED, NULL, "not the transport");
    } else {
        ce_check_ucx(job->facts, (size_t)job->launch.ranks, &job->findings);
    }
}

static void check(struct job *job)
{
    const struct ce_rank_facts *facts = job->facts;
    size_t ranks = (size_t)job->launch.ranks;

    ce_check_launch(&job->launch, &job->findings);
    check_transport(job);
    ce_check_threads(facts, ranks, &job->findings);
    ce_check_model(facts, ranks, &job->findings);
    ce_check_memory(facts, ranks, &job->findings);
    ce_check_leftovers(facts, ranks, &job->findings);
    if (job->values->out != NULL) {
        ce_check_out(job->values->out, facts[0].host.name, &job->findings);
    }
}

static int print(const struct job *job)
{
    const struct ce_transport *transport = job->session.transport;
    const struct ce_doctor_report report = {
        .facts = job->facts,
        .ranks = (size_t)job->launch.ranks,
        .transport = transport != NULL ? transport->ops->name : NULL,
        .findings = &job->findings};

    if (job->values->json) {
        return ce_print_json(ce_doctor_report_describe(&report));
    }
    ce_doctor_report_print(&report);
    return ce_finish_output();
}

/* Rank 0 prints and says what the exit code of all is. */
static enum ce_status conclude(struct job *job, int *code, struct ce_error *err)
{
    struct ce_bytes verdict = {code, sizeof(*code)};
    enum ce_status status = CE_OK;

    if (ce_log_is_speaker()) {
        check(job);
        *code = print(job);
        if (*code == CE_EXIT_DONE &&
            ce_findings_worst(&job->findings) == CE_VERDICT_FAILED) {
            *code = CE_EXIT_CHECK;
        }
    }
    if (is_alone(job)) {
        *code = *code == CE_EXIT_DONE ? CE_EXIT_CHECK : *code;
        return CE_OK;
    }
    status = ce_broadcast(job->session.transport, verdict, &verdict, err);
    if (status == CE_OK && verdict.bytes == sizeof(*code)) {
        memmove(code, verdict.data, sizeof(*code));
    }
    return status;
}

/* A job of processes that did not find each other: each is a rank of its own. A failure
 * once they have is returned. */
static enum ce_status open_session(struct job *job, struct ce_error *err)
{
    const char *tasks = getenv("SLURM_NTASKS");
    enum ce_status status =
        ce_session_open(&job->session, "doctor", &job->values->run, &job->problem);
    const bool joined = job->session.transport != NULL;

    job->launch = (struct ce_launch){.ranks = 1};
    job->launch.slurm_tasks = tasks != NULL ? (int)strtol(tasks, NULL, 10) : 0;
    if (joined) {
        job->launch.ranks = job->session.transport->ranks;
        *err = job->problem;
    } else {
        job->launch.problem = job->problem.text;
    }
    return joined ? status : CE_OK;
}

static int run_job(struct job *job)
{
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;
    int code = CE_EXIT_DONE;
    int closed = CE_EXIT_DONE;

    status = open_session(job, &err);
    if (status != CE_OK) {
        return ce_session_close(&job->session, status, &err);
    }
    job->facts = calloc((size_t)job->launch.ranks, sizeof(job->facts[0]));
    if (job->facts == NULL) {
        status = ce_fail(&err, CE_ERR_NOMEM, "no memory for the facts of all ranks");
    }
    if (!is_alone(job)) {
        status = ce_agree(job->session.transport, status, &err);
    }
    if (status == CE_OK) {
        ce_rank_facts_observe(&job->mine);
        observe_model(job);
        compare_models(job);
        status = gather(job, &err);
    }
    if (status == CE_OK) {
        status = conclude(job, &code, &err);
    }
    if (is_alone(job)) {
        return status == CE_OK ? code : ce_report_failure("doctor", &err);
    }
    closed = ce_session_close(&job->session, status, &err);
    return closed != CE_EXIT_DONE ? closed : code;
}

static int run(const void *untyped)
{
    struct job *job = calloc(1, sizeof(*job));
    int code = CE_EXIT_FAILED;

    if (job == NULL) {
        ce_log(CE_LOG_ERROR, "doctor: no memory");
        return code;
    }
    job->values = untyped;
    code = ce_check_model_values("doctor", &job->values->model) ? run_job(job)
                                                                : CE_EXIT_USAGE;
    free(job->facts);
    free(job);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options},
    {.title = "Model",
     .options = ce_model_options,
     .offset = offsetof(struct values, model)},
    {.title = "Run", .options = ce_run_options, .offset = offsetof(struct values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"On one machine", "cemoe doctor --model deploy/model --out results"},
    {"In a batch script, in the way the job itself will be started",
     "srun --mpi=pmix cemoe doctor --model $MODEL --out $OUT && srun --mpi=pmix cemoe "
     "eval --model $MODEL --tasks arc_easy --out $OUT"},
    {"What is wrong, for a program",
     "cemoe doctor -m deploy/model --json | jq '.findings[] | select(.verdict == "
     "\"failed\")'"},
    {0}};

static const char *const usage[] = {"--model DIR [--out DIR] [options]", NULL};

const struct ce_command ce_command_doctor = {
    .name = "doctor",
    .summary = "Look for faults of a launch before the job itself",
    .usage = usage,
    .description =
        "Start it exactly as the job will be started, with the same ranks, nodes, "
        "environment, model and run options. Loads nothing and takes about as long as "
        "MPI takes to start. Every rank looks at its own host; rank 0 prints a table "
        "of the hosts, and what is wrong with what to change.\n\n"
        "  launch      did the processes that mpirun or srun started become one job,\n"
        "              and are they as many as the Slurm job has tasks\n"
        "  transport   which one connects them, and why\n"
        "  ucx         do UCX_TLS and UCX_NET_DEVICES name what each host has, is a\n"
        "              way to all ranks left, is InfiniBand there but not used\n"
        "  threads     has each rank as many processors as threads, are ranks bound\n"
        "              on top of each other, has each host enough processors\n"
        "  model       can every rank read it, and is it the same on every host: "
        "small\n"
        "              files by their bytes, weights by samples of every tensor\n"
        "  memory      what the ranks of each host will take, against what is free\n"
        "              there; the KV cache counts with --cache-tokens, or 4096\n"
        "  leftovers   files that MPI and UCX of killed jobs left in /dev/shm\n"
        "  out         can rank 0 write to --out, is there room\n\n"
        "A failed check means that the job will not run, or many times slower than it "
        "could. A warning may be what you want.\n\n"
        "UCX writes warnings of its own, to standard output; UCX_LOG_LEVEL=fatal in "
        "the "
        "environment keeps them out of --json.\n\n"
        "Exit codes: 0, nothing failed, there may be warnings; 3, a check failed; 1, "
        "doctor itself could not go on; 2, wrong usage.\n\n"
        "Fields of --json:\n\n"
        "  verdict             the worst: ok, warning or failed\n"
        "  ranks, transport    transport is null where ranks did not find each other\n"
        "  hosts[]             host, ranks, threads (of all of them), processors\n"
        "                      (they may run on), online, planned_bytes (or null),\n"
        "                      available_bytes\n"
        "  findings[]          check, verdict (also skipped), text, advice (or null)",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
