/* wire.h - how rows of x and of results are written in messages
 *
 *   f32    the values themselves
 *   bf16   rounded to nearest even, 2 bytes a value; error <= 2^-8 of each value
 *   int8   for each block of 128 values a scale = max|value| / 127 (F32), then one
 *          byte a value, value / scale rounded to nearest even; error <= max / 254
 *          of the block
 *
 * A row is encoded once by its sender and decoded where it is used. A rank's own
 * rows are encoded too, also on one rank, so a reduced format changes results but
 * does not make them depend on the number of ranks. Pairs travel exactly.
 */

#ifndef CE_MOE_WIRE_H
#define CE_MOE_WIRE_H

#include "base/status.h"

#include <stddef.h>

enum ce_wire_format { CE_WIRE_F32 = 0, CE_WIRE_BF16, CE_WIRE_INT8, CE_WIRE_FORMATS };

#define CE_WIRE_BLOCK 128

/* A format for rows of one width. */
struct ce_wire {
    enum ce_wire_format format;
    size_t width;     /* values of a row */
    size_t row_bytes; /* a multiple of 4 */
};

struct ce_wire ce_wire_for(enum ce_wire_format format, size_t width);

const char *ce_wire_name(enum ce_wire_format format);
/* By name; NULL is f32. Errors: CE_ERR_ARG listing the names. */
CE_MUST_CHECK enum ce_status
ce_wire_by_name(enum ce_wire_format *format, const char *name, struct ce_error *err);

/* row: [row_bytes], 4-byte aligned; values: [width]. Values that are not finite stay
 * so, but in int8 they spoil their block. */
void ce_wire_encode(const struct ce_wire *wire, void *row, const float *values);
void ce_wire_decode(const struct ce_wire *wire, float *values, const void *row);
/* The values of a row: the row itself where it is F32, else decoded to scratch. */
const float *
ce_wire_view(const struct ce_wire *wire, const void *row, float *scratch /* [width] */);
/* y += the row's values. */
void ce_wire_add(const struct ce_wire *wire, float *y, const void *row);

#endif
