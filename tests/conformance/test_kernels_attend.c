/* attend of every set against double precision, whatever the pages */

#include "test_kernels.h"

#include <stdlib.h>

/* One query and its cache; every page ends before a forbidden page. */
struct cache {
    size_t positions, page_tokens, head_dim, pages;
    float *query;
    float *all_keys; /* [positions][head_dim], to compute with and to cut into pages */
    float *all_values;
    struct guarded *key_pages;
    struct guarded *value_pages;
    const float **keys;
    const float **values;
    struct guarded scores;
    struct guarded out;
};

static float *draw_array(struct draws *d, size_t n)
{
    float *x = malloc(n * sizeof(float));

    assert_non_null(x);
    draw_floats(d, x, n);
    return x;
}

/* The last page holds only what is attended: nothing behind it may be read. */
static struct guarded *
cut_pages(const struct cache *c, const float *all, const float **pages)
{
    struct guarded *guards = malloc(c->pages * sizeof(*guards));
    const size_t page_values = c->page_tokens * c->head_dim;
    size_t left = c->positions * c->head_dim;

    assert_non_null(guards);
    for (size_t p = 0; p < c->pages; p++) {
        const size_t n = left < page_values ? left : page_values;

        guards[p] = guard_bytes(n * sizeof(float), 0);
        memcpy(guards[p].data, all + p * page_values, n * sizeof(float));
        pages[p] = guards[p].data;
        left -= n;
    }
    return guards;
}

static void cache_page(struct cache *c, size_t page_tokens)
{
    c->page_tokens = page_tokens;
    c->pages = (c->positions + page_tokens - 1) / page_tokens;
    c->keys = malloc(c->pages * sizeof(*c->keys));
    c->values = malloc(c->pages * sizeof(*c->values));
    assert_non_null(c->keys);
    assert_non_null(c->values);
    c->key_pages = cut_pages(c, c->all_keys, c->keys);
    c->value_pages = cut_pages(c, c->all_values, c->values);
    c->scores = guard_bytes(c->positions * sizeof(float), 0);
    c->out = guard_bytes(c->head_dim * sizeof(float), 0);
}

static void cache_unpage(struct cache *c)
{
    for (size_t p = 0; p < c->pages; p++) {
        guard_free(&c->key_pages[p]);
        guard_free(&c->value_pages[p]);
    }
    guard_free(&c->scores);
    guard_free(&c->out);
    free(c->key_pages);
    free(c->value_pages);
    free(c->keys);
    free(c->values);
}

static struct cache cache_create(struct draws *d, size_t positions, size_t head_dim)
{
    struct cache c = {.positions = positions, .head_dim = head_dim};

    c.query = draw_array(d, head_dim);
    c.all_keys = draw_array(d, positions * head_dim);
    c.all_values = draw_array(d, positions * head_dim);
    return c;
}

static void cache_destroy(struct cache *c)
{
    free(c->query);
    free(c->all_keys);
    free(c->all_values);
}

static const float *cache_attend(const struct cache *c,
                                 const struct ce_kernels *kernels)
{
    const struct ce_attend a = {
        .query = c->query,
        .keys = c->keys,
        .values = c->values,
        .page_tokens = c->page_tokens,
        .positions = c->positions,
        .head_dim = c->head_dim,
        .scale = 2 / sqrtf((float)c->head_dim),
        .scores = c->scores.data,
        .out = c->out.data,
    };

    kernels->attend(&a);
    return a.out;
}

static void check_outputs(const struct cache *c, const float *actual)
{
    const double scale = (double)(2 / sqrtf((float)c->head_dim));
    double *weights = malloc(c->positions * sizeof(*weights));
    double sum = 0;

    assert_non_null(weights);
    for (size_t p = 0; p < c->positions; p++) {
        double score = 0;

        for (size_t i = 0; i < c->head_dim; i++) {
            score += (double)c->query[i] * (double)c->all_keys[p * c->head_dim + i];
        }
        weights[p] = exp(score * scale);
        sum += weights[p];
    }
    for (size_t i = 0; i < c->head_dim; i++) {
        double expected = 0;

        for (size_t p = 0; p < c->positions; p++) {
            expected += weights[p] / sum * (double)c->all_values[p * c->head_dim + i];
        }
        assert_near((double)actual[i], expected, 1e-5); /* all |values| are below 1 */
    }
    free(weights);
}

static void check_sizes(const struct ce_kernels *kernels)
{
    static const size_t dims[] = {
        1, 3, 8, 15, 16, 24, 32, 36, 40, 64, 80, 100, 128, 136};
    struct draws d = {.key = 41};

    for (size_t i = 0; i < 200; i++) {
        const size_t dim = dims[i % (sizeof(dims) / sizeof(*dims))];
        struct cache c = cache_create(&d, i + 1, dim);

        cache_page(&c, 16);
        check_outputs(&c, cache_attend(&c, kernels));
        cache_unpage(&c);
        cache_destroy(&c);
    }
}

static void outputs_are_right_for_all_sizes(void **state)
{
    (void)state;
    with_every_set(check_sizes);
}

static void check_pages(const struct ce_kernels *kernels)
{
    static const size_t page_tokens[] = {1, 2, 3, 5, 16, 64, 200};
    struct draws d = {.key = 42};

    for (size_t i = 0; i < 12; i++) {
        struct cache c = cache_create(&d, draw_size(&d, 1, 100), draw_size(&d, 1, 80));
        float whole[80];

        cache_page(&c, c.positions);
        memcpy(whole, cache_attend(&c, kernels), c.head_dim * sizeof(float));
        cache_unpage(&c);
        for (size_t p = 0; p < sizeof(page_tokens) / sizeof(*page_tokens); p++) {
            cache_page(&c, page_tokens[p]);
            assert_true(same_bits(cache_attend(&c, kernels), whole, c.head_dim));
            cache_unpage(&c);
        }
        cache_destroy(&c);
    }
}

static void pages_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_pages);
}

static void check_specials(const struct ce_kernels *kernels)
{
    const size_t dim = 12;
    struct draws d = {.key = 43};
    struct cache c = cache_create(&d, 21, dim);

    /* One position takes all the weight: its value comes out unchanged. */
    for (size_t i = 0; i < dim; i++) {
        c.query[i] = 40;
        c.all_keys[20 * dim + i] = 40;
    }
    cache_page(&c, 16);
    assert_true(same_bits(cache_attend(&c, kernels), c.all_values + 20 * dim, dim));
    cache_unpage(&c);

    c.all_values[7 * dim + 3] = NAN;
    cache_page(&c, 16);
    assert_true(isnan(cache_attend(&c, kernels)[3]));
    assert_true(kernels->all_finite(cache_attend(&c, kernels) + 4, 8));
    cache_unpage(&c);

    c.all_keys[2 * dim] = NAN;
    cache_page(&c, 16);
    assert_true(isnan(cache_attend(&c, kernels)[4]));
    cache_unpage(&c);
    cache_destroy(&c);
}

static void one_key_can_win_and_nan_shows(void **state)
{
    (void)state;
    with_every_set(check_specials);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_right_for_all_sizes),
        cmocka_unit_test(pages_do_not_change_bits),
        cmocka_unit_test(one_key_can_win_and_nan_shows),
    };

    return cmocka_run_group_tests_name("kernels.attend", tests, NULL, NULL);
}
