/* exchange.c - bench/exchange: how fast rows reach their experts and come back
 *
 * Options to lists, lists to cells; what is done with a cell is in exchange_time.c and
 * exchange_count.c.
 */

#include "exchange.h"

#include "base/log.h"

#include <math.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct exchange_shape shapes[] = {
    {"olmoe", .experts = 64, .top_k = 8, .width = 2048},
    {"phi", .experts = 16, .top_k = 2, .width = 4096},
    {"deepseek", .experts = 256, .top_k = 8, .width = 7168},
};
static const char *const all_routings[] = {
    "uniform", "imbalance:2", "imbalance:4", "zipf"};
static const char *const all_tokens[] = {"1", "16", "128", "1024", "4096"};
static const char *const all_transports[] = {"mpi", "ucx"};
static const char *const all_mains[] = {"full", "half", "both", NULL};
static const char *const all_wires[] = {"f32", "bf16", "int8", NULL};
static const char *const all_combines[] = {"ordered", "partial", NULL};

#define COUNTED_WIDTH 16 /* values of a row where only rows matter */
#define MOST_TOKENS   ((size_t)1 << 20)
#define COUNT_OF(x)   (sizeof(x) / sizeof((x)[0]))

static const struct ce_option what_options[] = {
    {.name = "shape",
     .kind = CE_OPTION_LIST,
     .argument = "NAME",
     .field = offsetof(struct exchange_values, shape),
     .initial = "all",
     .help = "Experts, top k and width of these models: olmoe, phi, deepseek or all."},
    {.name = "routing",
     .kind = CE_OPTION_LIST,
     .argument = "RULE",
     .field = offsetof(struct exchange_values, routing),
     .initial = "all",
     .help = "How tokens choose experts: uniform, imbalance:R (the busiest expert is "
             "chosen R times as often as the mean), zipf or zipf:S (exponent), or all, "
             "which is uniform, imbalance:2, imbalance:4 and zipf."},
    {.name = "tokens",
     .kind = CE_OPTION_LIST,
     .argument = "N",
     .field = offsetof(struct exchange_values, tokens),
     .initial = "all",
     .help = "Tokens per rank; all is 1, 16, 128, 1024 and 4096."},
    {.name = "mains",
     .kind = CE_OPTION_STRING,
     .argument = "WHICH",
     .field = offsetof(struct exchange_values, mains),
     .choices = all_mains,
     .initial = "full",
     .help = "Of the k experts of a token all in full, or half of them and the others "
             "compressed, or one after the other."},
    {.name = "transports",
     .kind = CE_OPTION_LIST,
     .argument = "NAME",
     .field = offsetof(struct exchange_values, transports),
     .initial = "all",
     .help = "Transports to compare in this run; all is mpi and ucx."},
    {.name = "wire",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct exchange_values, wire),
     .choices = all_wires,
     .initial = "f32",
     .help = "How rows travel."},
    {.name = "combine",
     .kind = CE_OPTION_STRING,
     .argument = "WAY",
     .field = offsetof(struct exchange_values, combine),
     .choices = all_combines,
     .initial = "ordered",
     .help = "A result row for each main expert, or one for each token and rank."},
    {.name = "width",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct exchange_values, width),
     .initial_help = "the shape's; 16 with --count-only",
     .min = 0,
     .max = 1 << 20,
     .help = "Values of a row."},
    {.name = "seed",
     .kind = CE_OPTION_UINT64,
     .argument = "N",
     .field = offsetof(struct exchange_values, seed),
     .initial = "1",
     .help = "Of the routing."},
    {0}};

