/* bench_kernels.c - `cemoe bench kernels`: how fast are products at a model's shapes?
 *
 * Each shape of a model's matrices with each number of rows is measured in all formats
 * and by OpenBLAS, in turn, between samples of the machine's limits; then attention.
 */

#include "tools/bench_kernels.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"
#include "tools/commands.h"
#include "tools/common.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_ROWS = 4096,
    MOST_POSITIONS = 1 << 20,
    MOST_SHAPES = 6,
    MANY_QUERIES = 64,
    ATTENTIONS = 4
};

struct values {
    const char *model;
    struct ce_option_list rows;
    struct ce_option_list positions;
    size_t repeat;
    size_t sample_ms;
    size_t cold_bytes; /* 0: by the machine */
    struct ce_limits_values limits;
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
     .help = "Directory with the config.json of the model; nothing else is read."},
    {.name = "rows",
     .kind = CE_OPTION_LIST,
     .argument = "N",
     .field = offsetof(struct values, rows),
     .initial_help = "1 4 16 64 256 512",
     .help = "Rows that are multiplied at once."},
    {.name = "positions",
     .kind = CE_OPTION_LIST,
     .argument = "N",
     .field = offsetof(struct values, positions),
     .initial_help = "512 4096",
     .help =
         "Positions that are attended, by 1 query of every head and by the 64 at the "
         "last positions; keys and values in F32 and in BF16."},
    {.name = "repeat",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, repeat),
     .initial = "3",
     .min = 1,
     .max = 1000,
     .help = "Samples of everything; one more, not counted, comes first."},
    {.name = "sample-ms",
     .kind = CE_OPTION_SIZE,
     .argument = "MS",
     .field = offsetof(struct values, sample_ms),
     .initial = "20",
     .min = 0,
     .max = 60000,
     .help = "A sample repeats a product for so long."},
    {.name = "cold-bytes",
     .kind = CE_OPTION_SIZE,
     .argument = "N",
     .field = offsetof(struct values, cold_bytes),
     .initial = "0",
     .initial_help = "four times the last-level cache",
     .min = 0,
     .max = (size_t)1 << 40,
     .help = "What copies of weights, keys or values are together, at least: with less "
             "they stay in a cache."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print the result as JSON."},
    {0}};

struct shape {
    const char *name;
    size_t outputs;
    size_t inputs;
};

struct job {
    const struct values *values;
    struct ce_config config;
    struct ce_transport *transport;
    const struct ce_kernels *kernels;
    struct ce_size_list rows;
    struct ce_size_list positions;
    struct shape shape[MOST_SHAPES];
    size_t shapes;
    float *weights; /* of the largest shape, F32 */
    size_t weights_bytes;
    float *x;                          /* [most rows][most inputs] */
    struct ce_quantised_block *blocks; /* of x */
    float *y;                          /* [most rows][most outputs] */
    double *sample;                    /* [formats][repeat] */
    struct ce_bench_results results;
};

/* ---- what is to be measured ---- */

/* Shapes that are there already are only named. */
static void add_shape(struct job *job, const char *name, size_t outputs, size_t inputs)
{
    for (size_t i = 0; i < job->shapes; i++) {
        if (job->shape[i].outputs == outputs && job->shape[i].inputs == inputs) {
            return;
        }
    }
    job->shape[job->shapes++] = (struct shape){name, outputs, inputs};
}

static void find_shapes(struct job *job)
{
    const struct ce_config *config = &job->config;
    const size_t d = config->hidden_size;

    add_shape(job, "expert in", config->intermediate_size, d);
    add_shape(job, "expert out", d, config->intermediate_size);
    add_shape(job, "attention q, o", config->heads * config->head_dim, d);
    add_shape(job, "attention k, v", config->kv_heads * config->head_dim, d);
    add_shape(job, "router", config->experts, d);
    add_shape(job, "logits", config->vocab_size, d);
}

static size_t largest(const struct ce_size_list *list)
{
    size_t most = 1;

    for (size_t i = 0; i < list->count; i++) {
        most = list->item[i] > most ? list->item[i] : most;
    }
    return most;
}

