/* The closed forms of traffic against enumeration of every possible choice, the
 * published percentages, and what the messages of a plan really weigh. */

#include "moe/message.h"
#include "moe/traffic.h"
#include "test.h"

#include <math.h>

#define MOST_RANKS 64

/* Experts of rank r when `experts` are dealt to `ranks` in contiguous parts. */
static size_t part(size_t experts, size_t ranks, size_t r)
{
    return (r + 1) * experts / ranks - r * experts / ranks;
}

static struct ce_traffic_model
deal(size_t *shard, size_t experts, size_t ranks, size_t mains)
{
    assert_true(ranks <= MOST_RANKS);
    for (size_t r = 0; r < ranks; r++) {
        shard[r] = part(experts, ranks, r);
    }
    return (struct ce_traffic_model){
        .experts = experts, .ranks = ranks, .shard = shard, .mains = mains};
}

static size_t owner_of(const struct ce_traffic_model *model, size_t expert)
{
    size_t rank = 0;

    for (size_t end = model->shard[0]; expert >= end; end += model->shard[rank]) {
        rank++;
    }
    return rank;
}

/* Means over all choices of `mains` of the experts. */
struct enumeration {
    double hit;         /* ranks, of all */
    double rows;        /* ranks other than the sender */
    double assignments; /* experts elsewhere */
};

static struct enumeration enumerate(const struct ce_traffic_model *model, size_t sender)
{
    struct enumeration sum = {0};
    double choices = 0;

    for (unsigned set = 0; set < 1U << model->experts; set++) {
        unsigned hit = 0;

        if ((size_t)__builtin_popcount(set) != model->mains) {
            continue;
        }
        for (size_t e = 0; e < model->experts; e++) {
            size_t owner = owner_of(model, e);

            if (set & 1U << e) {
                hit |= 1U << owner;
                sum.assignments += owner != sender;
            }
        }
        sum.hit += (double)__builtin_popcount(hit);
        sum.rows += (double)__builtin_popcount(hit & ~(1U << sender));
        choices++;
    }
    return (struct enumeration){
        sum.hit / choices, sum.rows / choices, sum.assignments / choices};
}

static void assert_near(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 1e-12 * (1 + fabs(wanted)))) {
        fail_msg("%.17g is not %.17g", found, wanted);
    }
}

static void check_sender(const struct ce_traffic_model *model, size_t sender)
{
    struct enumeration wanted = enumerate(model, sender);
    struct ce_traffic_estimate assignments =
        ce_traffic_of_sender(model, CE_TRAFFIC_PER_ASSIGNMENT, sender);
    struct ce_traffic_estimate ordered =
        ce_traffic_of_sender(model, CE_TRAFFIC_ORDERED, sender);
    struct ce_traffic_estimate partial =
        ce_traffic_of_sender(model, CE_TRAFFIC_PARTIAL, sender);

    assert_near(ce_traffic_ranks_hit(model), wanted.hit);
    assert_near(assignments.rows, wanted.assignments);
    assert_near(assignments.results, wanted.assignments);
    assert_near(ordered.rows, wanted.rows);
    assert_near(ordered.results, wanted.assignments);
    assert_near(partial.rows, wanted.rows);
    assert_near(partial.results, wanted.rows);
}

static void equals_the_enumeration_of_all_choices(void **state)
{
    (void)state;
    size_t shard[MOST_RANKS];

    for (size_t experts = 1; experts <= 9; experts++) {
        for (size_t ranks = 1; ranks <= 11; ranks++) {
            for (size_t mains = 1; mains <= experts; mains++) {
                struct ce_traffic_model model = deal(shard, experts, ranks, mains);

                check_sender(&model, 0);
                check_sender(&model, ranks / 2);
                check_sender(&model, ranks - 1);
            }
        }
    }
}

static void mean_is_the_mean_over_senders(void **state)
{
    (void)state;
    size_t shard[MOST_RANKS];

    for (size_t ranks = 1; ranks <= 20; ranks++) {
        struct ce_traffic_model model = deal(shard, 16, ranks, 3);

        model.auxiliary = 2;
        model.row_bytes = 512;
        for (int s = 0; s < CE_TRAFFIC_SCHEMES; s++) {
            enum ce_traffic_scheme scheme = (enum ce_traffic_scheme)s;
            struct ce_traffic_estimate mean = ce_traffic_mean(&model, scheme);
            double rows = 0;
            double bytes = 0;

            for (size_t r = 0; r < ranks; r++) {
                struct ce_traffic_estimate one =
                    ce_traffic_of_sender(&model, scheme, r);

                rows += one.rows / (double)ranks;
                bytes += ce_traffic_bytes(&one) / (double)ranks;
            }
            assert_near(mean.rows, rows);
            assert_near(ce_traffic_bytes(&mean), bytes);
        }
    }
}

