/* calibrate_options.c - the options of `cemoe calibrate` */

#include "tools/calibrate.h"

#include <limits.h>

static const struct ce_option text_options[] = {
    {.name = "data",
     .short_name = 'd',
     .kind = CE_OPTION_LIST,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, data),
     .help =
         "UTF-8 texts like those the model will see: plain text, or JSON Lines in "
         "a file that ends in .jsonl, .ndjson or .jsonlines or has an object on every "
         "line: a document per line. Several files have equal shares of --tokens."},
    {.name = "field",
     .kind = CE_OPTION_STRING,
     .argument = "NAME",
     .field = offsetof(struct ce_calibrate_values, field),
     .initial = "text",
     .help = "The field of a line's object that has its text."},
    {.name = "tasks",
     .short_name = 't',
     .kind = CE_OPTION_LIST,
     .argument = "NAME|FILE",
     .field = offsetof(struct ce_calibrate_values, tasks),
     .help =
         "The prompts of tasks of cemoe eval, with the right answer where there are "
         "choices; a document is a text, a task has the share of a file."},
    {.name = "tasks-data",
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_calibrate_values, tasks_data),
     .help = "Where the documents of the tasks are, as for cemoe eval --data. Take "
             "training questions: what is calibrated on must not be evaluated."},
    {.name = "tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, tokens),
     .initial = "256k",
     .min = 2,
     .max = 1 << 30,
     .help = "How many tokens to use, in windows spread evenly over the texts. Each "
             "expert should be auxiliary for some times the hidden size of them."},
    {.name = "window",
     .short_name = 'w',
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, window),
     .initial = "256",
     .min = 2,
     .max = 65536,
     .help = "Most tokens of a window; each starts at position 0 and sees no other."},
    {.name = "heldout-every",
     .kind = CE_OPTION_SIZE,
     .argument = "H",
     .field = offsetof(struct ce_calibrate_values, heldout_every),
     .initial = "8",
     .min = 0,
     .max = 1 << 20,
     .help = "Every H-th window is not fitted to: ridges and ranks are chosen by the "
             "errors there. 0 uses all to fit, with a fixed ridge."},
    {0}};

static const struct ce_option fit_options[] = {
    {.name = "compressed",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct ce_calibrate_values, compressed),
     .initial = "-1",
     .initial_help = "n_ce of config.json",
     .min = 1,
     .max = INT_MAX,
     .help =
         "How many of a token's experts will be compressed, those with the lowest "
         "routing weights: an expert is fitted on the tokens for which it is one of "
         "them."},
    {.name = "kind",
     .kind = CE_OPTION_STRING,
     .argument = "KIND",
     .field = offsetof(struct ce_calibrate_values, kind),
     .initial = "affine",
     .choices = (const char *const[]){"affine", "scaling", NULL},
     .help = "What stands in for an expert: affine, a constant and a map of low rank, "
             "E(x) ~ U V x + b, with --neurons besides what some of its neurons do; "
             "scaling, a vector that scales what the token's other "
             "experts give to their last matrix (arXiv 2503.00634, theta2; theta1 and "
             "theta3 stay 1), which needs --weights stored or bf16."},
    {.name = "ridge",
     .kind = CE_OPTION_DOUBLE,
     .argument = "R",
     .field = offsetof(struct ce_calibrate_values, ridge),
     .given = offsetof(struct ce_calibrate_values, ridge_given),
     .initial = "0.03",
     .min = 0,
     .max = 1e9,
     .help =
         "Of --kind scaling: how strongly vectors are held at ones, relative to the "
         "mean diagonal of the normal equations."},
    {.name = "rank",
     .short_name = 'r',
     .kind = CE_OPTION_SIZE,
     .argument = "R",
     .field = offsetof(struct ce_calibrate_values, rank),
     .initial = "18446744073709551615",
     .initial_help = "without --budget a 64th of the hidden size, at least 8",
     .min = 0,
     .max = 65536,
     .help = "The same rank for all experts; 0 leaves the constants."},
    {.name = "budget",
     .kind = CE_OPTION_STRING,
     .argument = "BYTES|PERCENT%",
     .field = offsetof(struct ce_calibrate_values, budget),
     .help = "Give every expert of every layer a rank of its own, so that the held-out "
             "errors are least within so many bytes (suffix k, M, G), or percents of "
             "what the full experts take in BF16."},
    {.name = "most-rank",
     .kind = CE_OPTION_SIZE,
     .argument = "R",
     .field = offsetof(struct ce_calibrate_values, most_rank),
     .initial = "0",
     .initial_help = "--rank, or with --budget four times its default",
     .min = 0,
     .max = 65536,
     .help = "Fit all ranks up to R: the largest that --budget may choose, and the end "
             "of the error curves in the report."},
    {.name = "neurons",
     .kind = CE_OPTION_SIZE,
     .argument = "S",
     .field = offsetof(struct ce_calibrate_values, neurons),
     .initial = "0",
     .min = 0,
     .max = 65536,
     .help =
         "The most neurons of its own that an expert may keep exactly, those whose "
         "outputs vary most; constant and map are fitted to the rest. With --rank "
         "all keep S, with --budget each 0, S/4, S/2 or S, where one takes what 1.5 "
         "ranks do. Takes one more pass over each layer, and needs experts that are "
         "not quantised."},
    {0}};

