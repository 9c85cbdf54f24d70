/* routing.h - routers made up: which experts each token would select
 *
 *   uniform       every choice of k experts equally likely
 *   imbalance:R   chances fall geometrically from the first expert to the last; the
 *                 first is selected R times as often as the mean. With contiguous
 *                 placement the first rank is the busiest.
 *   zipf:S        chances are those of Zipf's law with exponent S (1 if not given),
 *                 dealt to the experts at random: busy experts, on any rank
 *
 * A token's k experts are different ones and stand in random order, so that its
 * first m, the main ones, are as skewed as all k. Numbers are counter-based: the
 * same experts for a (seed, token) on any rank and in any order.
 */

#ifndef CE_BENCH_ROUTING_H
#define CE_BENCH_ROUTING_H

#include "base/status.h"
#include "moe/router.h"

#include <stddef.h>
#include <stdint.h>

#define ROUTING_MOST_SELECTED 64 /* k at most */

enum routing_kind { ROUTING_UNIFORM = 0, ROUTING_IMBALANCE, ROUTING_ZIPF };

struct routing_rule {
    const char *name; /* as the user wrote it */
    enum routing_kind kind;
    double parameter;
};

CE_MUST_CHECK enum ce_status
routing_parse(struct routing_rule *rule, const char *text, struct ce_error *err);

/* chance[e]: of a token to select expert e; together they are top_k. Errors:
 * CE_ERR_ARG when the busiest expert would be selected more than once a token. */
CE_MUST_CHECK enum ce_status routing_chances(const struct routing_rule *rule,
                                             uint64_t seed,
                                             size_t experts,
                                             size_t top_k,
                                             double *chance,
                                             struct ce_error *err);

/* Fills routing->tokens tokens, the first of which has the number `first`; weights
 * fall and sum to 1. */
void routing_draw(struct ce_routing *routing,
                  const double *chance,
                  size_t experts,
                  uint64_t seed,
                  uint64_t first);

#endif