/* OLMoE-1B-7B, 64 experts, 8 or 4 of them: saved rows in whole percent. */
static void saves_the_published_percentages(void **state)
{
    (void)state;
    static const struct {
        size_t ranks;
        int percent;
    } published[] = {{2, 41}, {4, 42}, {8, 45}, {16, 48}, {32, 49}, {64, 50}};
    size_t shard[MOST_RANKS];

    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        struct ce_traffic_model full = deal(shard, 64, published[i].ranks, 8);
        struct ce_traffic_model compressed = deal(shard, 64, published[i].ranks, 4);
        struct ce_traffic_estimate before = ce_traffic_mean(&full, CE_TRAFFIC_ORDERED);
        struct ce_traffic_estimate after =
            ce_traffic_mean(&compressed, CE_TRAFFIC_ORDERED);
        double saved =
            1 - (after.rows + after.results) / (before.rows + before.results);

        assert_int_equal(lround(100 * saved), published[i].percent);

        /* Without deduplication it is n_ce / k, whatever the number of ranks. */
        before = ce_traffic_mean(&full, CE_TRAFFIC_PER_ASSIGNMENT);
        after = ce_traffic_mean(&compressed, CE_TRAFFIC_PER_ASSIGNMENT);
        assert_near(after.rows / before.rows, 0.5);
    }
}

static void extremes(void **state)
{
    (void)state;
    size_t shard[MOST_RANKS];
    struct ce_traffic_model alone = deal(shard, 16, 1, 4);
    struct ce_traffic_estimate nothing = ce_traffic_mean(&alone, CE_TRAFFIC_ORDERED);

    assert_true(ce_traffic_bytes(&nothing) == 0);
    assert_true(ce_traffic_ranks_hit(&alone) == 1);

    assert_true(ce_traffic_hit(16, 0, 4) == 0);
    assert_true(ce_traffic_hit(16, 16, 1) == 1);
    assert_true(ce_traffic_hit(16, 13, 4) == 1);
    assert_near(ce_traffic_hit(65535, 1, 1), 1.0 / 65535);
    assert_near(ce_traffic_hit(65535, 1, 64), 64.0 / 65535);
    /* C(65535, 32767) is far outside the range of a double. */
    assert_true(ce_traffic_hit(65535, 20000, 32767) == 1);
}

/* A message of `rows` rows weighs what the estimate says per row and pair, plus
 * the fixed part and less than the padding. */
static void metadata_is_that_of_real_messages(void **state)
{
    (void)state;
    size_t shard[2] = {0, 16};

    for (size_t tokens = 0; tokens < 40; tokens++) {
        for (size_t auxiliary = 0; auxiliary < 4; auxiliary++) {
            /* Rank 0 owns nothing: all 3 mains of its tokens go to rank 1. */
            struct ce_traffic_model model = {.experts = 16,
                                             .ranks = 2,
                                             .shard = shard,
                                             .mains = 3,
                                             .auxiliary = auxiliary,
                                             .row_bytes = 128};
            struct ce_traffic_estimate one =
                ce_traffic_of_sender(&model, CE_TRAFFIC_ORDERED, 0);
            double real = (double)(ce_message_dispatch_bytes(
                                       tokens, tokens * (3 + auxiliary), 128) +
                                   ce_message_combine_bytes(tokens * 3, 128));
            double least = (double)tokens * ce_traffic_bytes(&one) +
                           (double)ce_traffic_fixed_bytes();

            assert_true(real >= least);
            assert_true(real < least + CE_TRAFFIC_PADDING_BYTES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_enumeration_of_all_choices),
        cmocka_unit_test(mean_is_the_mean_over_senders),
        cmocka_unit_test(saves_the_published_percentages),
        cmocka_unit_test(extremes),
        cmocka_unit_test(metadata_is_that_of_real_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
