/* product.c - products of rows with weights of any type, stored or packed */

#include "base/memory.h"
#include "kernels/kernels.h"

enum {
    FEW_ROWS = 16,
    /* Panels and rows of one task when there are many. */
    TASK_PANELS = 4,
    TASK_ROWS = 192,
    /* Multiplications that pay for waking the other threads. */
    WORTH_SHARING = 32768,
};

struct ce_rows ce_rows_from(const struct ce_rows *x, size_t row)
{
    struct ce_rows rest = *x;

    rest.values += row * x->stride;
    if (x->blocks != NULL) {
        rest.blocks += row * x->block_stride;
    }
    return rest;
}

void ce_rows_quantise(const struct ce_kernels *kernels,
                      struct ce_rows *x,
                      struct ce_quantised_block *blocks,
                      size_t rows,
                      size_t inputs)
{
    x->blocks = blocks;
    x->block_stride = ce_quantised_blocks(inputs);
#pragma omp parallel for schedule(static) if (rows * inputs >= WORTH_SHARING)
    for (size_t i = 0; i < rows; i++) {
        kernels->quantise_rows(blocks + i * x->block_stride,
                               x->block_stride,
                               x->values + i * x->stride,
                               x->stride,
                               1,
                               inputs);
    }
}

static struct ce_quantised_matrix view_packed(const struct ce_matrix *w)
{
    return (struct ce_quantised_matrix){.quantisation = w->dtype == CE_DTYPE_Q8
                                                            ? CE_QUANTISATION_Q8
                                                            : CE_QUANTISATION_Q4,
                                        .outputs = w->outputs,
                                        .inputs = w->inputs,
                                        .data = w->data};
}

void ce_product(const struct ce_kernels *kernels,
                float *y,
                size_t ldy,
                const struct ce_rows *x,
                size_t rows,
                const struct ce_matrix *w,
                size_t first,
                size_t count)
{
    if (!ce_dtype_is_packed(w->dtype)) {
        kernels->matmul(y, ldy, x->values, x->stride, rows, w, first, count);
        return;
    }
    const struct ce_quantised_matrix packed = view_packed(w);

    kernels->matmul_quantised(y,
                              ldy,
                              x->blocks,
                              x->block_stride,
                              rows,
                              &packed,
                              first / CE_QUANTISED_PANEL,
                              ce_quantised_panels(count));
}

struct cut {
    size_t panels; /* of a task */
    size_t rows;   /* of a task */
    size_t across; /* tasks that share rows */
    size_t tasks;
};

/* Few rows: each thread reads one run of panels, the same in every call. Many: tasks
 * are handed out as threads become free. */
static struct cut cut_product(const struct ce_matrix *w, size_t rows)
{
    size_t panels = ce_quantised_panels(w->outputs);
    struct cut cut = {.panels = rows <= FEW_ROWS ? 1 : TASK_PANELS,
                      .rows = ce_size_min(rows, TASK_ROWS)};

    cut.across = (panels + cut.panels - 1) / cut.panels;
    cut.tasks = cut.across * ((rows + cut.rows - 1) / cut.rows);
    return cut;
}

static void run_task(const struct ce_kernels *kernels,
                     float *y,
                     size_t ldy,
                     const struct ce_rows *x,
                     size_t rows,
                     const struct ce_matrix *w,
                     const struct cut *cut,
                     size_t task)
{
    const size_t width = cut->panels * CE_QUANTISED_PANEL;
    const size_t first = task % cut->across * width;
    const size_t row = task / cut->across * cut->rows;
    const struct ce_rows mine = ce_rows_from(x, row);

    ce_product(kernels,
               y + row * ldy + first,
               ldy,
               &mine,
               ce_size_min(cut->rows, rows - row),
               w,
               first,
               ce_size_min(width, w->outputs - first));
}

void ce_product_parallel(const struct ce_kernels *kernels,
                         float *y,
                         size_t ldy,
                         const struct ce_rows *x,
                         size_t rows,
                         const struct ce_matrix *w)
{
    if (!ce_dtype_is_packed(w->dtype)) {
        ce_matmul_parallel(kernels, y, ldy, x->values, x->stride, rows, w);
        return;
    }
    if (rows == 0) {
        return;
    }
    const struct cut cut = cut_product(w, rows);
    const bool worth = rows * w->outputs * w->inputs >= WORTH_SHARING;

    if (rows <= FEW_ROWS) {
#pragma omp parallel for schedule(static) if (worth)
        for (size_t task = 0; task < cut.tasks; task++) {
            run_task(kernels, y, ldy, x, rows, w, &cut, task);
        }
        return;
    }
#pragma omp parallel for schedule(dynamic) if (worth)
    for (size_t task = 0; task < cut.tasks; task++) {
        run_task(kernels, y, ldy, x, rows, w, &cut, task);
    }
}
