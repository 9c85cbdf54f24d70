/* streams.c - descriptors 0, 1 and 2 */

#include "base/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

static int results_fd = -1;
static FILE *results;

/* Where there is no /dev/null, something that can be neither read nor written takes the
 * number. An open takes the lowest that is free, and those below are taken. */
static void fill(int fd)
{
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) {
        return;
    }
    if (open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) < 0) {
        (void)open("/", O_PATH);
    }
}

void ce_streams_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        fill(fd);
    }
    results_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    ce_streams_hide();
}

void ce_streams_hide(void)
{
    if (results_fd >= 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    }
}

void ce_streams_restore(void)
{
    if (results_fd >= 0) {
        (void)dup2(results_fd, STDOUT_FILENO);
    }
}

FILE *ce_results(void)
{
    if (results == NULL && results_fd >= 0) {
        results = fdopen(results_fd, "w");
    }
    return results != NULL ? results : stdout;
}

void ce_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(ce_results(), format, args);
    va_end(args);
}
