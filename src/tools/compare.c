/* compare.c - `cemoe compare`: NLL against active parameters, over settings and texts
 */

#include "base/log.h"
#include "tools/commands.h"
#include "tools/compare_job.h"

#include <string.h>

static const struct ce_option options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_compare_values, model.model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it, or what cemoe pack makes "
             "of one."},
    {.name = "data",
     .short_name = 'd',
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_compare_values, data),
     .required = true,
     .help =
         "Held-out UTF-8 texts, each judged by itself; - is standard input. None of "
         "them should have been used to fit the compressed experts."},
    {.name = "compressed-experts",
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_compare_values, files),
     .help = "Compressed experts to compare, of either kind, each a setting of its own "
             "for every n_ce. Those of a checkpoint with use_ce are compared too."},
    {.name = "compressed",
     .kind = CE_OPTION_LIST,
     .argument = "N",
     .field = offsetof(struct ce_compare_values, compressed),
     .help =
         "Numbers of auxiliary experts (n_ce): of a token's k experts the N with the "
         "lowest routing weights are dropped or compressed. By default all from 1 "
         "to k - 1 at which something can be compared."},
    {.name = "any-n",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_compare_values, any_n),
     .help = "Compare affine files at every N, not only at the one they were fitted "
             "for."},
    {.name = "window",
     .short_name = 'w',
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_compare_values, window),
     .initial = "256",
     .min = 2,
     .max = 1 << 24,
     .help =
         "Tokens of a window. Windows do not overlap; each starts at position 0 and "
         "its first token is not scored, as in cemoe score."},
    {.name = "windows",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_compare_values, windows),
     .initial = "200",
     .min = 1,
     .max = 1 << 20,
     .help = "Windows of a text at most, from its beginning. Four times as many have "
             "half the standard error."},
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_compare_values, out),
     .help = "Write comparison.json, comparison.md, frontier.dat, frontier.gp and, "
             "where gnuplot is installed, frontier.svg into DIR, which is made."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_compare_values, json),
     .help = "Print comparison.json instead of tables; its fields are described "
             "above."},
    {0}};

static uint64_t count_tokens(const struct ce_frontier *frontier)
{
    uint64_t tokens = 0;

    for (size_t s = 0; s < frontier->settings; s++) {
        tokens += frontier->setting[s].run.tokens;
    }
    return tokens;
}

static enum ce_status run_job(struct ce_compare_job *job, struct ce_error *err)
{
    enum ce_status status = ce_compare_job_open(job, err);

    if (status == CE_OK) {
        status = ce_compare_job_run(job, err);
    }
    if (status == CE_OK) {
        status = ce_compare_job_finish(job, err);
    }
    if (status == CE_OK) {
        status = ce_session_report(&job->session, count_tokens(&job->frontier), 0, err);
    }
    return status;
}

static int run(const void *untyped)
{
    struct ce_compare_job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;
    int code = CE_EXIT_DONE;

    if (strcmp(job.values->run.expert_split, "none") != 0) {
        if (ce_log_is_speaker()) {
            ce_log(CE_LOG_ERROR,
                   "compare: --expert-split node has memory for one number of experts; "
                   "see cemoe compare --help");
        }
        return CE_EXIT_USAGE;
    }
    status = ce_session_open(&job.session, "compare", &job.values->run, &err);
    if (status == CE_OK) {
        status = run_job(&job, &err);
    }
    code = ce_session_close(&job.session, status, &err);
    ce_compare_job_close(&job);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "What is compared", .options = options},
    {.title = "Formats",
     .options = ce_model_options + CE_MODEL_OPTIONS_FORMATS,
     .offset = offsetof(struct ce_compare_values, model)},
    {.title = "Run",
     .options = ce_run_options,
     .offset = offsetof(struct ce_compare_values, run)},
    {0}};

static const struct ce_example examples[] = {
    {"What 1, 2 and 3 of 4 dropped experts cost, and how much tables bring back",
     "cemoe compare --model deploy/model --data deploy/model/heldout/math.txt "
     "--compressed-experts deploy/model/ces-math.safetensors --out frontier"},
    {"Files of several sizes at the n_ce they were fitted for, on three texts, two "
     "ranks",
     "mpirun -n 2 --bind-to none cemoe compare --model DIR --data math.txt code.txt "
     "general.txt --compressed-experts r4.safetensors r16.safetensors --out frontier"},
    {"Quickly, and the share recovered for a program",
     "cemoe compare --model DIR --data a.txt --compressed-experts r8.safetensors "
     "--windows 20 --json | jq '.settings[].texts[0].recovered_fraction'"},
    {0}};

static const char *const usage[] = {"--model DIR --data FILE... [options]", NULL};

const struct ce_command ce_command_compare = {
    .name = "compare",
    .summary = "NLL against active parameters: experts full, dropped, compressed",
    .usage = usage,
    .description =
        "Runs the same windows of held-out texts with all experts of a token in full, "
        "with the last N dropped (truncated), and with those compressed by each of the "
        "files, and says for every setting:\n\n"
        "  NLL           mean negative log-likelihood (natural logarithm) of all "
        "tokens\n"
        "                but the first of each window; perplexity = exp(NLL)\n"
        "  - full        how much larger that is than with all experts\n"
        "  - truncated   how much larger than with as many experts dropped: negative,\n"
        "                or the compressed experts do harm\n"
        "  recovered     the share of what dropping them loses that comes back\n"
        "  active        parameters a token passes through, as in cemoe inspect; the\n"
        "                vectors or matrices of its compressed experts included, "
        "where\n"
        "                experts differ in rank their mean over all experts\n"
        "  replica       bytes of compressed experts that every rank holds\n"
        "  best          no other setting has a smaller NLL without more active\n"
        "                parameters, or fewer of them without a larger NLL\n\n"
        "Differences are taken window by window, so that their standard errors are "
        "much "
        "smaller than those of the NLLs. A share is no use where truncation loses "
        "nothing: look at \"- full\" of the truncated setting first.\n\n"
        "All of that is the same for any number of ranks. Tokens per second and the "
        "bytes per token moved between ranks, counted while each setting ran, are in a "
        "table of their own. --stats and --traffic tell of the setting that ran "
        "last.\n\n"
        "frontier.svg has a panel per text; its error bars are those of the difference "
        "to "
        "full. frontier.dat has the numbers, and gnuplot frontier.gp draws them "
        "again.\n\n"
        "Fields of comparison.json:\n\n"
        "  program, model, experts_of_a_token, weights, dense_weights, wire, kv,\n"
        "  combine, window, most_windows\n"
        "  compressed_experts[]  name, path, kind, n_ce (0: it does not say), bytes,\n"
        "                        parameters, hash\n"
        "  texts[]               name, path, tokens, windows, scored\n"
        "  settings[]            kind, name, n_ce, main_experts, active_parameters,\n"
        "                        compressed_parameters, replica_bytes, texts[]\n"
        "    texts[]             text, nll, perplexity, minus_full, minus_truncated,\n"
        "                        recovered_fraction (each value and stderr, \"N/A\" "
        "where\n"
        "                        there is none), best, window_nll[]\n"
        "  run                   ranks, threads, hosts, transport, kernels, "
        "placement,\n"
        "                        settings[]: name, n_ce, seconds, tokens,\n"
        "                        tokens_per_second, moved_bytes, moved_bytes_per_token",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct ce_compare_values),
    .run = run};
