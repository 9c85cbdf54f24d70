/* A step has the same bits however the tokens are cut and mixed, fails alone, and
 * allocates nothing. */

#include "allocations.h"
#include "engine_fixture.h"

#include <omp.h>
#include <stdio.h>

#define LENGTH 70 /* a bit over four pages */
#define OTHERS 5

/* ---- the same bits */

/* The prompt that is looked at, and its logits when it is fed whole. */
struct truth {
    int32_t ids[LENGTH];
    float *logits; /* [LENGTH][vocab] */
    size_t vocab;
};

static void find_truth(struct truth *truth, struct fixture *fixture)
{
    struct ce_sequence *sequence = fixture_sequence(fixture);
    size_t bytes = 0;

    truth->vocab = ce_engine_vocab_size(fixture->engine);
    bytes = LENGTH * truth->vocab * sizeof(float);
    truth->logits = malloc(bytes);
    assert_non_null(truth->logits);
    fixture_text(truth->ids, LENGTH, 1);
    memcpy(truth->logits, fixture_feed(fixture, sequence, truth->ids, LENGTH), bytes);
    assert_int_equal(ce_sequence_length(sequence), LENGTH);
    ce_sequence_destroy(sequence);
}

static void check_rows(const struct truth *truth,
                       const float *rows,
                       size_t first,
                       size_t count,
                       const char *how)
{
    const float *wanted = truth->logits + first * truth->vocab;

    if (memcmp(rows, wanted, count * truth->vocab * sizeof(float)) != 0) {
        fail_msg("%s: logits of positions %zu to %zu have other bits",
                 how,
                 first,
                 first + count - 1);
    }
}

static void check_chunks(const struct truth *truth, struct fixture *fixture)
{
    static const size_t chunks[] = {1, 3, 7, 16, 17, LENGTH};

    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        struct ce_sequence *sequence = fixture_sequence(fixture);
        char how[32];

        (void)snprintf(how, sizeof(how), "chunks of %zu", chunks[c]);
        for (size_t at = 0; at < LENGTH; at += chunks[c]) {
            size_t count = LENGTH - at < chunks[c] ? LENGTH - at : chunks[c];
            const float *rows = fixture_feed(fixture, sequence, truth->ids + at, count);

            check_rows(truth, rows, at, count, how);
            assert_int_equal(ce_sequence_length(sequence), at + count);
        }
        ce_sequence_destroy(sequence);
    }
}

/* The prompt among sequences that come, grow and go at random. */
struct crowd {
    const struct truth *truth;
    struct fixture *fixture;
    uint64_t series;
    uint64_t drawn;
    struct ce_sequence *other[OTHERS];
    struct ce_sequence *sequence;
    struct ce_step_item item[OTHERS + 1];
    int32_t ids[OTHERS][LENGTH];
    size_t items;
    size_t at; /* of the prompt's item */
};

static size_t draw(struct crowd *crowd, size_t bound)
{
    return fixture_random(crowd->series, crowd->drawn++, bound);
}

/* None, the last, all or some; also more than there are. */
static size_t draw_logits(struct crowd *crowd)
{
    size_t kind = draw(crowd, 4);

    return kind == 2 ? CE_LOGITS_ALL : kind == 3 ? 2 + draw(crowd, 30) : kind;
}

static void add_other(struct crowd *crowd, size_t which)
{
    size_t kind = draw(crowd, 4); /* absent, one token, some, many */
    size_t count = kind == 1 ? 1 : 1 + draw(crowd, kind == 2 ? 9 : LENGTH);
    struct ce_sequence **other = &crowd->other[which];

    if (kind == 0) {
        return;
    }
    if (*other != NULL && ce_sequence_length(*other) > LENGTH) {
        ce_sequence_destroy(*other);
        *other = NULL;
    }
    if (*other == NULL) {
        *other = fixture_sequence(crowd->fixture);
    }
    fixture_text(crowd->ids[which], count, 100 * crowd->series + crowd->drawn);
    crowd->item[crowd->items++] =
        (struct ce_step_item){*other, crowd->ids[which], count, draw_logits(crowd)};
}

static size_t rows_of(const struct ce_step_item *item)
{
    return item->logits < item->count ? item->logits : item->count;
}

static void fill_step(struct crowd *crowd, size_t done)
{
    size_t left = LENGTH - done;
    size_t most = draw(crowd, 3) == 0 ? 1 : 1 + draw(crowd, 40);
    size_t before = draw(crowd, OTHERS + 1);

    crowd->items = 0;
    for (size_t which = 0; which <= OTHERS; which++) {
        if (which == before) {
            crowd->at = crowd->items;
            crowd->item[crowd->items++] =
                (struct ce_step_item){crowd->sequence,
                                      crowd->truth->ids + done,
                                      left < most ? left : most,
                                      draw_logits(crowd)};
        } else {
            add_other(crowd, which < before ? which : which - 1);
        }
    }
}

