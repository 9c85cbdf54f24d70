/* session.c - opening, sharing input and closing a job of all ranks */

#include "tools/session.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/host.h"
#include "base/log.h"
#include "base/threads.h"
#include "base/version.h"
#include "comm/collective.h"
#include "comm/hello.h"
#include "tools/bus_error.h"
#include "tools/test_fault.h"
#include "tools/watch.h"

#include <inttypes.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum ce_log_level chosen_level(const struct ce_run_values *run)
{
    if (run->quiet) {
        return CE_LOG_WARN;
    }
    return run->verbose ? CE_LOG_DEBUG : CE_LOG_INFO;
}

/* Of one rank, to find hosts with more threads than processors. */
struct crew {
    struct ce_host host;
    int threads;
    int allowed; /* processors the rank may run on */
    int online;  /* processors of the host */
};

static struct crew this_crew(void)
{
    struct crew crew = {.threads = omp_get_max_threads(),
                        .online = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    cpu_set_t allowed;

    ce_host_self(&crew.host);
    crew.allowed = crew.online;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        crew.allowed = CPU_COUNT(&allowed);
    }
    return crew;
}

/* mpirun binds each rank to one core unless told otherwise; the threads of a
 * rank then share it, which is the commonest reason for a slow job. */
static void check_binding(const struct crew *mine)
{
    ce_log(ce_log_is_speaker() ? CE_LOG_INFO : CE_LOG_DEBUG,
           "%d thread(s) on %d of %d processor(s)",
           mine->threads,
           mine->allowed,
           mine->online);
    if (mine->threads > mine->allowed) {
        ce_log(CE_LOG_WARN,
               "%d threads share %d processor(s): bind with mpirun --map-by slot:PE=%d "
               "or --bind-to none, or set OMP_NUM_THREADS=%d",
               mine->threads,
               mine->allowed,
               mine->threads,
               mine->allowed);
    }
}

/* Threads that wait for a rank without a processor spin in vain. Rank 0 looks at
 * its own host; others are alike in a cluster. */
static void check_host(const struct crew *mine, const struct ce_bytes *all, int ranks)
{
    int threads = 0;
    int sharing = 0;

    for (int r = 0; r < ranks; r++) {
        struct crew crew;

        if (all[r].bytes != sizeof(crew)) {
            return;
        }
        memcpy(&crew, all[r].data, sizeof(crew));
        if (crew.host.machine == mine->host.machine) {
            threads += crew.threads;
            sharing++;
        }
    }
    if (sharing > 1 && threads > mine->online && ce_log_is_speaker()) {
        ce_log(
            CE_LOG_INFO,
            "%d ranks with %d threads together share the %d processors of %s and will "
            "wait for each other: lower OMP_NUM_THREADS or use fewer ranks",
            sharing,
            threads,
            mine->online,
            mine->host.name);
    }
}

static enum ce_status check_threads(struct ce_transport *transport,
                                    struct ce_error *err)
{
    struct crew mine = this_crew();
    const struct ce_bytes *all = NULL;
    enum ce_status status =
        ce_allgather(transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    if (status == CE_OK) {
        check_binding(&mine);
        check_host(&mine, all, transport->ranks);
    }
    return status;
}

/* Starting and ending MPI take long on a busy machine, whatever a step takes. */
#define START_FACTOR 30

/* A job can do without: the deadlines of its own waits remain. */
static void watch(const struct ce_session *session, const char *stage, uint64_t factor)
{
    struct ce_error err = {.text = ""};

    if (ce_watch_begin(
            session->command, stage, session->run->deadline_ms, factor, &err) !=
        CE_OK) {
        ce_log(CE_LOG_WARN, "%s: %s", session->command, err.text);
    }
}

void ce_session_watch(const struct ce_session *session, const char *stage)
{
    watch(session, stage, 0);
}

static enum ce_status start_transport(struct ce_session *session, struct ce_error *err)
{
    const struct ce_activity now = {.stage = CE_WATCH_START};
    int rank;
    int ranks;

    ce_transport_launcher(&rank, &ranks);
    enum ce_status status = ce_test_fault_meet(rank, &now, err);
    if (status == CE_OK) {
        watch(session, now.stage, START_FACTOR);
        status = ce_transport_create(&session->transport,
                                     session->run->transport,
                                     session->run->deadline_ms,
                                     err);
        ce_watch_end();
    }
    return status;
}

/* What the process was told to do. */
static const struct ce_command *told;
static const void *told_values;

void ce_session_compare_options(const struct ce_command *command, const void *values)
{
    told = command;
    told_values = values;
}

/* What a rank may have for itself. */
static const char *const own_options[] = {
    "json", "quiet", "verbose", "overlap", "cache-tokens", NULL};

/* Ranks that run other commands would take each other's messages for their own, and of
 * an option that only one of them uses the others would be told in vain. */
static enum ce_status compare_commands(const struct ce_session *session,
                                       struct ce_error *err)
{
    char host[64] = "";
    char hosts[64];
    char *options =
        told != NULL ? ce_options_describe(told, told_values, own_options) : strdup("");
    char *lines = NULL;
    int lowest = 0;
    enum ce_status status = CE_OK;

    if (options == NULL ||
        asprintf(&lines, "command=%s\n%s", session->command, options) < 0) {
        lines = NULL;
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to describe the options");
    }
    const struct ce_hello hello = {
        .version = CE_VERSION, .options = lines, .host = host};

