/* compressed.c - theta of one token from the replicated tables */

#include "moe/compressed.h"

static void add_vector(float *theta, const float *vector, float weight, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        theta[i] += weight * (vector != NULL ? vector[i] : 1.0F);
    }
}

static void clear(float *theta, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        theta[i] = 0.0F;
    }
}

unsigned ce_compressed_theta(const struct ce_compressed_table *table,
                             const struct ce_pair *auxiliary,
                             size_t count,
                             float *theta1,
                             float *theta2,
                             float *theta3)
{
    float sum = 0.0F;
    unsigned uniform = 0;

    for (size_t j = 0; j < count; j++) {
        sum += auxiliary[j].weight;
    }
    uniform = !(sum > 0.0F);
    clear(theta1, table->hidden);
    clear(theta2, table->intermediate);
    clear(theta3, table->hidden);
    for (size_t j = 0; j < count; j++) {
        float weight = uniform ? 1.0F / (float)count : auxiliary[j].weight / sum;
        const float *rows = NULL;

        if (table->data != NULL) {
            rows = table->data + (size_t)auxiliary[j].expert * 3 * table->width;
        }
        add_vector(theta1, rows, weight, table->hidden);
        add_vector(theta2,
                   rows != NULL ? rows + table->width : NULL,
                   weight,
                   table->intermediate);
        add_vector(theta3,
                   rows != NULL ? rows + 2 * table->width : NULL,
                   weight,
                   table->hidden);
    }
    return uniform;
}
