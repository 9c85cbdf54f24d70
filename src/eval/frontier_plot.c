/* frontier_plot.c - NLL against active parameters as data and script for gnuplot
 *
 * A text is a panel. A line joins truncation, or scaling tables of one name, over n_ce;
 * affine files have one n_ce each as a rule, so a line joins those of one n_ce. Data
 * are blocks that a script calls `index`, in the order of panels and lines.
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
        if (*c == '\'') {
            ce_string_append(text, "''");
        } else if ((unsigned char)*c < ' ') {
            ce_string_append(text, " ");
        } else {
            ce_string_append_bytes(text, c, 1);
        }
    }
    ce_string_append(text, "'");
}

static bool is_of_line(const struct ce_frontier *frontier, size_t s, size_t first)
{
    const struct ce_frontier_setting *one = &frontier->setting[s];
    const struct ce_frontier_setting *other = &frontier->setting[first];

    if (one->kind != other->kind) {
        return false;
    }
    return one->kind == CE_FRONTIER_AFFINE ? one->n_ce == other->n_ce
                                           : strcmp(one->name, other->name) == 0;
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

/* "truncated", "affine, n_ce 2" */
static void append_title(struct ce_string *text,
                         const struct ce_frontier_setting *first)
{
    char words[PIECE_BYTES];

    if (first->kind == CE_FRONTIER_AFFINE) {
        (void)snprintf(words,
                       sizeof(words),
                       "%s, n_ce %zu",
                       ce_frontier_kind_name(first->kind),
                       first->n_ce);
        append_quoted(text, words);
    } else {
        append_quoted(text, first->name);
    }
}

static bool is_left_of(const struct ce_frontier *frontier, size_t a, size_t b)
{
    uint64_t active_a = frontier->setting[a].active;
    uint64_t active_b = frontier->setting[b].active;

    return active_a < active_b || (active_a == active_b && a < b);
}

/* The point of a line next on the right of `left`, the leftmost for `settings`; the
 * number of settings where there is none. */
static size_t next_point(const struct ce_frontier *frontier, size_t first, size_t left)
{
    const size_t none = frontier->settings;
    size_t found = none;

    for (size_t s = 0; s < none; s++) {
        if (is_of_line(frontier, s, first) &&
            (left == none || is_left_of(frontier, left, s)) &&
            (found == none || is_left_of(frontier, s, found))) {
            found = s;
        }
    }
    return found;
}

static void append_point(struct ce_string *text,
                         const struct ce_frontier *frontier,
                         size_t t,
                         size_t s)
{
    const struct ce_frontier_cell *cell = ce_frontier_cell(frontier, s, t);

    append(text,
           "%.6f %.6f %.6f %zu ",
           (double)frontier->setting[s].active / 1e6,
           cell->nll,
           cell->full.error.known ? cell->full.error.value : 0.0,
           frontier->setting[s].n_ce);
    append_quoted(text, frontier->setting[s].name);
    ce_string_append(text, "\n");
}

/* Truncation begins where nothing is dropped. */
static void append_line(struct ce_string *text,
                        const struct ce_frontier *frontier,
                        size_t t,
                        size_t first)
{
    const size_t none = frontier->settings;

    append(text, "# text %zu: ", t + 1);
    append_quoted(text, frontier->text[t].name);
    ce_string_append(text, ", ");
    append_title(text, &frontier->setting[first]);
    ce_string_append(text, "\n");
    for (size_t s = next_point(frontier, first, none); s < none;
         s = next_point(frontier, first, s)) {
        append_point(text, frontier, t, s);
    }
    if (frontier->setting[first].kind == CE_FRONTIER_TRUNCATED) {
        append_point(text, frontier, t, 0);
    }
    ce_string_append(text, "\n\n");
}

char *ce_frontier_plot_data(const struct ce_frontier *frontier)
{
    struct ce_string text = {.data = NULL};

    ce_string_append(&text,
                     "# active parameters (M), NLL a token, standard error of its "
                     "difference to full, n_ce, name\n");
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
               " index %zu using 1:2:3 with yerrorlines lt %zu pt 7 ps %s title ",
               (*block)++,
               line + 1,
               frontier->setting[s].kind == CE_FRONTIER_FULL ? "1.0" : "0.6");
        append_title(text, &frontier->setting[s]);
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
