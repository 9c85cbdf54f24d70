/* compare_settings.c - which compressed experts are compared at which n_ce
 *
 * Scaling tables may be used with any number of auxiliary experts. The affine kind was
 * fitted to those at certain places of the router's order: elsewhere only on request.
 */

#include "model/parameters.h"
#include "tools/compare_job.h"

#include <stdlib.h>
#include <string.h>

static bool is_tied(const struct ce_compare_job *job,
                    const struct ce_compare_source *source)
{
    return source->kind == CE_COMPRESSED_AFFINE && source->n_ce > 0 &&
           !job->values->any_n;
}

static bool goes_with(const struct ce_compare_job *job,
                      const struct ce_compare_source *source,
                      size_t n)
{
    return !is_tied(job, source) || source->n_ce == n;
}

/* ---- n_ce ---- */

static enum ce_status
read_n_ce(const char *word, size_t most, bool *wanted, struct ce_error *err)
{
    char *end = NULL;
    long n = strtol(word, &end, 10);

    if (end == word || *end != '\0' || n < 1 || (size_t)n > most) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--compressed %s is out of range: 1 to %zu, one less than "
                       "num_experts_per_tok",
                       word,
                       most);
    }
    wanted[n] = true;
    return CE_OK;
}

/* Those at which something may be compared: all, unless every file is tied to one. */
static void mark_default(const struct ce_compare_job *job, size_t most, bool *wanted)
{
    for (size_t n = 1; n <= most; n++) {
        wanted[n] = job->sources == 0;
        for (size_t s = 0; s < job->sources; s++) {
            wanted[n] = wanted[n] || goes_with(job, &job->source[s], n);
        }
    }
}

static enum ce_status choose_n_ce(struct ce_compare_job *job, struct ce_error *err)
{
    const struct ce_option_list *words = &job->values->compressed;
    size_t most = job->config.top_k - 1;
    bool *wanted = calloc(most + 2, sizeof(wanted[0]));
    enum ce_status status = CE_OK;

    job->n_ce = calloc(most + 1, sizeof(job->n_ce[0]));
    if (wanted == NULL || job->n_ce == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the settings");
    } else if (words->count == 0) {
        mark_default(job, most, wanted);
    }
    for (size_t i = 0; status == CE_OK && i < words->count; i++) {
        status = read_n_ce(words->item[i], most, wanted, err);
    }
    for (size_t n = 1; status == CE_OK && n <= most; n++) {
        if (wanted[n]) {
            job->n_ce[job->n_ces++] = n;
        }
    }
    free(wanted);
    return status;
}

/* Whoever names a file wants to see it. */
static enum ce_status check_all_used(const struct ce_compare_job *job,
                                     struct ce_error *err)
{
    for (size_t s = 0; s < job->sources; s++) {
        const struct ce_compare_source *source = &job->source[s];
        bool used = false;

        for (size_t i = 0; i < job->n_ces; i++) {
            used = used || goes_with(job, source, job->n_ce[i]);
        }
        if (!used) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "%s was fitted for n_ce %zu, which --compressed does not "
                           "have; add it, or --any-n",
                           source->path,
                           source->n_ce);
        }
    }
    return CE_OK;
}

/* ---- settings ---- */

/* What the n compressed experts of a token have, on average over experts. */
static uint64_t count_added(const struct ce_compare_job *job,
                            const struct ce_compare_source *source,
                            size_t n)
{
    return source->kind == CE_COMPRESSED_AFFINE
               ? ce_parameters_affine(&job->config, source->parameters, n)
               : ce_parameters_scaling(&job->config, n);
}

static struct ce_frontier_setting
plain_setting(const struct ce_compare_job *job, enum ce_frontier_kind kind, size_t n)
{
    size_t mains = job->config.top_k - n;

    return (struct ce_frontier_setting){.kind = kind,
                                        .name = ce_frontier_kind_name(kind),
                                        .n_ce = n,
                                        .mains = mains,
                                        .active =
                                            ce_parameters_active(&job->config, mains)};
}

static struct ce_frontier_setting
compressed_setting(const struct ce_compare_job *job, size_t s, size_t n)
{
    const struct ce_compare_source *source = &job->source[s];
    bool affine = source->kind == CE_COMPRESSED_AFFINE;
    struct ce_frontier_setting setting =
        plain_setting(job, affine ? CE_FRONTIER_AFFINE : CE_FRONTIER_SCALING, n);

    setting.name = source->name;
    setting.added = count_added(job, source, n);
    setting.active += setting.added;
    setting.replica_bytes = source->bytes;
    return setting;
}

static void fill_settings(struct ce_compare_job *job)
{
    struct ce_frontier_setting *setting = job->frontier.setting;
    size_t count = 0;

    job->source_of[count] = CE_COMPARE_NO_SOURCE;
    setting[count++] = plain_setting(job, CE_FRONTIER_FULL, 0);
    for (size_t i = 0; i < job->n_ces; i++) {
        size_t n = job->n_ce[i];

        job->source_of[count] = CE_COMPARE_NO_SOURCE;
        setting[count++] = plain_setting(job, CE_FRONTIER_TRUNCATED, n);
        for (size_t s = 0; s < job->sources; s++) {
            if (goes_with(job, &job->source[s], n)) {
                job->source_of[count] = s;
                setting[count++] = compressed_setting(job, s, n);
            }
        }
    }
}

static size_t count_settings(const struct ce_compare_job *job)
{
    size_t count = 1;

    for (size_t i = 0; i < job->n_ces; i++) {
        count++;
        for (size_t s = 0; s < job->sources; s++) {
            count += goes_with(job, &job->source[s], job->n_ce[i]);
        }
    }
    return count;
}

enum ce_status ce_compare_choose_settings(struct ce_compare_job *job,
                                          struct ce_error *err)
{
    enum ce_status status = choose_n_ce(job, err);
    size_t count = 0;

    if (status == CE_OK) {
        status = check_all_used(job, err);
    }
    if (status != CE_OK) {
        return status;
    }
    count = count_settings(job);
    job->source_of = calloc(count, sizeof(job->source_of[0]));
    if (job->source_of == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the settings");
    }
    status = ce_frontier_take_settings(&job->frontier, count, err);
    if (status == CE_OK) {
        fill_settings(job);
    }
    return status;
}