static const struct ce_option how_options[] = {
    {.name = "repeat",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct exchange_values, repeat),
     .initial = "20",
     .min = 1,
     .max = 1 << 20,
     .help = "Samples of each cell at least."},
    {.name = "seconds",
     .kind = CE_OPTION_DOUBLE,
     .argument = "S",
     .field = offsetof(struct exchange_values, seconds),
     .initial = "2",
     .min = 0,
     .max = 3600,
     .help = "More samples, 1000 at most, while a cell has taken less time than this."},
    {.name = "read",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct exchange_values, read),
     .initial = "yes",
     .help = "The receiver of a dispatch reads all of it, as in the baselines."},
    {.name = "memory-limit",
     .kind = CE_OPTION_SIZE,
     .argument = "BYTES",
     .field = offsetof(struct exchange_values, memory_limit),
     .initial_help = "a share of what is free",
     .help = "Skip cells for which a rank needs more."},
    {.name = "deadline-ms",
     .kind = CE_OPTION_UINT64,
     .argument = "MS",
     .field = offsetof(struct exchange_values, deadline_ms),
     .initial = "60000",
     .help =
         "How long a rank waits for another before the job fails; 0 waits for ever."},
    {.name = "json",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct exchange_values, json),
     .help = "Write the results to FILE as JSON; \"-\" is stdout, without the table."},
    {.name = "count-only",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct exchange_values, count_only),
     .help = "No times: count rows of many tokens and compare with the closed forms; "
             "--tokens is not used. Exit code 3 when they are more than 1 % apart."},
    {.name = "count-tokens",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct exchange_values, count_tokens),
     .initial = "100000",
     .min = 1,
     .max = 1e12,
     .help = "Tokens to count at least, of all ranks together."},
    {0}};

/* ---- options to lists ---- */

static bool is_all(const struct ce_option_list *list)
{
    return list->count == 1 && strcmp(list->item[0], "all") == 0;
}

/* The items of an option, or those that "all" stands for. */
static enum ce_status expand(const struct ce_option_list *list,
                             const char *const *all,
                             size_t all_count,
                             const char **item,
                             size_t *count,
                             struct ce_error *err)
{
    const char *const *from = is_all(list) ? all : list->item;

    *count = is_all(list) ? all_count : list->count;
    if (*count > EXCHANGE_MOST) {
        return ce_fail(
            err, CE_ERR_ARG, "more than %d values of an option", EXCHANGE_MOST);
    }
    memcpy(item, from, *count * sizeof(item[0]));
    return CE_OK;
}

static enum ce_status
find_shape(struct exchange_shape *shape, const char *name, struct ce_error *err)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        if (strcmp(name, shapes[i].name) == 0) {
            *shape = shapes[i];
            return CE_OK;
        }
    }
    return ce_fail(err,
                   CE_ERR_ARG,
                   "unknown shape \"%.40s\"; there are olmoe, phi, deepseek",
                   name);
}

static enum ce_status
read_tokens(size_t *tokens, const char *text, struct ce_error *err)
{
    char *end = NULL;
    const unsigned long value = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < 1 ||
        value > MOST_TOKENS) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--tokens wants integers from 1 to %zu, not \"%.40s\"",
                       MOST_TOKENS,
                       text);
    }
    *tokens = value;
    return CE_OK;
}

static enum ce_status read_lists(struct exchange_job *job, struct ce_error *err)
{
    const struct exchange_values *values = job->values;
    const char *shape_name[COUNT_OF(shapes)];
    const char *item[EXCHANGE_MOST] = {NULL};
    size_t width = values->width;
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        shape_name[i] = shapes[i].name;
    }
    if (width == 0 && values->count_only) {
        width = COUNTED_WIDTH;
    }
    status =
        expand(&values->shape, shape_name, COUNT_OF(shapes), item, &job->shapes, err);
    for (size_t i = 0; status == CE_OK && i < job->shapes; i++) {
        status = find_shape(&job->shape[i], item[i], err);
        job->shape[i].width = width > 0 ? width : job->shape[i].width;
    }
    if (status == CE_OK) {
        status = expand(&values->tokens,
                        all_tokens,
                        COUNT_OF(all_tokens),
                        item,
                        &job->token_counts,
                        err);
    }
    for (size_t i = 0; status == CE_OK && i < job->token_counts; i++) {
        status = read_tokens(&job->tokens[i], item[i], err);
    }
    return status;
}

