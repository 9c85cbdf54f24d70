/* exchange_count.c - how many rows travel, beside the closed forms */

#include "comm/collective.h"
#include "exchange.h"

#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define STEP_TOKENS 1024 /* of a rank */
#define TOLERANCE   0.01 /* of the closed form */

/* ---- rows ---- */

struct exchange_tally exchange_total(const struct exchange_tally *mine)
{
    struct exchange_tally total = *mine;

    _Static_assert(sizeof(total) % sizeof(uint64_t) == 0, "only numbers");
    (void)MPI_Allreduce(mine,
                        &total,
                        (int)(sizeof(total) / sizeof(uint64_t)),
                        MPI_UINT64_T,
                        MPI_SUM,
                        MPI_COMM_WORLD);
    return total;
}

static void add(struct exchange_tally *sum, const struct exchange_tally *more)
{
    sum->tokens += more->tokens;
    sum->rows += more->rows;
    sum->results += more->results;
    for (size_t i = 0; i < EXCHANGE_PHASES; i++) {
        sum->bytes[i] += more->bytes[i];
    }
}

json_t *exchange_describe_tally(const struct exchange_tally *total,
                                const struct ce_traffic_estimate *expected)
{
    const double tokens = (double)total->tokens;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}",
                     "tokens",
                     (json_int_t)total->tokens,
                     "rows",
                     (json_int_t)total->rows,
                     "results",
                     (json_int_t)total->results,
                     "dispatch_bytes",
                     (json_int_t)total->bytes[EXCHANGE_DISPATCH],
                     "combine_bytes",
                     (json_int_t)total->bytes[EXCHANGE_COMBINE],
                     "copies_per_token",
                     (double)total->rows / tokens,
                     "copies_closed_form",
                     expected->rows,
                     "results_per_token",
                     (double)total->results / tokens,
                     "results_closed_form",
                     expected->results);
}

/* ---- one cell ---- */

struct counting {
    struct exchange_tally sum[EXCHANGE_MOST]; /* a transport each, of this rank */
    struct ce_traffic_estimate expected;
    float *x;
    float *y;
};

/* One step on each transport, with experts drawn for it. */
static enum ce_status count_step(struct exchange_job *job,
                                 const struct exchange_cell *cell,
                                 uint64_t first,
                                 struct counting *counting,
                                 struct ce_error *err)
{
    struct exchange exchange;
    enum ce_status status = exchange_open(&exchange,
                                          &cell->of,
                                          job->rank,
                                          job->ranks,
                                          cell->chance,
                                          job->values->seed,
                                          first,
                                          err);

    if (status == CE_OK) {
        status = exchange_take(&exchange, err);
    }
    status = ce_agree(job->transport[0], status, err);
    for (size_t i = 0; status == CE_OK && i < job->transports; i++) {
        struct exchange_tally step;

        if (counting->sum[i].tokens == 0) {
            status = exchange_prepare(&exchange, job->transport[i], err);
        }
        if (status == CE_OK) {
            status = exchange_count(&exchange,
                                    job->transport[i],
                                    counting->x,
                                    STEP_TOKENS,
                                    counting->y,
                                    &step,
                                    err);
        }
        if (status == CE_OK) {
            add(&counting->sum[i], &step);
        }
    }
    if (status == CE_OK) {
        counting->expected = exchange_expected(&exchange);
    }
    exchange_close(&exchange);
    return status;
}

static bool is_near(double measured, double expected)
{
    return fabs(measured - expected) <= TOLERANCE * expected;
}

static void report(struct exchange_job *job,
                   const struct exchange_cell *cell,
                   const struct counting *counting)
{
    const bool is_uniform = cell->routing->kind == ROUTING_UNIFORM;
    const struct ce_traffic_estimate *expected = &counting->expected;

    for (size_t i = 0; i < job->transports; i++) {
        const struct exchange_tally total = exchange_total(&counting->sum[i]);
        const double tokens = (double)total.tokens;
        const double rows = (double)total.rows / tokens;
        const double results = (double)total.results / tokens;
        const bool holds =
            is_near(rows, expected->rows) && is_near(results, expected->results);
        json_t *document = exchange_describe_cell(cell);
        json_t *tally = exchange_describe_tally(&total, expected);

        json_object_set_new(document, "transport", json_string(job->transport_name[i]));
        json_object_update(document, tally);
        json_decref(tally);
        json_array_append_new(job->cells, document);
        exchange_print(job,
                       "%-9s %-12s %5zu  %-5s %9llu %9.4f %9.4f %9.4f %9.4f  %s\n",
                       cell->of.shape.name,
                       cell->routing->name,
                       cell->of.mains,
                       job->transport_name[i],
                       (unsigned long long)total.tokens,
                       rows,
                       expected->rows,
                       results,
                       expected->results,
                       !is_uniform ? "-"
                       : holds     ? "ok"
                                   : "WRONG");
        job->wrong = job->wrong || (is_uniform && !holds);
    }
}

enum ce_status exchange_count_cell(struct exchange_job *job,
                                   const struct exchange_cell *cell,
                                   struct ce_error *err)
{
    struct exchange_cell step = *cell;
    struct counting counting = {.x = NULL};
    const uint64_t tokens = (uint64_t)STEP_TOKENS * (uint64_t)job->ranks;
    enum ce_status status = CE_OK;

    step.of.tokens = STEP_TOKENS;
    counting.x = calloc(STEP_TOKENS * cell->of.shape.width, sizeof(float));
    counting.y = calloc(STEP_TOKENS * cell->of.shape.width, sizeof(float));
    status = exchange_open_transports(job, err);
    if (status == CE_OK && (counting.x == NULL || counting.y == NULL)) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the rows of a step");
    }
    if (json_array_size(job->cells) == 0) {
        exchange_print(
            job,
            "shape     routing      mains  over     tokens    copies    closed   "
            "results    closed\n");
    }
    for (uint64_t done = 0; status == CE_OK && done < job->values->count_tokens;
         done += tokens) {
        status = count_step(job, &step, done, &counting, err);
    }
    if (status == CE_OK) {
        report(job, &step, &counting);
        exchange_close_transports(job);
    }
    free(counting.x);
    free(counting.y);
    return status;
}
