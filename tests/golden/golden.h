/* golden.h - reading golden tensors in a test */

#ifndef CE_TESTS_GOLDEN_H
#define CE_TESTS_GOLDEN_H

#include "model/safetensors.h"
#include "test.h"

#include <math.h>
#include <string.h>

#define assert_ok(call, error)                                                         \
    do {                                                                               \
        if ((call) != CE_OK) {                                                         \
            fail_msg("%s: %s", #call, (error)->text);                                  \
        }                                                                              \
    } while (0)

/* I32 values; our golden files are written aligned. */
static inline const int32_t *golden_ids(const struct ce_tensor *tensor)
{
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, CE_DTYPE_I32);
    return tensor->data;
}

static inline void golden_floats(float *out, const struct ce_tensor *tensor)
{
    assert_int_equal(tensor->dtype, CE_DTYPE_F32);
    memcpy(out, tensor->data, tensor->bytes);
}

/* ||x - golden|| / ||golden|| of one row. */
static inline double
row_error(const float *x, const struct ce_tensor *golden, size_t row)
{
    size_t width = golden->shape[1];
    const unsigned char *data = golden->data;
    double difference = 0.0;
    double norm = 0.0;

    for (size_t i = 0; i < width; i++) {
        float expected = 0.0F;

        memcpy(&expected, data + (row * width + i) * sizeof(float), sizeof(expected));
        difference +=
            ((double)x[i] - (double)expected) * ((double)x[i] - (double)expected);
        norm += (double)expected * (double)expected;
    }
    return sqrt(difference / norm);
}

#endif
