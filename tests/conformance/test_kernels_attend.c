/* attend of every set against double precision, whatever the pages and the call */

#include "test_kernels.h"

#include <stdlib.h>

/* Queries of consecutive positions and their cache. Pages lie in any order, the last
 * before a forbidden page; behind the last position everything is NaN. */
struct scene {
    struct ce_attend a;
    size_t positions; /* of the last query, plus one */
    float *keys;      /* [positions][head_dim], as kept */
    float *values;
    float *query;
    float *out;
    uint32_t *page;
    struct guarded cache; /* [pages][keys, values] */
};

struct shape {
    size_t first, tokens, group, head_dim;
    enum ce_dtype dtype;
};

static void *allocate(size_t n, size_t size)
{
    void *x = malloc(n * size);

    assert_non_null(x);
    return x;
}

static float *draw_array(struct draws *d, size_t n)
{
    float *x = allocate(n, sizeof(float));

    draw_floats(d, x, n);
    return x;
}

static size_t width_of(size_t head_dim)
{
    return (head_dim + CE_KV_LANES - 1) / CE_KV_LANES * CE_KV_LANES;
}

/* Both halves of a page start as NaN. */
static void clear_cache(struct scene *s, size_t pages)
{
    const size_t elements = pages * s->a.kv.page_bytes / ce_dtype_size(s->a.kv.dtype);

    for (size_t i = 0; i < elements; i++) {
        (void)store_weight(s->cache.data, s->a.kv.dtype, i, NAN);
    }
}

/* Writes keys and values to the pages, and what was kept back to the arrays. */
static void fill_cache(struct scene *s)
{
    const struct ce_kv *kv = &s->a.kv;
    const size_t dim = kv->head_dim;

    for (size_t p = 0; p < s->positions; p++) {
        const size_t offset = s->page[p / CE_KV_PAGE] * kv->page_bytes;
        unsigned char *page = (unsigned char *)s->cache.data + offset;
        const size_t slot = p % CE_KV_PAGE;

        for (size_t i = 0; i < dim; i++) {
            float *key = s->keys + p * dim + i;
            float *value = s->values + p * dim + i;

            *key = store_weight(page, kv->dtype, i * CE_KV_PAGE + slot, *key);
            *value = store_weight(
                page + kv->page_bytes / 2, kv->dtype, slot * width_of(dim) + i, *value);
        }
    }
}

static void fill_pages(struct scene *s, struct draws *d)
{
    const size_t pages = (s->positions + CE_KV_PAGE - 1) / CE_KV_PAGE;

    for (size_t p = 0; p < pages; p++) {
        const size_t other = draw_size(d, 0, p);

        s->page[p] = s->page[other];
        s->page[other] = (uint32_t)p;
    }
    clear_cache(s, pages);
    fill_cache(s);
}

static struct scene scene_create(struct draws *d, struct shape shape)
{
    const size_t dim = shape.head_dim;
    const size_t rows = shape.tokens * shape.group;
    const size_t half = CE_KV_PAGE * width_of(dim) * ce_dtype_size(shape.dtype);
    struct scene s = {.positions = shape.first + shape.tokens};
    const size_t pages = (s.positions + CE_KV_PAGE - 1) / CE_KV_PAGE;

    s.keys = draw_array(d, s.positions * dim);
    s.values = draw_array(d, s.positions * dim);
    s.query = draw_array(d, rows * dim);
    s.out = allocate(rows * dim, sizeof(float));
    s.page = allocate(pages, sizeof(*s.page));
    s.cache = guard_bytes(pages * 2 * half, 0);
    s.a = (struct ce_attend){
        .kv = {.dtype = shape.dtype,
               .head_dim = dim,
               .keys = s.cache.data,
               .values = (unsigned char *)s.cache.data + half,
               .page = s.page,
               .page_bytes = 2 * half},
        .first = shape.first,
        .tokens = shape.tokens,
        .group = shape.group,
        .ld = shape.group * dim,
        .query = s.query,
        .out = s.out,
        .scale = 2 / sqrtf((float)dim),
    };
    fill_pages(&s, d);
    return s;
}

static void scene_destroy(struct scene *s)
{
    free(s->keys);
    free(s->values);
    free(s->query);
    free(s->out);
    free(s->page);
    guard_free(&s->cache);
}