static size_t cold_bytes(const struct values *values)
{
    return values->cold_bytes != 0 ? values->cold_bytes : 4 * ce_cache_bytes() + 1;
}

size_t ce_bench_copies(size_t cold_bytes, size_t bytes)
{
    return (cold_bytes + bytes - 1) / bytes;
}

void ce_bench_fill(float *x, size_t n)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i * 2654435761U % 65536) / 32768.0F - 1.0F;
    }
}

static enum ce_status take_memory(struct job *job, struct ce_error *err)
{
    const size_t rows = largest(&job->rows);
    size_t values = 1;
    size_t outputs = 1;
    size_t inputs = 1;

    for (size_t i = 0; i < job->shapes; i++) {
        const struct shape *s = &job->shape[i];

        values = s->outputs * s->inputs > values ? s->outputs * s->inputs : values;
        outputs = s->outputs > outputs ? s->outputs : outputs;
        inputs = s->inputs > inputs ? s->inputs : inputs;
    }
    job->weights_bytes = values * sizeof(float);
    job->weights = ce_memory_map(job->weights_bytes);
    job->x = calloc(rows * inputs, sizeof(float));
    job->blocks = calloc(rows * ce_quantised_blocks(inputs), sizeof(job->blocks[0]));
    job->y = calloc(rows * outputs, sizeof(float));
    job->sample = calloc(CE_BENCH_FORMATS * job->values->repeat, sizeof(double));
    job->results.most = job->shapes * job->rows.count * CE_BENCH_FORMATS +
                        ATTENTIONS * job->positions.count;
    job->results.result = calloc(job->results.most, sizeof(job->results.result[0]));
    if (job->weights == NULL || job->x == NULL || job->blocks == NULL ||
        job->y == NULL || job->sample == NULL || job->results.result == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the benchmark");
    }
    ce_bench_fill(job->weights, values);
    ce_bench_fill(job->x, rows * inputs);
    return CE_OK;
}

/* ---- one product ---- */

/* A format's copies of one matrix. */
struct pool {
    const struct ce_bench_format *format;
    const struct ce_bench_product *product;
    size_t bytes; /* of a copy */
    size_t copies;
    size_t next;
    unsigned char *memory;
};

static enum ce_status open_pool(struct pool *pool,
                                const struct ce_bench_format *format,
                                const struct ce_bench_product *product,
                                const float *weights,
                                size_t cold_bytes,
                                struct ce_error *err)
{
    const size_t outputs = product->outputs;
    const size_t inputs = product->inputs;

    *pool = (struct pool){.format = format,
                          .product = product,
                          .bytes = format->bytes(format, outputs, inputs)};
    pool->bytes = (pool->bytes + 63) / 64 * 64;
    pool->copies = ce_bench_copies(cold_bytes, pool->bytes);
    if (pool->copies * pool->bytes > ce_memory_available()) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "no memory for %zu copies of %zu x %zu weights as %s",
                       pool->copies,
                       outputs,
                       inputs,
                       format->name);
    }
    pool->memory = ce_memory_map(pool->copies * pool->bytes);
    if (pool->memory == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for weights as %s", format->name);
    }
    format->pack(format, pool->memory, weights, outputs, inputs);
    for (size_t i = 1; i < pool->copies; i++) {
        memcpy(pool->memory + i * pool->bytes, pool->memory, pool->bytes);
    }
    return CE_OK;
}

static void multiply(void *untyped)
{
    struct pool *pool = untyped;

    pool->format->multiply(
        pool->format, pool->product, pool->memory + pool->next * pool->bytes);
    pool->next = (pool->next + 1) % pool->copies;
}

/* ---- samples ---- */

/* Seconds of one run; as many as fit into the time of a sample, at least one. */
static double
time_runs(const struct job *job, void (*run)(void *context), void *context)
{
    const uint64_t least_ns = (uint64_t)job->values->sample_ms * 1000000;
    const uint64_t since = ce_clock_ns();
    uint64_t elapsed = 0;
    size_t runs = 0;

    do {
        run(context);
        runs++;
        elapsed = ce_clock_ns() - since;
    } while (elapsed < least_ns);
    return (double)elapsed / 1e9 / (double)runs;
}

