/* options_help.c - --help: the tables as text for a terminal of 80 columns */

#include "base/options_table.h"

#include <string.h>

#define WIDTH        80
#define WIDEST_LABEL 26

static void put_spaces(FILE *out, size_t count)
{
    fprintf(out, "%*s", (int)count, "");
}

/* The words of `text` up to `end`, filled between `indent` and the right edge;
 * the cursor stands at `column` and is left at the start of a line. */
static void
put_filled(FILE *out, const char *text, const char *end, size_t indent, size_t column)
{
    while (text < end) {
        size_t gap = column > indent ? 1 : 0;
        size_t length = strcspn(text, " \n");

        if (text + length > end) {
            length = (size_t)(end - text);
        }
        if (length > 0 && gap > 0 && column + gap + length > WIDTH) {
            fputc('\n', out);
            column = gap = 0;
        }
        if (length > 0) {
            put_spaces(out, column < indent ? indent - column : gap);
            fwrite(text, 1, length, out);
            column = (column < indent ? indent : column + gap) + length;
        }
        text += length + strspn(text + length, " \n");
    }
    fputc('\n', out);
}

/* A paragraph ends at a blank line; indented lines are kept. */
static void put_paragraphs(FILE *out, const char *text)
{
    while (*text != '\0') {
        const char *blank = strstr(text, "\n\n");
        const char *end = blank != NULL ? blank : text + strlen(text);

        if (*text == ' ') {
            fprintf(out, "%.*s\n", (int)(end - text), text);
        } else {
            put_filled(out, text, end, 0, 0);
        }
        text = end + strspn(end, "\n");
        fputc('\n', out);
    }
}

static void put_usage(FILE *out, const char *program, const struct ce_command *command)
{
    fputs("Usage:\n", out);
    for (const char *const *line = command->usage; line != NULL && *line != NULL;
         line++) {
        fprintf(out, "  %s %s %s\n", program, command->name, *line);
    }
    fputc('\n', out);
}

static size_t label_width(const struct ce_command *command)
{
    struct ce_option_cursor at = {.group = command->groups};
    size_t width = sizeof("--version") - 1;
    char label[128];

    while (ce_option_cursor_next(&at)) {
        size_t length = strlen(ce_option_label(at.option, label, sizeof(label)));

        if (length > width && length <= WIDEST_LABEL) {
            width = length;
        }
    }
    return width;
}

/* A label and, beside it or below it when it is long, its text. */
static void put_entry(
    FILE *out, const char *label, const char *text, const char *limits, size_t indent)
{
    char whole[1200];
    size_t column = strlen(label) + 2;

    (void)snprintf(whole,
                   sizeof(whole),
                   "%s%s%s%s",
                   text,
                   limits[0] != '\0' ? " (" : "",
                   limits,
                   limits[0] != '\0' ? ")" : "");
    fprintf(out, "  %s", label);
    if (column + 2 > indent) {
        fputc('\n', out);
        column = 0;
    }
    put_filled(out, whole, whole + strlen(whole), indent, column);
}

static void put_options(FILE *out, const struct ce_command *command)
{
    struct ce_option_cursor at = {.group = command->groups};
    const struct ce_option_group *group = NULL;
    size_t indent = label_width(command) + 4;

    while (ce_option_cursor_next(&at)) {
        char label[128];
        char limits[400];

        if (at.group != group) {
            fprintf(out, "%s%s:\n", group != NULL ? "\n" : "", at.group->title);
            group = at.group;
        }
        put_entry(out,
                  ce_option_label(at.option, label, sizeof(label)),
                  at.option->help,
                  ce_option_limits(at.option, limits, sizeof(limits)),
                  indent);
    }
    fprintf(out, "%sHelp:\n", group != NULL ? "\n" : "");
    put_entry(out, "-h, --help", "Show this text.", "", indent);
    put_entry(out, "--version", "Show the version.", "", indent);
}

static void put_examples(FILE *out, const struct ce_example *examples)
{
    for (const struct ce_example *e = examples; e != NULL && e->what != NULL; e++) {
        fprintf(out,
                "%s  %s\n    %s\n",
                e == examples ? "\nExamples:\n" : "\n",
                e->what,
                e->line);
    }
}

static void put_command(FILE *out,
                        const struct ce_program *program,
                        const struct ce_command *command)
{
    fprintf(out, "%s %s: %s\n\n", program->name, command->name, command->summary);
    put_usage(out, program->name, command);
    if (command->description != NULL) {
        put_paragraphs(out, command->description);
    }
    put_options(out, command);
    put_examples(out, command->examples);
}

static void put_program(FILE *out, const struct ce_program *program)
{
    fprintf(out, "%s: %s\n\nUsage:\n", program->name, program->summary);
    fprintf(out, "  %s COMMAND [options]\n", program->name);
    fprintf(out, "  %s help COMMAND\n\n", program->name);
    if (program->description != NULL) {
        put_paragraphs(out, program->description);
    }
    fputs("Commands:\n", out);
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        if (!(*c)->hidden) {
            put_entry(out, (*c)->name, (*c)->summary, "", 20);
        }
    }
}

void ce_program_print_help(FILE *out,
                           const struct ce_program *program,
                           const struct ce_command *command)
{
    if (command != NULL) {
        put_command(out, program, command);
    } else {
        put_program(out, program);
    }
}

void ce_program_print_version(FILE *out, const struct ce_program *program)
{
    fprintf(out, "%s %s\n", program->name, program->version);
}
