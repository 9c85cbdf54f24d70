/* traffic.c - expected rows of a placement, and what they weigh */

#include "moe/traffic.h"

#include "moe/message.h"

double ce_traffic_hit(size_t experts, size_t shard, size_t mains)
{
    double missed = 1.0;

    if (experts - shard < mains) {
        return 1.0; /* too few experts elsewhere */
    }
    /* C(E - g, m) / C(E, m): one factor for each choice, none of them large. */
    for (size_t i = 0; i < mains; i++) {
        missed *= (double)(experts - shard - i) / (double)(experts - i);
    }
    return 1.0 - missed;
}

double ce_traffic_ranks_hit(const struct ce_traffic_model *model)
{
    double hit = 0.0;

    for (size_t r = 0; r < model->ranks; r++) {
        hit += ce_traffic_hit(model->experts, model->shard[r], model->mains);
    }
    return hit;
}

/* What a sender expects elsewhere: ranks it has to reach, main experts it has
 * to use there. */
static struct ce_traffic_estimate weigh(const struct ce_traffic_model *model,
                                        enum ce_traffic_scheme scheme,
                                        double ranks,
                                        double assignments)
{
    double row_metadata =
        (double)(sizeof(uint16_t) + model->auxiliary * sizeof(struct ce_pair));
    struct ce_traffic_estimate estimate = {
        .rows = scheme == CE_TRAFFIC_PER_ASSIGNMENT ? assignments : ranks,
        .results = scheme == CE_TRAFFIC_PARTIAL ? ranks : assignments};

    estimate.payload_bytes =
        (estimate.rows + estimate.results) * (double)model->row_bytes;
    estimate.metadata_bytes =
        estimate.rows * row_metadata + assignments * (double)sizeof(struct ce_pair);
    return estimate;
}

struct ce_traffic_estimate ce_traffic_of_sender(const struct ce_traffic_model *model,
                                                enum ce_traffic_scheme scheme,
                                                size_t sender)
{
    double elsewhere = (double)(model->experts - model->shard[sender]);
    double ranks = 0.0;

    for (size_t r = 0; r < model->ranks; r++) {
        if (r != sender) {
            ranks += ce_traffic_hit(model->experts, model->shard[r], model->mains);
        }
    }
    return weigh(model,
                 scheme,
                 ranks,
                 (double)model->mains * elsewhere / (double)model->experts);
}

/* Summed over the senders, every shard is a remote one for all ranks but its
 * own: whatever the shards, the mean is (N - 1) / N of what all ranks together
 * are hit and used. */
struct ce_traffic_estimate ce_traffic_mean(const struct ce_traffic_model *model,
                                           enum ce_traffic_scheme scheme)
{
    double remote = (double)(model->ranks - 1) / (double)model->ranks;

    return weigh(model,
                 scheme,
                 remote * ce_traffic_ranks_hit(model),
                 remote * (double)model->mains);
}

double ce_traffic_bytes(const struct ce_traffic_estimate *estimate)
{
    return estimate->payload_bytes + estimate->metadata_bytes;
}

size_t ce_traffic_fixed_bytes(void)
{
    return ce_message_dispatch_bytes(0, 0, 0) + ce_message_combine_bytes(0, 0);
}
