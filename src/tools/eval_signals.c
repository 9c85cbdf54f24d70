/* eval_signals.c - handlers that post, a thread that acts, a pace that follows */

#include "tools/eval_signals.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static struct {
    sem_t posted; /* by handlers */
    atomic_int drain;
    atomic_int quit;
    atomic_int ended; /* SIGTERM and SIGINT that came */
    atomic_bool in_loop;
    atomic_bool ignored;
    atomic_ullong drain_since_ns; /* 0: not yet */
    uint64_t limit_ns;            /* clock; 0: none */
    uint64_t grace_ns;
    pthread_mutex_t lock; /* of the journal's life */
    struct ce_journal *journal;
} job = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Only what may be called in a handler. */
static void on_signal(int number)
{
    int saved = errno;

    if (number == SIGUSR1) {
        atomic_store(&job.drain, 1);
    } else {
        atomic_fetch_add(&job.ended, 1);
        atomic_store(&job.quit, 1);
    }
    (void)sem_post(&job.posted);
    errno = saved;
}

/* False when the journal could not be written. */
static bool sync_journal(void)
{
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;

    (void)pthread_mutex_lock(&job.lock);
    if (job.journal != NULL) {
        status = ce_journal_sync(job.journal, &err);
    }
    (void)pthread_mutex_unlock(&job.lock);
    if (status != CE_OK) {
        ce_log(CE_LOG_ERROR, "eval: %s", err.text);
    }
    return status == CE_OK;
}

static void act(void)
{
    int ended = atomic_load(&job.ended);

    if (atomic_load(&job.ignored) || ended == 0) {
        return;
    }
    bool synced = sync_journal();
    if (!atomic_load(&job.in_loop) || ended > 1) {
        if (ce_log_is_speaker()) {
            ce_log(CE_LOG_INFO, "eval: ended by a signal; run it again to go on");
        }
        _exit(synced ? CE_EXIT_STOPPED : CE_EXIT_FAILED);
    }
}

static void *watch(void *unused)
{
    (void)unused;
    for (;;) {
        if (sem_wait(&job.posted) == 0) {
            act();
        }
    }
    return NULL;
}

static uint64_t to_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

enum ce_status
ce_eval_signals_start(double time_limit, double grace, struct ce_error *err)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t thread;

    job.limit_ns = time_limit > 0 ? ce_clock_ns() + to_ns(time_limit) : 0;
    job.grace_ns = to_ns(grace);
    if (sem_init(&job.posted, 0, 0) != 0 ||
        pthread_create(&thread, NULL, watch, NULL) != 0) {
        return ce_fail(err, CE_ERR_NOMEM, "no thread to wait for signals");
    }
    (void)pthread_detach(thread);
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    return CE_OK;
}

void ce_eval_signals_set_journal(struct ce_journal *journal)
{
    (void)pthread_mutex_lock(&job.lock);
    job.journal = journal;
    (void)pthread_mutex_unlock(&job.lock);
}

void ce_eval_signals_enter_loop(void)
{
    atomic_store(&job.in_loop, true);
}

/* One that came in the last step has not been acted upon. */
void ce_eval_signals_leave_loop(void)
{
    atomic_store(&job.in_loop, false);
}

static bool is_drained(void)
{
    uint64_t now = ce_clock_ns();

    if (job.limit_ns != 0 && now >= job.limit_ns) {
        atomic_store(&job.drain, 1);
    }
    if (atomic_load(&job.drain) != 0 && atomic_load(&job.drain_since_ns) == 0) {
        atomic_store(&job.drain_since_ns, now);
    }
    return atomic_load(&job.drain) != 0;
}

enum ce_pace ce_eval_signals_pace(void)
{
    if (atomic_load(&job.quit) != 0) {
        return CE_PACE_QUIT;
    }
    if (!is_drained()) {
        return CE_PACE_GO_ON;
    }
    return ce_clock_ns() - atomic_load(&job.drain_since_ns) > job.grace_ns
               ? CE_PACE_QUIT
               : CE_PACE_DRAIN;
}

void ce_eval_signals_ignore(void)
{
    atomic_store(&job.ignored, true);
}
