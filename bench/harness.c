/* harness.c - taking turns, summing up, cold memory, and what machine this is */

#include "harness.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "comm/collective.h"

#include <math.h>
#include <mpi.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- the command line ---- */

static int parse_and_run(const struct ce_program *program, int argc, char **argv)
{
    struct ce_command_line line = {0};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;

    if (ce_command_line_parse(&line, program, argc, argv, &err) != CE_OK) {
        if (ce_log_is_speaker()) {
            (void)fprintf(stderr, "%s\n", err.text);
        }
        code = CE_EXIT_USAGE;
    } else if (line.request == CE_REQUEST_RUN) {
        code = line.command->run(line.values);
    } else if (ce_log_is_speaker() && line.request == CE_REQUEST_VERSION) {
        ce_program_print_version(stdout, program);
    } else if (ce_log_is_speaker()) {
        ce_program_print_help(stdout, program, line.command);
    }
    ce_command_line_free(&line);
    return code;
}

int bench_main(const struct ce_command *command, int argc, char **argv)
{
    const struct ce_command *const commands[] = {command, NULL};
    const struct ce_program program = {.name = "bench",
                                       .version = CE_VERSION,
                                       .summary = "benchmarks of cemoe",
                                       .description = "Benchmarks of cemoe.",
                                       .commands = commands};
    char name[64];
    int rank = 0;
    int ranks = 1;

    /* The program is the command: "exchange --x" is read as "bench exchange --x". */
    char **words = calloc((size_t)argc + 2, sizeof(words[0]));
    if (words == NULL) {
        return CE_EXIT_FAILED;
    }
    (void)snprintf(name, sizeof(name), "%s", command->name);
    words[0] = argv[0];
    words[1] = name;
    for (int i = 1; i < argc; i++) {
        words[i + 1] = argv[i];
    }
    ce_transport_launcher(&rank, &ranks);
    ce_log_init(CE_LOG_INFO, rank);
    int code = parse_and_run(&program, argc + 1, words);
    free(words);
    return code;
}

/* ---- samples ---- */

/* All ranks leave at the same time, as nearly as messages allow. */
static enum ce_status meet(struct ce_transport *transport, struct ce_error *err)
{
    const struct ce_bytes *all = NULL;

    return ce_allgather(transport, (struct ce_bytes){NULL, 0}, &all, err);
}

static enum ce_status run_lane(struct bench_race *race,
                               const struct bench_lane *lane,
                               size_t sample,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t phase = 0; status == CE_OK && phase < race->phases; phase++) {
        status = meet(race->transport, err);
        if (status != CE_OK) {
            return status;
        }
        const uint64_t begin_ns = ce_clock_ns();
        status = lane->run(lane->context, phase, err);
        const double seconds = (double)(ce_clock_ns() - begin_ns) / 1e9;

        if (sample >= race->warm_up) {
            lane->seconds[phase * race->most + sample - race->warm_up] = seconds;
        }
    }
    return status;
}

/* Rank 0 says whether there is time for one more. */
static enum ce_status ask_for_more(const struct bench_race *race,
                                   size_t sample,
                                   uint64_t since_ns,
                                   bool *more,
                                   struct ce_error *err)
{
    const double seconds = (double)(ce_clock_ns() - since_ns) / 1e9;
    const size_t taken = sample < race->warm_up ? 0 : sample - race->warm_up;
    const unsigned char mine =
        taken < race->least || (taken < race->most && seconds < race->budget_s);
    struct ce_bytes said = {NULL, 0};

    enum ce_status status =
        ce_broadcast(race->transport, (struct ce_bytes){&mine, 1}, &said, err);
    if (status == CE_OK && said.bytes != 1) {
        status = ce_fail(err, CE_ERR_COMM, "rank 0 does not say whether to go on");
    }
    *more = status == CE_OK && *(const unsigned char *)said.data == 1;
    return status;
}

static void take_slowest(struct bench_race *race)
{
    for (size_t i = 0; i < race->lanes; i++) {
        for (size_t phase = 0; phase < race->phases; phase++) {
            (void)MPI_Allreduce(MPI_IN_PLACE,
                                race->lane[i].seconds + phase * race->most,
                                (int)race->samples,
                                MPI_DOUBLE,
                                MPI_MAX,
                                MPI_COMM_WORLD);
        }
    }
}