static double exact_score(const struct scene *s, size_t row, size_t p)
{
    const size_t dim = s->a.kv.head_dim;
    double score = 0;

    for (size_t i = 0; i < dim; i++) {
        score += (double)s->query[row * dim + i] * (double)s->keys[p * dim + i];
    }
    return score * (double)s->a.scale;
}

static void check_row(const struct scene *s, size_t row, double *weights)
{
    const size_t dim = s->a.kv.head_dim;
    const size_t positions = s->a.first + row / s->a.group + 1;
    double largest = -INFINITY;
    double sum = 0;

    for (size_t p = 0; p < positions; p++) {
        weights[p] = exact_score(s, row, p);
        largest = fmax(largest, weights[p]);
    }
    for (size_t p = 0; p < positions; p++) {
        weights[p] = exp(weights[p] - largest);
        sum += weights[p];
    }
    for (size_t i = 0; i < dim; i++) {
        double expected = 0;

        for (size_t p = 0; p < positions; p++) {
            expected += weights[p] / sum * (double)s->values[p * dim + i];
        }
        /* all |values| are at most 1 */
        assert_near((double)s->out[row * dim + i], expected, 1e-5);
    }
}

static void check_outputs(const struct scene *s)
{
    double *weights = allocate(s->positions, sizeof(*weights));

    for (size_t row = 0; row < s->a.tokens * s->a.group; row++) {
        check_row(s, row, weights);
    }
    free(weights);
}

static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16};

static void
check_shape(const struct ce_kernels *kernels, struct draws *d, struct shape shape)
{
    for (size_t t = 0; t < 2; t++) {
        shape.dtype = dtypes[t];

        struct scene s = scene_create(d, shape);

        kernels->attend(&s.a);
        check_outputs(&s);
        scene_destroy(&s);
    }
}

static void check_sizes(const struct ce_kernels *kernels)
{
    static const size_t dims[] = {
        1, 3, 8, 15, 16, 24, 32, 36, 64, 80, 100, 128, 136, 264};
    static const size_t groups[] = {1, 2, 3, 4, 5, 7, 8, 50};
    struct draws d = {.key = 41};

    for (size_t i = 0; i < 150; i++) { /* one query at the edges of pages and blocks */
        const size_t dim = dims[i % (sizeof(dims) / sizeof(*dims))];

        check_shape(kernels, &d, (struct shape){i, 1, 1, dim, 0});
    }
    for (size_t i = 0; i < 40; i++) {
        const size_t dim = dims[i % (sizeof(dims) / sizeof(*dims))];
        const size_t group = groups[i % (sizeof(groups) / sizeof(*groups))];
        const size_t tokens = draw_size(&d, 1, group == 50 ? 3 : 60 / group);

        check_shape(
            kernels, &d, (struct shape){draw_size(&d, 0, 90), tokens, group, dim, 0});
    }
}

static void outputs_are_right_for_all_sizes(void **state)
{
    (void)state;
    with_every_set(check_sizes);
}

/* A long context, and scores from -200 to 200 whose largest comes late. */
static void check_long(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 44};
    struct scene s = scene_create(&d, (struct shape){5000, 3, 2, 32, CE_DTYPE_F32});

    kernels->attend(&s.a);
    check_outputs(&s);
    for (size_t p = 0; p < s.positions; p++) {
        for (size_t i = 0; i < 32; i++) {
            s.keys[p * 32 + i] *= 0.02F * (float)p;
        }
    }
    fill_cache(&s);
    kernels->attend(&s.a);
    check_outputs(&s);
    scene_destroy(&s);
}

static void a_long_context_is_exact_enough(void **state)
{
    (void)state;
    with_every_set(check_long);
}

