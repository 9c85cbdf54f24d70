/* options_completion.c - the tables as a bash completion script
 *
 * The words typed so far select a case; in it the previous word selects what a
 * value may be, and everything else completes the option names. Where the
 * script has no answer bash completes file names (-o default).
 */

#include "base/options_table.h"

#include <string.h>

/* The first words of the commands, each once: those of one group stand together. */
static void put_first_words(FILE *out, const struct ce_program *program)
{
    const char *last = "";
    size_t last_length = 0;

    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        size_t length = strcspn((*c)->name, " ");

        if (!(*c)->hidden &&
            (length != last_length || strncmp((*c)->name, last, length) != 0)) {
            fprintf(out, " %.*s", (int)length, (*c)->name);
            last = (*c)->name;
            last_length = length;
        }
    }
}

/* "bench ") words="step kernels" for a command of two words. */
static void put_second_words(FILE *out, const struct ce_program *program)
{
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        size_t length = strcspn((*c)->name, " ");

        if (!(*c)->hidden && (*c)->name[length] == ' ') {
            fprintf(out,
                    "    \"%.*s \"*) words=\"$words %s\" ;;&\n",
                    (int)length,
                    (*c)->name,
                    (*c)->name + length + 1);
        }
    }
}

/* What may follow an option that takes a value: its choices, or a file name. */
static void put_values(FILE *out, const struct ce_option *option)
{
    if (option->positional || option->kind == CE_OPTION_FLAG) {
        return;
    }
    fprintf(out, "        --%s) words=\"", option->name);
    for (const char *const *choice = option->choices; choice != NULL && *choice != NULL;
         choice++) {
        fprintf(out, "%s%s", choice == option->choices ? "" : " ", *choice);
    }
    fputs("\" ;;\n", out);
}

static void put_command(FILE *out, const struct ce_command *command)
{
    struct ce_option_cursor at = {.group = command->groups};

    fprintf(out, "    \"%s \"*)\n        case \"$previous\" in\n", command->name);
    while (ce_option_cursor_next(&at)) {
        put_values(out, at.option);
    }
    fputs("        *) words=\"--help", out);
    at = (struct ce_option_cursor){.group = command->groups};
    while (ce_option_cursor_next(&at)) {
        if (!at.option->positional) {
            fprintf(out, " --%s", at.option->name);
        }
    }
    fputs("\" ;;\n        esac\n        ;;\n", out);
}

void ce_program_print_completion(FILE *out, const struct ce_program *program)
{
    fprintf(out, "# bash completion for %s\n_%s()\n{\n", program->name, program->name);
    fputs("    local current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
          "    local previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "    local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1} \" words=\n\n"
          "    case \"$line\" in\n"
          "    \" \") words=\"help",
          out);
    put_first_words(out, program);
    fputs("\" ;;\n", out);
    put_second_words(out, program);
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        if (!(*c)->hidden) {
            put_command(out, *c);
        }
    }
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
          "}\n",
          out);
    fprintf(out, "complete -o default -F _%s %s\n", program->name, program->name);
}
