/* exchange_time.c - one cell against the clock: every transport, and the baselines */

#include "base/memory.h"
#include "baselines.h"
#include "comm/collective.h"
#include "exchange.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_SAMPLES    1000
#define WARM_UP         3
#define MOST_LANES      (EXCHANGE_MOST + 3)
#define PART_OF_FREE    0.9 /* of the memory that is free: the rest is for others */
#define BYTES_IN_MIB    1048576.0
#define MICROS_A_SECOND 1e6

static const char *const phases[EXCHANGE_PHASES] = {"dispatch", "combine"};

/* What all lanes of a cell work on. */
struct track {
    const struct exchange_job *job;
    struct exchange exchange;
    size_t row_bytes; /* of x: floats */
    struct bench_pool source;
    struct bench_pool target;
    size_t next_result; /* row of the source the next combine begins to copy at */
    struct baseline_sizes sizes[EXCHANGE_PHASES];
    struct baselines *baselines;
    uint64_t bytes[EXCHANGE_PHASES]; /* to other ranks, mean of the ranks */
    double busiest; /* main experts of the busiest rank over the mean */
};

/* A lane that is a transport. */
struct runner {
    struct track *track;
    struct ce_transport *transport;
};

/* ---- one run ---- */

static enum ce_status
run_dispatch(struct track *track, struct ce_transport *transport, struct ce_error *err)
{
    const float *x =
        bench_pool_next(&track->source, track->exchange.of.tokens * track->row_bytes);

    return exchange_dispatch(
        &track->exchange, transport, x, track->job->values->read, err);
}

static enum ce_status
run_combine(struct track *track, struct ce_transport *transport, struct ce_error *err)
{
    const size_t tokens = track->exchange.of.tokens;
    const size_t rows = track->source.bytes / track->row_bytes;
    float *y = bench_pool_next(&track->target, tokens * track->row_bytes);
    const size_t begin = track->next_result;

    track->next_result = (begin + tokens * track->exchange.of.mains) % rows;
    return exchange_combine(&track->exchange,
                            transport,
                            (const float *)(const void *)track->source.memory,
                            rows,
                            begin,
                            y,
                            err);
}

static enum ce_status run_transport(void *context, size_t phase, struct ce_error *err)
{
    const struct runner *runner = context;

    return phase == EXCHANGE_DISPATCH
               ? run_dispatch(runner->track, runner->transport, err)
               : run_combine(runner->track, runner->transport, err);
}

/* ---- memory ---- */

static double mib(double bytes)
{
    return bytes / BYTES_IN_MIB;
}

static double need_of(const struct track *track)
{
    const size_t x = track->exchange.of.tokens * track->row_bytes;

    double need = (double)exchange_box_bytes(&track->exchange) +
                  2.0 * (double)bench_pool_bytes(x) +
                  (double)baselines_bytes(track->sizes, track->job->ranks);

    for (size_t i = 0; i < track->job->transports; i++) {
        need += (double)exchange_transport_bytes(&track->exchange,
                                                 track->job->transport[i]);
    }
    return need;
}

/* What a rank may take: its share of what is free on its host. */
static double have_of(const struct exchange_job *job)
{
    MPI_Comm host;
    int near = 1;

    if (job->values->memory_limit > 0) {
        return (double)job->values->memory_limit;
    }
    (void)MPI_Comm_split_type(
        MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, job->rank, MPI_INFO_NULL, &host);
    (void)MPI_Comm_size(host, &near);
    (void)MPI_Comm_free(&host);
    return PART_OF_FREE * (double)ce_memory_available() / near;
}

