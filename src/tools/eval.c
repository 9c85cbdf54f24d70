/* eval.c - `cemoe eval`: tasks to results, in a job that may be killed */

#include "base/log.h"
#include "comm/collective.h"
#include "tools/commands.h"
#include "tools/eval_job.h"
#include "tools/eval_signals.h"
#include "tools/eval_status.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static const struct ce_option options[] = {
    {.name = "tasks",
     .short_name = 't',
     .kind = CE_OPTION_LIST,
     .argument = "NAME|FILE",
     .field = offsetof(struct ce_eval_values, tasks),
     .help = "Tasks by name (gsm8k, arc_easy, mmlu_astronomy, ...) or descriptions of "
             "your own; deploy/tasks/README.md has the list and the format."},
    {.name = "data",
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_eval_values, data),
     .help =
         "Where the documents of the tasks are, as JSON Lines with the public field "
         "names."},
    {.name = "requests",
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_eval_values, requests),
     .help = "Requests as they are, a JSON object a line: loglikelihood, "
             "loglikelihood_rolling, generate_until. They get answers, no metrics."},
    {.name = "openai-batch",
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_eval_values, batches),
     .help =
         "A batch of /v1/completions as OpenAI's API takes it; NAME_output.jsonl in "
         "the directory of --out has the answers, in the order of the file."},
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_eval_values, out),
     .required = true,
     .help = "Directory of the journal and the results; made if it is not there. One "
             "job has it at a time."},
    {.name = "limit",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_eval_values, limit),
     .initial = "0",
     .initial_help = "0: all",
     .help = "Only the first N documents of each of --tasks."},
    {.name = "fewshot",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct ce_eval_values, fewshot),
     .initial = "-1",
     .initial_help = "what each task says",
     .min = 0,
     .max = INT_MAX,
     .help = "Examples before each document of --tasks."},
    {.name = "max-length",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_eval_values, max_length),
     .initial = "0",
     .initial_help = "0: the model's context",
     .help =
         "Tokens that the model sees at most, as lm-eval's max_length. Longer texts "
         "lose their left end (rolling ones are cut into windows instead); how many "
         "did is said."},
    {.name = "compare",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_eval_values, compare),
     .help =
         "Run everything three times, with all experts, with --truncated N (default: "
         "as many as are compressed) and with --compressed N, and print one table: "
         "metrics, paired differences, and how much compression recovers of what "
         "truncation loses."},
    {.name = "resume",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_eval_values, resume),
     .initial = "yes",
     .help = "Go on with the journal that is in the directory. --no-resume refuses a "
             "directory that has one; nothing is ever overwritten."},
    {.name = "status",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_eval_values, status),
     .help = "Only say what the journal in --out has; needs no model. Exit code 0: "
             "complete, 4: can be resumed, 1: there is none."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_eval_values, json),
     .help = "Print the results as JSON instead of a table."},
    {0}};

static const struct ce_option limits[] = {
    {.name = "time-limit",
     .kind = CE_OPTION_DOUBLE,
     .argument = "SECONDS",
     .field = offsetof(struct ce_eval_values, time_limit),
     .initial = "0",
     .initial_help = "0: none",
     .min = 0,
     .max = 1e9,
     .help = "Stop early after so long, as on SIGUSR1: begin nothing more, finish what "
             "runs, exit with code 4. The same command goes on."},
    {.name = "grace",
     .kind = CE_OPTION_DOUBLE,
     .argument = "SECONDS",
     .field = offsetof(struct ce_eval_values, grace),
     .initial = "60",
     .min = 0,
     .max = 1e9,
     .help = "How long what runs may take then; what is not finished is run again by "
             "the next job."},
    {.name = "max-sequences",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_eval_values, max_sequences),
     .initial = "0",
     .initial_help = "0: as many as a step has tokens",
     .help = "Most requests that a rank runs at once."},
    {.name = "share-prefixes",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_eval_values, share_prefixes),
     .initial = "yes",
     .help = "Compute a beginning that requests have in common once. Does not change "
             "results."},
    {0}};

static const struct ce_option model[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_eval_values, model.model),
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it, or what cemoe pack makes "
             "of one. Required but for --status."},
    {0}};

static int refuse(const char *what)
{
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR, "eval: %s; see cemoe eval --help", what);
    }
    return CE_EXIT_USAGE;
}

static int check_usage(const struct ce_eval_values *values)
{
    if (values->model.model == NULL) {
        return refuse("--model DIR is missing");
    }
    if (values->tasks.count + values->requests.count + values->batches.count == 0) {
        return refuse("nothing to do: give --tasks, --requests or --openai-batch");
    }
    if (values->compare && strcmp(values->run.expert_split, "none") != 0) {
        return refuse(
            "--compare does not go with --expert-split node, which has memory "
            "for one number of experts");
    }
    if (!values->compare && !ce_check_model_values("eval", &values->model)) {
        return CE_EXIT_USAGE;
    }
    return CE_EXIT_DONE;
}