static enum ce_status read_rules(struct exchange_job *job, struct ce_error *err)
{
    const struct exchange_values *values = job->values;
    const char *item[EXCHANGE_MOST] = {NULL};
    enum ce_status status = expand(&values->routing,
                                   all_routings,
                                   COUNT_OF(all_routings),
                                   item,
                                   &job->routings,
                                   err);

    for (size_t i = 0; status == CE_OK && i < job->routings; i++) {
        status = routing_parse(&job->routing[i], item[i], err);
    }
    if (status == CE_OK) {
        status = expand(&values->transports,
                        all_transports,
                        COUNT_OF(all_transports),
                        job->transport_name,
                        &job->transports,
                        err);
    }
    if (status == CE_OK) {
        status = ce_wire_by_name(&job->format, values->wire, err);
    }
    return status == CE_OK ? ce_combine_by_name(&job->combine, values->combine, err)
                           : status;
}

/* ---- cells ---- */

static enum ce_status
run_tokens(struct exchange_job *job, struct exchange_cell *cell, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (job->values->count_only) {
        return exchange_count_cell(job, cell, err);
    }
    for (size_t i = 0; status == CE_OK && i < job->token_counts; i++) {
        cell->of.tokens = job->tokens[i];
        status = exchange_time_cell(job, cell, err);
    }
    return status;
}

static enum ce_status
run_mains(struct exchange_job *job, struct exchange_cell *cell, struct ce_error *err)
{
    const size_t top_k = cell->of.shape.top_k;
    const char *which = job->values->mains;
    enum ce_status status = CE_OK;

    if (strcmp(which, "half") != 0) {
        cell->of.mains = top_k;
        status = run_tokens(job, cell, err);
    }
    if (status == CE_OK && strcmp(which, "full") != 0) {
        cell->of.mains = top_k / 2;
        status = run_tokens(job, cell, err);
    }
    return status;
}

static enum ce_status run_cells(struct exchange_job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < job->shapes * job->routings && status == CE_OK; i++) {
        const struct exchange_shape *shape = &job->shape[i / job->routings];
        const struct routing_rule *rule = &job->routing[i % job->routings];
        double *chance = calloc(shape->experts, sizeof(chance[0]));
        struct exchange_cell cell = {
            .of = {.shape = *shape, .format = job->format, .combine = job->combine},
            .routing = rule,
            .chance = chance};

        if (chance == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for a routing");
        }
        status = routing_chances(
            rule, job->values->seed, shape->experts, shape->top_k, chance, err);
        if (status == CE_OK) {
            status = run_mains(job, &cell, err);
        }
        free(chance);
    }
    return status;
}

json_t *exchange_describe_cell(const struct exchange_cell *cell)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:s, s:s}",
                     "shape",
                     cell->of.shape.name,
                     "experts",
                     (json_int_t)cell->of.shape.experts,
                     "top_k",
                     (json_int_t)cell->of.shape.top_k,
                     "width",
                     (json_int_t)cell->of.shape.width,
                     "routing",
                     cell->routing->name,
                     "mains",
                     (json_int_t)cell->of.mains,
                     "tokens_per_rank",
                     (json_int_t)cell->of.tokens,
                     "wire",
                     ce_wire_name(cell->of.format),
                     "combine",
                     ce_combine_name(cell->of.combine));
}

/* ---- output ---- */

static bool is_json_alone(const struct exchange_values *values)
{
    return values->json != NULL && strcmp(values->json, "-") == 0;
}

void exchange_print(const struct exchange_job *job, const char *format, ...)
{
    va_list args;

    if (job->rank == 0 && !is_json_alone(job->values)) {
        va_start(args, format);
        (void)vprintf(format, args);
        va_end(args);
        (void)fflush(stdout);
    }
}

