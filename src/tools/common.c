/* common.c - tables of shared options, failures and JSON on the right streams */

#include "tools/common.h"

#include "base/log.h"
#include "base/streams.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const combines[] = {"ordered", "partial", NULL};
static const char *const formats[] = {"stored", "bf16", "q8", "q4", NULL};
static const char *const kvs[] = {"f32", "bf16", NULL};
static const char *const wires[] = {"f32", "bf16", "int8", NULL};

const struct ce_option ce_model_options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_model_values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it: config.json, "
             "model.safetensors or an index with shards, tokenizer.json; or what "
             "cemoe pack makes of one."},
    {.name = "compressed",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct ce_model_values, compressed),
     .initial = "-1",
     .initial_help = "n_ce of the checkpoint if it has use_ce, or of "
                     "--compressed-experts if given, else 0",
     .min = 0,
     .max = INT_MAX,
     .help = "Replace the N activated experts with the lowest routing weights by their "
             "compressed experts; 0 runs all experts in full and ignores a file of "
             "them."},
    {.name = "compressed-experts",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_model_values, compressed_experts),
     .help =
         "Safetensors file with compressed experts, used instead of the "
         "checkpoint's tables: scaling ones, model.layers.N.mlp.ces, or affine ones, "
         "model.layers.N.mlp.affine.E."},
    {.name = "truncated",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct ce_model_values, truncated),
     .initial = "0",
     .min = 0,
     .max = INT_MAX,
     .help = "Drop the N activated experts with the lowest routing weights without "
             "compensation: the ablation to compare with."},
    {.name = "weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_model_values, weights),
     .initial_help = "stored, or as the model was packed",
     .choices = formats,
     .help =
         "The experts' weights in memory: stored, exactly as in the checkpoint; bf16, "
         "rounded; q8 and q4, quantised to 8 or 4 bits with a scale for every 32 "
         "(8.5 and 4.5 bits per weight)."},
    {.name = "dense-weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_model_values, dense_weights),
     .initial_help = "stored, or as the model was packed",
     .choices = formats,
     .help = "The same for the matrices of attention and the output layer. Router, "
             "embedding and norms stay as they are stored."},
    {.name = "mmap",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_model_values, map_weights),
     .help = "Use a packed model where the page cache has it instead of copying it: "
             "starts faster, and the ranks of a host share what all of them need. It "
             "is then on small pages, on whichever NUMA node read it first."},
    {.name = "kv",
     .kind = CE_OPTION_STRING,
     .argument = "TYPE",
     .field = offsetof(struct ce_model_values, kv),
     .initial = "f32",
     .choices = kvs,
     .help = "How keys and values are kept: f32 exactly; bf16 in half the memory, "
             "rounding each by at most 2^-8 of it. Results still do not depend on "
             "ranks or on how the work is cut."},
    {.name = "wire",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_model_values, wire),
     .initial = "f32",
     .choices = wires,
     .help =
         "How rows travel between ranks: f32 exactly; bf16 rounds each value by at "
         "most 2^-8 of it; int8 by at most 1/254 of the largest of 128 values. Own "
         "rows are rounded alike, so results do not depend on the number of ranks."},
    {.name = "combine",
     .kind = CE_OPTION_STRING,
     .argument = "HOW",
     .field = offsetof(struct ce_model_values, combine),
     .initial = "ordered",
     .choices = combines,
     .help =
         "How results come back: ordered sends a row for each main expert, summed in "
         "the router's order, so that bits depend on nothing; partial lets a rank "
         "sum its experts of a token first and sends one row: fewer bytes, and bits "
         "that depend on who owns which expert."},
    {0}};

static const char *const splits[] = {"none", "node", NULL};
static const char *const overlaps[] = {"auto", "on", "off", NULL};
static const char *const transports[] = {"auto", "self", "mpi", "ucx", NULL};

