/* share.c - what rank 0 reads, given to all ranks
 *
 *   rank 0   a thread reads;  meanwhile, every second:  "not yet" ─┐
 *   others   wait, with their deadline, for  ◄─────────────────────┘  or the text
 *
 * Somebody may be typing it, so nobody can say how long it takes; but a rank 0 that is
 * stuck no longer says anything, and is missed.
 */

#include "base/clock.h"
#include "comm/collective.h"
#include "tools/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the thread works on. Left to the end of the process if the job fails while it
 * is blocked in a read. */
struct reading {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* its clock is CLOCK_MONOTONIC */
    bool done;
    ce_session_source *source;
    const void *values;
    enum ce_status status;
    char *text;
    size_t bytes;
    struct ce_error err;
};

/* Of the clock on the wall a wait could last as long as that is set back. */
static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t clock;

    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &clock);
    (void)pthread_condattr_destroy(&clock);
}

static void *read_source(void *context)
{
    struct reading *reading = context;
    enum ce_status status = reading->source(
        reading->values, &reading->text, &reading->bytes, &reading->err);

    (void)pthread_mutex_lock(&reading->lock);
    reading->status = status;
    reading->done = true;
    (void)pthread_cond_signal(&reading->changed);
    (void)pthread_mutex_unlock(&reading->lock);
    return NULL;
}

/* Waits for the thread, at most `ms`. */
static bool wait_for_reader(struct reading *reading, uint64_t ms)
{
    const struct timespec until = ce_clock_in_ms(ms);
    int code = 0;

    (void)pthread_mutex_lock(&reading->lock);
    while (!reading->done && code == 0) {
        code = pthread_cond_timedwait(&reading->changed, &reading->lock, &until);
    }
    bool done = reading->done;
    (void)pthread_mutex_unlock(&reading->lock);
    return done;
}

#define NEWS_MS 1000

/* All ranks hear from rank 0 until it has read. */
static enum ce_status
follow(struct ce_transport *transport, struct reading *reading, struct ce_error *err)
{
    uint64_t ms = transport->deadline_ms / 4;
    enum ce_status status = CE_OK;
    bool done = false;

    ms = ms == 0 || ms > NEWS_MS ? NEWS_MS : ms;
    while (status == CE_OK && !done) {
        const struct ce_bytes *all = NULL;

        if (transport->rank == 0) {
            done = wait_for_reader(reading, ms);
        }
        status =
            ce_allgather(transport, (struct ce_bytes){&done, sizeof(done)}, &all, err);
        if (status == CE_OK && all[0].bytes == sizeof(done)) {
            memcpy(&done, all[0].data, sizeof(done));
        }
    }
    return status;
}

/* Reads on rank 0 while the others wait. After a failure the thread may go on: the
 * transport has failed then, and the process ends. */
static enum ce_status read_and_follow(struct ce_transport *transport,
                                      struct reading *reading,
                                      struct ce_error *err)
{
    pthread_t thread = {0};
    bool started = transport->rank == 0 &&
                   pthread_create(&thread, NULL, read_source, reading) == 0;

    if (!started) {
        reading->status =
            ce_fail(&reading->err, CE_ERR_NOMEM, "no thread to read the input");
        reading->done = true;
    }
    enum ce_status status = follow(transport, reading, err);
    if (started && status == CE_OK) {
        (void)pthread_join(thread, NULL);
    }
    return status;
}

/* The text of rank 0, in memory of this rank. */
static enum ce_status copy_text(struct ce_transport *transport,
                                struct ce_bytes text,
                                char **copy,
                                size_t *copied,
                                struct ce_error *err)
{
    struct ce_bytes shared = {0};
    enum ce_status status = ce_broadcast(transport, text, &shared, err);

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
    return ce_agree(transport, status, err);
}

enum ce_status ce_session_share(struct ce_session *session,
                                ce_session_source *source,
                                const void *values,
                                char **copy,
                                size_t *copied,
                                struct ce_error *err)
{
    struct ce_transport *transport = session->transport;
    struct reading *reading = calloc(1, sizeof(*reading));
    enum ce_status status = CE_OK;

    *copy = NULL;
    if (reading == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to read input");
    } else {
        *reading = (struct reading){
            .lock = PTHREAD_MUTEX_INITIALIZER, .source = source, .values = values};
        init_condition(&reading->changed);
    }
    status = ce_transport_enter(transport, "input", status, err);
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = read_and_follow(transport, reading, err);
        if (status != CE_OK) {
            return status;
        }
        status = transport->rank == 0 ? reading->status : CE_OK;
        if (status != CE_OK) {
            *err = reading->err;
        }
        status = ce_agree(transport, status, err);
    }
    if (status == CE_OK) {
        status = copy_text(transport,
                           (struct ce_bytes){reading->text, reading->bytes},
                           copy,
                           copied,
                           err);
    }
    if (reading != NULL) {
        free(reading->text);
        free(reading);
    }
    return status;
}

enum ce_status ce_session_conclude(struct ce_session *session,
                                   ce_session_source *source,
                                   ce_session_print *print,
                                   const void *values,
                                   struct ce_error *err)
{
    struct ce_transport *transport = session->transport;
    char *nothing = NULL;
    size_t bytes = 0;
    enum ce_status status =
        ce_session_share(session, source, values, &nothing, &bytes, err);

    if (status == CE_OK && transport->rank == 0) {
        status = print(values, err);
    }
    if (status == CE_OK || !transport->failed) {
        status = ce_agree(transport, status, err);
    }
    free(nothing);
    return status;
}
