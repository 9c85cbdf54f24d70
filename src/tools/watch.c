/* watch.c - an alarm whose handler writes a line that was prepared before */

#include "tools/watch.h"

#include "base/options.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static char last_line[512];
static size_t last_bytes;

/* The other ranks, whose alarms are a little later, shall say so, too. */
#define GRACE_SECONDS 1

/* Only what may be called in a handler. */
static void on_alarm(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, last_line, last_bytes);
    (void)sleep(GRACE_SECONDS);
    _exit(CE_EXIT_FAILED);
}

static void set_alarm(uint64_t ms)
{
    const struct itimerval when = {.it_value = {.tv_sec = (time_t)(ms / 1000),
                                                .tv_usec = (time_t)(ms % 1000) * 1000}};

    (void)setitimer(ITIMER_REAL, &when, NULL);
}

void ce_watch_begin(uint64_t ms, const char *line)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    (void)snprintf(last_line, sizeof(last_line), "%s\n", line);
    last_bytes = strlen(last_line);
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGALRM, &action, NULL);
    set_alarm(ms);
}

void ce_watch_end(void)
{
    set_alarm(0);
}