/* Runs the step; returns how many of the prompt's tokens were in it. */
static size_t run_step(struct crowd *crowd, size_t done)
{
    const struct ce_step_item *mine = &crowd->item[crowd->at];
    size_t rows = rows_of(mine);
    const float *logits = NULL;
    struct ce_error err = {.text = ""};
    char how[64];

    assert_ok(ce_engine_step(
                  crowd->fixture->engine, crowd->item, crowd->items, &logits, &err),
              &err);
    for (size_t i = 0; i < crowd->at; i++) {
        logits += rows_of(&crowd->item[i]) * crowd->truth->vocab;
    }
    (void)snprintf(how,
                   sizeof(how),
                   "crowd %zu, item %zu of %zu",
                   (size_t)crowd->series,
                   crowd->at,
                   crowd->items);
    if (rows > 0) {
        check_rows(crowd->truth, logits, done + mine->count - rows, rows, how);
    }
    return mine->count;
}

static void
check_crowd(const struct truth *truth, struct fixture *fixture, uint64_t series)
{
    struct crowd crowd = {.truth = truth, .fixture = fixture, .series = 1000 + series};

    crowd.sequence = fixture_sequence(fixture);
    for (size_t done = 0; done < LENGTH;) {
        fill_step(&crowd, done);
        done += run_step(&crowd, done);
    }
    ce_sequence_destroy(crowd.sequence);
    for (size_t i = 0; i < OTHERS; i++) {
        ce_sequence_destroy(crowd.other[i]);
    }
}

static void
check_bits(const char *tables, const char *wire, const char *kv, uint64_t crowds)
{
    struct fixture fixture;
    struct truth truth;

    /* Room for LENGTH new tokens of all, and for all they may become. */
    fixture_open(&fixture,
                 (struct fixture_size){.step_tokens = (OTHERS + 1) * LENGTH,
                                       .cache_tokens = (OTHERS + 1) * 160,
                                       .tables = tables,
                                       .wire = wire,
                                       .kv = kv});
    find_truth(&truth, &fixture);
    check_chunks(&truth, &fixture);
    for (uint64_t series = 0; series < crowds; series++) {
        check_crowd(&truth, &fixture, series);
    }
    fixture_close(&fixture);
    free(truth.logits);
}

static void bits_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    check_bits(NULL, NULL, NULL, 12);
}

static void bits_of_compressed_experts_do_not_either(void **state)
{
    (void)state;
    check_bits(FIXTURE_TABLES, NULL, NULL, 12);
    check_bits(FIXTURE_AFFINE, NULL, NULL, 12);
}

static void bits_of_rounded_rows_do_not_either(void **state)
{
    (void)state;
    check_bits(NULL, "bf16", NULL, 4);
    check_bits(FIXTURE_TABLES, "int8", NULL, 4);
    check_bits(FIXTURE_AFFINE, "int8", NULL, 4);
}

static void bits_of_a_rounded_cache_do_not_either(void **state)
{
    (void)state;
    check_bits(NULL, NULL, "bf16", 4);
}

static void check_threads(const char *tables)
{
    const int threads = omp_get_max_threads();
    struct truth truth[2];

    for (int i = 0; i < 2; i++) {
        struct fixture fixture;

        omp_set_num_threads(i == 0 ? 1 : 3);
        fixture_open(&fixture,
                     (struct fixture_size){.step_tokens = LENGTH, .tables = tables});
        find_truth(&truth[i], &fixture);
        fixture_close(&fixture);
    }
    omp_set_num_threads(threads);
    check_rows(&truth[0], truth[1].logits, 0, LENGTH, "three threads");
    free(truth[0].logits);
    free(truth[1].logits);
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    check_threads(NULL);
    check_threads(FIXTURE_AFFINE);
}

static void a_step_may_have_no_items(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *sequence = NULL;
    const float *logits = NULL;
    const int32_t ids[3] = {5, 6, 7};
    struct ce_error err = {.text = ""};

    fixture_open(&fixture, (struct fixture_size){.step_tokens = 8});
    assert_ok(ce_engine_step(fixture.engine, NULL, 0, &logits, &err), &err);
    sequence = fixture_sequence(&fixture);
    assert_int_equal(ce_sequence_length(sequence), 0);
    (void)fixture_feed(&fixture, sequence, ids, 3);
    assert_int_equal(fixture.engine->counters.steps, 2);
    assert_int_equal(fixture.engine->counters.tokens, 3);
    assert_int_equal(fixture.engine->counters.logits, 3);
    ce_engine_reset_counters(fixture.engine);
    assert_int_equal(fixture.engine->counters.tokens, 0);
    ce_sequence_destroy(sequence);
    ce_sequence_destroy(NULL);
    fixture_close(&fixture);
}

