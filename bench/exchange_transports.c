/* exchange_transports.c - the transports of a cell, and what both ends of them count
 *
 * Each cell has transports of its own, prepared for its sizes as the engine prepares
 * them for its steps; their counters are added up over the cells.
 */

#include "base/log.h"
#include "exchange.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

/* Zeroed; a few numbers, without which there is nothing to do but end the job. */
static uint64_t *take(size_t count)
{
    uint64_t *numbers = calloc(count, sizeof(numbers[0]));

    if (numbers == NULL) {
        ce_log(CE_LOG_ERROR, "bench exchange: no memory for counters");
        (void)MPI_Abort(MPI_COMM_WORLD, CE_EXIT_FAILED);
        abort();
    }
    return numbers;
}

static uint64_t *
counted(const struct exchange_job *job, size_t index, enum exchange_counter counter)
{
    return job->counted +
           (index * EXCHANGE_COUNTERS + (size_t)counter) * (size_t)job->ranks;
}

enum ce_status exchange_open_transports(struct exchange_job *job, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (job->counted == NULL) {
        job->counted = take(job->transports * EXCHANGE_COUNTERS * (size_t)job->ranks);
    }
    for (size_t i = 0; status == CE_OK && i < job->transports; i++) {
        status = ce_transport_create(
            &job->transport[i], job->transport_name[i], job->values->deadline_ms, err);
    }
    return status;
}

void exchange_close_transports(struct exchange_job *job)
{
    for (size_t i = job->transports; i > 0; i--) {
        struct ce_transport *transport = job->transport[i - 1];

        for (size_t c = 0; c < EXCHANGE_COUNTERS; c++) {
            enum exchange_counter counter = (enum exchange_counter)c;

            exchange_add_counters(transport, counter, counted(job, i - 1, counter));
        }
        ce_transport_destroy(transport);
    }
}

/* ---- both ends ---- */

/* The matrix of a counter, [source][destination], on rank 0; zeros elsewhere. */
static uint64_t *
gather(const struct exchange_job *job, size_t index, enum exchange_counter counter)
{
    const size_t ranks = (size_t)job->ranks;
    const bool is_received = counter >= EXCHANGE_RECEIVED_MESSAGES;
    uint64_t *all = take(ranks * ranks);
    uint64_t *turned = take(ranks * ranks);

    (void)MPI_Gather(counted(job, index, counter),
                     job->ranks,
                     MPI_UINT64_T,
                     all,
                     job->ranks,
                     MPI_UINT64_T,
                     0,
                     MPI_COMM_WORLD);
    for (size_t i = 0; i < ranks * ranks; i++) {
        turned[i] = all[is_received ? i % ranks * ranks + i / ranks : i];
    }
    free(all);
    return turned;
}

static json_t *describe_matrix(const uint64_t *matrix, size_t ranks)
{
    json_t *rows = json_array();

    for (size_t r = 0; r < ranks; r++) {
        json_t *row = json_array();

        for (size_t c = 0; c < ranks; c++) {
            json_array_append_new(row, json_integer((json_int_t)matrix[r * ranks + c]));
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *describe_transport(struct exchange_job *job, size_t index)
{
    static const char *const names[EXCHANGE_COUNTERS] = {
        "sent_messages", "sent_bytes", "received_messages", "received_bytes"};
    const size_t ranks = (size_t)job->ranks;
    uint64_t *matrix[EXCHANGE_COUNTERS];
    json_t *document = json_object();
    bool agree = true;

    for (size_t i = 0; i < EXCHANGE_COUNTERS; i++) {
        matrix[i] = gather(job, index, (enum exchange_counter)i);
        json_object_set_new(document, names[i], describe_matrix(matrix[i], ranks));
    }
    for (size_t i = 0; job->rank == 0 && i < EXCHANGE_RECEIVED_MESSAGES; i++) {
        agree = agree && memcmp(matrix[i],
                                matrix[i + EXCHANGE_RECEIVED_MESSAGES],
                                ranks * ranks * sizeof(matrix[i][0])) == 0;
    }
    for (size_t i = 0; i < EXCHANGE_COUNTERS; i++) {
        free(matrix[i]);
    }
    json_object_set_new(document, "agree", json_boolean(agree));
    exchange_print(job,
                   "%s: senders' and receivers' counters %s\n",
                   job->transport_name[index],
                   agree ? "agree" : "DIFFER");
    job->wrong = job->wrong || !agree;
    return document;
}

json_t *exchange_describe_traffic(struct exchange_job *job)
{
    json_t *document = json_object();

    for (size_t i = 0; i < job->transports; i++) {
        json_object_set_new(
            document, job->transport_name[i], describe_transport(job, i));
    }
    return document;
}