/* The document of the run, whole on rank 0, which writes it. Collective. */
static enum ce_status write_results(struct exchange_job *job, struct ce_error *err)
{
    const char *path = job->values->json;
    json_t *traffic = exchange_describe_traffic(job);
    json_t *document = json_pack("{s:s, s:o, s:b, s:o, s:O}",
                                 "bench",
                                 "exchange",
                                 "machine",
                                 bench_machine(),
                                 "read",
                                 job->values->read,
                                 "traffic",
                                 traffic,
                                 "cells",
                                 job->cells);
    int failed = document == NULL;

    if (job->rank == 0 && path != NULL && !failed) {
        failed = is_json_alone(job->values)
                     ? json_dumpf(document, stdout, JSON_COMPACT) != 0 ||
                           putchar('\n') == EOF || fflush(stdout) != 0
                     : json_dump_file(document, path, JSON_INDENT(1)) != 0;
    }
    json_decref(document);
    return failed ? ce_fail(err, CE_ERR_IO, "%s cannot be written", path) : CE_OK;
}

/* ---- the job ---- */

static void print_machine(const struct exchange_job *job)
{
    json_t *machine = bench_machine();

    exchange_print(job,
                   "%s, %d processors, %d ranks with %d threads, %s, Linux %s\n",
                   json_string_value(json_object_get(machine, "processor")),
                   (int)json_integer_value(json_object_get(machine, "processors")),
                   job->ranks,
                   (int)json_integer_value(json_object_get(machine, "threads")),
                   json_string_value(json_object_get(machine, "mpi")),
                   json_string_value(json_object_get(machine, "kernel")));
    json_decref(machine);
}

static enum ce_status work(struct exchange_job *job, struct ce_error *err)
{
    print_machine(job);
    enum ce_status status = run_cells(job, err);

    if (status == CE_OK && !job->values->count_only) {
        exchange_print_verdict(job);
    }
    if (status == CE_OK) {
        status = write_results(job, err);
    }
    return status;
}

static int run_job(struct exchange_job *job)
{
    struct ce_error err = {.text = ""};
    int level = MPI_THREAD_SINGLE;

    /* MPI is ours, so that transports may come and go. */
    (void)MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &job->rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &job->ranks);
    job->cells = json_array();
    if (work(job, &err) != CE_OK) {
        ce_log(CE_LOG_ERROR, "bench exchange: %s", err.text);
        (void)MPI_Abort(MPI_COMM_WORLD, CE_EXIT_FAILED);
    }
    json_decref(job->cells);
    free(job->counted);
    (void)MPI_Finalize();
    return job->wrong ? CE_EXIT_CHECK : CE_EXIT_DONE;
}

static int run(const void *values)
{
    struct exchange_job job = {.values = values};
    struct ce_error err = {.text = ""};
    enum ce_status status = read_lists(&job, &err);

    if (status == CE_OK) {
        status = read_rules(&job, &err);
    }
    if (status != CE_OK) {
        if (ce_log_is_speaker()) {
            (void)fprintf(stderr, "bench exchange: %s\n", err.text);
        }
        return CE_EXIT_USAGE;
    }
    return run_job(&job);
}

static const struct ce_option_group groups[] = {
    {.title = "What to exchange", .options = what_options},
    {.title = "How to measure", .options = how_options},
    {0}};

static const struct ce_example examples[] = {
    {"The whole table on two ranks, one thread each",
     "OMP_NUM_THREADS=1 mpirun -n 2 exchange --json exchange.json"},
    {"Do as many rows travel as they should?",
     "mpirun -n 4 --oversubscribe exchange --count-only --routing uniform"},
    {0}};

static const char *const usage[] = {"[options]", NULL};

static const struct ce_command command = {
    .name = "exchange",
    .summary = "Measure dispatch and combine of one layer with made-up routing",
    .usage = usage,
    .description =
        "Times one layer's dispatch and combine over every transport, and in the same "
        "run, in turn, MPI_Alltoallv of the same bytes and a memcpy of them between "
        "the "
        "ranks. GB/s is what a rank sends to others over the median; the last column "
        "is the median of memcpy over that of the lane.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct exchange_values),
    .run = run};

int main(int argc, char **argv)
{
    return bench_main(&command, argc, argv);
}
