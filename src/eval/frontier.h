/* frontier.h - settings of one model on the same texts: what is lost, and what is saved
 *
 * A setting is a model with all of a token's experts in full, with the last n_ce of
 * them dropped, or with those compressed in one of several ways. Each is judged by the
 * negative log-likelihood (NLL, natural logarithm) of the same windows of held-out
 * texts, and compared window by window (paired.h) with the full model and with the
 * truncated one of the same n_ce. All but `run` is a function of the log-likelihoods,
 * so that it is the same for any number of ranks.
 *
 *   frontier.c         from log-likelihoods to numbers
 *   frontier_print.c   as JSON and as Markdown
 *   frontier_plot.c    as data and script for gnuplot
 */

#ifndef CE_EVAL_FRONTIER_H
#define CE_EVAL_FRONTIER_H

#include "base/status.h"
#include "eval/paired.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_frontier_kind {
    CE_FRONTIER_FULL = 0,
    CE_FRONTIER_TRUNCATED,
    CE_FRONTIER_SCALING,
    CE_FRONTIER_AFFINE,
    CE_FRONTIER_KINDS
};
/* "full", "truncated", "scaling", "affine" */
const char *ce_frontier_kind_name(enum ce_frontier_kind kind);

struct ce_frontier_text {
    const char *name; /* the caller's, must stay */
    size_t tokens;    /* that are run */
    size_t windows;   /* of them; each is run alone and all but its first are scored */
    size_t scored;
    double *weight; /* [windows] scored tokens */
};

/* What one run took; differs from run to run. */
struct ce_frontier_run {
    double seconds;
    uint64_t tokens;
    uint64_t moved_bytes; /* between ranks */
};

struct ce_frontier_setting {
    enum ce_frontier_kind kind;
    const char *name;       /* of the compressed experts, else of the kind; must stay */
    size_t n_ce;            /* auxiliary experts of a token */
    size_t mains;           /* experts that run in full */
    uint64_t active;        /* parameters a token passes through */
    uint64_t added;         /* those of its compressed experts among them */
    uint64_t replica_bytes; /* of compressed experts, on every rank */
    struct ce_frontier_run run;
};

/* One setting on one text. */
struct ce_frontier_cell {
    double nll;                   /* mean over all scored tokens */
    double *window;               /* [windows] mean over each; NULL: not judged yet */
    struct ce_estimate full;      /* NLL - that of the full model */
    struct ce_estimate truncated; /* NLL - that of truncation to as many experts */
    struct ce_estimate recovered; /* share of what truncation loses; compressed only */
    bool best; /* no setting has fewer parameters without a larger NLL, or a smaller
                  NLL without more parameters */
};

/* The first setting is the full one. */
struct ce_frontier {
    size_t window; /* tokens */
    size_t texts;
    size_t settings;
    struct ce_frontier_text *text;       /* [texts] */
    struct ce_frontier_setting *setting; /* [settings], for the caller to fill */
    struct ce_frontier_cell *cell;       /* [settings][texts] */
};

/* A text of which `tokens` are cut into windows of frontier->window; a last window of
 * one token is dropped. At least 2 tokens. */
CE_MUST_CHECK enum ce_status ce_frontier_add_text(struct ce_frontier *frontier,
                                                  const char *name,
                                                  size_t tokens,
                                                  struct ce_error *err);
/* Room for settings, all zeroed; after the texts. */
CE_MUST_CHECK enum ce_status ce_frontier_take_settings(struct ce_frontier *frontier,
                                                       size_t settings,
                                                       struct ce_error *err);
/* Frees all; accepts a zeroed object and one whose building failed. */
void ce_frontier_free(struct ce_frontier *frontier);

struct ce_frontier_cell *
ce_frontier_cell(const struct ce_frontier *frontier, size_t setting, size_t text);

/* Takes the log-likelihoods of a text under a setting, [tokens] as ce_score gives them:
 * NAN where a token is not scored. Sums go in the order of the text. */
CE_MUST_CHECK enum ce_status ce_frontier_judge(struct ce_frontier *frontier,
                                               size_t setting,
                                               size_t text,
                                               const double *logprob,
                                               struct ce_error *err);
/* Compares, after all settings were judged on all texts. */
CE_MUST_CHECK enum ce_status ce_frontier_compare(struct ce_frontier *frontier,
                                                 struct ce_error *err);

/* ---- shown (frontier_print.c) ---- */

/* "texts": [...] and "settings": [...] as members of `object`, without the runs.
 * False: out of memory. */
bool ce_frontier_describe(const struct ce_frontier *frontier, json_t *object);
/* The runs of the settings, an array in their order; NULL: out of memory. */
json_t *ce_frontier_describe_runs(const struct ce_frontier *frontier);
/* A document as text, with the fewest digits that read back as the same numbers; to be
 * freed, NULL: out of memory, also for no document. */
char *ce_frontier_json(const json_t *document);
/* A table a text, and one of the settings; to be freed, NULL: out of memory. */
char *ce_frontier_markdown(const struct ce_frontier *frontier);
/* A table of the runs. */
char *ce_frontier_runs_markdown(const struct ce_frontier *frontier);

/* ---- drawn (frontier_plot.c) ---- */

/* NLL against active parameters, a panel per text. The script reads the data from a
 * file of the name `data` beside it and writes "frontier.svg", or what its variable
 * `out` says. To be freed, NULL: out of memory. */
char *ce_frontier_plot_data(const struct ce_frontier *frontier);
char *ce_frontier_plot_script(const struct ce_frontier *frontier,
                              const char *title,
                              const char *data);

#endif