enum ce_status bench_race_run(struct bench_race *race, struct ce_error *err)
{
    const uint64_t since_ns = ce_clock_ns();
    size_t sample = 0;
    bool more = true;
    enum ce_status status = ask_for_more(race, sample, since_ns, &more, err);

    while (status == CE_OK && more) {
        for (size_t i = 0; status == CE_OK && i < race->lanes; i++) {
            status =
                run_lane(race, &race->lane[(i + sample) % race->lanes], sample, err);
        }
        sample++;
        if (status == CE_OK) {
            status = ask_for_more(race, sample, since_ns, &more, err);
        }
    }
    if (status == CE_OK) {
        race->samples = sample - race->warm_up;
        take_slowest(race);
    }
    return status;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

struct bench_summary bench_summarize(double *seconds, size_t samples)
{
    const size_t rank = (size_t)ceil(0.99 * (double)samples);

    qsort(seconds, samples, sizeof(seconds[0]), compare);
    return (struct bench_summary){
        .min = seconds[0], .median = seconds[samples / 2], .p99 = seconds[rank - 1]};
}

/* ---- memory ---- */

size_t bench_rotation_bytes(void)
{
    return 2 * ce_cache_bytes();
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t bench_pool_bytes(size_t bytes)
{
    const size_t rotation = bench_rotation_bytes();

    return bytes > rotation ? whole_lines(bytes) : rotation;
}

enum ce_status
bench_pool_open(struct bench_pool *pool, size_t bytes, struct ce_error *err)
{
    pool->bytes = bench_pool_bytes(bytes);
    pool->memory = ce_memory_map(pool->bytes);
    if (pool->memory == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu bytes", pool->bytes);
    }
    float *values = (void *)pool->memory;
    for (size_t i = 0; i < pool->bytes / sizeof(values[0]); i++) {
        values[i] = (float)(i % 251) / 256.0F - 0.5F;
    }
    return CE_OK;
}

void bench_pool_close(struct bench_pool *pool)
{
    ce_memory_unmap(pool->memory, pool->bytes);
    *pool = (struct bench_pool){.memory = NULL};
}

void *bench_pool_next(struct bench_pool *pool, size_t bytes)
{
    const size_t begin = pool->next + bytes <= pool->bytes ? pool->next : 0;

    pool->next = begin + whole_lines(bytes);
    return pool->memory + begin;
}

void bench_read(const void *data, size_t bytes)
{
    static volatile uint64_t sink; /* so that the compiler keeps the loop */
    const unsigned char *from = data;
    uint64_t sum = 0;

    for (size_t i = 0; i + sizeof(sum) <= bytes; i += sizeof(sum)) {
        uint64_t word;

        memcpy(&word, from + i, sizeof(word));
        sum += word;
    }
    sink = sum;
    (void)sink;
}

/* ---- the machine ---- */

/* The value of the first "key : value" line of a file of /proc, or "". */
static void read_proc(const char *path, const char *key, char *value, size_t size)
{
    char line[256];
    FILE *file = fopen(path, "r");

    value[0] = '\0';
    while (file != NULL && value[0] == '\0' && fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');

        if (colon != NULL && strncmp(line, key, strlen(key)) == 0) {
            (void)snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
            value[strcspn(value, "\n")] = '\0';
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

json_t *bench_machine(void)
{
    struct utsname system = {.release = ""};
    char processor[128];
    char memory[64];
    char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    int ranks = 1;

    (void)uname(&system);
    read_proc("/proc/cpuinfo", "model name", processor, sizeof(processor));
    read_proc("/proc/meminfo", "MemTotal", memory, sizeof(memory));
    (void)MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = '\0';
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    return json_pack("{s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:i, s:i}",
                     "version",
                     CE_VERSION,
                     "processor",
                     processor,
                     "processors",
                     (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "cache_bytes",
                     (json_int_t)ce_cache_bytes(),
                     "memory",
                     memory,
                     "kernel",
                     system.release,
                     "mpi",
                     library,
                     "ranks",
                     ranks,
                     "threads",
                     omp_get_max_threads());
}