/* The outputs of one call again from calls of every cut of tokens and heads. */
static void
check_cut(const struct ce_kernels *kernels, struct draws *d, const struct scene *s)
{
    const size_t dim = s->a.kv.head_dim;
    float *again = allocate(s->a.tokens * s->a.ld, sizeof(float));
    size_t tokens = 0;
    size_t heads = 0;

    for (size_t t = 0; t < s->a.tokens; t += tokens) {
        tokens = draw_size(d, 1, s->a.tokens - t);
        for (size_t g = 0; g < s->a.group; g += heads) {
            struct ce_attend part = s->a;

            heads = draw_size(d, 1, s->a.group - g);
            part.first += t;
            part.tokens = tokens;
            part.group = heads;
            part.query += t * s->a.ld + g * dim;
            part.out = again + t * s->a.ld + g * dim;
            kernels->attend(&part);
        }
    }
    assert_true(same_bits(again, s->out, s->a.tokens * s->a.ld));
    free(again);
}

static void check_bits(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 42};

    for (size_t i = 0; i < 30; i++) {
        const struct shape shape = {draw_size(&d, 0, 150),
                                    draw_size(&d, 1, 70),
                                    draw_size(&d, 1, 5),
                                    draw_size(&d, 1, 80),
                                    dtypes[i % 2]};
        struct scene s = scene_create(&d, shape);
        const size_t values = shape.tokens * s.a.ld;
        float *before = allocate(values, sizeof(float));

        kernels->attend(&s.a);
        for (size_t cut = 0; cut < 4; cut++) {
            check_cut(kernels, &d, &s);
        }
        memcpy(before, s.out, values * sizeof(float));
        fill_pages(&s, &d); /* the same in other pages */
        kernels->attend(&s.a);
        assert_true(same_bits(before, s.out, values));
        free(before);
        scene_destroy(&s);
    }
}

static void pages_and_cuts_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_bits);
}

static void check_specials(const struct ce_kernels *kernels)
{
    enum { DIM = 12 };
    struct draws d = {.key = 43};
    struct scene s = scene_create(&d, (struct shape){90, 1, 1, DIM, CE_DTYPE_F32});

    /* One position takes all the weight: its value comes out unchanged. */
    for (size_t i = 0; i < DIM; i++) {
        s.query[i] = 40;
        s.keys[20 * DIM + i] = 40;
    }
    fill_cache(&s);
    kernels->attend(&s.a);
    assert_true(same_bits(s.out, s.values + 20 * DIM, DIM));

    s.values[7 * DIM + 3] = NAN;
    fill_cache(&s);
    kernels->attend(&s.a);
    assert_true(isnan(s.out[3]));
    assert_true(kernels->all_finite(s.out + 4, 8));

    s.keys[2 * DIM] = NAN;
    fill_cache(&s);
    kernels->attend(&s.a);
    assert_true(isnan(s.out[4]) && isnan(s.out[11]));

    s.keys[2 * DIM] = INFINITY;
    fill_cache(&s);
    kernels->attend(&s.a);
    assert_true(isnan(s.out[4]) && isnan(s.out[11]));
    scene_destroy(&s);
}

static void one_key_can_win_and_nan_shows(void **state)
{
    (void)state;
    with_every_set(check_specials);
}

/* Scores of -inf have no weight, also where a whole block has no others. */
static void check_hidden(const struct ce_kernels *kernels)
{
    enum { DIM = 16 };
    struct draws d = {.key = 45};
    struct scene s = scene_create(&d, (struct shape){140, 1, 1, DIM, CE_DTYPE_F32});

    s.query[0] = 1;
    for (size_t p = 0; p < s.positions; p++) {
        s.keys[p * DIM] = p == 130 ? 0 : -INFINITY;
    }
    fill_cache(&s);
    kernels->attend(&s.a);
    assert_true(same_bits(s.out, s.values + 130 * DIM, DIM));

    s.keys[130 * DIM] = -INFINITY;
    fill_cache(&s);
    kernels->attend(&s.a);
    for (size_t i = 0; i < DIM; i++) {
        assert_true(isnan(s.out[i]));
    }
    scene_destroy(&s);
}

static void what_scores_minus_infinity_is_hidden(void **state)
{
    (void)state;
    with_every_set(check_hidden);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_right_for_all_sizes),
        cmocka_unit_test(a_long_context_is_exact_enough),
        cmocka_unit_test(pages_and_cuts_do_not_change_bits),
        cmocka_unit_test(one_key_can_win_and_nan_shows),
        cmocka_unit_test(what_scores_minus_infinity_is_hidden),
    };

    return cmocka_run_group_tests_name("kernels.attend", tests, NULL, NULL);
}
