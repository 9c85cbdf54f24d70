/* parallel.c - one matmul shared by the threads of a rank
 *
 * Few rows: the time goes into reading weights, so each thread reads one
 * contiguous run of them, the same one in every call. Many rows: the time goes
 * into arithmetic, so tasks of outputs by rows are handed out as threads become
 * free. Either way the cut cannot be seen in the result (row invariance).
 */

#include "base/memory.h"
#include "kernels/kernels.h"

enum {
    PANEL_OUTPUTS = 16,
    TASK_OUTPUTS = 32,
    TASK_ROWS = 192,
    FEW_ROWS = 16,
    /* Multiplications that pay for waking the other threads. */
    WORTH_SHARING = 32768,
};

struct product {
    const struct ce_kernels *kernels;
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    size_t rows;
    const struct ce_matrix *w;
};

static size_t count_pieces(size_t n, size_t piece)
{
    return (n + piece - 1) / piece;
}

static void share_outputs(const struct product *p)
{
    const size_t outputs = p->w->outputs;
    const size_t panels = count_pieces(outputs, PANEL_OUTPUTS);
    const bool worth = p->rows * outputs * p->w->inputs >= WORTH_SHARING;

#pragma omp parallel for schedule(static) if (worth)
    for (size_t panel = 0; panel < panels; panel++) {
        const size_t first = panel * PANEL_OUTPUTS;
        const size_t count = ce_size_min(PANEL_OUTPUTS, outputs - first);

        p->kernels->matmul(
            p->y + first, p->ldy, p->x, p->ldx, p->rows, p->w, first, count);
    }
}

static void share_tasks(const struct product *p)
{
    const size_t panels = count_pieces(p->w->outputs, TASK_OUTPUTS);
    const size_t tasks = panels * count_pieces(p->rows, TASK_ROWS);
    const bool worth = p->rows * p->w->outputs * p->w->inputs >= WORTH_SHARING;

#pragma omp parallel for schedule(dynamic) if (worth)
    for (size_t task = 0; task < tasks; task++) {
        const size_t first = task % panels * TASK_OUTPUTS;
        const size_t row = task / panels * TASK_ROWS;

        p->kernels->matmul(p->y + row * p->ldy + first,
                           p->ldy,
                           p->x + row * p->ldx,
                           p->ldx,
                           ce_size_min(TASK_ROWS, p->rows - row),
                           p->w,
                           first,
                           ce_size_min(TASK_OUTPUTS, p->w->outputs - first));
    }
}

void ce_matmul_parallel(const struct ce_kernels *kernels,
                        float *y,
                        size_t ldy,
                        const float *x,
                        size_t ldx,
                        size_t rows,
                        const struct ce_matrix *w)
{
    struct product product = {
        .kernels = kernels, .ldy = ldy, .x = x, .ldx = ldx, .rows = rows, .w = w};

    if (rows == 0) {
        return;
    }
    product.y = y;
    if (rows <= FEW_ROWS) {
        share_outputs(&product);
    } else {
        share_tasks(&product);
    }
}