static const struct ce_option output_options[] = {
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, out),
     .help = "The compressed experts, for --compressed-experts of other commands. "
             "Replaced as a whole, at the end. Required but for --plan."},
    {.name = "parts",
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_calibrate_values, parts),
     .initial_help = "the name of --out with .parts",
     .help = "Where the layers that are done are kept until the end."},
    {.name = "keep-parts",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, keep_parts),
     .help = "Keep them: another --rank or --budget up to the same --most-rank then "
             "takes seconds with the same --parts."},
    {.name = "report",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, report),
     .help = "Write errors by rank of every layer, what became of every expert, times "
             "and memory to FILE as JSON."},
    {.name = "dump-layer",
     .kind = CE_OPTION_SIZE,
     .argument = "L",
     .field = offsetof(struct ce_calibrate_values, dump_layer),
     .initial = "18446744073709551615",
     .initial_help = "none",
     .min = 0,
     .max = 1 << 20,
     .help = "Write the rows that the experts of layer L were fitted to, to --dump; on "
             "one rank, from the beginning."},
    {.name = "dump",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct ce_calibrate_values, dump),
     .help = "Safetensors file for --dump-layer: of each expert E the rows E.fit.x, "
             "E.fit.y and weights E.fit.a, and E.heldout alike."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, json),
     .help = "Print the result as JSON instead of a table."},
    {0}};

static const struct ce_option memory_options[] = {
    {.name = "memory",
     .kind = CE_OPTION_SIZE,
     .argument = "BYTES",
     .field = offsetof(struct ce_calibrate_values, memory),
     .initial = "0",
     .initial_help = "0: the rank's part of what its host has left",
     .min = 0,
     .max = 0x1p52,
     .help = "What each rank may take, model included. With less, the windows pass "
             "through each layer several times, for some of its experts at a time."},
    {.name = "plan",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, plan),
     .help = "Only say what memory it would take; loads no weights."},
    {0}};

static const struct ce_option model_options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct ce_calibrate_values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it, or what cemoe pack makes "
             "of one. All of a token's experts are run in full."},
    {.name = "weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_calibrate_values, weights),
     .initial_help = "stored, or as the model was packed",
     .choices = (const char *const[]){"stored", "bf16", "q8", "q4", NULL},
     .help = "The experts' weights in memory, as for cemoe score: use what the "
             "compressed experts will be used with."},
    {.name = "dense-weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct ce_calibrate_values, dense_weights),
     .initial_help = "stored, or as the model was packed",
     .choices = (const char *const[]){"stored", "bf16", "q8", "q4", NULL},
     .help = "The same for the matrices of attention and the output layer."},
    {.name = "mmap",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct ce_calibrate_values, map_weights),
     .help = "Use a packed model where the page cache has it."},
    {.name = "kv",
     .kind = CE_OPTION_STRING,
     .argument = "TYPE",
     .field = offsetof(struct ce_calibrate_values, kv),
     .initial = "f32",
     .choices = (const char *const[]){"f32", "bf16", NULL},
     .help = "How keys and values are kept."},
    {.name = "dummy-weights",
     .kind = CE_OPTION_UINT64,
     .argument = "SEED",
     .field = offsetof(struct ce_calibrate_values, dummy_weights),
     .given = offsetof(struct ce_calibrate_values, dummy_given),
     .help = "Random weights and random ids, from config.json alone: to see what a "
             "model would take."},
    {0}};

const struct ce_option_group ce_calibrate_groups[] = {
    {.title = "Text", .options = text_options},
    {.title = "Fit", .options = fit_options},
    {.title = "Output", .options = output_options},
    {.title = "Memory", .options = memory_options},
    {.title = "Model", .options = model_options},
    {.title = "Run",
     .options = ce_run_options,
     .offset = offsetof(struct ce_calibrate_values, run)},
    {0}};