/* ---- failures */

/* A small engine, and what a good sequence of it gives. */
struct patient {
    struct fixture fixture;
    int32_t ids[40];
    float *wanted; /* [20][vocab] */
    size_t bytes;
};

static void open_patient(struct patient *patient, struct fixture_size size)
{
    struct ce_sequence *sequence = NULL;

    fixture_open(&patient->fixture, size);
    fixture_text(patient->ids, 40, 2);
    patient->bytes = 20 * ce_engine_vocab_size(patient->fixture.engine) * sizeof(float);
    patient->wanted = malloc(patient->bytes);
    assert_non_null(patient->wanted);
    sequence = fixture_sequence(&patient->fixture);
    memcpy(patient->wanted,
           fixture_feed(&patient->fixture, sequence, patient->ids, 20),
           patient->bytes);
    ce_sequence_destroy(sequence);
}

/* After a failure all pages come back and a new sequence is as good as before. */
static void check_health(struct patient *patient)
{
    struct ce_sequence *sequence = NULL;
    const struct ce_kv_cache *cache = &patient->fixture.engine->cache;

    assert_int_equal(cache->free_pages, cache->pages);
    sequence = fixture_sequence(&patient->fixture);
    assert_memory_equal(fixture_feed(&patient->fixture, sequence, patient->ids, 20),
                        patient->wanted,
                        patient->bytes);
    ce_sequence_destroy(sequence);
}

static void close_patient(struct patient *patient)
{
    fixture_close(&patient->fixture);
    free(patient->wanted);
}

/* The step fails; the sequences of its items end. */
static void check_failure(struct patient *patient,
                          const struct ce_step_item *items,
                          size_t count,
                          enum ce_status status,
                          const char *words)
{
    const float *logits = NULL;
    struct ce_error err = {.text = ""};

    assert_fails(ce_engine_step(patient->fixture.engine, items, count, &logits, &err),
                 status,
                 words,
                 &err);
    assert_int_equal(err.rank, 0);
    for (size_t i = 0; i < count; i++) {
        bool repeated = i > 0 && items[i].sequence == items[i - 1].sequence;

        ce_sequence_destroy(repeated ? NULL : items[i].sequence);
    }
    check_health(patient);
}

static void bad_items_fail(void **state)
{
    (void)state;
    static const int32_t bad[] = {-1, 2048, INT32_MAX, INT32_MIN};
    struct patient p;
    struct ce_step_item item[2];

    open_patient(&p, (struct fixture_size){.step_tokens = 32, .cache_tokens = 64});
    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 3, 0};
    item[1] = (struct ce_step_item){item[0].sequence, p.ids, 1, CE_LOGITS_LAST};
    check_failure(&p, item, 2, CE_ERR_ARG, "twice");

    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 20, 0};
    item[1] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 0, 0};
    check_failure(&p, item, 2, CE_ERR_ARG, "without tokens");

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int32_t ids[3] = {5, 6, bad[i]};
        char words[64];

        item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 20, 0};
        item[1] = (struct ce_step_item){fixture_sequence(&p.fixture), ids, 3, 0};
        (void)snprintf(
            words, sizeof(words), "token %d is outside the vocabulary", bad[i]);
        check_failure(&p, item, 2, CE_ERR_ARG, words);
    }
    close_patient(&p);
}

static void too_much_for_a_step_fails(void **state)
{
    (void)state;
    struct patient p;
    struct ce_step_item item[2];

    open_patient(&p,
                 (struct fixture_size){
                     .step_tokens = 30, .step_logits = 20, .cache_tokens = 128});
    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 31, 0};
    check_failure(&p, item, 1, CE_ERR_ARG, "31 tokens");

    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 20, 0};
    item[1] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 11, 0};
    check_failure(&p, item, 2, CE_ERR_ARG, "31 tokens");

    item[0] =
        (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 20, CE_LOGITS_ALL};
    item[1] =
        (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 10, CE_LOGITS_LAST};
    check_failure(&p, item, 2, CE_ERR_ARG, "21 rows");
    close_patient(&p);
}

