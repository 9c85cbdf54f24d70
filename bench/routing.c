/* routing.c - chances of the experts, and samples without replacement by them */

#include "routing.h"

#include "base/random.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rules ---- */

enum ce_status
routing_parse(struct routing_rule *rule, const char *text, struct ce_error *err)
{
    static const char *const names[] = {"uniform", "imbalance", "zipf"};
    const size_t length = strcspn(text, ":");
    const char *number = text[length] == ':' ? text + length + 1 : NULL;
    char *end = NULL;

    *rule = (struct routing_rule){.name = text, .parameter = 1.0};
    if (number != NULL) {
        rule->parameter = strtod(number, &end);
    }
    const bool is_number =
        number == NULL || (*number != '\0' && *end == '\0' && rule->parameter >= 0.0 &&
                           rule->parameter <= 64.0);
    for (int i = ROUTING_UNIFORM; is_number && i <= ROUTING_ZIPF; i++) {
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0) {
            rule->kind = (enum routing_kind)i;
            const bool fits =
                i == ROUTING_ZIPF || (number != NULL) == (i == ROUTING_IMBALANCE);
            if (fits && rule->parameter >= (i == ROUTING_IMBALANCE ? 1.0 : 0.0)) {
                return CE_OK;
            }
        }
    }
    return ce_fail(
        err,
        CE_ERR_ARG,
        "unknown routing \"%.40s\"; there are uniform, imbalance:R with R at "
        "least 1, zipf and zipf:S",
        text);
}

static double sum_of_powers(double base, size_t count)
{
    double sum = 0.0;
    double power = 1.0;

    for (size_t i = 0; i < count; i++) {
        sum += power;
        power *= base;
    }
    return sum;
}

/* weight[e] = base^e with the base that makes the first `ratio` times the mean. */
static void fall_geometrically(double *weight, size_t experts, double ratio)
{
    double low = 0.0;
    double high = 1.0;

    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2.0;
        const bool is_low = sum_of_powers(middle, experts) < (double)experts / ratio;

        low = is_low ? middle : low;
        high = is_low ? high : middle;
    }
    for (size_t e = 0; e < experts; e++) {
        weight[e] = pow(high, (double)e);
    }
}

/* Zipf's weights, shuffled (Fisher and Yates). */
static void deal_by_zipf(double *weight, size_t experts, double exponent, uint64_t seed)
{
    for (size_t e = 0; e < experts; e++) {
        weight[e] = pow((double)(e + 1), -exponent);
    }
    for (size_t left = experts; left > 1; left--) {
        /* No token has this counter. */
        const double unit = ce_random_unit(seed, left, UINT64_MAX);
        const size_t other = (size_t)(unit * (double)left);
        const double moved = weight[other];

        weight[other] = weight[left - 1];
        weight[left - 1] = moved;
    }
}

/* Chances in proportion to the weights, none above 1, together top_k. */
static void scale(double *weight, size_t experts, size_t top_k)
{
    bool again = true;

    while (again) {
        double free_weight = 0.0;
        double wanted = (double)top_k;

        again = false;
        for (size_t e = 0; e < experts; e++) {
            free_weight += weight[e] < 1.0 ? weight[e] : 0.0;
            wanted -= weight[e] < 1.0 ? 0.0 : 1.0;
        }
        for (size_t e = 0; e < experts; e++) {
            if (weight[e] < 1.0) {
                weight[e] *= wanted / free_weight;
                again = again || weight[e] >= 1.0;
            }
            weight[e] = fmin(weight[e], 1.0);
        }
    }
}

enum ce_status routing_chances(const struct routing_rule *rule,
                               uint64_t seed,
                               size_t experts,
                               size_t top_k,
                               double *chance,
                               struct ce_error *err)
{
    const double ratio = rule->kind == ROUTING_IMBALANCE ? rule->parameter : 1.0;

    if (ratio * (double)top_k > (double)experts) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "routing %s: the busiest of %zu experts would be selected %.3g "
                       "times by each token",
                       rule->name,
                       experts,
                       ratio * (double)top_k / (double)experts);
    }
    if (rule->kind == ROUTING_ZIPF) {
        deal_by_zipf(chance, experts, rule->parameter, seed);
    } else {
        fall_geometrically(chance, experts, ratio);
    }
    for (size_t e = 0; e < experts; e++) {
        chance[e] *= 0.5; /* below 1, which means "certain" to scale */
    }
    scale(chance, experts, top_k);
    return CE_OK;
}

/* ---- tokens ---- */

struct candidate {
    double rank;    /* the k smallest are selected */
    uint32_t order; /* among the selected */
    uint16_t expert;
};

/* Keeps `list` the k first by rank; `count` are in it. */
static size_t
offer(struct candidate *list, size_t count, size_t top_k, struct candidate offered)
{
    size_t at = count < top_k ? count : top_k - 1;

    if (count == top_k && offered.rank >= list[top_k - 1].rank) {
        return count;
    }
    while (at > 0 && list[at - 1].rank > offered.rank) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = offered;
    return count < top_k ? count + 1 : count;
}

static int compare_order(const void *a, const void *b)
{
    const uint32_t x = ((const struct candidate *)a)->order;
    const uint32_t y = ((const struct candidate *)b)->order;

    return (x > y) - (x < y);
}

/* Pareto sampling: the k smallest of odds(u) / odds(chance) contain expert e with
 * its chance, exactly where all are equal and very nearly where not. Source: Rosen,
 * "On sampling with probability proportional to size", Journal of Statistical
 * Planning and Inference 62, 1997. */
static void select_experts(struct candidate *list,
                           const double *chance,
                           size_t experts,
                           size_t top_k,
                           uint64_t seed,
                           uint64_t token)
{
    size_t count = 0;

    for (size_t e = 0; e < experts; e++) {
        const struct ce_philox random = ce_philox4x32(seed, token, e);
        const double unit = ((double)random.word[0] + 0.5) * 0x1p-32;
        const double rank = unit / (1.0 - unit) * (1.0 - chance[e]) / chance[e];

        count = offer(
            list, count, top_k, (struct candidate){rank, random.word[1], (uint16_t)e});
    }
    qsort(list, top_k, sizeof(list[0]), compare_order);
}

void routing_draw(struct ce_routing *routing,
                  const double *chance,
                  size_t experts,
                  uint64_t seed,
                  uint64_t first)
{
    const size_t k = routing->top_k;
    struct candidate list[ROUTING_MOST_SELECTED] = {{0}};

    assert(k <= ROUTING_MOST_SELECTED && k <= experts);
    for (size_t t = 0; t < routing->tokens; t++) {
        select_experts(list, chance, experts, k, seed, first + t);
        for (size_t i = 0; i < k; i++) {
            routing->expert[t * k + i] = list[i].expert;
            routing->weight[t * k + i] = 2.0F * (float)(k - i) / (float)(k * (k + 1));
        }
    }
}
