/* plan.c - `cemoe plan`: makes placements of experts, and shows them */

#include "base/log.h"
#include "base/streams.h"
#include "moe/placement_file.h"
#include "tools/commands.h"
#include "tools/common.h"
#include "tools/inspect.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *model;
    const char *placement;
    uint64_t random;
    size_t replicas;
    const char *out;
    const char *show;
    int ranks; /* 0: not given */
    bool placement_given;
    bool random_given;
    bool replicas_given;
    bool json;
};

/* What one rank owns. */
struct share {
    size_t least; /* experts of a layer */
    size_t most;
    size_t experts; /* of all layers */
    size_t shared;  /* of them, also on other ranks */
    uint64_t bytes; /* of their weights, where the model is known */
};

struct job {
    const struct values *values;
    struct ce_placement placement;
    struct ce_inspect_experts model; /* of --model */
    struct share *share;             /* [ranks] */
};

static const char *const kinds[] = {"contiguous", "strided", NULL};

static const struct ce_option options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct values, model),
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory: says how many layers and experts there are, and "
             "their bytes. Only headers are read, config.json alone is enough. Not "
             "needed with --show."},
    {.name = "ranks",
     .short_name = 'n',
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct values, ranks),
     .initial = "0",
     .initial_help = "none: required to make a placement",
     .min = 1,
     .max = UINT16_MAX,
     .help = "Ranks that the placement is for."},
    {.name = "placement",
     .kind = CE_OPTION_STRING,
     .argument = "HOW",
     .field = offsetof(struct values, placement),
     .given = offsetof(struct values, placement_given),
     .initial = "contiguous",
     .choices = kinds,
     .help =
         "contiguous gives each rank neighbouring experts; strided puts expert e on "
         "rank e mod N."},
    {.name = "random",
     .kind = CE_OPTION_UINT64,
     .argument = "SEED",
     .field = offsetof(struct values, random),
     .given = offsetof(struct values, random_given),
     .help = "Instead put each expert on ranks drawn at random, differently in every "
             "layer."},
    {.name = "replicas",
     .short_name = 'r',
     .kind = CE_OPTION_SIZE,
     .argument = "R",
     .field = offsetof(struct values, replicas),
     .given = offsetof(struct values, replicas_given),
     .initial = "1",
     .min = 1,
     .max = UINT16_MAX,
     .help = "Put each expert on R ranks, N/R apart; with --random on 1 to R."},
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, out),
     .help = "Write the placement to FILE, for --placement of other commands. Without, "
             "it is only shown."},
    {.name = "show",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, show),
     .help = "Show the placement in FILE instead of making one."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print one JSON document; its fields are described above."},
    {0}};

/* What is wrong with the options together, or NULL. */
static const char *find_misuse(const struct values *values)
{
    if (values->show == NULL) {
        if (values->model == NULL || values->ranks == 0) {
            return "wants --model DIR and --ranks N, or --show FILE";
        }
        return values->random_given && values->placement_given
                   ? "--random and --placement exclude each other"
                   : NULL;
    }
    if (values->ranks != 0 || values->out != NULL || values->placement_given ||
        values->random_given || values->replicas_given) {
        return "--show FILE shows what is there: of the other options it takes --model "
               "and --json";
    }
    return NULL;
}

static enum ce_status make(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    struct ce_placement_recipe recipe = {.kind = CE_PLACEMENT_CONTIGUOUS,
                                         .replicas = values->replicas,
                                         .seed = values->random};

    if (values->random_given) {
        recipe.kind = CE_PLACEMENT_RANDOM;
    } else if (strcmp(values->placement, "strided") == 0) {
        recipe.kind = CE_PLACEMENT_STRIDED;
    }
    return ce_placement_make(&job->placement,
                             &recipe,
                             job->model.layers,
                             job->model.experts,
                             values->ranks,
                             err);
}