static void a_full_cache_fails(void **state)
{
    (void)state;
    struct patient p;
    struct ce_step_item item[2];
    const float *logits = NULL;
    struct ce_error err = {.text = ""};

    open_patient(&p, (struct fixture_size){.step_tokens = 64, .cache_tokens = 64});
    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 33, 0};
    item[1] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 17, 0};
    check_failure(&p, item, 2, CE_ERR_NOMEM, "KV cache");

    /* Held by a sequence that is not in the step, which goes on. */
    item[0] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 40, 0};
    (void)fixture_feed(&p.fixture, item[0].sequence, p.ids, 40);
    item[1] = (struct ce_step_item){fixture_sequence(&p.fixture), p.ids, 30, 0};
    assert_fails(ce_engine_step(p.fixture.engine, &item[1], 1, &logits, &err),
                 CE_ERR_NOMEM,
                 "KV cache",
                 &err);
    ce_sequence_destroy(item[1].sequence);
    (void)fixture_feed(&p.fixture, item[0].sequence, p.ids, 20);
    assert_int_equal(ce_sequence_length(item[0].sequence), 60);
    ce_sequence_destroy(item[0].sequence);
    check_health(&p);
    close_patient(&p);
}

static void longer_than_the_context_fails(void **state)
{
    (void)state;
    struct patient p;
    struct ce_step_item item = {.count = 1025};
    int32_t *ids = calloc(1025, sizeof(ids[0]));

    assert_non_null(ids);
    open_patient(&p, (struct fixture_size){.step_tokens = 1100, .cache_tokens = 1100});
    assert_int_equal(ce_engine_max_positions(p.fixture.engine), 1024);
    item.tokens = ids;
    item.sequence = fixture_sequence(&p.fixture);
    check_failure(&p, &item, 1, CE_ERR_ARG, "context of 1024");

    item.sequence = fixture_sequence(&p.fixture);
    (void)fixture_feed(&p.fixture, item.sequence, ids, 1000);
    (void)fixture_feed(&p.fixture, item.sequence, ids, 24); /* the last that fits */
    item.count = 1;
    check_failure(&p, &item, 1, CE_ERR_ARG, "context of 1024");
    close_patient(&p);
    free(ids);
}

/* ---- steady state */

/* Allocations of 20 steps of two sequences, after three to warm up. */
static size_t count_steady(struct fixture *fixture)
{
    struct ce_step_item item[2];
    const float *logits = NULL;
    int32_t ids[2][16];
    size_t before = 0;
    size_t counted = 0;
    struct ce_error err = {.text = ""};

    for (size_t s = 0; s < 2; s++) {
        fixture_text(ids[s], 16, s);
        item[s] = (struct ce_step_item){
            fixture_sequence(fixture), ids[s], 16 - 7 * s, CE_LOGITS_LAST};
    }
    for (size_t step = 0; step < 23; step++) { /* across pages */
        if (step == 3) {
            before = allocations;
        }
        if (ce_engine_step(fixture->engine, item, 2, &logits, &err) != CE_OK) {
            fail_msg("%s", err.text);
        }
        item[0].count = 1;
        item[1].count = 1;
    }
    counted = allocations - before;
    ce_sequence_destroy(item[0].sequence);
    ce_sequence_destroy(item[1].sequence);
    return counted;
}

static void steady_steps_allocate_nothing(void **state)
{
    (void)state;
    static const struct fixture_size sizes[] = {
        {.step_tokens = 32},
        {.step_tokens = 32, .tables = FIXTURE_TABLES, .wire = "int8", .kv = "bf16"},
        {.step_tokens = 32, .tables = FIXTURE_AFFINE}};
    const int threads = omp_get_max_threads();

    if (!allocations_are_counted) {
        skip();
    }
    assert_true(allocations > 0);
    omp_set_num_threads(1); /* with more OpenMP itself allocates now and then */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fixture fixture;

        fixture_open(&fixture, sizes[i]);
        assert_int_equal(count_steady(&fixture), 0);
        fixture_close(&fixture);
    }
    omp_set_num_threads(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_the_cut),
        cmocka_unit_test(bits_of_compressed_experts_do_not_either),
        cmocka_unit_test(bits_of_rounded_rows_do_not_either),
        cmocka_unit_test(bits_of_a_rounded_cache_do_not_either),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(a_step_may_have_no_items),
        cmocka_unit_test(bad_items_fail),
        cmocka_unit_test(too_much_for_a_step_fails),
        cmocka_unit_test(a_full_cache_fails),
        cmocka_unit_test(longer_than_the_context_fails),
        cmocka_unit_test(steady_steps_allocate_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
