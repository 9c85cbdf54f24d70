/* final_check.c - whether the files that an evaluation ends with can be written
 *
 * A name of a task that is too long for a file shall be found before days of computing,
 * not behind them.
 */

#include "eval/final.h"
#include "eval/results_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As long as what ce_file_writer_open adds to a name at most. */
#define TEMPORARY ".tmp-0000000000-0000000000000000"

static char *path_of(const struct ce_input *input,
                     const struct ce_journal_header *header,
                     const char *directory)
{
    const struct ce_results_job job = {.directory = directory,
                                       .start_ns = header->start_ns};
    const char *name = ce_input_task(input)->name;

    return input->kind == CE_INPUT_OPENAI
               ? ce_results_path_of_batch(directory, name)
               : ce_results_path(&job, "samples", name, "jsonl");
}

/* 0, or the reason why no file can have the name. */
static int try_path(const char *path)
{
    char *longest = NULL;
    int fd = -1;
    int why = 0;

    if (asprintf(&longest, "%s%s", path, TEMPORARY) < 0) {
        return ENOMEM;
    }
    fd = open(longest, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(longest);
    } else if (errno != EEXIST) {
        why = errno;
    }
    free(longest);
    return why;
}

enum ce_status ce_final_check(const struct ce_inputs *inputs,
                              const struct ce_journal_header *header,
                              const char *directory,
                              struct ce_error *err)
{
    for (size_t i = 0; i < inputs->count; i++) {
        const char *name = ce_input_task(&inputs->input[i])->name;
        char *path = path_of(&inputs->input[i], header, directory);
        int why = path == NULL ? ENOMEM : try_path(path);

        free(path);
        if (why != 0) {
            return ce_fail(err,
                           CE_ERR_IO,
                           "--out: %.100s: the file of task %.60s%s, a name of %zu "
                           "bytes, cannot be written: %s",
                           directory,
                           name,
                           strlen(name) > 60 ? "..." : "",
                           strlen(name),
                           strerror(why));
        }
    }
    return CE_OK;
}