static enum ce_status show(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    enum ce_status status = ce_placement_read(&job->placement, values->show, err);

    if (status != CE_OK || values->model == NULL ||
        (job->placement.layers == job->model.layers &&
         job->placement.experts == job->model.experts)) {
        return status;
    }
    return ce_fail(err,
                   CE_ERR_ARG,
                   "%s: a placement of %zu layers with %zu experts; %s has %zu layers "
                   "with %zu experts",
                   values->show,
                   job->placement.layers,
                   job->placement.experts,
                   values->model,
                   job->model.layers,
                   job->model.experts);
}

static void add_share(const struct job *job, size_t rank)
{
    const struct ce_placement *placement = &job->placement;
    struct share *share = &job->share[rank];

    share->least = placement->experts;
    for (size_t layer = 0; layer < placement->layers; layer++) {
        size_t shard = ce_placement_shard(placement, layer, rank);

        share->least = shard < share->least ? shard : share->least;
        share->most = shard > share->most ? shard : share->most;
        share->experts += shard;
    }
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        struct ce_owners owners = ce_placement_owners(placement, 0, i);

        if (ce_owners_include(owners, rank)) {
            share->shared += owners.count > 1;
            share->bytes += job->model.bytes != NULL ? job->model.bytes[i] : 0;
        }
    }
}

static enum ce_status prepare(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    enum ce_status status = CE_OK;

    if (values->model != NULL) {
        status = ce_inspect_experts(&job->model, values->model, err);
    }
    if (status == CE_OK) {
        status = values->show != NULL ? show(job, err) : make(job, err);
    }
    if (status != CE_OK) {
        return status;
    }
    job->share = calloc((size_t)job->placement.ranks, sizeof(job->share[0]));
    if (job->share == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the ranks");
    }
    for (size_t r = 0; r < (size_t)job->placement.ranks; r++) {
        add_share(job, r);
    }
    if (values->out != NULL) {
        status = ce_placement_write(&job->placement, values->out, err);
    }
    return status;
}

static size_t count_copies(const struct ce_placement *placement)
{
    return placement->begin[placement->layers * placement->experts];
}

static void print_bytes(const struct job *job, uint64_t bytes, int width)
{
    if (job->model.bytes != NULL) {
        ce_print("%*.2f", width, (double)bytes / 0x1p20);
    }
    ce_print("\n");
}

static int print_table(const struct job *job)
{
    const struct ce_placement *placement = &job->placement;
    size_t experts = placement->layers * placement->experts;
    uint64_t bytes = 0;

    ce_print("%s: %zu layers with %zu experts on %d rank%s, %.2f copies of an "
             "expert\n\n"
             "%6s %10s %10s %12s %12s%s\n",
             placement->name,
             placement->layers,
             placement->experts,
             placement->ranks,
             placement->ranks == 1 ? "" : "s",
             (double)count_copies(placement) / (double)experts,
             "rank",
             "layer min",
             "layer max",
             "all layers",
             "replicated",
             job->model.bytes != NULL ? "          MiB" : "");
    for (int r = 0; r < placement->ranks; r++) {
        const struct share *share = &job->share[r];

        ce_print("%6d %10zu %10zu %12zu %12zu",
                 r,
                 share->least,
                 share->most,
                 share->experts,
                 share->shared);
        print_bytes(job, share->bytes, 13);
        bytes += share->bytes;
    }
    ce_print("%6s %10s %10s %12zu", "all", "", "", count_copies(placement));
    print_bytes(job, bytes, 26);
    return ce_finish_output();
}

static json_t *describe_share(const struct job *job, size_t rank)
{
    const struct share *share = &job->share[rank];
    json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:I}",
                               "rank",
                               (json_int_t)rank,
                               "experts_min",
                               (json_int_t)share->least,
                               "experts_max",
                               (json_int_t)share->most,
                               "experts",
                               (json_int_t)share->experts,
                               "replicated",
                               (json_int_t)share->shared);

    json_object_set_new(object,
                        "bytes",
                        job->model.bytes != NULL
                            ? json_integer((json_int_t)share->bytes)
                            : json_null());
    return object;
}

