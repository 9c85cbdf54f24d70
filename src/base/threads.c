/* threads.c - whether the system gives a process the threads it is told to use */

#include "base/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* All are there at one time: none leaves before the caller has started the last. */
struct crowd {
    pthread_mutex_t lock;
};

static void *wait_for_all(void *untyped)
{
    struct crowd *crowd = untyped;

    (void)pthread_mutex_lock(&crowd->lock);
    (void)pthread_mutex_unlock(&crowd->lock);
    return NULL;
}

/* Returns how many were started; *why is the cause that it is not all. */
static size_t start_and_join(pthread_t *thread, size_t count, int *why)
{
    struct crowd crowd = {.lock = PTHREAD_MUTEX_INITIALIZER};
    size_t started = 0;

    (void)pthread_mutex_lock(&crowd.lock);
    while (started < count && *why == 0) {
        *why = pthread_create(&thread[started], NULL, wait_for_all, &crowd);
        started += *why == 0;
    }
    (void)pthread_mutex_unlock(&crowd.lock);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(thread[i], NULL);
    }
    return started;
}

enum ce_status ce_threads_check(size_t count, struct ce_error *err)
{
    const size_t more = count > 0 ? count - 1 : 0;
    pthread_t *thread = calloc(more + 1, sizeof(*thread));
    sigset_t all;
    sigset_t before;
    int why = 0;

    if (thread == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu threads", count);
    }
    /* The signals of the process are for its other threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    size_t started = start_and_join(thread, more, &why);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(thread);
    return why == 0 ? CE_OK
                    : ce_fail(err,
                              CE_ERR_NOMEM,
                              "the system gives %zu of %zu threads: %s: lower "
                              "OMP_NUM_THREADS, or raise ulimit -u or the limit of "
                              "processes of the job",
                              started + 1,
                              count,
                              strerror(why));
}