static void add_result(struct job *job, struct ce_bench_result result, double *samples)
{
    result.seconds = ce_spread_of(samples, job->values->repeat);
    job->results.result[job->results.count++] = result;
}

static enum ce_status measure_rows(struct job *job,
                                   const struct shape *shape,
                                   struct pool *pool,
                                   size_t rows,
                                   struct ce_error *err)
{
    const size_t repeat = job->values->repeat;

    for (size_t i = 0; i <= repeat; i++) {
        enum ce_status status = ce_limits_sample(&job->results.limits, err);

        if (status != CE_OK) {
            return status;
        }
        for (size_t f = 0; f < CE_BENCH_FORMATS; f++) {
            const double seconds = time_runs(job, multiply, &pool[f]);

            if (i > 0) {
                job->sample[f * repeat + i - 1] = seconds;
            }
        }
    }
    for (size_t f = 0; f < CE_BENCH_FORMATS; f++) {
        struct ce_bench_result result = {.format = pool[f].format->name,
                                         .outputs = shape->outputs,
                                         .inputs = shape->inputs,
                                         .rows = rows,
                                         .bytes = (double)pool[f].bytes};

        (void)snprintf(result.name, sizeof(result.name), "%s", shape->name);
        result.flops =
            2 * (double)rows * (double)shape->outputs * (double)shape->inputs;
        add_result(job, result, job->sample + f * repeat);
    }
    return CE_OK;
}

static enum ce_status
measure_shape(struct job *job, const struct shape *shape, struct ce_error *err)
{
    struct ce_bench_product product = {.kernels = job->kernels,
                                       .outputs = shape->outputs,
                                       .inputs = shape->inputs,
                                       .x = job->x,
                                       .blocks = job->blocks,
                                       .y = job->y};
    struct pool pool[CE_BENCH_FORMATS] = {{0}};
    enum ce_status status = CE_OK;

    for (size_t f = 0; status == CE_OK && f < CE_BENCH_FORMATS; f++) {
        status = open_pool(&pool[f],
                           &ce_bench_formats[f],
                           &product,
                           job->weights,
                           cold_bytes(job->values),
                           err);
    }
    for (size_t i = 0; status == CE_OK && i < job->rows.count; i++) {
        product.rows = job->rows.item[i];
        status = measure_rows(job, shape, pool, product.rows, err);
    }
    for (size_t f = 0; f < CE_BENCH_FORMATS; f++) {
        ce_memory_unmap(pool[f].memory, pool[f].copies * pool[f].bytes);
    }
    return status;
}

static enum ce_status measure_attention(struct job *job,
                                        enum ce_dtype dtype,
                                        size_t positions,
                                        size_t queries,
                                        struct ce_error *err)
{
    const struct ce_config *config = &job->config;
    struct ce_bench_attend attend = {0};
    enum ce_status status = ce_bench_attend_open(&attend,
                                                 job->kernels,
                                                 config,
                                                 dtype,
                                                 positions,
                                                 queries,
                                                 cold_bytes(job->values),
                                                 err);

    for (size_t i = 0; status == CE_OK && i <= job->values->repeat; i++) {
        status = ce_limits_sample(&job->results.limits, err);
        const double seconds = time_runs(job, ce_bench_attend_run, &attend);

        if (i > 0) {
            job->sample[i - 1] = seconds;
        }
    }
    if (status == CE_OK) {
        struct ce_bench_result result = {.name = "attention",
                                         .format = ce_kv_dtype_name(dtype),
                                         .outputs = positions,
                                         .inputs = config->kv_heads * config->head_dim,
                                         .rows = attend.queries,
                                         .bytes = (double)attend.bytes,
                                         .flops = ce_bench_attend_flops(&attend)};

        add_result(job, result, job->sample);
    }
    ce_bench_attend_close(&attend);
    return status;
}

/* One query and many, of keys and values in both types. */
static enum ce_status
measure_positions(struct job *job, size_t positions, struct ce_error *err)
{
    static const enum ce_dtype dtype[] = {CE_DTYPE_F32, CE_DTYPE_BF16};
    static const size_t queries[] = {1, MANY_QUERIES};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < ATTENTIONS; i++) {
        status = measure_attention(job, dtype[i % 2], positions, queries[i / 2], err);
    }
    return status;
}