static uint64_t count_tokens(const struct ce_eval_job *job)
{
    uint64_t tokens = 0;

    for (size_t v = 0; v < job->variants.count; v++) {
        tokens += job->cost[v].tokens;
    }
    return tokens;
}

static enum ce_status run_job(struct ce_eval_job *job, struct ce_error *err)
{
    enum ce_status status = ce_eval_job_open(job, err);

    if (status == CE_OK) {
        status = ce_eval_job_load(job, err);
    }
    if (status == CE_OK && job->table.count > 0) {
        status = ce_eval_job_run(job, err);
    }
    if (status == CE_OK) {
        status = ce_eval_job_finish(job, err);
    }
    if (status == CE_OK) {
        ce_eval_signals_ignore();
    }
    if (status == CE_OK && job->session.engine != NULL) {
        status = ce_session_report(&job->session, count_tokens(job), 0, err);
    }
    return status;
}

/* Ranks that no longer agree end the process, and nobody closes the journal. A journal
 * that cannot be written is the failure itself. */
static void save(const struct ce_eval_job *job)
{
    struct ce_error unused = {.text = ""};

    if (job->journal != NULL) {
        (void)!ce_journal_sync(job->journal, &unused);
    }
}

static int run(const void *untyped)
{
    struct ce_eval_job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;

    if (job.values->status) {
        return ce_eval_status(job.values->out, job.values->json);
    }
    code = check_usage(job.values);
    if (code != CE_EXIT_DONE) {
        return code;
    }
    enum ce_status began =
        ce_eval_signals_start(job.values->time_limit, job.values->grace, &err);
    enum ce_status status =
        ce_session_open(&job.session, "eval", &job.values->run, &err);
    if (status == CE_OK) {
        status = ce_agree(job.session.transport, began, &err);
    }
    if (status == CE_OK) {
        status = run_job(&job, &err);
    }
    if (status != CE_OK) {
        save(&job);
    }
    code = ce_session_close(&job.session, status, &err);
    ce_eval_job_close(&job);
    return code == CE_EXIT_DONE && job.stopped ? CE_EXIT_STOPPED : code;
}

static const struct ce_option_group groups[] = {
    {.title = "Tasks", .options = options},
    {.title = "Limits", .options = limits},
    {.title = "Model", .options = model},
    {.title = "How the model is run",
     .options = ce_model_options + CE_MODEL_OPTIONS_MAINS, /* all but --model */
     .offset = offsetof(struct ce_eval_values, model)},
    {.title = "Run",
     .options = ce_run_options,
     .offset = offsetof(struct ce_eval_values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"A task that needs no data of yours",
     "cemoe eval --model deploy/model --tasks cemoe_arithmetic --out out"},
    {"GSM8K and MMLU from your exports, on 8 ranks, for at most an hour; run it again "
     "to "
     "go on",
     "mpirun -n 8 cemoe eval --model DIR --tasks gsm8k mmlu --data data --fewshot 5 "
     "--out "
     "out --time-limit 3600"},
    {"What compressing 2 of 4 experts costs, beside dropping them",
     "cemoe eval --model deploy/model --compressed-experts "
     "deploy/model/ces-math.safetensors --compare --tasks cemoe_text_math --out "
     "compare"},
    {"How far a job is", "cemoe eval --status --out out"},
    {0}};

static const char *const usage[] = {
    "--model DIR --tasks NAME... --out DIR [options]", "--status --out DIR", NULL};

const struct ce_command ce_command_eval = {
    .name = "eval",
    .summary = "Evaluate a model on tasks, in a job that can be resumed",
    .usage = usage,
    .description =
        "Asks the model the questions of the tasks, with the prompts, metrics and "
        "result files of lm-evaluation-harness, and prints a table. Prompts and "
        "answers "
        "of all tasks run together in one batch that is filled up as answers end.\n\n"
        "Every answer goes to DIR/journal.pb and is on the disk within a second. "
        "However "
        "the job ends (a signal, a time limit, a killed node), the same command goes "
        "on "
        "where it ended, on any number of ranks, and the final files are the same "
        "bytes: "
        "results_TIME.json, results_TIME.md and samples_TASK_TIME.jsonl, all made from "
        "the journal, whose first record has the time. With --compare they are in a "
        "directory for each variant, and comparison_TIME.json and .md say how they "
        "differ. run_TIME.json has what differs from run to run: hosts, ranks, times. "
        "A "
        "journal of another model, task or option is refused, with what differs.\n\n"
        "SIGUSR1 and --time-limit end the job in good order with exit code 4; SIGTERM "
        "and SIGINT at the next step, with the journal written at once. Scripts should "
        "ask cemoe eval --status, since launchers have exit codes of their own.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct ce_eval_values),
    .run = run};
