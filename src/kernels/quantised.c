/* quantised.c - sizes and bytes of packed panels, and the choice of codes and scales
 *
 * Weights are quantised here for all sets alike, once, when they are loaded.
 */

#include "kernels/quantised.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    PANEL = CE_QUANTISED_PANEL,
    BLOCK = CE_QUANTISED_BLOCK,
    SCALES_BYTES = PANEL * sizeof(uint16_t),
};

const char *ce_quantisation_name(enum ce_quantisation quantisation)
{
    return quantisation == CE_QUANTISATION_Q8 ? "q8" : "q4";
}

size_t ce_quantised_blocks(size_t inputs)
{
    return inputs / BLOCK + (inputs % BLOCK > 0);
}

size_t ce_quantised_panels(size_t outputs)
{
    return outputs / PANEL + (outputs % PANEL > 0);
}

/* Bytes of one block of all outputs of a panel. */
static size_t block_bytes(enum ce_quantisation quantisation)
{
    const size_t codes = (size_t)PANEL * BLOCK;

    return SCALES_BYTES + (quantisation == CE_QUANTISATION_Q8 ? codes : codes / 2);
}

size_t ce_quantised_panel_bytes(enum ce_quantisation quantisation, size_t inputs)
{
    return ce_quantised_blocks(inputs) * block_bytes(quantisation);
}

size_t
ce_quantised_bytes(enum ce_quantisation quantisation, size_t outputs, size_t inputs)
{
    return ce_quantised_panels(outputs) *
           ce_quantised_panel_bytes(quantisation, inputs);
}

static size_t block_offset(enum ce_quantisation quantisation,
                           size_t inputs,
                           size_t panel,
                           size_t block)
{
    return panel * ce_quantised_panel_bytes(quantisation, inputs) +
           block * block_bytes(quantisation);
}

/* Scales of outputs j and j + 8 are the halves of one 32-bit word: two operations
 * widen all sixteen. */
static size_t scale_at(size_t output)
{
    return 2 * (2 * (output % 8) + output / 8);
}

/* 8 bits: a row of 32 bytes is two inputs of every output. */
static size_t q8_at(size_t output, size_t input)
{
    return SCALES_BYTES + input / 2 * 2 * PANEL + 2 * output + input % 2;
}

/* 4 bits: a row of 64 bytes is eight inputs of every output. A 16-bit word has four
 * of them, input, input + 2, + 4 and + 6, from the lowest nibble up. */
static size_t q4_at(size_t output, size_t input)
{
    return SCALES_BYTES + input / 8 * 4 * PANEL + 4 * output + 2 * (input % 2);
}

static void put_word(unsigned char *at, unsigned word)
{
    at[0] = (unsigned char)(word & 0xff);
    at[1] = (unsigned char)(word >> 8);
}

static unsigned get_word(const unsigned char *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

/* Codes and scale of up to 32 weights of one output. */
struct output_block {
    int8_t codes[BLOCK];
    uint16_t scale;
};

static void put_q8(unsigned char *at, size_t output, const int8_t *codes)
{
    for (size_t i = 0; i < BLOCK; i += 2) {
        memcpy(at + q8_at(output, i), codes + i, 2);
    }
}

static void put_q4(unsigned char *at, size_t output, const int8_t *codes)
{
    for (size_t i = 0; i < BLOCK; i += i % 2 == 0 ? 1 : 7) {
        unsigned word = 0;

        for (size_t nibble = 0; nibble < 4; nibble++) {
            word |= (unsigned)(codes[i + 2 * nibble] + 8) << 4 * nibble;
        }
        put_word(at + q4_at(output, i), word);
    }
}

static int8_t get_code(const unsigned char *at,
                       enum ce_quantisation quantisation,
                       size_t output,
                       size_t input)
{
    int8_t code;

    if (quantisation == CE_QUANTISATION_Q4) {
        const unsigned word = get_word(at + q4_at(output, input));

        return (int8_t)((int)(word >> (input % 8 / 2 * 4) & 0xf) - 8);
    }
    memcpy(&code, at + q8_at(output, input), 1);
    return code;
}

void ce_quantised_unpack(struct ce_quantised_codes *codes,
                         const struct ce_quantised_matrix *w,
                         size_t panel,
                         size_t block)
{
    const unsigned char *at = (const unsigned char *)w->data +
                              block_offset(w->quantisation, w->inputs, panel, block);

    for (size_t o = 0; o < PANEL; o++) {
        codes->scales[o] = ce_f32_from_bf16((uint16_t)get_word(at + scale_at(o)));
        for (size_t i = 0; i < BLOCK; i++) {
            codes->codes[o][i] = get_code(at, w->quantisation, o, i);
        }
    }
}

void ce_dequantise_output(float *weights,
                          const struct ce_quantised_matrix *w,
                          size_t output)
{
    const size_t lane = output % PANEL;

    for (size_t i = 0; i < w->inputs; i++) {
        const unsigned char *at =
            (const unsigned char *)w->data +
            block_offset(w->quantisation, w->inputs, output / PANEL, i / BLOCK);
        const uint16_t scale = (uint16_t)get_word(at + scale_at(lane));
        const int8_t code = get_code(at, w->quantisation, lane, i % BLOCK);

        weights[i] = (float)code * ce_f32_from_bf16(scale);
    }
}

/* The weight of largest magnitude, with its sign: its bits with the sign moved to the
 * end order by magnitude, NaN above infinity. */
static float find_extreme(const float *weights)
{
    uint32_t bits[BLOCK];
    uint32_t largest = 0;
    float extreme;

    memcpy(bits, weights, sizeof(bits));
    for (size_t i = 0; i < BLOCK; i++) {
        const uint32_t order = bits[i] << 1 | bits[i] >> 31;

        largest = order > largest ? order : largest;
    }
    largest = largest >> 1 | largest << 31;
    memcpy(&extreme, &largest, sizeof(extreme));
    return extreme;
}

/* In eight sums side by side, which the compiler turns into vectors. */
static float sum_squares(const float *x)
{
    enum { LANES = 8 };
    float sums[LANES] = {0};
    float sum = 0;

    for (size_t i = 0; i < BLOCK; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[lane] += x[i + lane] * x[i + lane];
        }
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += sums[lane];
    }
    return sum;
}

