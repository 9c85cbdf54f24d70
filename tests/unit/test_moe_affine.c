/* Affine compressed experts against their formula in double precision; what their bits
 * may not depend on. */

#include "base/random.h"
#include "moe/affine.h"
#include "test.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* More pairs than a tile has, of experts that all differ. */
enum {
    EXPERTS = 9,
    HIDDEN = 72,
    TOP_K = 5,
    AUXILIARY = 3,
    TOKENS = 400,
    MOST_RANK = 5,
    MOST_NEURONS = 4,
    MOST_INPUTS = MOST_RANK + 2 * MOST_NEURONS,
    MOST_OUTPUTS = 1 + MOST_RANK + MOST_NEURONS,
};

static uint16_t inputs[EXPERTS][MOST_INPUTS * HIDDEN];
static uint16_t outputs[EXPERTS][MOST_OUTPUTS * HIDDEN];
static struct ce_affine_expert expert[EXPERTS];
static uint16_t chosen[TOKENS][TOP_K];
static float weight[TOKENS][TOP_K];
static float x[TOKENS][HIDDEN];
static float z[TOKENS][HIDDEN];

static const struct ce_routing routing = {TOKENS, TOP_K, &chosen[0][0], &weight[0][0]};

static float draw(uint64_t series, size_t i)
{
    return (float)(2 * ce_random_unit(series, i, 0) - 1);
}

/* Ranks and neurons from none to the most, in all combinations of few and many. */
static void make_experts(void)
{
    for (size_t e = 0; e < EXPERTS; e++) {
        const size_t rank = e % 3 * MOST_RANK / 2;
        const size_t neurons = e / 3 * MOST_NEURONS / 2;

        for (size_t i = 0; i < MOST_INPUTS * HIDDEN; i++) {
            inputs[e][i] = ce_bf16_from_f32(0.3F * draw(100 + e, i));
        }
        for (size_t i = 0; i < MOST_OUTPUTS * HIDDEN; i++) {
            outputs[e][i] = ce_bf16_from_f32(draw(200 + e, i));
        }
        expert[e] = (struct ce_affine_expert){
            .rank = rank,
            .neurons = neurons,
            .inputs = {CE_DTYPE_BF16, rank + 2 * neurons, HIDDEN, inputs[e]},
            .outputs = {CE_DTYPE_BF16, 1 + rank + neurons, HIDDEN, outputs[e]}};
    }
}

/* Experts that follow each other from a random one on: none twice. */
static void make_tokens(void)
{
    for (size_t t = 0; t < TOKENS; t++) {
        const size_t first = (size_t)(ce_random_unit(1, t, 0) * EXPERTS);

        for (size_t p = 0; p < TOP_K; p++) {
            chosen[t][p] = (uint16_t)((first + 2 * p) % EXPERTS);
            weight[t][p] = (float)ce_random_unit(2, t, p);
        }
        for (size_t j = 0; j < HIDDEN; j++) {
            x[t][j] = draw(3, t * HIDDEN + j);
        }
    }
}

static int setup(void **state)
{
    (void)state;
    make_experts();
    make_tokens();
    return 0;
}

static double dot(const uint16_t *row, const float *values)
{
    double sum = 0;

    for (size_t j = 0; j < HIDDEN; j++) {
        sum += (double)ce_f32_from_bf16(row[j]) * (double)values[j];
    }
    return sum;
}

/* The formula, from the rows in their order: V, gate, up; b, U, down. */
static void
add_expert(double *sum, double *magnitude, size_t e, double share, const float *row)
{
    const size_t r = expert[e].rank;
    const size_t s = expert[e].neurons;
    double factor[MOST_OUTPUTS] = {1};

    for (size_t i = 0; i < r; i++) {
        factor[1 + i] = dot(inputs[e] + i * HIDDEN, row);
    }
    for (size_t i = 0; i < s; i++) {
        const double gate = dot(inputs[e] + (r + i) * HIDDEN, row);

        factor[1 + r + i] =
            gate / (1 + exp(-gate)) * dot(inputs[e] + (r + s + i) * HIDDEN, row);
    }
    for (size_t i = 0; i < 1 + r + s; i++) {
        for (size_t j = 0; j < HIDDEN; j++) {
            const double term = share * factor[i] *
                                (double)ce_f32_from_bf16(outputs[e][i * HIDDEN + j]);

            sum[j] += term;
            magnitude[j] += fabs(term);
        }
    }
}

static struct ce_affine
open_affine(struct ce_arena *arena, const struct ce_kernels *kernels, size_t tokens)
{
    struct ce_affine affine = {.kernels = kernels,
                               .experts = EXPERTS,
                               .hidden = HIDDEN,
                               .auxiliary = AUXILIARY,
                               .inputs = MOST_INPUTS,
                               .max_tokens = tokens};
    struct ce_arena measure = {0};
    struct ce_error err = {.text = ""};

    ce_arena_measure(&measure);
    ce_affine_take(&affine, &measure);
    assert_int_equal(ce_arena_create(arena, measure.used, &err), CE_OK);
    ce_affine_take(&affine, arena);
    return affine;
}

/* z of tokens first .. first + count - 1, in a call of their own. */
static void run_some(struct ce_affine *affine, size_t first, size_t count)
{
    const struct ce_routing some = {count, TOP_K, chosen[first], weight[first]};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_affine_run(affine, expert, 0, &some, x[first], &err), CE_OK);
    memcpy(z[first], affine->z, count * sizeof(z[0]));
}

