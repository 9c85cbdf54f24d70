/* options_table.h - what the files of options.h share: walking tables, values,
 * suggestions, and the words that help, man page and messages have in common
 */

#ifndef CE_BASE_OPTIONS_TABLE_H
#define CE_BASE_OPTIONS_TABLE_H

#include "base/options.h"

/* Walks all options of a command in table order: start with
 * {.group = command->groups}, then while (ce_option_cursor_next(&at)). */
struct ce_option_cursor {
    const struct ce_option_group *group;
    const struct ce_option *option; /* NULL before the first */
};
bool ce_option_cursor_next(struct ce_option_cursor *at);

/* True for -x... and --x... and "--"; not for "-", "-5" or "- text". */
bool ce_argument_is_option(const char *text);

/* Reads the arguments after the command's name, then environment and defaults. */
CE_MUST_CHECK enum ce_status ce_command_read_values(const struct ce_program *program,
                                                    const struct ce_command *command,
                                                    int argc,
                                                    char *const *argv,
                                                    void *values,
                                                    struct ce_error *err);

/* Turns `text` into the value at `field`; false when it is not what the option
 * wants. Not for lists, whose items need no conversion. */
bool ce_option_read(const struct ce_option *option, const char *text, void *field);

/* "an integer from 1 to 8", into `out`, cut to fit; returns `out`. */
const char *ce_option_wanted(const struct ce_option *option, char *out, size_t size);

/* "1 to 8; default 4; CEMOE_X", or "" when there is nothing to say. */
const char *ce_option_limits(const struct ce_option *option, char *out, size_t size);

/* "-m, --model DIR", "--[no-]stream", "FILE..." */
const char *ce_option_label(const struct ce_option *option, char *out, size_t size);

/* How a command line spells the option: "--model", or "FILE" by position. */
const char *ce_option_spelling(const struct ce_option *option, char *out, size_t size);

/* The nearest name so far; starts zeroed. */
struct ce_suggestion {
    const char *name; /* NULL: nothing is near */
    size_t distance;
};
/* Keeps `candidate` when it could be what `typed` meant and is nearer. */
void ce_suggestion_offer(struct ce_suggestion *best,
                         const char *typed,
                         const char *candidate);

#endif
