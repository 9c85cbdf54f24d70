/* traffic.h - what a layer is expected to send, in closed form
 *
 * The model: a token's m main experts are m different ones of its layer's E,
 * every choice equally likely. A rank that owns g of the E is missed with the
 * chance C(E - g, m) / C(E, m), and a token sends nothing to its own rank. Three
 * ways to travel:
 *
 *   per assignment  a row there and a row back for every main expert
 *   ordered         a row there for every rank hit, a row back for every main
 *                   expert: results are summed by the token's owner
 *   partial         a row there and a row back for every rank hit: results are
 *                   summed where they arise
 *
 * A trained router is not uniform and neighbouring tokens are alike: what a run
 * really sends is counted: see account.h.
 */

#ifndef CE_MOE_TRAFFIC_H
#define CE_MOE_TRAFFIC_H

#include <stddef.h>

enum ce_traffic_scheme {
    CE_TRAFFIC_PER_ASSIGNMENT = 0,
    CE_TRAFFIC_ORDERED,
    CE_TRAFFIC_PARTIAL,
    CE_TRAFFIC_SCHEMES
};

struct ce_traffic_model {
    size_t experts; /* E, of one layer */
    size_t ranks;
    const size_t *shard; /* [ranks] experts a rank owns, E together */
    size_t mains;        /* m, at most E */
    size_t auxiliary;    /* pairs every row carries besides those of its mains */
    size_t row_bytes;    /* of a row of x and of a row of results */
};

/* Expected values for one token in one layer; only what leaves the rank. */
struct ce_traffic_estimate {
    double rows;           /* rows of x */
    double results;        /* rows that come back */
    double payload_bytes;  /* of both */
    double metadata_bytes; /* counts and pairs that travel with the rows */
};

/* The chance that at least one of m experts is among the `shard` of a rank. */
double ce_traffic_hit(size_t experts, size_t shard, size_t mains);

/* D(m): ranks a token needs, its own included. */
double ce_traffic_ranks_hit(const struct ce_traffic_model *model);

/* Of the tokens of rank `sender`. */
struct ce_traffic_estimate ce_traffic_of_sender(const struct ce_traffic_model *model,
                                                enum ce_traffic_scheme scheme,
                                                size_t sender);
/* Averaged over the ranks, which have equally many tokens. */
struct ce_traffic_estimate ce_traffic_mean(const struct ce_traffic_model *model,
                                           enum ce_traffic_scheme scheme);

/* Payload and metadata. */
double ce_traffic_bytes(const struct ce_traffic_estimate *estimate);

/* Bytes a step adds in each layer between a rank and one other, however few
 * tokens it has: the headers both ways. Padding comes on top, less than
 * CE_TRAFFIC_PADDING_BYTES of it. */
#define CE_TRAFFIC_PADDING_BYTES 64
size_t ce_traffic_fixed_bytes(void);

#endif
