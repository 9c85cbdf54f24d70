/* wire.c - rows as F32, BF16 or scaled bytes */

#include "moe/wire.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const char *const names[CE_WIRE_FORMATS] = {"f32", "bf16", "int8"};

static size_t count_blocks(size_t width)
{
    return (width + CE_WIRE_BLOCK - 1) / CE_WIRE_BLOCK;
}

static size_t count_bytes(enum ce_wire_format format, size_t width)
{
    switch (format) {
    case CE_WIRE_BF16:
        return width * sizeof(uint16_t);
    case CE_WIRE_INT8:
        return count_blocks(width) * sizeof(float) + width;
    case CE_WIRE_F32:
    case CE_WIRE_FORMATS:
        break;
    }
    return width * sizeof(float);
}

struct ce_wire ce_wire_for(enum ce_wire_format format, size_t width)
{
    return (struct ce_wire){.format = format,
                            .width = width,
                            .row_bytes = (count_bytes(format, width) + 3) / 4 * 4};
}

const char *ce_wire_name(enum ce_wire_format format)
{
    return names[format];
}

enum ce_status
ce_wire_by_name(enum ce_wire_format *format, const char *name, struct ce_error *err)
{
    for (int i = 0; i < CE_WIRE_FORMATS; i++) {
        if (name == NULL || strcmp(name, names[i]) == 0) {
            *format = (enum ce_wire_format)i;
            return CE_OK;
        }
    }
    return ce_fail(
        err, CE_ERR_ARG, "unknown wire format \"%s\"; there are f32, bf16, int8", name);
}

static size_t block_width(size_t first, size_t width)
{
    return width - first < CE_WIRE_BLOCK ? width - first : CE_WIRE_BLOCK;
}

static float largest_magnitude(const float *values, size_t count)
{
    float largest = 0.0F;

    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(values[i]);

        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* Added and taken off again it leaves the nearest whole number, even in a tie, of
 * magnitudes below 2^22: what lrintf does, but in a loop the compiler can vectorise. */
#define ROUNDER 0x1.8p23F

static void encode_block(float *scale, int8_t *bytes, const float *values, size_t count)
{
    /* A scale of 0 is a block of zeros, or of values too small for one. */
    const float step = largest_magnitude(values, count) / 127.0F;
    const float divisor = step > 0.0F ? step : INFINITY;

    *scale = step;
    for (size_t i = 0; i < count; i++) {
        float quotient = values[i] / divisor;

        /* What is not a number becomes the lowest: the scale says the rest. */
        quotient = quotient > -127.0F ? quotient : -127.0F;
        quotient = quotient < 127.0F ? quotient : 127.0F;
        bytes[i] = (int8_t)(int)((quotient + ROUNDER) - ROUNDER);
    }
}

/* ce_bf16_from_f32 for values that are no NaN. */
static void encode_bf16(uint16_t *halves, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        halves[i] = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
}

static float widen_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void encode_int8(const struct ce_wire *wire, void *row, const float *values)
{
    float *scales = row;
    int8_t *bytes = (int8_t *)(scales + count_blocks(wire->width));

    for (size_t i = 0; i < wire->width; i += CE_WIRE_BLOCK) {
        encode_block(&scales[i / CE_WIRE_BLOCK],
                     bytes + i,
                     values + i,
                     block_width(i, wire->width));
    }
}

static void decode_int8(const struct ce_wire *wire, float *values, const void *row)
{
    const float *scales = row;
    const int8_t *bytes = (const int8_t *)(scales + count_blocks(wire->width));

    for (size_t first = 0; first < wire->width; first += CE_WIRE_BLOCK) {
        const float scale = scales[first / CE_WIRE_BLOCK];
        const size_t count = block_width(first, wire->width);

        for (size_t i = first; i < first + count; i++) {
            values[i] = scale * (float)bytes[i];
        }
    }
}

/* Each value is widened exactly as decode does and added once. */
static void add_int8(const struct ce_wire *wire, float *y, const void *row)
{
    const float *scales = row;
    const int8_t *bytes = (const int8_t *)(scales + count_blocks(wire->width));

    for (size_t first = 0; first < wire->width; first += CE_WIRE_BLOCK) {
        const float scale = scales[first / CE_WIRE_BLOCK];
        const size_t count = block_width(first, wire->width);

        for (size_t i = first; i < first + count; i++) {
            y[i] += scale * (float)bytes[i];
        }
    }
}

void ce_wire_encode(const struct ce_wire *wire, void *row, const float *values)
{
    uint16_t *halves = row;

    switch (wire->format) {
    case CE_WIRE_BF16:
        encode_bf16(halves, values, wire->width);
        return;
    case CE_WIRE_INT8:
        encode_int8(wire, row, values);
        return;
    case CE_WIRE_F32:
    case CE_WIRE_FORMATS:
        break;
    }
    memcpy(row, values, wire->width * sizeof(values[0]));
}

void ce_wire_decode(const struct ce_wire *wire, float *values, const void *row)
{
    const uint16_t *halves = row;

    switch (wire->format) {
    case CE_WIRE_BF16:
        for (size_t i = 0; i < wire->width; i++) {
            values[i] = widen_bf16(halves[i]);
        }
        return;
    case CE_WIRE_INT8:
        decode_int8(wire, values, row);
        return;
    case CE_WIRE_F32:
    case CE_WIRE_FORMATS:
        break;
    }
    memcpy(values, row, wire->width * sizeof(values[0]));
}

const float *ce_wire_view(const struct ce_wire *wire, const void *row, float *scratch)
{
    if (wire->format == CE_WIRE_F32) {
        return row;
    }
    ce_wire_decode(wire, scratch, row);
    return scratch;
}

void ce_wire_add(const struct ce_wire *wire, float *y, const void *row)
{
    const float *values = row;
    const uint16_t *halves = row;

    switch (wire->format) {
    case CE_WIRE_BF16:
        for (size_t i = 0; i < wire->width; i++) {
            y[i] += widen_bf16(halves[i]);
        }
        return;
    case CE_WIRE_INT8:
        add_int8(wire, y, row);
        return;
    case CE_WIRE_F32:
    case CE_WIRE_FORMATS:
        break;
    }
    for (size_t i = 0; i < wire->width; i++) {
        y[i] += values[i];
    }
}
