/* options_man.c - the tables as one page of roff (man macros), section 1 */

#include "base/options_table.h"

#include <ctype.h>
#include <string.h>

/* Text that roff shows as it is: a dash stays a dash, a line that begins with
 * a control character is text. */
static void put_text(FILE *out, const char *text, size_t length)
{
    bool line_start = true;

    for (size_t i = 0; i < length; i++) {
        if (line_start && (text[i] == '.' || text[i] == '\'')) {
            fputs("\\&", out);
        }
        if (text[i] == '-') {
            fputs("\\-", out);
        } else if (text[i] == '\\') {
            fputs("\\e", out);
        } else {
            fputc(text[i], out);
        }
        line_start = text[i] == '\n';
    }
}

static void put_string(FILE *out, const char *text)
{
    put_text(out, text, strlen(text));
}

/* One request with its argument on one line: .SH "NAME" */
static void put_heading(FILE *out, const char *macro, const char *text)
{
    fprintf(out, ".%s \"", macro);
    put_string(out, text);
    fputs("\"\n", out);
}

static void put_bold_line(FILE *out, const char *text)
{
    fputs("\\fB", out);
    put_string(out, text);
    fputs("\\fR\n", out);
}

static void put_paragraphs(FILE *out, const char *text)
{
    while (*text != '\0') {
        const char *blank = strstr(text, "\n\n");
        size_t length = blank != NULL ? (size_t)(blank - text) : strlen(text);
        bool kept = *text == ' ';

        fputs(kept ? ".PP\n.nf\n" : ".PP\n", out);
        put_text(out, text, length);
        fputs(kept ? "\n.fi\n" : "\n", out);
        text += length;
        text += strspn(text, "\n");
    }
}

static void put_option(FILE *out, const struct ce_option *option)
{
    char label[128];
    char limits[400];

    fputs(".TP\n", out);
    put_bold_line(out, ce_option_label(option, label, sizeof(label)));
    put_string(out, option->help);
    ce_option_limits(option, limits, sizeof(limits));
    if (limits[0] != '\0') {
        fputs(" (", out);
        put_string(out, limits);
        fputc(')', out);
    }
    fputc('\n', out);
}

static void put_options(FILE *out, const struct ce_command *command)
{
    struct ce_option_cursor at = {.group = command->groups};
    const struct ce_option_group *group = NULL;

    while (ce_option_cursor_next(&at)) {
        if (at.group != group) {
            group = at.group;
            fputs(".PP\n\\fI", out);
            put_string(out, group->title);
            fputs("\\fR\n", out);
        }
        put_option(out, at.option);
    }
}

static void
put_command(FILE *out, const char *program, const struct ce_command *command)
{
    put_heading(out, "SS", command->name);
    put_string(out, command->summary);
    fputs(".\n.PP\n.nf\n", out);
    for (const char *const *line = command->usage; line != NULL && *line != NULL;
         line++) {
        fprintf(out, "\\fB%s ", program);
        put_string(out, command->name);
        fputs("\\fR ", out);
        put_string(out, *line);
        fputc('\n', out);
    }
    fputs(".fi\n", out);
    if (command->description != NULL) {
        put_paragraphs(out, command->description);
    }
    put_options(out, command);
}

static void put_examples(FILE *out, const struct ce_program *program)
{
    fputs(".SH EXAMPLES\n", out);
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        const struct ce_example *e = (*c)->hidden ? NULL : (*c)->examples;

        for (; e != NULL && e->what != NULL; e++) {
            fputs(".PP\n", out);
            put_string(out, e->what);
            fputs("\n.PP\n.RS 4\n.nf\n", out);
            put_string(out, e->line);
            fputs("\n.fi\n.RE\n", out);
        }
    }
}

/* Whether no option before this one names the same variable; a table shared by
 * two commands is met twice. */
static bool is_first_use(const struct ce_program *program,
                         const struct ce_command *command,
                         const struct ce_option *option)
{
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        struct ce_option_cursor at = {.group = (*c)->groups};

        while (ce_option_cursor_next(&at)) {
            if (*c == command && at.option == option) {
                return true;
            }
            if (at.option->env != NULL && strcmp(at.option->env, option->env) == 0) {
                return false;
            }
        }
    }
    return true;
}

static void put_variable(FILE *out, const struct ce_option *option)
{
    char spelling[128];

    fputs(".TP\n", out);
    put_bold_line(out, option->env);
    fputs("Default of \\fB", out);
    put_string(out, ce_option_spelling(option, spelling, sizeof(spelling)));
    fputs("\\fR.\n", out);
}

static void put_environment(FILE *out, const struct ce_program *program)
{
    fputs(".SH DEFAULTS FROM THE ENVIRONMENT\nThe command line wins over these.\n",
          out);
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        struct ce_option_cursor at = {.group = (*c)->groups};

        while (ce_option_cursor_next(&at)) {
            if (at.option->env != NULL && is_first_use(program, *c, at.option)) {
                put_variable(out, at.option);
            }
        }
    }
}

static void put_capitals(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        fputc(toupper((unsigned char)*text), out);
    }
}

static void put_head(FILE *out, const struct ce_program *program)
{
    fputs(".TH ", out);
    put_capitals(out, program->name);
    fprintf(
        out, " 1 \"\" \"%s %s\" \"User Commands\"\n", program->name, program->version);
    fprintf(out, ".SH NAME\n%s \\- ", program->name);
    put_string(out, program->summary);
    fprintf(out, "\n.SH SYNOPSIS\n\\fB%s\\fR COMMAND [options]\n", program->name);
    if (program->description != NULL) {
        fputs(".SH DESCRIPTION\n", out);
        put_paragraphs(out, program->description);
    }
}

void ce_program_print_man(FILE *out, const struct ce_program *program)
{
    const struct ce_manual_section *section = program->sections;

    put_head(out, program);
    fputs(".SH COMMANDS\n", out);
    for (const struct ce_command *const *c = program->commands; *c != NULL; c++) {
        if (!(*c)->hidden) {
            put_command(out, program->name, *c);
        }
    }
    put_environment(out, program);
    for (; section != NULL && section->title != NULL; section++) {
        put_heading(out, "SH", section->title);
        put_paragraphs(out, section->text);
    }
    put_examples(out, program);
}