    (void)gethostname(host, sizeof(host) - 1);
    status = ce_agree(session->transport, status, err);
    if (status == CE_OK) {
        status = ce_hello_exchange(
            session->transport, &hello, &lowest, hosts, sizeof(hosts), err);
    }
    free(options);
    free(lines);
    return status;
}

enum ce_status ce_session_open(struct ce_session *session,
                               const char *command,
                               const struct ce_run_values *run,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *session = (struct ce_session){.command = command, .run = run};
    status = start_transport(session, err);
    if (status == CE_OK) {
        ce_log_init(chosen_level(run), session->transport->rank);
        ce_bus_error_install(session->transport->rank);
        status = compare_commands(session, err);
    }
    if (status == CE_OK) {
        ce_test_fault_install(session->transport);
        status = ce_threads_check((size_t)omp_get_max_threads(), err);
        status = ce_agree(session->transport, status, err);
    }
    return status;
}

struct ce_engine_options ce_session_engine_options(const struct ce_session *session,
                                                   const struct ce_model_values *model)
{
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    options.model = model->model;
    options.compressed_experts = model->compressed_experts;
    options.compressed = model->compressed;
    options.truncated = model->truncated;
    options.weights = model->weights;
    options.dense_weights = model->dense_weights;
    options.map_weights = model->map_weights;
    options.wire = model->wire;
    options.kv = model->kv;
    options.combine = model->combine;
    options.overlap = session->run->overlap;
    options.placement = session->run->placement;
    options.expert_split = session->run->expert_split;
    options.step_tokens = session->run->step_tokens;
    options.step_logits = session->run->step_tokens;
    options.cache_tokens = session->run->cache_tokens;
    return options;
}

/* A file that cannot be written is better known now than after hours. */
static enum ce_status check_outputs(const struct ce_run_values *run,
                                    struct ce_error *err)
{
    const char *const paths[] = {run->stats, run->traffic};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct ce_file_writer writer = {.fd = -1};

        if (paths[i] != NULL) {
            status = ce_file_writer_open(&writer, paths[i], err);
            ce_file_writer_close(&writer);
        }
    }
    return status;
}

enum ce_status ce_session_watch_files(struct ce_session *session,
                                      const char *dir,
                                      const char *file,
                                      struct ce_error *err)
{
    enum ce_status status = ce_engine_watch_small_files(&session->files, dir, err);

    return status == CE_OK && file != NULL
               ? ce_file_watch_add(&session->files, file, NULL, err)
               : status;
}

enum ce_status ce_session_load(struct ce_session *session,
                               const struct ce_engine_options *options,
                               struct ce_error *err)
{
    const uint64_t begin_ns = ce_clock_ns();
    enum ce_status status =
        session->transport->rank == 0 ? check_outputs(session->run, err) : CE_OK;

    status = ce_agree(session->transport, status, err);
    if (status != CE_OK) {
        return status;
    }
    ce_session_watch(session, "load");
    status = ce_engine_create(&session->engine, session->transport, options, err);
    ce_watch_end();
    if (status == CE_OK) {
        status = check_threads(session->transport, err);
    }
    if (status == CE_OK) {
        status = ce_agree(
            session->transport, ce_file_watch_check(&session->files, false, err), err);
    }
    session->began_ns = ce_clock_ns();
    session->load_ns = session->began_ns - begin_ns;
    return status;
}

/* All ranks meet before they leave, so that one that does not come is named: MPI's own
 * end would wait for it and say nothing. A model that was changed meanwhile fails. */
static enum ce_status meet_at_end(struct ce_session *session, struct ce_error *err)
{
    enum ce_status status = ce_transport_enter(session->transport, "end", CE_OK, err);

    if (status == CE_OK) {
        status = ce_file_watch_check(&session->files, false, err);
    }
    if (status == CE_OK && session->engine != NULL) {
        status = ce_engine_check_files(session->engine, err);
    }
    return ce_agree(session->transport, status, err);
}

/* The ranks no longer agree on where they are, so each says what it knows. The first
 * to do so must not end the job before the others have: they began to wait a little
 * later. And the launcher may have noticed a rank that died; then it shall say so. */
#define GRACE_NS 900000000L

static void end_apart(struct ce_session *session, const struct ce_error *err)
{
    const struct timespec grace = {.tv_nsec = GRACE_NS};

    ce_log(CE_LOG_ERROR, "%s: %s", session->command, err->text);
    (void)nanosleep(&grace, NULL);
    if (session->transport != NULL) {
        ce_transport_abort(session->transport, CE_EXIT_FAILED);
    }
}

int ce_session_close(struct ce_session *session,
                     enum ce_status status,
                     const struct ce_error *err)
{
    struct ce_transport *transport = session->transport;
    struct ce_error own = *err;

    if (status == CE_OK) {
        status = meet_at_end(session, &own);
    }
    if (transport != NULL ? transport->failed : status == CE_ERR_TIMEOUT) {
        end_apart(session, &own);
    } else if (status != CE_OK && (ce_log_is_speaker() ||
                                   (transport == NULL && status != CE_ERR_MISMATCH))) {
        ce_log(CE_LOG_ERROR, "%s: %s", session->command, own.text);
    }
    ce_engine_destroy(session->engine);
    ce_file_watch_free(&session->files);
    watch(session, "end", START_FACTOR);
    ce_transport_destroy(transport);
    ce_watch_end();
    session->engine = NULL;
    session->transport = NULL;
    if (status == CE_OK) {
        return CE_EXIT_DONE;
    }
    return session->check_failed ? CE_EXIT_CHECK : CE_EXIT_FAILED;
}
