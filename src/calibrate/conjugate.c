/* conjugate.c - steps of conjugate gradients */

#include "calibrate/conjugate.h"

#include <math.h>
#include <string.h>

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

bool ce_conjugate_take(struct ce_conjugate *conjugate, struct ce_arena *arena)
{
    const size_t n = conjugate->n;

    conjugate->x = ce_arena_take(arena, n, sizeof(double));
    conjugate->direction = ce_arena_take(arena, n, sizeof(double));
    conjugate->residual = ce_arena_take(arena, n, sizeof(double));
    return conjugate->x != NULL && conjugate->direction != NULL &&
           conjugate->residual != NULL;
}

void ce_conjugate_begin(struct ce_conjugate *conjugate,
                        const double *right,
                        double lambda)
{
    const size_t n = conjugate->n;

    memset(conjugate->x, 0, n * sizeof(double));
    memcpy(conjugate->direction, right, n * sizeof(double));
    memcpy(conjugate->residual, right, n * sizeof(double));
    conjugate->lambda = lambda;
    conjugate->norm = dot(right, right, n);
    conjugate->gained = 0.0;
    conjugate->last_gain = 0.0;
    conjugate->steps = 0;
}

/* The objective falls by |residual|^2 times the length of the step. */
bool ce_conjugate_step(struct ce_conjugate *conjugate, const double *product)
{
    const size_t n = conjugate->n;
    const double *direction = conjugate->direction;
    const double curvature =
        dot(direction, product, n) + conjugate->lambda * dot(direction, direction, n);
    const double length = conjugate->norm / curvature;
    double norm = 0.0;

    if (!(conjugate->norm > 0) || !(curvature > 0) || !isfinite(length)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        conjugate->x[i] += length * direction[i];
        conjugate->residual[i] -=
            length * (product[i] + conjugate->lambda * direction[i]);
    }
    norm = dot(conjugate->residual, conjugate->residual, n);
    conjugate->last_gain = length * conjugate->norm;
    conjugate->gained += conjugate->last_gain;
    for (size_t i = 0; i < n; i++) {
        conjugate->direction[i] =
            conjugate->residual[i] + norm / conjugate->norm * conjugate->direction[i];
    }
    conjugate->norm = norm;
    conjugate->steps++;
    return true;
}

bool ce_conjugate_is_done(const struct ce_conjugate *conjugate, double part)
{
    return conjugate->steps > 0 && !(conjugate->last_gain > part * conjugate->gained);
}