const struct ce_option ce_run_options[] = {
    {.name = "transport",
     .kind = CE_OPTION_STRING,
     .argument = "NAME",
     .field = offsetof(struct ce_run_values, transport),
     .initial = "auto",
     .choices = transports,
     .env = "CEMOE_TRANSPORT",
     .help =
         "How ranks reach each other: self, alone; mpi, by messages of MPI; ucx, by "
         "UCX directly and within a host by memory that its ranks share, with MPI "
         "only to start. auto takes ucx when mpirun or srun started the process, mpi "
         "where UCX finds no way, and self without a launcher; the log says why."},
    {.name = "overlap",
     .kind = CE_OPTION_STRING,
     .argument = "WHEN",
     .field = offsetof(struct ce_run_values, overlap),
     .initial = "auto",
     .choices = overlaps,
     .help = "Run experts on rows that are here while others travel: on, always; off, "
             "never; auto when there are many rows for each expert, since every batch "
             "reads the experts' weights again. Does not change results."},
    {.name = "placement",
     .kind = CE_OPTION_STRING,
     .argument = "HOW",
     .field = offsetof(struct ce_run_values, placement),
     .initial = "contiguous",
     .help = "Which ranks own which experts: contiguous gives each rank neighbouring "
             "ones, strided deals them like cards, anything else is a file of cemoe "
             "plan made for this number of ranks."},
    {.name = "expert-split",
     .kind = CE_OPTION_STRING,
     .argument = "HOW",
     .field = offsetof(struct ce_run_values, expert_split),
     .initial = "none",
     .choices = splits,
     .help = "none: an expert is run by the rank that owns it, and every rank has all "
             "dense matrices. node: every rank has a slice of every expert, of "
             "attention's matrices and of the output matrix, and rows are shared "
             "through memory, so all ranks of one host do the same work also for a "
             "single token, and weights are in memory once; not for ranks on several "
             "hosts, nor with --placement, --combine partial or a packed model. Does "
             "not change results."},
    {.name = "deadline-ms",
     .kind = CE_OPTION_UINT64,
     .argument = "MS",
     .field = offsetof(struct ce_run_values, deadline_ms),
     .initial = "120000",
     .env = "CEMOE_DEADLINE_MS",
     .help =
         "Longest wait for another rank in a step. When it passes, each waiting rank "
         "says where it is and who is missing, and the job ends with exit code 1. "
         "Time in which this process itself stood still does not count. 30 times as "
         "long while starting, loading and leaving MPI, unless a rank of the same host "
         "is "
         "seen to be stopped or not to come; 0 waits for ever."},
    {.name = "step-tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_run_values, step_tokens),
     .initial = "512",
     .min = 1,
     .max = 65536,
     .help = "Most tokens of one rank in a step: long prompts are cut into chunks of "
             "this size. Does not change results."},
    {.name = "cache-tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_run_values, cache_tokens),
     .initial = "0",
     .initial_help = "0: what the job needs (generate: at most 32 of its longest "
                     "sequences at once)",
     .min = 0,
     .max = 1 << 28,
     .help = "Tokens of a rank's KV cache."},
    {.name = "stats",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_run_values, stats),
     .help = "Write what depends on the run (times, hosts, memory, traffic of every "
             "rank) to FILE as JSON."},
    {.name = "traffic",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_run_values, traffic),
     .help =
         "Write what every rank sent to every other to FILE as JSON: messages, rows, "
         "bytes and waits, and what the same tokens would have moved uncompressed, "
         "with a row for each rank and with a row for each expert."},
    {.name = "quiet",
     .short_name = 'q',
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_run_values, quiet),
     .help = "Only warnings and errors on stderr."},
    {.name = "verbose",
     .short_name = 'v',
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_run_values, verbose),
     .help = "More on stderr."},
    {0}};

int ce_report_failure(const char *command, const struct ce_error *err)
{
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR, "%s: %s", command, err->text);
    }
    return CE_EXIT_FAILED;
}

bool ce_check_model_values(const char *command, const struct ce_model_values *values)
{
    if (values->truncated == 0 || values->compressed <= 0) {
        return true;
    }
    if (ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR,
               "%s: --compressed %d and --truncated %d exclude each other",
               command,
               values->compressed,
               values->truncated);
    }
    return false;
}

int ce_finish_output(void)
{
    errno = 0;
    if (fflush(ce_results()) != 0 || ferror(ce_results()) != 0) {
        ce_log(CE_LOG_ERROR,
               "standard output cannot be written%s%s",
               errno != 0 ? ": " : "",
               errno != 0 ? strerror(errno) : "");
        return CE_EXIT_FAILED;
    }
    return CE_EXIT_DONE;
}

void ce_json_set_integer(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void ce_json_set_seconds(json_t *object, const char *key, uint64_t ns)
{
    json_object_set_new(object, key, json_real((double)ns / 1e9));
}

int ce_print_json(json_t *document)
{
    int failed =
        document == NULL || json_dumpf(document, ce_results(), JSON_COMPACT) != 0;

    json_decref(document);
    if (failed) {
        ce_log(CE_LOG_ERROR, "the JSON result cannot be written");
        return CE_EXIT_FAILED;
    }
    ce_print("\n");
    return ce_finish_output();
}
