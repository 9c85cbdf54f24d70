/* options.h - command lines from tables
 *
 * A command describes its options once, in tables. From them come the parser
 * with its defaults, environment variables, ranges and messages, the text of
 * --help, the man page and the shell completion, so that none can disagree.
 *
 *     struct copy_values { const char *model; int times; bool json; };
 *
 *     static const struct ce_option copy_options[] = {
 *         {.name = "model", .kind = CE_OPTION_STRING, .argument = "DIR",
 *          .field = offsetof(struct copy_values, model), .required = true,
 *          .env = "CEMOE_MODEL", .help = "Checkpoint directory."},
 *         {.name = "times", .kind = CE_OPTION_INT, .argument = "N",
 *          .field = offsetof(struct copy_values, times), .initial = "1",
 *          .min = 1, .max = INT_MAX, .help = "How often."},
 *         {.name = "json", .kind = CE_OPTION_FLAG,
 *          .field = offsetof(struct copy_values, json), .help = "As JSON."},
 *         {0}};
 *     static const struct ce_option_group copy_groups[] = {
 *         {.title = "Options", .options = copy_options}, {0}};
 *     const struct ce_command copy_command = {
 *         .name = "copy", .summary = "Copy a model",
 *         .usage = (const char *const[]){"--model DIR [options]", NULL},
 *         .groups = copy_groups, .values_size = sizeof(struct copy_values),
 *         .run = copy_run};
 *
 * Accepted: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, --flag, --no-flag
 * (any flag), positional arguments, and -- before positional arguments that
 * look like options. Values may begin with a dash unless they look like an
 * option (-x, --x); --name=VALUE takes anything. A repeated scalar: the last
 * wins. A repeated list: appended. The command line wins over the environment
 * variable, which wins over the default; an empty variable counts as unset.
 * --help, -h and --version belong to every command.
 */

#ifndef CE_BASE_OPTIONS_H
#define CE_BASE_OPTIONS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What an option's text is turned into; `field` must have this type. */
enum ce_option_kind {
    CE_OPTION_FLAG = 0, /* bool; takes no value */
    CE_OPTION_STRING,   /* const char *, NULL when not given */
    CE_OPTION_INT,      /* int */
    CE_OPTION_UINT64,   /* uint64_t, decimal or 0x hexadecimal */
    CE_OPTION_SIZE,     /* size_t; suffix k, M, G or T: powers of 1024 */
    CE_OPTION_DOUBLE,   /* double, finite */
    CE_OPTION_LIST,     /* struct ce_option_list; takes the following arguments
                           up to the next option, at least one */
};

/* Values of a list option, in the order given; items point into argv or the
 * environment, the array belongs to the ce_command_line. */
struct ce_option_list {
    const char **item;
    size_t count;
};

struct ce_option {
    const char *name; /* without dashes; NULL ends a table */
    char short_name;  /* without dash; 0: none */
    bool positional;  /* filled from arguments without a name, in table order;
                         the kind is not a flag, a list takes all that is left */
    bool required;    /* must come from the command line or the environment */
    enum ce_option_kind kind;
    size_t field;             /* offset of the value in the group's struct */
    size_t given;             /* offset of a bool set when the value is not the default;
                                 0: none, so it cannot be the first member */
    const char *argument;     /* shown as the value: "N", "DIR"; not for flags */
    const char *initial;      /* the default, as a user would write it; may lie outside
                                 the range to mean "not given"; NULL: zero */
    const char *initial_help; /* shown as the default instead of `initial` */
    const char *const *choices; /* strings: the allowed values, NULL-terminated */
    double min, max;            /* numbers: checked where they differ; HUGE_VAL: open */
    const char *env;            /* environment variable, or NULL */
    const char *help;           /* sentences; without the default and the range */
};

/* A titled section of the help. The same table can serve several commands:
 * `offset` says where in a command's values the table's struct lies. */
struct ce_option_group {
    const char *title; /* NULL ends the groups */
    const struct ce_option *options;
    size_t offset;
};

struct ce_example {
    const char *what; /* NULL ends the examples */
    const char *line; /* complete, as typed */
};

struct ce_command {
    const char *name;         /* "generate"; two words are fine: "bench step" */
    const char *summary;      /* one line, no full stop */
    const char *const *usage; /* what follows the name, NULL-terminated */
    const char *description;  /* paragraphs (see below), or NULL */
    const struct ce_example *examples;    /* or NULL */
    const struct ce_option_group *groups; /* or NULL */
    size_t values_size;                   /* of the struct the groups fill */
    bool hidden;                          /* works but is not listed */
    bool uses_blas;                       /* for long: OpenBLAS should be at its best */
    int (*run)(const void *values);       /* returns the exit code */
};

/* A further section of the man page, e.g. EXIT STATUS. */
struct ce_manual_section {
    const char *title; /* NULL ends the sections */
    const char *text;
};

/* Paragraphs are separated by blank lines and filled; lines that begin with a
 * space are kept as they are. */
struct ce_program {
    const char *name;    /* "cemoe" */
    const char *version; /* CE_VERSION of base/version.h */
    const char *summary;
    const char *description;
    const struct ce_command *const *commands; /* NULL-terminated */
    const struct ce_manual_section *sections; /* or NULL */
};

enum ce_request { CE_REQUEST_RUN = 0, CE_REQUEST_HELP, CE_REQUEST_VERSION };

struct ce_command_line {
    enum ce_request request;
    const struct ce_command *command; /* NULL: the program (help and version) */
    void *values;                     /* command->values_size bytes, for run */
};

/* Reads `cemoe COMMAND ...`, `cemoe help COMMAND`, `cemoe --help`. argv and the
 * environment are borrowed until ce_command_line_free. Prints nothing.
 * Errors: CE_ERR_ARG, with a line ready to be printed as it is, e.g.
 * "cemoe generate: unknown option --max-token; did you mean --max-tokens?";
 * the exit code of that is CE_EXIT_USAGE. */
CE_MUST_CHECK enum ce_status ce_command_line_parse(struct ce_command_line *line,
                                                   const struct ce_program *program,
                                                   int argc,
                                                   char *const *argv,
                                                   struct ce_error *err);
/* Accepts a zeroed object and one whose parse failed. */
void ce_command_line_free(struct ce_command_line *line);

/* Exit codes of every command. */
enum ce_exit {
    CE_EXIT_DONE = 0,
    CE_EXIT_FAILED = 1,
    CE_EXIT_USAGE = 2,
    CE_EXIT_CHECK = 3,   /* ran, but a check did not hold */
    CE_EXIT_STOPPED = 4, /* stopped early, can be resumed */
};

/* The help of one command, or of the program where `command` is NULL. */
void ce_program_print_help(FILE *out,
                           const struct ce_program *program,
                           const struct ce_command *command);
void ce_program_print_version(FILE *out, const struct ce_program *program);
/* The whole manual as one page of roff, section 1. */
void ce_program_print_man(FILE *out, const struct ce_program *program);
/* A bash completion script. */
void ce_program_print_completion(FILE *out, const struct ce_program *program);

/* What a command was told, a line "name=value" per option: all but paths of files and
 * directories, which may be other ones where the command runs again, and the options
 * named in `but`, NULL-terminated. Long texts are hashed. The caller frees it; NULL: no
 * memory. (options_describe.c) */
char *ce_options_describe(const struct ce_command *command,
                          const void *values,
                          const char *const *but);

#endif
