/* options.c - which command a command line names and what it asks of it */

#include "base/options.h"

#include "base/options_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool ce_option_cursor_next(struct ce_option_cursor *at)
{
    while (at->group != NULL && at->group->title != NULL) {
        at->option = at->option == NULL ? at->group->options : at->option + 1;
        if (at->option->name != NULL) {
            return true;
        }
        at->option = NULL;
        at->group++;
    }
    return false;
}

/* -x... or --x..., and "--" itself; not "-", "-5" or "- text". */
bool ce_argument_is_option(const char *text)
{
    if (text[0] != '-') {
        return false;
    }
    if (text[1] != '-') {
        return isalpha((unsigned char)text[1]) != 0;
    }
    return text[2] == '\0' || isalpha((unsigned char)text[2]) != 0;
}

static bool is_help(const char *text)
{
    return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
}

/* The number of arguments that spell `name`, 0 when they do not. */
static int words_matched(const char *name, int argc, char *const *argv)
{
    int words = 0;

    while (words < argc) {
        size_t length = strcspn(name, " ");

        if (strlen(argv[words]) != length || strncmp(argv[words], name, length) != 0) {
            return 0;
        }
        words++;
        if (name[length] == '\0') {
            return words;
        }
        name += length + 1;
    }
    return 0;
}

/* `words` are the arguments that should have begun with a command. */
static enum ce_status refuse_command(const struct ce_program *program,
                                     int count,
                                     char *const *words,
                                     struct ce_error *err)
{
    bool two = count > 1 && !ce_argument_is_option(words[1]);
    struct ce_suggestion near = {.name = NULL};
    char typed[80];

    (void)snprintf(typed, sizeof(typed), "%s %s", words[0], two ? words[1] : "");
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        ce_suggestion_offer(&near, typed, (*c)->name);
        ce_suggestion_offer(&near, words[0], (*c)->name);
    }
    return ce_fail(err,
                   CE_ERR_ARG,
                   "%s: unknown command %.80s%s%s%s%s",
                   program->name,
                   words[0],
                   near.name != NULL ? "; did you mean " : " (see ",
                   near.name != NULL ? near.name : program->name,
                   near.name != NULL ? "?" : " --help",
                   near.name != NULL ? "" : ")");
}

/* The command with the longest name that `words` begin with; *used of them. */
static const struct ce_command *
find_command(const struct ce_program *program, int count, char *const *words, int *used)
{
    const struct ce_command *found = NULL;

    *used = 0;
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        int matched = words_matched((*c)->name, count, words);

        if (matched > *used) {
            *used = matched;
            found = *c;
        }
    }
    return found;
}

/* --help and --version count wherever they stand, also beside mistakes. */
static enum ce_request find_request(int count, char *const *words)
{
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
        if (is_help(words[i])) {
            return CE_REQUEST_HELP;
        }
        if (strcmp(words[i], "--version") == 0) {
            return CE_REQUEST_VERSION;
        }
    }
    return CE_REQUEST_RUN;
}

static enum ce_status read_values(struct ce_command_line *line,
                                  const struct ce_program *program,
                                  int count,
                                  char *const *words,
                                  struct ce_error *err)
{
    line->values = calloc(1, line->command->values_size + 1);
    if (line->values == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "out of memory for options");
    }
    return ce_command_read_values(
        program, line->command, count, words, line->values, err);
}

static enum ce_status read_command(struct ce_command_line *line,
                                   const struct ce_program *program,
                                   int count,
                                   char *const *words,
                                   struct ce_error *err)
{
    int used;

    line->command = find_command(program, count, words, &used);
    if (line->command == NULL) {
        return refuse_command(program, count, words, err);
    }
    if (line->request != CE_REQUEST_RUN) {
        return CE_OK;
    }
    return read_values(line, program, count - used, words + used, err);
}

enum ce_status ce_command_line_parse(struct ce_command_line *line,
                                     const struct ce_program *program,
                                     int argc,
                                     char *const *argv,
                                     struct ce_error *err)
{
    bool help_word = argc > 1 && strcmp(argv[1], "help") == 0;
    enum ce_request request =
        help_word ? CE_REQUEST_HELP : find_request(argc - 1, argv + 1);
    /* `help` or `--help` may stand before the command it is about. */
    int first =
        request != CE_REQUEST_RUN && (help_word || ce_argument_is_option(argv[1])) ? 2
                                                                                   : 1;

    *line = (struct ce_command_line){.request = request};
    if (first < argc) {
        return read_command(line, program, argc - first, argv + first, err);
    }
    if (request != CE_REQUEST_RUN) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_ARG,
                   "%s: no command given (see %s --help)",
                   program->name,
                   program->name);
}

void ce_command_line_free(struct ce_command_line *line)
{
    struct ce_option_cursor at = {.group = line->command != NULL ? line->command->groups
                                                                 : NULL};

    while (line->values != NULL && ce_option_cursor_next(&at)) {
        if (at.option->kind == CE_OPTION_LIST) {
            unsigned char *values = (unsigned char *)line->values + at.group->offset;

            free(((struct ce_option_list *)(void *)(values + at.option->field))->item);
        }
    }
    free(line->values);
    *line = (struct ce_command_line){.request = CE_REQUEST_RUN};
}
