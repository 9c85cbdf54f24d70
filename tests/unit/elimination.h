/* elimination.h - linear equations solved by elimination, to compare solvers with */

#ifndef CE_TESTS_UNIT_ELIMINATION_H
#define CE_TESTS_UNIT_ELIMINATION_H

#include <stddef.h>

/* x [n] of the rows m [n][n + 1], positive definite, with the right side behind them;
 * overwrites m. */
static void eliminate_rows(double *m, size_t n, double *x)
{
    const size_t ld = n + 1;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            const double factor = m[k * ld + i] / m[i * ld + i];

            for (size_t j = i; j <= n; j++) {
                m[k * ld + j] -= factor * m[i * ld + j];
            }
        }
    }
    for (size_t i = n; i-- > 0;) {
        x[i] = m[i * ld + n];
        for (size_t j = i + 1; j < n; j++) {
            x[i] -= m[i * ld + j] * x[j];
        }
        x[i] /= m[i * ld + i];
    }
}

#endif