/* [layer][expert][owners] */
static json_t *describe_owners(const struct ce_placement *placement)
{
    json_t *layers = json_array();

    for (size_t layer = 0; layer < placement->layers; layer++) {
        json_t *experts = json_array();

        for (size_t e = 0; e < placement->experts; e++) {
            struct ce_owners owners = ce_placement_owners(placement, layer, e);
            json_t *ranks = json_array();

            for (size_t i = 0; i < owners.count; i++) {
                json_array_append_new(ranks, json_integer(owners.rank[i]));
            }
            json_array_append_new(experts, ranks);
        }
        json_array_append_new(layers, experts);
    }
    return layers;
}

static int print_json(const struct job *job)
{
    const struct ce_placement *placement = &job->placement;
    json_t *shares = json_array();
    char hash[17];

    for (int r = 0; r < placement->ranks; r++) {
        json_array_append_new(shares, describe_share(job, (size_t)r));
    }
    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, ce_placement_hash(placement));
    return ce_print_json(json_pack("{s:s, s:s, s:I, s:I, s:i, s:I, s:o, s:o}",
                                   "name",
                                   placement->name,
                                   "hash",
                                   hash,
                                   "layers",
                                   (json_int_t)placement->layers,
                                   "experts",
                                   (json_int_t)placement->experts,
                                   "ranks",
                                   placement->ranks,
                                   "copies",
                                   (json_int_t)count_copies(placement),
                                   "per_rank",
                                   shares,
                                   "owners",
                                   describe_owners(placement)));
}

static int run_job(struct job *job)
{
    struct ce_error err = {.text = ""};

    if (prepare(job, &err) != CE_OK) {
        return ce_report_failure("plan", &err);
    }
    return job->values->json ? print_json(job) : print_table(job);
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    const char *misuse = find_misuse(job.values);
    int code = CE_EXIT_USAGE;

    if (!ce_log_is_speaker()) {
        return CE_EXIT_DONE; /* under a launcher one process does it */
    }
    if (misuse != NULL) {
        ce_log(CE_LOG_ERROR, "plan: %s", misuse);
    } else {
        code = run_job(&job);
    }
    free(job.share);
    free(job.model.bytes);
    ce_placement_destroy(&job.placement);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options}, {0}};

static const struct ce_example examples[] = {
    {"Two copies of every expert on four ranks",
     "cemoe plan -m deploy/model --ranks 4 --replicas 2 --out two.placement"},
    {"What is in a file, with bytes",
     "cemoe plan --show two.placement -m deploy/model"},
    {"A run with it",
     "mpirun -n 4 cemoe generate -m deploy/model --placement two.placement -p "
     "Question"},
    {0}};

static const char *const usage[] = {
    "--model DIR --ranks N [options]", "--show FILE [--model DIR] [--json]", NULL};

const struct ce_command ce_command_plan = {
    .name = "plan",
    .summary = "Make and show placements: which ranks own which experts",
    .usage = usage,
    .description =
        "A placement gives every expert of every layer one or more ranks that hold its "
        "weights. The other commands take contiguous and strided by name, and files "
        "that this command writes, with --placement; results are the same bits with "
        "all of them.\n\n"
        "Where an expert is on several ranks, the sender of a token chooses: itself, "
        "if it has the expert; else a rank that the token goes to anyway; else the "
        "one it has sent the least in this step and layer. More copies mean fewer rows "
        "between ranks and more memory.\n\n"
        "The table says of each rank how many experts of a layer it has at least and "
        "at most, how many in all layers, how many of those are also on other ranks, "
        "and with --model what their weights take.\n\n"
        "Fields of --json:\n\n"
        "  name, hash          how it was made; equal for equal placements\n"
        "  layers, experts, ranks, copies\n"
        "                      experts of a layer; experts of all ranks together\n"
        "  per_rank[]          rank, experts_min, experts_max (of a layer), experts,\n"
        "                      replicated, bytes (null without --model)\n"
        "  owners[][][]        the ranks of each expert of each layer",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
