/* plot.c - gnuplot as a process of its own, without a shell */

#include "tools/plot.h"

#include "base/file.h"
#include "base/patience.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PICTURE_LIMIT ((size_t)256 << 20)

extern char **environ;

/* In the directory, without our input, its messages on our stderr. */
static int describe_files(posix_spawn_file_actions_t *actions, const char *directory)
{
    int why = posix_spawn_file_actions_addchdir_np(actions, directory);

    if (why == 0) {
        why = posix_spawn_file_actions_addopen(
            actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    if (why == 0) {
        why = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    }
    return why;
}

static int start(pid_t *process, const char *directory, const char *const *words)
{
    posix_spawn_file_actions_t actions;
    int why = posix_spawn_file_actions_init(&actions);

    if (why != 0) {
        return why;
    }
    why = describe_files(&actions, directory);
    if (why == 0) {
        /* It does not write to the words; the type is older than const. */
        why = posix_spawnp(process,
                           words[0],
                           &actions,
                           NULL,
                           (char *const *)(uintptr_t)words,
                           environ);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return why;
}

#define LOOKS 8 /* within a deadline */

/* True when it does not end before the deadline. Where the system cannot tell without
 * waiting, it is waited for. */
static bool is_stuck(pid_t process, uint64_t deadline_ms)
{
    struct pollfd end = {.fd = pidfd_open(process, 0), .events = POLLIN};
    const int piece_ms = deadline_ms < INT_MAX ? (int)deadline_ms / LOOKS + 1 : INT_MAX;
    struct ce_patience patience;
    int ended = 0;

    if (end.fd < 0) {
        return false;
    }
    ce_patience_begin(&patience, deadline_ms);
    do {
        ended = poll(&end, 1, deadline_ms > 0 ? piece_ms : -1);
    } while (ended <= 0 && !ce_patience_is_over(&patience));
    (void)close(end.fd);
    return ended <= 0;
}

static enum ce_status
wait_for(pid_t process, uint64_t deadline_ms, struct ce_error *err)
{
    const bool stuck = is_stuck(process, deadline_ms);
    int state = 0;
    pid_t ended = 0;

    if (stuck) {
        (void)kill(process, SIGKILL);
    }
    do {
        ended = waitpid(process, &state, 0);
    } while (ended < 0 && errno == EINTR);
    if (ended == process && WIFEXITED(state) && WEXITSTATUS(state) == 0) {
        return CE_OK;
    }
    if (stuck) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "gnuplot has not ended after %" PRIu64 " ms",
                       deadline_ms);
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   ended == process && WIFEXITED(state) && WEXITSTATUS(state) == 127
                       ? "gnuplot is not installed"
                       : "gnuplot failed");
}

static enum ce_status run_gnuplot(const char *directory,
                                  const char *script,
                                  const char *temporary,
                                  uint64_t deadline_ms,
                                  struct ce_error *err)
{
    char *variable = NULL;
    pid_t process = 0;
    int why = 0;

    if (asprintf(&variable, "out='%s'", temporary) < 0) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory to start gnuplot");
    }
    /* -d: without the settings of the user, which may change the picture. */
    const char *const words[] = {"gnuplot", "-d", "-e", variable, script, NULL};

    why = start(&process, directory, words);
    free(variable);
    if (why == ENOENT) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "gnuplot is not installed");
    }
    if (why != 0) {
        return ce_fail(err, CE_ERR_UNSUPPORTED, "gnuplot: %s", strerror(why));
    }
    return wait_for(process, deadline_ms, err);
}

/* From the temporary name to the other, as all files are written. */
static enum ce_status
move_picture(const char *from, const char *to, struct ce_error *err)
{
    char *image = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(from, PICTURE_LIMIT, &image, &bytes, err);

    if (status == CE_OK) {
        status = ce_file_write_atomic(to, image, bytes, err);
    }
    free(image);
    return status;
}

enum ce_status ce_plot_draw(const char *directory,
                            const char *script,
                            const char *picture,
                            uint64_t deadline_ms,
                            struct ce_error *err)
{
    char *name = NULL;
    char *from = NULL;
    char *to = ce_path_join(directory, picture);
    enum ce_status status = CE_OK;

    if (asprintf(&name, "%s.tmp-%ld", picture, (long)getpid()) < 0) {
        name = NULL;
    }
    from = name != NULL ? ce_path_join(directory, name) : NULL;
    if (from == NULL || to == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to start gnuplot");
    } else {
        status = run_gnuplot(directory, script, name, deadline_ms, err);
    }
    if (status == CE_OK) {
        status = move_picture(from, to, err);
    }
    if (from != NULL) {
        (void)unlink(from);
    }
    free(name);
    free(from);
    free(to);
    return status;
}
