/* bus_error.c - a handler that only writes pieces prepared before */

#include "tools/bus_error.h"

#include "base/mapped.h"
#include "base/options.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char first_piece[64];

static const char last_piece[] = ": cut short, or not to be read, while it was used "
                                 "(bus error); run again with files "
                                 "that stay as they are\n";

static void put(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* Only what may be called in a handler. */
static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    const char *path = ce_mapped_find(info->si_addr);
    struct sigaction usual = {.sa_handler = SIG_DFL};

    (void)context;
    if (path == NULL) { /* happens again on return, and ends the process */
        (void)sigaction(signal, &usual, NULL);
        return;
    }
    put(first_piece);
    put(path);
    put(last_piece);
    _exit(CE_EXIT_FAILED);
}

void ce_bus_error_install(int rank)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};

    if (rank > 0) {
        (void)snprintf(first_piece,
                       sizeof(first_piece),
                       "cemoe[rank %d]: error: rank %d: ",
                       rank,
                       rank);
    } else {
        (void)snprintf(first_piece, sizeof(first_piece), "cemoe: error: ");
    }
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, NULL);
}
