/* frontier.c - from log-likelihoods of windows to losses, shares and the best settings
 */

#include "eval/frontier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[CE_FRONTIER_KINDS] = {
    "full", "truncated", "scaling", "affine"};

const char *ce_frontier_kind_name(enum ce_frontier_kind kind)
{
    return kind_names[kind];
}

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the comparison");
}

/* ---- texts and settings ---- */

enum ce_status ce_frontier_add_text(struct ce_frontier *frontier,
                                    const char *name,
                                    size_t tokens,
                                    struct ce_error *err)
{
    size_t windows = tokens / frontier->window + (tokens % frontier->window > 1);
    struct ce_frontier_text *list =
        reallocarray(frontier->text, frontier->texts + 1, sizeof(list[0]));

    if (list == NULL) {
        return fail_memory(err);
    }
    frontier->text = list;
    struct ce_frontier_text *text = &list[frontier->texts];

    *text = (struct ce_frontier_text){.name = name,
                                      .tokens = tokens,
                                      .windows = windows,
                                      .weight = calloc(windows + 1, sizeof(double))};
    if (text->weight == NULL) {
        return fail_memory(err);
    }
    for (size_t w = 0; w < windows; w++) {
        size_t left = tokens - w * frontier->window;
        size_t scored = (left < frontier->window ? left : frontier->window) - 1;

        text->weight[w] = (double)scored;
        text->scored += scored;
    }
    frontier->texts++;
    return CE_OK;
}

enum ce_status ce_frontier_take_settings(struct ce_frontier *frontier,
                                         size_t settings,
                                         struct ce_error *err)
{
    frontier->settings = settings;
    frontier->setting = calloc(settings, sizeof(frontier->setting[0]));
    frontier->cell = calloc(settings * frontier->texts, sizeof(frontier->cell[0]));
    return frontier->setting == NULL || frontier->cell == NULL ? fail_memory(err)
                                                               : CE_OK;
}

void ce_frontier_free(struct ce_frontier *frontier)
{
    size_t cells = frontier->cell != NULL ? frontier->settings * frontier->texts : 0;

    for (size_t i = 0; i < cells; i++) {
        free(frontier->cell[i].window);
    }
    for (size_t t = 0; t < frontier->texts; t++) {
        free(frontier->text[t].weight);
    }
    free(frontier->cell);
    free(frontier->setting);
    free(frontier->text);
    *frontier = (struct ce_frontier){.window = frontier->window};
}

struct ce_frontier_cell *
ce_frontier_cell(const struct ce_frontier *frontier, size_t setting, size_t text)
{
    return &frontier->cell[setting * frontier->texts + text];
}

/* ---- one setting on one text ---- */

enum ce_status ce_frontier_judge(struct ce_frontier *frontier,
                                 size_t setting,
                                 size_t text,
                                 const double *logprob,
                                 struct ce_error *err)
{
    const struct ce_frontier_text *of = &frontier->text[text];
    struct ce_frontier_cell *cell = ce_frontier_cell(frontier, setting, text);
    double total = 0.0;

    cell->window = calloc(of->windows, sizeof(cell->window[0]));
    if (cell->window == NULL) {
        return fail_memory(err);
    }
    for (size_t w = 0; w < of->windows; w++) {
        const double *first = logprob + w * frontier->window + 1;
        double sum = 0.0;

        for (size_t i = 0; i < (size_t)of->weight[w]; i++) {
            sum -= first[i];
            total -= first[i];
        }
        cell->window[w] = sum / of->weight[w];
    }
    cell->nll = total / (double)of->scored;
    return isfinite(cell->nll) ? CE_OK
                               : ce_fail(err,
                                         CE_ERR_NUMERIC,
                                         "%s, n_ce %zu: the NLL of %s is not a number",
                                         frontier->setting[setting].name,
                                         frontier->setting[setting].n_ce,
                                         of->name);
}

/* ---- settings beside each other ---- */

/* Numbers whose mean is the NLL and whose spread is that of its windows: those of equal
 * length count alike, a shorter last one by its tokens. */
static void
linearise(const struct ce_frontier *frontier, size_t setting, size_t text, double *out)
{
    const struct ce_frontier_text *of = &frontier->text[text];
    const struct ce_frontier_cell *cell = ce_frontier_cell(frontier, setting, text);
    double mean_weight = (double)of->scored / (double)of->windows;

    for (size_t w = 0; w < of->windows; w++) {
        double share = of->weight[w] / mean_weight;

        out[w] = cell->nll + share * (cell->window[w] - cell->nll);
    }
}

/* The truncated setting of as many experts; `settings` where there is none. */
static size_t find_truncated(const struct ce_frontier *frontier, size_t n_ce)
{
    size_t s = 0;

    while (s < frontier->settings &&
           (frontier->setting[s].kind != CE_FRONTIER_TRUNCATED ||
            frontier->setting[s].n_ce != n_ce)) {
        s++;
    }
    return s;
}

/* `linear` has room for three settings. */
static void
compare_cell(struct ce_frontier *frontier, size_t s, size_t t, double *linear)
{
    const struct ce_frontier_setting *setting = &frontier->setting[s];
    const size_t windows = frontier->text[t].windows;
    const size_t base = find_truncated(frontier, setting->n_ce);
    struct ce_frontier_cell *cell = ce_frontier_cell(frontier, s, t);
    double *full = linear;
    double *truncated = linear + windows;
    double *mine = linear + 2 * windows;

    if (setting->kind == CE_FRONTIER_FULL) {
        return;
    }
    linearise(frontier, 0, t, full);
    linearise(frontier, s, t, mine);
    cell->full = ce_paired_difference(mine, full, windows);
    if (setting->kind != CE_FRONTIER_TRUNCATED && base < frontier->settings) {
        linearise(frontier, base, t, truncated);
        cell->truncated = ce_paired_difference(mine, truncated, windows);
        cell->recovered = ce_paired_recovered(full, truncated, mine, windows);
    }
}

static bool is_beaten(const struct ce_frontier *frontier, size_t s, size_t t)
{
    const double nll = ce_frontier_cell(frontier, s, t)->nll;
    const uint64_t active = frontier->setting[s].active;

    for (size_t other = 0; other < frontier->settings; other++) {
        double its_nll = ce_frontier_cell(frontier, other, t)->nll;
        uint64_t its_active = frontier->setting[other].active;

        if (its_nll <= nll && its_active <= active &&
            (its_nll < nll || its_active < active)) {
            return true;
        }
    }
    return false;
}

enum ce_status ce_frontier_compare(struct ce_frontier *frontier, struct ce_error *err)
{
    size_t most = 0;

    for (size_t t = 0; t < frontier->texts; t++) {
        most = frontier->text[t].windows > most ? frontier->text[t].windows : most;
    }
    double *linear = calloc(3 * most + 1, sizeof(linear[0]));

    if (linear == NULL) {
        return fail_memory(err);
    }
    for (size_t s = 0; s < frontier->settings; s++) {
        for (size_t t = 0; t < frontier->texts; t++) {
            compare_cell(frontier, s, t, linear);
            ce_frontier_cell(frontier, s, t)->best = !is_beaten(frontier, s, t);
        }
    }
    free(linear);
    return CE_OK;
}
