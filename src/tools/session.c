/* session.c - opening, sharing input and closing a job of all ranks */

#include "tools/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "comm/collective.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
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
    char host[64];
    int threads;
    int allowed; /* processors the rank may run on */
    int online;  /* processors of the host */
};

static struct crew this_crew(void)
{
    struct crew crew = {.threads = omp_get_max_threads(),
                        .online = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    cpu_set_t allowed;

    (void)gethostname(crew.host, sizeof(crew.host) - 1);
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
        if (strncmp(crew.host, mine->host, sizeof(crew.host)) == 0) {
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
            mine->host);
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

enum ce_status ce_session_open(struct ce_session *session,
                               const char *command,
                               const struct ce_run_values *run,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *session = (struct ce_session){.command = command, .run = run};
    status =
        ce_transport_create(&session->transport, run->transport, run->deadline_ms, err);
    if (status != CE_OK) {
        return status;
    }
    ce_log_init(chosen_level(run), session->transport->rank);
    return CE_OK;
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
    options.wire = model->wire;
    options.kv = model->kv;
    options.combine = model->combine;
    options.overlap = session->run->overlap;
    options.placement = session->run->placement;
    options.step_tokens = session->run->step_tokens;
    options.step_logits = session->run->step_tokens;
    options.cache_tokens = session->run->cache_tokens;
    return options;
}

enum ce_status ce_session_load(struct ce_session *session,
                               const struct ce_engine_options *options,
                               struct ce_error *err)
{
    enum ce_status status =
        ce_engine_create(&session->engine, session->transport, options, err);

    if (status == CE_OK) {
        status = check_threads(session->transport, err);
    }
    session->began_ns = ce_clock_ns();
    return status;
}

enum ce_status ce_session_share(struct ce_session *session,
                                enum ce_status status,
                                const void *data,
                                size_t bytes,
                                char **copy,
                                size_t *copied,
                                struct ce_error *err)
{
    struct ce_bytes shared = {0};

    *copy = NULL;
    /* Rank 0 may still be reading what somebody types: no deadline for this. */
    session->transport->deadline_ms = 0;
    status = ce_agree(session->transport, status, err);
    session->transport->deadline_ms = session->run->deadline_ms;
    if (status == CE_OK) {
        status = ce_broadcast(
            session->transport, (struct ce_bytes){data, bytes}, &shared, err);
    }
    if (status != CE_OK) {
        return status;
    }
    *copy = malloc(shared.bytes + 1);
    *copied = shared.bytes;
    if (*copy == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for %zu bytes", shared.bytes);
    } else {
        if (shared.bytes > 0) {
            memcpy(*copy, shared.data, shared.bytes);
        }
        (*copy)[shared.bytes] = '\0';
    }
    return ce_agree(session->transport, status, err);
}

int ce_session_close(struct ce_session *session,
                     enum ce_status status,
                     const struct ce_error *err)
{
    int code = CE_EXIT_DONE;

    if (status != CE_OK) {
        bool started = session->transport != NULL;
        bool alone = started && session->transport->failed;

        code = session->check_failed ? CE_EXIT_CHECK : CE_EXIT_FAILED;
        if (ce_log_is_speaker() || alone || !started) {
            ce_log(CE_LOG_ERROR, "%s: %s", session->command, err->text);
        }
        if (alone) { /* the ranks no longer agree on where they are */
            ce_transport_abort(session->transport, code);
        }
    }
    ce_engine_destroy(session->engine);
    ce_transport_destroy(session->transport);
    session->engine = NULL;
    session->transport = NULL;
    return code;
}
