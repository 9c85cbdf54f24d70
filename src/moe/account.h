/* account.h - what the ranks of a job sent each other, from the counters of all
 *
 * Rows are counted from the plans where they are sent and from the messages where they
 * arrive, bytes where they are handed to or taken from the transport; both ends of
 * every pair must have counted the same. What a rank hands to itself does not travel:
 * it is in the pairs of a rank with itself, where bytes may be without rows, but in no
 * total.
 *
 * A saving has two baselines, both of the same tokens with all experts in full: with
 * deduplication a row goes once to each rank, without it once for each expert.
 */

#ifndef CE_MOE_ACCOUNT_H
#define CE_MOE_ACCOUNT_H

#include "base/status.h"
#include "moe/combine.h"
#include "moe/placement.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exchanges of a layer; their numbers are those of the slots. */
enum { CE_ACCOUNT_DISPATCH = 0, CE_ACCOUNT_COMBINE, CE_ACCOUNT_PHASES };

/* By one end of a pair in one phase. */
struct ce_account_count {
    uint64_t messages;
    uint64_t rows;
    uint64_t bytes; /* of the messages: rows and metadata */
};

/* From a source to a destination. */
struct ce_account_pair {
    struct ce_account_count sent[CE_ACCOUNT_PHASES];     /* by the source */
    struct ce_account_count received[CE_ACCOUNT_PHASES]; /* by the destination */
    double
        wait_seconds[CE_ACCOUNT_PHASES]; /* waits of the destination for the source */
    /* All experts of the source's tokens, in full: see struct ce_moe_peer. */
    uint64_t full_rows;
    uint64_t full_assignments;
    uint64_t full_metadata_bytes;
    uint64_t assignment_metadata_bytes;
};

struct ce_account_rank {
    uint64_t token_layers; /* its tokens, times layers */
    double exposed_seconds[CE_ACCOUNT_PHASES];
    double span_seconds[CE_ACCOUNT_PHASES]; /* from the first message that moves to the
                                               last arrival */
};

struct ce_account {
    size_t ranks;
    size_t top_k;
    size_t mains;
    size_t row_bytes;
    enum ce_combine combine;
    bool split; /* experts are: nothing travels, and nothing is expected to */
    const struct ce_placement *placement;
    struct ce_account_pair *pair; /* [source][destination] */
    struct ce_account_rank *rank; /* [ranks] */
    size_t *shard;                /* [ranks] scratch */
};

/* Zeroed counts for the placement's ranks; the settings are the caller's to fill. */
CE_MUST_CHECK enum ce_status ce_account_create(struct ce_account *account,
                                               const struct ce_placement *placement,
                                               struct ce_error *err);
void ce_account_destroy(struct ce_account *account); /* accepts a zeroed object */

struct ce_account_pair *
ce_account_pair(const struct ce_account *account, size_t source, size_t destination);

/* Errors: CE_ERR_MISMATCH naming the first pair whose ends differ, or, between
 * two ranks, whose bytes are too few for its rows. */
CE_MUST_CHECK enum ce_status ce_account_check(const struct ce_account *account,
                                              struct ce_error *err);

/* Waiting that work was done in: never below 0, although a rank also waits for its
 * sends to end after the last arrival. */
double ce_account_hidden_seconds(const struct ce_account_rank *rank, int phase);

enum ce_account_scheme {
    CE_ACCOUNT_RUN = 0,         /* what was sent */
    CE_ACCOUNT_FULL_PER_RANK,   /* uncompressed, deduplicated */
    CE_ACCOUNT_FULL_PER_EXPERT, /* uncompressed, a row both ways an assignment */
    CE_ACCOUNT_SCHEMES
};

/* Between different ranks. */
struct ce_account_total {
    uint64_t rows;    /* of x */
    uint64_t results; /* rows that come back */
    uint64_t payload_bytes;
    uint64_t metadata_bytes;
    double copies;  /* rows of x a token and layer */
    double uniform; /* the same, expected of uniform routing; NAN if experts have
                     * several owners */
};
struct ce_account_total ce_account_total(const struct ce_account *account,
                                         enum ce_account_scheme scheme);
uint64_t ce_account_bytes(const struct ce_account_total *total);
uint64_t ce_account_token_layers(const struct ce_account *account);

#endif
