/* inspect.c - `cemoe inspect`: what a model is and what it will take */

#include "tools/inspect.h"

#include "base/log.h"
#include "tools/commands.h"
#include "tools/common.h"

#include <limits.h>

struct values {
    const char *model;
    const char *compressed_experts;
    int ranks;
    int compressed;
    bool json;
};

static const struct ce_option options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint or packed directory; of the weights only the headers are "
             "read, and "
             "config.json alone is enough."},
    {.name = "ranks",
     .short_name = 'n',
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct values, ranks),
     .initial = "1",
     .min = 1,
     .max = UINT16_MAX,
     .help = "Ranks to spread the experts over."},
    {.name = "compressed",
     .short_name = 'c',
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct values, compressed),
     .initial = "-1",
     .initial_help =
         "n_ce of --compressed-experts or config.json if there is one, else half of "
         "a token's experts",
     .min = 0,
     .max = INT_MAX,
     .help = "Compare with N of a token's experts compressed."},
    {.name = "compressed-experts",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, compressed_experts),
     .help = "Compressed experts of either kind, used instead of the checkpoint's "
             "tables; only the headers are read."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print one JSON document; its fields are described above."},
    {0}};

static int run(const void *untyped)
{
    const struct values *values = untyped;
    struct ce_inspection inspection = {.model = values->model,
                                       .compressed_experts = values->compressed_experts,
                                       .ranks = (size_t)values->ranks,
                                       .n_ce = values->compressed < 0
                                                   ? CE_INSPECT_DEFAULT_N_CE
                                                   : (size_t)values->compressed};
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;

    if (!ce_log_is_speaker()) {
        return CE_EXIT_DONE; /* under a launcher one process does it */
    }
    status = ce_inspect_model(&inspection, &err);
    if (status == CE_OK) {
        status = ce_inspect_traffic(&inspection, &err);
    }
    if (status != CE_OK) {
        return ce_report_failure("inspect", &err);
    }
    if (values->json) {
        return ce_print_json(ce_inspect_describe(&inspection));
    }
    ce_inspect_print(&inspection);
    return ce_finish_output();
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options}, {0}};

static const struct ce_example examples[] = {
    {"What three ranks will hold and send",
     "cemoe inspect --model deploy/model --ranks 3"},
    {"The saving of 2 of 4 compressed experts, for a program",
     "cemoe inspect -m deploy/model -n 4 -c 2 --json | jq .traffic.ordered.saved"},
    {0}};

static const char *const usage[] = {"--model DIR [options]", NULL};

const struct ce_command ce_command_inspect = {
    .name = "inspect",
    .summary = "Show what a model is, its memory and its expected traffic",
    .usage = usage,
    .description =
        "Checks names, shapes and types of all tensors without reading the weights.\n\n"
        "Active parameters are what one token passes through: all matrices, the "
        "embedding table and the output layer counted whole, of the experts those that "
        "run in full. Norms and biases are in the total only; what the compressed "
        "experts of a token have is given apart, of affine ones the mean.\n\n"
        "Traffic is what the closed forms expect of one token in one layer when all "
        "experts are equally likely and rows are 32-bit floats, averaged over the "
        "ranks: "
        "rows of x to other ranks, rows of results back, and the counts and pairs "
        "(expert, position, weight) that go with them; of affine compressed experts "
        "nothing travels. Real routers are not uniform: "
        "--stats of the other commands says what a run really sent. Three schemes are "
        "compared:\n\n"
        "  per_assignment   a row there and back for every main expert\n"
        "  ordered          a row there per rank hit, a row back for every main\n"
        "                   expert, summed in the router's order (what cemoe does)\n"
        "  partial          a row there and a row back per rank hit\n\n"
        "Each saving is given against two baselines: the same scheme uncompressed, and "
        "a "
        "row per assignment uncompressed; the second also counts what sending a row "
        "only "
        "once to a rank saves, with or without compression.\n\n"
        "Fields of --json:\n\n"
        "  architecture, ranks, compressed (n_ce), compressed_kind\n"
        "  config.*            as in config.json; dtype as in safetensors\n"
        "  weights             present, files, compressed_tables,\n"
        "                      dtypes.D.{tensors, values, bytes}, D also q8 and q4\n"
        "  parameters          total, embedding, attention, router, experts, output,\n"
        "                      vectors, compressed_tables, active_uncompressed,\n"
        "                      active_compressed, compressed_vectors\n"
        "  memory              dense_bytes, compressed_bytes, expert_bytes_min,\n"
        "                      expert_bytes_max, rank_bytes_min, rank_bytes_max,\n"
        "                      kv_bytes_per_token, experts_min, experts_max\n"
        "  traffic.SCHEME      uncompressed and compressed, each with rows, results,\n"
        "                      payload_bytes, metadata_bytes, bytes, bytes_min,\n"
        "                      bytes_max (over the ranks); saved and\n"
        "                      saved_against_per_assignment (null on one rank)\n"
        "  traffic.fixed_bytes_per_message_pair\n"
        "                      headers there and back, per step, layer and peer",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
