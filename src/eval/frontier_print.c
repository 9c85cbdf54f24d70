/* frontier_print.c - settings on texts as JSON and as Markdown */

#include "eval/estimate.h"
#include "eval/frontier.h"
#include "eval/markdown.h"
#include "eval/python_json.h"
#include "eval/strings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS(list) (sizeof(list) / sizeof((list)[0]))

/* ---- JSON ---- */

static json_t *describe_text(const struct ce_frontier_text *text)
{
    return json_pack("{s:s, s:I, s:I, s:I}",
                     "name",
                     text->name,
                     "tokens",
                     (json_int_t)text->tokens,
                     "windows",
                     (json_int_t)text->windows,
                     "scored",
                     (json_int_t)text->scored);
}

static json_t *describe_windows(const double *window, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_real(window[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *describe_cell(const struct ce_frontier_cell *cell,
                             const struct ce_frontier_text *text)
{
    return json_pack("{s:s, s:f, s:f, s:o, s:o, s:o, s:b, s:o}",
                     "text",
                     text->name,
                     "nll",
                     cell->nll,
                     "perplexity",
                     exp(cell->nll),
                     "minus_full",
                     ce_estimate_json(&cell->full),
                     "minus_truncated",
                     ce_estimate_json(&cell->truncated),
                     "recovered_fraction",
                     ce_estimate_json(&cell->recovered),
                     "best",
                     (int)cell->best,
                     "window_nll",
                     describe_windows(cell->window, text->windows));
}

static json_t *describe_setting(const struct ce_frontier *frontier, size_t s)
{
    const struct ce_frontier_setting *setting = &frontier->setting[s];
    json_t *cells = json_array();

    for (size_t t = 0; t < frontier->texts; t++) {
        if (json_array_append_new(cells,
                                  describe_cell(ce_frontier_cell(frontier, s, t),
                                                &frontier->text[t])) != 0) {
            json_decref(cells);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}",
                     "kind",
                     ce_frontier_kind_name(setting->kind),
                     "name",
                     setting->name,
                     "n_ce",
                     (json_int_t)setting->n_ce,
                     "main_experts",
                     (json_int_t)setting->mains,
                     "active_parameters",
                     (json_int_t)setting->active,
                     "compressed_parameters",
                     (json_int_t)setting->added,
                     "replica_bytes",
                     (json_int_t)setting->replica_bytes,
                     "texts",
                     cells);
}

bool ce_frontier_describe(const struct ce_frontier *frontier, json_t *object)
{
    json_t *texts = json_array();
    json_t *settings = json_array();
    bool right = true;

    for (size_t t = 0; t < frontier->texts; t++) {
        right = json_array_append_new(texts, describe_text(&frontier->text[t])) == 0 &&
                right;
    }
    for (size_t s = 0; s < frontier->settings; s++) {
        right = json_array_append_new(settings, describe_setting(frontier, s)) == 0 &&
                right;
    }
    right = json_object_set_new(object, "texts", texts) == 0 && right;
    return json_object_set_new(object, "settings", settings) == 0 && right;
}

static double tokens_per_second(const struct ce_frontier_run *run)
{
    return run->seconds > 0.0 ? (double)run->tokens / run->seconds : 0.0;
}

static double bytes_per_token(const struct ce_frontier_run *run)
{
    return run->tokens > 0 ? (double)run->moved_bytes / (double)run->tokens : 0.0;
}

json_t *ce_frontier_describe_runs(const struct ce_frontier *frontier)
{
    json_t *array = json_array();

    for (size_t s = 0; s < frontier->settings; s++) {
        const struct ce_frontier_setting *setting = &frontier->setting[s];
        json_t *object = json_pack("{s:s, s:I, s:f, s:I, s:f, s:I, s:f}",
                                   "name",
                                   setting->name,
                                   "n_ce",
                                   (json_int_t)setting->n_ce,
                                   "seconds",
                                   setting->run.seconds,
                                   "tokens",
                                   (json_int_t)setting->run.tokens,
                                   "tokens_per_second",
                                   tokens_per_second(&setting->run),
                                   "moved_bytes",
                                   (json_int_t)setting->run.moved_bytes,
                                   "moved_bytes_per_token",
                                   bytes_per_token(&setting->run));

        if (json_array_append_new(array, object) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

char *ce_frontier_json(const json_t *document)
{
    struct ce_string text = {.failed = document == NULL};

    if (!text.failed) {
        ce_python_json(&text, document, 1);
    }
    ce_string_append(&text, "\n");
    return ce_string_take(&text);
}

/* ---- Markdown ---- */

static const struct ce_estimate_style difference = {
    .scale = 1.0, .decimals = 4, .sign = true};
static const struct ce_estimate_style percent = {
    .scale = 100.0, .decimals = 1, .unit = " %"};

/* What can be no number of this setting is left empty. */
static void
add_estimate(struct ce_markdown *table, const struct ce_estimate *estimate, bool share)
{
    char text[CE_ESTIMATE_BYTES];

    ce_markdown_add(
        table,
        "%s",
        estimate->value.known
            ? ce_estimate_text(estimate, share ? &percent : &difference, text)
            : "");
}

static void add_name(struct ce_markdown *table, const struct ce_frontier_setting *of)
{
    if (of->kind == CE_FRONTIER_SCALING || of->kind == CE_FRONTIER_AFFINE) {
        ce_markdown_add(table, "%s (%s)", of->name, ce_frontier_kind_name(of->kind));
    } else {
        ce_markdown_add(table, "%s", of->name);
    }
    ce_markdown_add(table, "%zu", of->n_ce);
}

static char *text_table(const struct ce_frontier *frontier, size_t t)
{
    static const struct ce_markdown_column column[] = {{"Setting", false},
                                                       {"n_ce", true},
                                                       {"Active (M)", true},
                                                       {"NLL", true},
                                                       {"Perplexity", true},
                                                       {"− full", true},
                                                       {"− truncated", true},
                                                       {"Recovered", true},
                                                       {"Best", false}};
    struct ce_markdown table = {.column = column, .columns = COLUMNS(column)};

    for (size_t s = 0; s < frontier->settings; s++) {
        const struct ce_frontier_setting *setting = &frontier->setting[s];
        const struct ce_frontier_cell *cell = ce_frontier_cell(frontier, s, t);

        add_name(&table, setting);
        ce_markdown_add(&table, "%.3f", (double)setting->active / 1e6);
        ce_markdown_add(&table, "%.4f", cell->nll);
        ce_markdown_add(&table, "%.4f", exp(cell->nll));
        add_estimate(&table, &cell->full, false);
        add_estimate(&table, &cell->truncated, false);
        add_estimate(&table, &cell->recovered, true);
        ce_markdown_add(&table, "%s", cell->best ? "yes" : "");
    }
    return ce_markdown_take(&table);
}

static char *settings_table(const struct ce_frontier *frontier)
{
    static const struct ce_markdown_column column[] = {
        {"Setting", false},
        {"n_ce", true},
        {"Experts in full", true},
        {"Active parameters", true},
        {"Compressed of them", true},
        {"Replica bytes per rank", true}};
    struct ce_markdown table = {.column = column, .columns = COLUMNS(column)};

    for (size_t s = 0; s < frontier->settings; s++) {
        const struct ce_frontier_setting *setting = &frontier->setting[s];

        add_name(&table, setting);
        ce_markdown_add(&table, "%zu", setting->mains);
        ce_markdown_add(&table, "%llu", (unsigned long long)setting->active);
        ce_markdown_add(&table, "%llu", (unsigned long long)setting->added);
        ce_markdown_add(&table, "%llu", (unsigned long long)setting->replica_bytes);
    }
    return ce_markdown_take(&table);
}

/* Appends a table and frees it; the string has failed without one. */
static void append_table(struct ce_string *text, char *table)
{
    if (table == NULL) {
        text->failed = true;
    } else {
        ce_string_append(text, table);
    }
    free(table);
}

char *ce_frontier_markdown(const struct ce_frontier *frontier)
{
    struct ce_string text = {.data = NULL};

    for (size_t t = 0; t < frontier->texts; t++) {
        const struct ce_frontier_text *of = &frontier->text[t];
        char numbers[128];

        (void)snprintf(numbers,
                       sizeof(numbers),
                       "%zu window%s of at most %zu tokens, %zu tokens scored",
                       of->windows,
                       of->windows == 1 ? "" : "s",
                       frontier->window,
                       of->scored);
        ce_string_append(&text, "## ");
        ce_string_append(&text, of->name);
        ce_string_append(&text, "\n\n");
        ce_string_append(&text, numbers);
        ce_string_append(&text, "\n\n");
        append_table(&text, text_table(frontier, t));
        ce_string_append(&text, "\n");
    }
    ce_string_append(&text, "## Settings\n\n");
    append_table(&text, settings_table(frontier));
    return ce_string_take(&text);
}

char *ce_frontier_runs_markdown(const struct ce_frontier *frontier)
{
    static const struct ce_markdown_column column[] = {{"Setting", false},
                                                       {"n_ce", true},
                                                       {"Tokens/s", true},
                                                       {"Moved bytes/token", true}};
    struct ce_markdown table = {.column = column, .columns = COLUMNS(column)};

    for (size_t s = 0; s < frontier->settings; s++) {
        const struct ce_frontier_run *run = &frontier->setting[s].run;

        add_name(&table, &frontier->setting[s]);
        ce_markdown_add(&table, "%.0f", tokens_per_second(run));
        ce_markdown_add(&table, "%.0f", bytes_per_token(run));
    }
    return ce_markdown_take(&table);
}
