/* eval_progress.c - a line about rate, time left, occupancy and cache */

#include "tools/eval_progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#define NS_EACH_SECOND UINT64_C(1000000000)
#define TERMINAL_NS    (NS_EACH_SECOND / 5)
#define LOG_FIRST_NS   (5 * NS_EACH_SECOND)
#define LOG_LAST_NS    (60 * NS_EACH_SECOND)

void ce_eval_progress_start(struct ce_eval_progress *progress, bool quiet, size_t total)
{
    uint64_t now = ce_clock_ns();

    *progress = (struct ce_eval_progress){.silent = quiet || !ce_log_is_speaker(),
                                          .terminal = isatty(STDERR_FILENO) != 0,
                                          .total = total,
                                          .began_ns = now,
                                          .shown_ns = now};
    progress->wait_ns = progress->terminal ? TERMINAL_NS : LOG_FIRST_NS;
}

static double part(uint64_t some, uint64_t all)
{
    return all > 0 ? 100.0 * (double)some / (double)all : 0.0;
}

/* "1:05:09" */
static void print_time(double seconds, char *text, size_t size)
{
    uint64_t whole = (uint64_t)seconds;

    (void)snprintf(text,
                   size,
                   "%u:%02u:%02u",
                   (unsigned)(whole / 3600),
                   (unsigned)(whole / 60 % 60),
                   (unsigned)(whole % 60));
}

static void show(struct ce_eval_progress *progress,
                 const struct ce_schedule_state *state,
                 uint64_t now)
{
    size_t done = progress->before + state->done;
    double elapsed = (double)(now - progress->began_ns) / 1e9;
    double seconds = (double)(now - progress->shown_ns) / 1e9;
    char left[32] = "-";
    char line[256];

    if (done > 0) {
        print_time(elapsed / (double)done * (double)(progress->total - done),
                   left,
                   sizeof(left));
    }
    (void)snprintf(line,
                   sizeof(line),
                   "%s%s%zu of %zu requests, %.0f tokens/s, %s left, batch %.0f %%, "
                   "KV %.0f %%",
                   progress->variant != NULL ? progress->variant : "",
                   progress->variant != NULL ? ": " : "",
                   done,
                   progress->total,
                   (double)progress->tokens / seconds,
                   left,
                   part(progress->tokens, progress->room),
                   part(state->pages, state->all_pages));
    if (progress->terminal) {
        (void)fprintf(stderr, "\r%-79s", line);
        (void)fflush(stderr);
    } else {
        ce_log(CE_LOG_INFO, "%s", line);
    }
}

void ce_eval_progress_step(struct ce_eval_progress *progress,
                           const struct ce_schedule_state *state)
{
    uint64_t now = ce_clock_ns();

    progress->tokens += state->tokens;
    progress->room += state->room;
    if (progress->silent || now - progress->shown_ns < progress->wait_ns) {
        return;
    }
    show(progress, state, now);
    progress->shown_ns = now;
    progress->tokens = 0;
    progress->room = 0;
    if (!progress->terminal && progress->wait_ns < LOG_LAST_NS) {
        progress->wait_ns *= 2;
    }
}

void ce_eval_progress_end(struct ce_eval_progress *progress)
{
    if (!progress->silent && progress->terminal) {
        (void)fputc('\n', stderr);
    }
}