/* ---- the command ---- */

static enum ce_status prepare(struct job *job, struct ce_error *err)
{
    const size_t points =
        MOST_SHAPES * job->rows.count + ATTENTIONS * job->positions.count; /* at most */
    enum ce_isa isa = CE_ISA_REF;
    enum ce_status status = ce_config_load(&job->config, job->values->model, err);

    if (status == CE_OK) {
        status = ce_isa_choose(&isa, err);
    }
    if (status == CE_OK) {
        status = ce_transport_create(&job->transport, "self", 0, err);
    }
    if (status == CE_OK) {
        job->kernels = ce_kernels_get(isa);
        find_shapes(job);
        status = take_memory(job, err);
    }
    if (status == CE_OK) {
        status = ce_limits_open(&job->results.limits,
                                job->kernels,
                                job->transport,
                                job->values->limits.read_bytes,
                                (job->values->repeat + 1) * points,
                                err);
    }
    return status;
}

static enum ce_status measure(struct job *job, struct ce_error *err)
{
    enum ce_status status = prepare(job, err);

    for (size_t i = 0; status == CE_OK && i < job->shapes; i++) {
        status = measure_shape(job, &job->shape[i], err);
    }
    for (size_t i = 0; status == CE_OK && i < job->positions.count; i++) {
        status = measure_positions(job, job->positions.item[i], err);
    }
    return status;
}

static void free_job(struct job *job)
{
    ce_limits_close(&job->results.limits);
    ce_memory_unmap(job->weights, job->weights_bytes);
    free(job->x);
    free(job->blocks);
    free(job->y);
    free(job->sample);
    free(job->results.result);
    ce_transport_destroy(job->transport);
}

static bool read_lists(struct job *job, const struct values *values)
{
    static const struct ce_size_list usual_rows = {{1, 4, 16, 64, 256, 512}, 6};
    static const struct ce_size_list usual_positions = {{512, 4096}, 2};

    job->rows = values->rows.count == 0 ? usual_rows : (struct ce_size_list){{0}, 0};
    job->positions =
        values->positions.count == 0 ? usual_positions : (struct ce_size_list){{0}, 0};
    return ce_size_list_read(
               &job->rows, &values->rows, MOST_ROWS, "bench kernels", "--rows") &&
           ce_size_list_read(&job->positions,
                             &values->positions,
                             MOST_POSITIONS,
                             "bench kernels",
                             "--positions");
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;

    if (!read_lists(&job, job.values)) {
        return CE_EXIT_USAGE;
    }
    if (ce_threads_check((size_t)omp_get_max_threads(), &err) != CE_OK ||
        measure(&job, &err) != CE_OK) {
        code = ce_report_failure("bench kernels", &err);
    } else {
        job.results.kernels = job.kernels->name;
        job.results.threads = omp_get_max_threads();
        job.results.cold_bytes = cold_bytes(job.values);
        code = job.values->json ? ce_bench_kernels_print_json(&job.results)
                                : ce_bench_kernels_print_table(&job.results);
    }
    free_job(&job);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options},
    {.title = "Limits",
     .options = ce_limits_options,
     .offset = offsetof(struct values, limits)},
    {0}};

static const struct ce_example examples[] = {
    {"Products of one token and of a prompt",
     "cemoe bench kernels --model olmoe/ --rows 1 512"},
    {0}};

static const char *const usage[] = {"--model DIR [options]", NULL};

const struct ce_command ce_command_bench_kernels = {
    .name = "bench kernels",
    .summary = "Measure products and attention at a model's shapes",
    .usage = usage,
    .description =
        "Multiplies rows with random matrices of the shapes that config.json "
        "describes, "
        "once for each format of weights and by OpenBLAS, and attends random keys and "
        "values. Weights, keys and values are not in a cache: copies of them that "
        "together are more than four times as large as the last-level cache are used "
        "in "
        "turn. Before every round it samples how fast this machine reads memory and "
        "multiplies large F32 matrices (OpenBLAS); the largest samples are the limits "
        "that speeds are compared with.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .uses_blas = true,
    .run = run};
