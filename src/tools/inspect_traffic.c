/* inspect_traffic.c - what a token is expected to send under a number of ranks */

#include "moe/placement.h"
#include "tools/inspect.h"

#include <math.h>
#include <stdlib.h>

/* Layer 0 stands for all: the shards of a contiguous placement are the same. */
static enum ce_status count_shards(const struct ce_inspection *inspection,
                                   size_t *shard,
                                   struct ce_error *err)
{
    struct ce_placement placement = {0};
    enum ce_status status = ce_placement_contiguous(
        &placement, 1, inspection->config.experts, (int)inspection->ranks, err);

    for (size_t r = 0; status == CE_OK && r < inspection->ranks; r++) {
        shard[r] = ce_placement_shard(&placement, 0, r);
    }
    ce_placement_destroy(&placement);
    return status;
}

/* The rank with the most, or the fewest, experts of its own. */
static size_t find_rank(const struct ce_traffic_model *model, bool largest)
{
    size_t found = 0;

    for (size_t r = 1; r < model->ranks; r++) {
        bool larger = model->shard[r] > model->shard[found];

        if (model->shard[r] != model->shard[found] && larger == largest) {
            found = r;
        }
    }
    return found;
}

static double bytes_of(const struct ce_traffic_model *model,
                       enum ce_traffic_scheme scheme,
                       size_t rank)
{
    struct ce_traffic_estimate estimate = ce_traffic_of_sender(model, scheme, rank);

    return ce_traffic_bytes(&estimate);
}

static void estimate(const struct ce_traffic_model *model,
                     struct ce_inspect_load *loads)
{
    size_t most_at_home = find_rank(model, true);
    size_t fewest_at_home = find_rank(model, false);

    for (int s = 0; s < CE_TRAFFIC_SCHEMES; s++) {
        enum ce_traffic_scheme scheme = (enum ce_traffic_scheme)s;

        loads[s] =
            (struct ce_inspect_load){.mean = ce_traffic_mean(model, scheme),
                                     .least = bytes_of(model, scheme, most_at_home),
                                     .most = bytes_of(model, scheme, fewest_at_home)};
    }
}

enum ce_status ce_inspect_traffic(struct ce_inspection *inspection,
                                  struct ce_error *err)
{
    const struct ce_config *config = &inspection->config;
    size_t *shard = calloc(inspection->ranks, sizeof(shard[0]));
    struct ce_traffic_model model = {.experts = config->experts,
                                     .ranks = inspection->ranks,
                                     .shard = shard,
                                     .mains = config->top_k,
                                     .row_bytes = config->hidden_size * sizeof(float)};
    enum ce_status status = CE_OK;

    if (shard == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu ranks", inspection->ranks);
    }
    status = count_shards(inspection, shard, err);
    if (status == CE_OK) {
        estimate(&model, inspection->traffic[CE_INSPECT_UNCOMPRESSED]);
        model.mains -= inspection->n_ce;
        model.auxiliary =
            inspection->kind == CE_COMPRESSED_AFFINE ? 0 : inspection->n_ce;
        estimate(&model, inspection->traffic[CE_INSPECT_COMPRESSED]);
    }
    free(shard);
    return status;
}

static double saved(const struct ce_inspect_load *before,
                    const struct ce_inspect_load *after)
{
    double all = ce_traffic_bytes(&before->mean);

    return all > 0 ? 1 - ce_traffic_bytes(&after->mean) / all : (double)NAN;
}

struct ce_inspect_saving ce_inspect_saving_of(const struct ce_inspection *inspection,
                                              enum ce_traffic_scheme scheme)
{
    const struct ce_inspect_load *before = inspection->traffic[CE_INSPECT_UNCOMPRESSED];
    const struct ce_inspect_load *after =
        &inspection->traffic[CE_INSPECT_COMPRESSED][scheme];

    return (struct ce_inspect_saving){
        .same = saved(&before[scheme], after),
        .per_assignment = saved(&before[CE_TRAFFIC_PER_ASSIGNMENT], after)};
}