/* "" when the cell fits on all ranks, else why it is left out. Collective. */
static void check_memory(const struct track *track, char *why, size_t size)
{
    /* The least of what is free and the most of what is needed, in one reduction. */
    double worst[2] = {need_of(track), -have_of(track->job)};

    (void)MPI_Allreduce(MPI_IN_PLACE, worst, 2, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    why[0] = '\0';
    if (worst[0] > -worst[1]) {
        (void)snprintf(why,
                       size,
                       "needs %.0f MiB per rank, %.0f MiB are there",
                       mib(worst[0]),
                       mib(-worst[1]));
    }
}

/* ---- setting up ---- */

static uint64_t sum_of_others(const size_t *bytes, size_t ranks, size_t own)
{
    uint64_t sum = 0;

    for (size_t r = 0; r < ranks; r++) {
        sum += r == own ? 0 : bytes[r];
    }
    return sum;
}

static void measure_load(struct track *track)
{
    const struct exchange *x = &track->exchange;
    size_t busiest = 0;

    for (size_t i = 0; i < EXCHANGE_PHASES; i++) {
        track->bytes[i] = sum_of_others(x->sends[i], x->ranks, x->rank);
    }
    (void)MPI_Allreduce(MPI_IN_PLACE,
                        track->bytes,
                        EXCHANGE_PHASES,
                        MPI_UINT64_T,
                        MPI_SUM,
                        MPI_COMM_WORLD);
    for (size_t i = 0; i < EXCHANGE_PHASES; i++) {
        track->bytes[i] /= x->ranks;
    }
    for (size_t r = 0; r < x->ranks; r++) {
        size_t load = x->assigned[r];

        (void)MPI_Allreduce(
            MPI_IN_PLACE, &load, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
        busiest = load > busiest ? load : busiest;
    }
    track->busiest = (double)busiest / (double)(x->of.tokens * x->of.mains);
}

static enum ce_status
open_track(struct track *track, const struct exchange_cell *cell, struct ce_error *err)
{
    const struct exchange_job *job = track->job;

    track->row_bytes = cell->of.shape.width * sizeof(float);
    enum ce_status status = exchange_open(&track->exchange,
                                          &cell->of,
                                          job->rank,
                                          job->ranks,
                                          cell->chance,
                                          job->values->seed,
                                          0,
                                          err);
    status = ce_agree(job->transport[0], status, err);
    for (size_t i = 0; status == CE_OK && i < EXCHANGE_PHASES; i++) {
        track->sizes[i] = (struct baseline_sizes){track->exchange.sends[i],
                                                  track->exchange.receives[i]};
    }
    if (status == CE_OK) {
        measure_load(track);
    }
    return status;
}

static enum ce_status take_memory(struct track *track, struct ce_error *err)
{
    const size_t x = track->exchange.of.tokens * track->row_bytes;
    enum ce_status status = exchange_take(&track->exchange, err);

    if (status == CE_OK) {
        status = bench_pool_open(&track->source, x, err);
    }
    if (status == CE_OK) {
        status = bench_pool_open(&track->target, x, err);
    }
    if (status == CE_OK) {
        status = baselines_create(&track->baselines, track->sizes, err);
    }
    status = ce_agree(track->job->transport[0], status, err);
    if (status == CE_OK) {
        status = baselines_connect(track->baselines, err);
        status = ce_agree(track->job->transport[0], status, err);
    }
    for (size_t i = 0; status == CE_OK && i < track->job->transports; i++) {
        status = exchange_prepare(&track->exchange, track->job->transport[i], err);
    }
    return status;
}

static void close_track(struct track *track)
{
    baselines_destroy(track->baselines);
    bench_pool_close(&track->source);
    bench_pool_close(&track->target);
    exchange_close(&track->exchange);
}

/* ---- the race ---- */

static size_t
enter_lanes(struct track *track, struct bench_lane *lane, struct runner *runner)
{
    const struct exchange_job *job = track->job;
    size_t lanes = 0;

    for (size_t i = 0; i < job->transports; i++) {
        runner[i] = (struct runner){track, job->transport[i]};
        lane[lanes++] = (struct bench_lane){.name = job->transport_name[i],
                                            .context = &runner[i],
                                            .run = run_transport};
    }
    if (baselines_can_count(track->baselines)) {
        lane[lanes++] = (struct bench_lane){.name = "alltoallv",
                                            .context = track->baselines,
                                            .run = baseline_alltoallv};
    } else {
        exchange_print(job, "  alltoallv skipped: more bytes than MPI counts\n");
    }
    if (baselines_share_memory(track->baselines)) {
        lane[lanes++] = (struct bench_lane){
            .name = "memcpy", .context = track->baselines, .run = baseline_memcpy};
        lane[lanes++] = (struct bench_lane){.name = "memcpy+own",
                                            .context = track->baselines,
                                            .run = baseline_memcpy_own};
    } else {
        exchange_print(job, "  memcpy skipped: the ranks are not on one host\n");
    }
    return lanes;
}

static enum ce_status
run_race(struct track *track, struct bench_race *race, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < race->lanes; i++) {
        race->lane[i].seconds =
            calloc(EXCHANGE_PHASES * race->most, sizeof(race->lane[i].seconds[0]));
        if (race->lane[i].seconds == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for samples");
        }
    }
    status = ce_agree(track->job->transport[0], status, err);
    return status == CE_OK ? bench_race_run(race, err) : status;
}

/* ---- results ---- */

static json_t *describe_lane(const struct track *track,
                             const struct bench_race *race,
                             const struct bench_summary *summary,
                             const struct bench_summary *limit,
                             const char *name)
{
    json_t *lane = json_pack("{s:s}", "name", name);

    for (size_t phase = 0; phase < EXCHANGE_PHASES; phase++) {
        const struct bench_summary *s = &summary[phase];
        const double bytes = (double)track->bytes[phase];
        json_t *one = json_pack("{s:f, s:f, s:f, s:I, s:I, s:f}",
                                "min_us",
                                s->min * MICROS_A_SECOND,
                                "median_us",
                                s->median * MICROS_A_SECOND,
                                "p99_us",
                                s->p99 * MICROS_A_SECOND,
                                "samples",
                                (json_int_t)race->samples,
                                "bytes",
                                (json_int_t)track->bytes[phase],
                                "gb_per_s",
                                bytes / s->median / 1e9);
        if (limit != NULL) {
            json_object_set_new(
                one, "of_memcpy", json_real(limit[phase].median / s->median));
        }
        json_object_set_new(lane, phases[phase], one);
    }
    return lane;
}

static void
print_phase(const struct exchange_job *job, const json_t *lane, size_t phase)
{
    const json_t *one = json_object_get(lane, phases[phase]);
    const json_t *share = json_object_get(one, "of_memcpy");

    exchange_print(job,
                   "  %-8s  %-10s %11.1f %11.1f %11.1f %12lld %8.3f",
                   phases[phase],
                   json_string_value(json_object_get(lane, "name")),
                   json_real_value(json_object_get(one, "min_us")),
                   json_real_value(json_object_get(one, "median_us")),
                   json_real_value(json_object_get(one, "p99_us")),
                   (long long)json_integer_value(json_object_get(one, "bytes")),
                   json_real_value(json_object_get(one, "gb_per_s")));
    if (share != NULL) {
        exchange_print(job, " %7.0f%%", 100.0 * json_real_value(share));
    }
    exchange_print(job, "\n");
}

static json_t *describe_lanes(const struct track *track, const struct bench_race *race)
{
    struct bench_summary summary[MOST_LANES][EXCHANGE_PHASES];
    const struct bench_summary *limit = NULL;
    json_t *lanes = json_array();

    for (size_t i = 0; i < race->lanes; i++) {
        for (size_t phase = 0; phase < EXCHANGE_PHASES; phase++) {
            summary[i][phase] = bench_summarize(
                race->lane[i].seconds + phase * race->most, race->samples);
        }
        limit = race->lane[i].run == baseline_memcpy ? summary[i] : limit;
    }
    for (size_t i = 0; i < race->lanes; i++) {
        json_array_append_new(
            lanes, describe_lane(track, race, summary[i], limit, race->lane[i].name));
    }
    exchange_print(track->job,
                   "  phase     lane            min us   median us      p99 us"
                   "        bytes     GB/s   memcpy\n");
    for (size_t phase = 0; phase < EXCHANGE_PHASES; phase++) {
        for (size_t i = 0; i < race->lanes; i++) {
            print_phase(track->job, json_array_get(lanes, i), phase);
        }
    }
    return lanes;
}

static void print_cell(const struct exchange_job *job, const struct exchange_cell *cell)
{
    exchange_print(
        job,
        "\n%s, %s, %zu of %zu experts in full, %zu tokens per rank, %s, %s: ",
        cell->of.shape.name,
        cell->routing->name,
        cell->of.mains,
        cell->of.shape.top_k,
        cell->of.tokens,
        ce_wire_name(cell->of.format),
        ce_combine_name(cell->of.combine));
}

/* ---- the cell ---- */

/* Counts one step on the first transport, which all others repeat. */
static enum ce_status
count_once(struct track *track, json_t *document, struct ce_error *err)
{
    const struct ce_traffic_estimate expected = exchange_expected(&track->exchange);
    struct exchange_tally mine;
    enum ce_status status =
        exchange_count(&track->exchange,
                       track->job->transport[0],
                       (const float *)(const void *)track->source.memory,
                       track->source.bytes / track->row_bytes,
                       (float *)(void *)track->target.memory,
                       &mine,
                       err);

    if (status != CE_OK) {
        return status;
    }
    const struct exchange_tally total = exchange_total(&mine);
    json_t *tally = exchange_describe_tally(&total, &expected);
    json_object_update(document, tally);
    json_decref(tally);
    json_object_set_new(document, "busiest_rank", json_real(track->busiest));
    exchange_print(track->job,
                   "%.3f copies per token (uniform %.3f), %.3f results (%.3f), busiest "
                   "rank %.2f x mean\n",
                   (double)total.rows / (double)total.tokens,
                   expected.rows,
                   (double)total.results / (double)total.tokens,
                   expected.results,
                   track->busiest);
    return CE_OK;
}

static enum ce_status
time_track(struct track *track, json_t *document, struct ce_error *err)
{
    struct bench_lane lane[MOST_LANES];
    struct runner runner[EXCHANGE_MOST];
    const struct exchange_values *values = track->job->values;
    enum ce_status status = take_memory(track, err);

    if (status == CE_OK) {
        status = count_once(track, document, err);
    }
    if (status != CE_OK) {
        return status;
    }
    struct bench_race race = {.transport = track->job->transport[0],
                              .lane = lane,
                              .lanes = enter_lanes(track, lane, runner),
                              .phases = EXCHANGE_PHASES,
                              .warm_up = WARM_UP,
                              .least = values->repeat,
                              .most = values->repeat > MOST_SAMPLES ? values->repeat
                                                                    : MOST_SAMPLES,
                              .budget_s = values->seconds};
    status = run_race(track, &race, err);
    if (status == CE_OK) {
        json_object_set_new(document, "lanes", describe_lanes(track, &race));
    }
    for (size_t i = 0; i < race.lanes; i++) {
        free(lane[i].seconds);
    }
    return status;
}

enum ce_status exchange_time_cell(struct exchange_job *job,
                                  const struct exchange_cell *cell,
                                  struct ce_error *err)
{
    struct track track = {.job = job};
    json_t *document = exchange_describe_cell(cell);
    char why[128] = "";
    enum ce_status status = exchange_open_transports(job, err);

    json_array_append_new(job->cells, document);
    print_cell(job, cell);
    if (status == CE_OK) {
        status = open_track(&track, cell, err);
    }
    if (status == CE_OK) {
        check_memory(&track, why, sizeof(why));
    }
    if (status == CE_OK && why[0] == '\0') {
        status = time_track(&track, document, err);
    } else if (status == CE_OK) {
        json_object_set_new(document, "skipped", json_string(why));
        exchange_print(job, "skipped: %s\n", why);
    }
    if (status == CE_OK) {
        exchange_close_transports(job);
    }
    close_track(&track);
    return status;
}
