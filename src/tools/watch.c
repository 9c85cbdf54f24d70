/* watch.c - a thread that calls the roll of the ranks on this host */

#include "tools/watch.h"

#include "base/clock.h"
#include "base/host.h"
#include "base/log.h"
#include "base/options.h"
#include "base/patience.h"
#include "comm/roll.h"
#include "comm/transport.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The other ranks, whose watches end a little later, shall say so, too. */
#define GRACE_MS 1000

#define LOOKS 8 /* within a deadline */

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* its clock is CLOCK_MONOTONIC */
    bool active;
    bool over; /* with the lock */
    const char *command;
    const char *stage;
    uint64_t deadline_ms;
    struct ce_patience patience; /* of the whole call */
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* True when the call has returned within `ms`. */
static bool is_over_within(uint64_t ms)
{
    const struct timespec until = ce_clock_in_ms(ms);
    int code = 0;

    (void)pthread_mutex_lock(&watch.lock);
    while (!watch.over && code == 0) {
        code = pthread_cond_timedwait(&watch.ended, &watch.lock, &until);
    }
    bool over = watch.over;
    (void)pthread_mutex_unlock(&watch.lock);
    return over;
}

/* Says why, lets the others say theirs, and ends the process. */
static void give_up(const char *why)
{
    struct ce_host host;
    int rank;
    int ranks;

    ce_host_self(&host);
    ce_transport_launcher(&rank, &ranks);
    ce_log(CE_LOG_ERROR,
           "%s: rank %d: stage %s: on %s: %s",
           watch.command,
           rank,
           watch.stage,
           host.name,
           why);
    if (!is_over_within(GRACE_MS)) {
        _exit(CE_EXIT_FAILED);
    }
}

static void look(struct ce_roll *roll)
{
    char who[CE_ROLL_TEXT];
    char why[CE_ROLL_TEXT + 64];

    if (ce_roll_look(roll, ce_clock_ns()) > 0) {
        ce_roll_describe(roll, who);
        (void)snprintf(why,
                       sizeof(why),
                       "no sign after %" PRIu64 " ms from %s",
                       watch.deadline_ms,
                       who);
        give_up(why);
    } else if (ce_patience_is_over(&watch.patience)) {
        (void)snprintf(why,
                       sizeof(why),
                       "MPI has waited for %" PRIu64
                       " ms: no rank is seen to be missing here: look at other hosts",
                       watch.patience.deadline_ms);
        give_up(why);
    }
}

static void *keep_watch(void *unused)
{
    struct ce_roll roll;

    (void)unused;
    ce_roll_init(
        &roll, "/proc", watch.deadline_ms, strcmp(watch.stage, CE_WATCH_START) == 0);
    while (!is_over_within(watch.deadline_ms / LOOKS + 1)) {
        look(&roll);
    }
    ce_roll_fini(&roll);
    return NULL;
}

/* Signals are for the other threads. */
static int start_thread(void)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&watch.thread, NULL, keep_watch, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why == 0) {
        (void)pthread_setname_np(watch.thread, CE_ROLL_THREAD);
    }
    return why;
}

enum ce_status ce_watch_begin(const char *command,
                              const char *stage,
                              uint64_t deadline_ms,
                              uint64_t factor,
                              struct ce_error *err)
{
    pthread_condattr_t clock;
    int rank;
    int ranks;

    ce_transport_launcher(&rank, &ranks);
    if (deadline_ms == 0 || ranks == 1) {
        return CE_OK;
    }
    watch.command = command;
    watch.stage = stage;
    watch.deadline_ms = deadline_ms;
    watch.over = false;
    ce_patience_begin(
        &watch.patience,
        factor > 0 && deadline_ms < UINT64_MAX / factor ? deadline_ms * factor : 0);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watch.ended, &clock);
    (void)pthread_condattr_destroy(&clock);
    int why = start_thread();

    if (why != 0) {
        (void)pthread_cond_destroy(&watch.ended);
        return ce_fail(
            err, CE_ERR_NOMEM, "no thread to watch over MPI: %s", strerror(why));
    }
    watch.active = true;
    return CE_OK;
}

void ce_watch_end(void)
{
    if (!watch.active) {
        return;
    }
    (void)pthread_mutex_lock(&watch.lock);
    watch.over = true;
    (void)pthread_cond_signal(&watch.ended);
    (void)pthread_mutex_unlock(&watch.lock);
    (void)pthread_join(watch.thread, NULL);
    (void)pthread_cond_destroy(&watch.ended);
    watch.active = false;
}
