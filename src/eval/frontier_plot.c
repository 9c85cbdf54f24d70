/* frontier_plot.c - NLL against active parameters as data and script for gnuplot
 *
 * A line joins the settings of one name; a text is a panel. Data are blocks that a
 * script calls `index`, in the order of panels and lines.
 */

#include "eval/frontier.h"
#include "eval/strings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_WIDTH = 480, PANEL_HEIGHT = 400, TITLE_HEIGHT = 40, MOST_IN_A_ROW = 3 };

/* Bounded by the callers: numbers and words of ours. */
#define PIECE_BYTES 256

__attribute__((format(printf, 2, 3))) static void
append(struct ce_string *text, const char *format, ...)
{
    char piece[PIECE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    ce_string_append(text, piece);
}

/* In single quotes nothing but a quote is special. */
static void append_quoted(struct ce_string *text, const char *string)
{
    ce_string_append(text, "'");
    for (const char *c = string; *c != '\0'; c++) {
        char piece[2] = {(unsigned char)*c < ' ' ? ' ' : *c, '\0'};

        ce_string_append(text, *c == '\'' ? "''" : piece);
    }
    ce_string_append(text, "'");
}

static bool is_of_line(const struct ce_frontier *frontier, size_t s, size_t first)
{
    return frontier->setting[s].kind == frontier->setting[first].kind &&
           strcmp(frontier->setting[s].name, frontier->setting[first].name) == 0;
}

/* The first setting of the line behind that which begins with `s`; the number of
 * settings where there is none. */
static size_t next_line(const struct ce_frontier *frontier, size_t s)
{
    bool is_new = false;

    while (!is_new && ++s < frontier->settings) {
        is_new = true;
        for (size_t before = 0; before < s; before++) {
            is_new = is_new && !is_of_line(frontier, s, before);
        }
    }
    return s;
}

static void append_line(struct ce_string *text,
                        const struct ce_frontier *frontier,
                        size_t t,
                        size_t first)
{
    append(text, "# text %zu: ", t + 1);
    append_quoted(text, frontier->text[t].name);
    ce_string_append(text, ", ");
    append_quoted(text, frontier->setting[first].name);
    ce_string_append(text, "\n");
    for (size_t s = first; s < frontier->settings; s++) {
        const struct ce_frontier_cell *cell = ce_frontier_cell(frontier, s, t);

        if (is_of_line(frontier, s, first)) {
            append(text,
                   "%.6f %.6f %.6f %zu\n",
                   (double)frontier->setting[s].active / 1e6,
                   cell->nll,
                   cell->full.error.known ? cell->full.error.value : 0.0,
                   frontier->setting[s].n_ce);
        }
    }
    ce_string_append(text, "\n\n");
}

char *ce_frontier_plot_data(const struct ce_frontier *frontier)
{
    struct ce_string text = {.data = NULL};

    ce_string_append(&text,
                     "# active parameters (M), NLL a token, standard error of its "
                     "difference to full, n_ce\n");
    for (size_t t = 0; t < frontier->texts; t++) {
        for (size_t s = 0; s < frontier->settings; s = next_line(frontier, s)) {
            append_line(&text, frontier, t, s);
        }
    }
    return ce_string_take(&text);
}

/* One panel; *block is the next block of data. */
static void append_panel(struct ce_string *text,
                         const struct ce_frontier *frontier,
                         size_t t,
                         const char *data,
                         size_t *block)
{
    size_t line = 0;

    ce_string_append(text, "set title ");
    append_quoted(text, frontier->text[t].name);
    ce_string_append(text, "\nplot");
    for (size_t s = 0; s < frontier->settings; s = next_line(frontier, s)) {
        ce_string_append(text, line == 0 ? " " : ", \\\n    ");
        append_quoted(text, data);
        append(text,
               " index %zu using 1:2:3 with yerrorlines lt %zu pt 7 ps 0.6 title ",
               (*block)++,
               line + 1);
        append_quoted(text, frontier->setting[s].name);
        line++;
    }
    ce_string_append(text, "\n");
}

char *ce_frontier_plot_script(const struct ce_frontier *frontier,
                              const char *title,
                              const char *data)
{
    struct ce_string text = {.data = NULL};
    size_t across =
        frontier->texts < MOST_IN_A_ROW ? frontier->texts : (size_t)MOST_IN_A_ROW;
    size_t down = (frontier->texts + across - 1) / across;
    size_t block = 0;

    ce_string_append(&text,
                     "# gnuplot frontier.gp: error bars are those of the difference "
                     "to full\n"
                     "if (!exists(\"out\")) out = \"frontier.svg\"\n");
    append(&text,
           "set terminal svg noenhanced size %zu,%zu background \"white\"\n",
           across * PANEL_WIDTH,
           down * PANEL_HEIGHT + TITLE_HEIGHT);
    append(&text, "set output out\nset multiplot layout %zu,%zu title ", down, across);
    append_quoted(&text, title);
    ce_string_append(&text,
                     "\nset grid\nset key top right\n"
                     "set offsets graph 0.05, graph 0.05, graph 0.1, graph 0.05\n"
                     "set xlabel \"active parameters (M)\"\n"
                     "set ylabel \"NLL a token\"\n");
    for (size_t t = 0; t < frontier->texts; t++) {
        append_panel(&text, frontier, t, data, &block);
    }
    ce_string_append(&text, "unset multiplot\n");
    return ce_string_take(&text);
}