static void has_the_values_of_the_formula(void **state)
{
    (void)state;
    for (enum ce_isa isa = CE_ISA_REF; isa <= ce_isa_detect(); isa++) {
        struct ce_arena arena = {0};
        struct ce_affine affine = open_affine(&arena, ce_kernels_get(isa), TOKENS);

        run_some(&affine, 0, TOKENS);
        for (size_t t = 0; t < TOKENS; t++) {
            double sum[HIDDEN] = {0};
            double magnitude[HIDDEN] = {0};

            for (size_t p = TOP_K - AUXILIARY; p < TOP_K; p++) {
                add_expert(sum, magnitude, chosen[t][p], (double)weight[t][p], x[t]);
            }
            for (size_t j = 0; j < HIDDEN; j++) {
                assert_true(fabs((double)z[t][j] - sum[j]) <=
                            1e-5 * (magnitude[j] + 1));
            }
        }
        ce_arena_destroy(&arena);
    }
}

static void bits_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    static float whole[TOKENS][HIDDEN];

    for (enum ce_isa isa = CE_ISA_REF; isa <= ce_isa_detect(); isa++) {
        struct ce_arena arena = {0};
        struct ce_affine affine = open_affine(&arena, ce_kernels_get(isa), TOKENS);

        run_some(&affine, 0, TOKENS);
        memcpy(whole, z, sizeof(z));
        memset(z, 0xff, sizeof(z));
        for (size_t first = 0, count = 0; first < TOKENS; first += count) {
            count = 1 + first % 7;
            count = count < TOKENS - first ? count : TOKENS - first;
            run_some(&affine, first, count);
        }
        assert_memory_equal(z, whole, sizeof(z));
        ce_arena_destroy(&arena);
    }
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    static float alone[TOKENS][HIDDEN];
    const int threads = omp_get_max_threads();

    for (int n = 1; n <= 5; n++) {
        struct ce_arena arena = {0};
        struct ce_affine affine =
            open_affine(&arena, ce_kernels_get(ce_isa_detect()), TOKENS);

        omp_set_num_threads(n);
        run_some(&affine, 0, TOKENS);
        run_some(&affine, 0, 3); /* few pairs are shared out otherwise */
        if (n == 1) {
            memcpy(alone, z, sizeof(z));
        }
        assert_memory_equal(z, alone, sizeof(z));
        ce_arena_destroy(&arena);
    }
    omp_set_num_threads(threads);
}

static void count_call(void *context)
{
    ++*(size_t *)context;
}

static void looks_after_others(void **state)
{
    (void)state;
    struct ce_arena arena = {0};
    struct ce_affine affine =
        open_affine(&arena, ce_kernels_get(ce_isa_detect()), TOKENS);
    size_t calls = 0;

    affine.progress = count_call;
    affine.progress_context = &calls;
    run_some(&affine, 0, TOKENS);
    assert_true(calls > 0);
    ce_arena_destroy(&arena);
}

static void names_the_expert_that_is_not_finite(void **state)
{
    (void)state;
    const uint16_t large = ce_bf16_from_f32(3e38F);
    const uint16_t kept[2] = {outputs[4][5], outputs[7][0]};
    struct ce_arena arena = {0};
    struct ce_affine affine =
        open_affine(&arena, ce_kernels_get(ce_isa_detect()), TOKENS);
    struct ce_error err = {.text = ""};

    outputs[7][0] = 0x7f80; /* infinity */
    outputs[4][5] = large;  /* times 1, and twice: still finite */
    assert_int_equal(ce_affine_run(&affine, expert, 12, &routing, x[0], &err),
                     CE_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "layer 12"));
    assert_non_null(strstr(err.text, "expert 7 "));
    outputs[7][0] = kept[1];
    outputs[4][5] = 0xff80;
    assert_int_equal(ce_affine_run(&affine, expert, 12, &routing, x[0], &err),
                     CE_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "expert 4 "));
    outputs[4][5] = kept[0];
    run_some(&affine, 0, TOKENS);
    ce_arena_destroy(&arena);
}

static void no_tokens_are_fine_and_sums_are_added(void **state)
{
    (void)state;
    struct ce_arena arena = {0};
    struct ce_affine affine =
        open_affine(&arena, ce_kernels_get(ce_isa_detect()), TOKENS);
    static float y[TOKENS][HIDDEN];

    run_some(&affine, 0, 0);
    run_some(&affine, 0, TOKENS);
    for (size_t i = 0; i < (size_t)TOKENS * HIDDEN; i++) {
        y[i / HIDDEN][i % HIDDEN] = (float)i;
    }
    ce_affine_add(&affine, y[0], TOKENS);
    for (size_t i = 0; i < (size_t)TOKENS * HIDDEN; i++) {
        const float wanted = (float)i + z[i / HIDDEN][i % HIDDEN];

        assert_memory_equal(&y[i / HIDDEN][i % HIDDEN], &wanted, sizeof(wanted));
    }
    ce_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_values_of_the_formula),
        cmocka_unit_test(bits_do_not_depend_on_the_cut),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(looks_after_others),
        cmocka_unit_test(names_the_expert_that_is_not_finite),
        cmocka_unit_test(no_tokens_are_fine_and_sums_are_added),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
