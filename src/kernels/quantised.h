/* quantised.h - weights of 8 or 4 bits in packed panels, activations of 16 bits
 *
 * Weights are quantised by blocks of 32 inputs of one output: code * scale, the
 * scale a BF16, codes -127..127 (8.5 bits per weight) or -8..7 (4.5 bits). A panel
 * is 16 outputs by all inputs, block after block, read from start to end; what is
 * missing of its outputs or of the last block is zero. README.md shows the bytes,
 * which are the same on every machine.
 *
 * Activations are quantised once a row, by the same blocks, to 16 bits. A row is
 * an array of ce_quantised_blocks(inputs) blocks: rows are copied, gathered and
 * sent as they are.
 */

#ifndef CE_KERNELS_QUANTISED_H
#define CE_KERNELS_QUANTISED_H

#include "base/tensor.h"

#include <stddef.h>
#include <stdint.h>

enum { CE_QUANTISED_PANEL = 16, CE_QUANTISED_BLOCK = 32 };

enum ce_quantisation { CE_QUANTISATION_Q8 = 0, CE_QUANTISATION_Q4 };

/* Weights that can be quantised are at most this, so that no intermediate result
 * overflows unless activations do. */
#define CE_QUANTISED_MAX_WEIGHT 0x1p+100F

/* A view of packed panels: owns nothing. `data` may be unaligned, but is read
 * fastest at a multiple of 64 bytes. */
struct ce_quantised_matrix {
    enum ce_quantisation quantisation;
    size_t outputs;
    size_t inputs;
    const void *data;
};

/* 32 activations: values * scale. Of a block that is not finite the scale is NaN. */
struct ce_quantised_block {
    int16_t values[CE_QUANTISED_BLOCK];
    float scale;
    int32_t offset; /* -8 * the sum of the values: 4-bit codes are stored plus 8 */
};

const char *ce_quantisation_name(enum ce_quantisation quantisation); /* "q8", "q4" */

/* Blocks of a row, of weights or activations. */
size_t ce_quantised_blocks(size_t inputs);
size_t ce_quantised_panels(size_t outputs);
size_t ce_quantised_panel_bytes(enum ce_quantisation quantisation, size_t inputs);
/* Bytes of all panels. */
size_t
ce_quantised_bytes(enum ce_quantisation quantisation, size_t outputs, size_t inputs);

/* Quantises panels first .. first + count - 1 of `w` into their place in
 * `packed`, the memory of the whole matrix, whatever its alignment; other panels
 * may be done by other threads. Returns the first output of them with a weight
 * that is not finite or beyond CE_QUANTISED_MAX_WEIGHT, and then the panels are
 * not to be used; w->outputs where there is none. */
size_t ce_quantise_panels(void *packed,
                          enum ce_quantisation quantisation,
                          const struct ce_matrix *w,
                          size_t first,
                          size_t count);

/* The weights [inputs] of one output as they are computed with. */
void ce_dequantise_output(float *weights,
                          const struct ce_quantised_matrix *w,
                          size_t output);

/* For sets and tests: the codes and scales of one block of a panel. */
struct ce_quantised_codes {
    int8_t codes[CE_QUANTISED_PANEL][CE_QUANTISED_BLOCK];
    float scales[CE_QUANTISED_PANEL];
};

void ce_quantised_unpack(struct ce_quantised_codes *codes,
                         const struct ce_quantised_matrix *w,
                         size_t panel,
                         size_t block);

#endif