/* Codes for the scale extreme / code. It is rounded to BF16 first, so that codes make
 * up for that. Returns the sum of squared errors. */
static float choose_codes(struct output_block *b,
                          const float *weights,
                          float extreme,
                          float code,
                          int lowest,
                          int highest)
{
    const float to_even = 0x1.8p+23F; /* adding it rounds */
    float errors[BLOCK];

    b->scale = ce_bf16_from_f32(extreme / code);

    const float scale = ce_f32_from_bf16(b->scale);
    const float divisor = scale == 0 ? 1 : scale; /* weights next to zero are zero */

    for (size_t i = 0; i < BLOCK; i++) {
        const float exact = weights[i] / divisor;
        const int rounded = (int)((exact + to_even) - to_even);
        const int low = rounded > lowest ? rounded : lowest;
        const int clamped = low < highest ? low : highest;

        errors[i] = weights[i] - (float)clamped * scale;
        b->codes[i] = (int8_t)clamped;
    }
    return sum_squares(errors);
}

/* Codes of 4 bits reach one farther below zero than above, so the scale takes the
 * sign that gives the extreme a code below. Which of these codes, or one cut off
 * at -8, is best depends on the other weights. */
static void choose_q4(struct output_block *b, const float *weights, float extreme)
{
    static const float extreme_codes[] = {-8, -8.5F, -7.5F, -7};
    float least = choose_codes(b, weights, extreme, extreme_codes[0], -8, 7);

    for (size_t k = 1; k < sizeof(extreme_codes) / sizeof(*extreme_codes); k++) {
        struct output_block other;
        const float error =
            choose_codes(&other, weights, extreme, extreme_codes[k], -8, 7);

        if (error < least) {
            least = error;
            *b = other;
        }
    }
}

/* False where a weight is not finite or too large. */
static bool quantise_output(unsigned char *at,
                            enum ce_quantisation quantisation,
                            size_t output,
                            const float *weights)
{
    const float extreme = find_extreme(weights);
    struct output_block b = {{0}, 0};

    if (!(fabsf(extreme) <= CE_QUANTISED_MAX_WEIGHT)) { /* nor NaN */
        return false;
    }
    if (quantisation == CE_QUANTISATION_Q8) {
        if (extreme != 0) {
            (void)choose_codes(&b, weights, fabsf(extreme), 127, -127, 127);
        }
        put_q8(at, output, b.codes);
    } else {
        if (extreme != 0) {
            choose_q4(&b, weights, extreme);
        }
        put_q4(at, output, b.codes);
    }
    put_word(at + scale_at(output), b.scale);
    return true;
}

/* One block of all outputs of a panel; returns the outputs that went well. */
static size_t quantise_block(unsigned char *at,
                             enum ce_quantisation quantisation,
                             const struct ce_matrix *w,
                             size_t panel,
                             size_t block)
{
    const size_t size = ce_dtype_size(w->dtype);
    const size_t input = block * BLOCK;
    const size_t inputs = w->inputs - input < BLOCK ? w->inputs - input : BLOCK;

    for (size_t o = 0; o < PANEL; o++) {
        const size_t output = panel * PANEL + o;
        float weights[BLOCK] = {0};

        if (output < w->outputs) {
            ce_tensor_widen(weights,
                            (const unsigned char *)w->data +
                                (output * w->inputs + input) * size,
                            w->dtype,
                            inputs);
        }
        if (!quantise_output(at, quantisation, o, weights)) {
            return o;
        }
    }
    return PANEL;
}

size_t ce_quantise_panels(void *packed,
                          enum ce_quantisation quantisation,
                          const struct ce_matrix *w,
                          size_t first,
                          size_t count)
{
    for (size_t panel = first; panel < first + count; panel++) {
        size_t good = PANEL;

        for (size_t block = 0; block < ce_quantised_blocks(w->inputs); block++) {
            unsigned char *at = (unsigned char *)packed +
                                block_offset(quantisation, w->inputs, panel, block);
            const size_t n = quantise_block(at, quantisation, w, panel, block);

            good = n < good ? n : good;
        }
        if (good < PANEL) {
            return panel * PANEL + good;
        }
    }
    return w->outputs;
}
