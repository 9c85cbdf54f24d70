/* compressed.h - scaling compressed experts: theta of one token
 *
 * Source: He, Liu, Liang, Awadalla, "Efficiently Editing Mixture-of-Experts
 * Models with Compressed Experts", arXiv 2503.00634. Each auxiliary expert j of
 * a token has three learned vectors; their average by routing weight scales the
 * inputs of the token's main experts:
 *   a'_j = a_j / sum a,  theta = sum_j a'_j * table[j]
 *   h = silu(W_gate (x * theta1)) * (W_up (x * theta3)),  y = W_down (h * theta2)
 */

#ifndef CE_MOE_COMPRESSED_H
#define CE_MOE_COMPRESSED_H

#include <stddef.h>
#include <stdint.h>

/* An expert chosen by the router, as it travels: 8 bytes. */
struct ce_pair {
    uint16_t expert;
    uint16_t position; /* in the router's order */
    float weight;
};

/* The tables of one layer. */
struct ce_compressed_table {
    const float *data; /* [experts][3][width], NULL: all ones */
    size_t width;      /* max(hidden, intermediate) */
    size_t hidden;
    size_t intermediate;
};

/* theta1 and theta3: [hidden], theta2: [intermediate]. count >= 1. When the
 * weights sum to 0 (underflow) the average is uniform. Returns 1 then, else 0. */
unsigned ce_compressed_theta(const struct ce_compressed_table *table,
                             const struct ce_pair *auxiliary,
                             size_t count,
                             float *theta1,
                             float *theta2,
                             float *theta3);

#endif
