/* The bits of the model depend on what is computed, never on where: groups of settings
 * that must have the same, on 1 to 8 ranks that are threads. */

#include "base/log.h"
#include "comm/threads.h"
#include "moe/placement_file.h"
#include "ranks/forward.h"
#include "test.h"
#include "unit/temporary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 60000
#define MODEL       CE_MODEL_DIR
#define SCALING     CE_MODEL_DIR "/ces-math.safetensors"
#define AFFINE      CE_TEST_SOURCE_DIR "/golden/affine/compressed.safetensors"
/* Every message finds its receiver at work. */
#define LATE "overlap=on latency-us=1500"

enum { MOST_RANKS = 8, MOST_JOBS = 300, MOST_GROUPS = 40, LAYERS = 4, EXPERTS = 16 };

/* One setting on a number of ranks. */
struct job {
    const char *group; /* of jobs that must have the same bits */
    int ranks;
    char words[512];
    uint64_t hash;
};

static struct job job[MOST_JOBS];
static size_t jobs;
static struct ce_error err;
/* Fewer ranks and settings, where a run takes many times as long. */
static bool quick;

__attribute__((format(printf, 3, 4))) static void
add(const char *group, int ranks, const char *format, ...)
{
    va_list values;

    assert_true(jobs < MOST_JOBS);
    job[jobs].group = group;
    job[jobs].ranks = ranks;
    va_start(values, format);
    assert_true(vsnprintf(job[jobs].words, sizeof(job[jobs].words), format, values) <
                (int)sizeof(job[jobs].words));
    va_end(values);
    jobs++;
}

/* ---- what must be the same ---- */

/* A file in which some experts have several owners. */
static const char *random_placement(void **state, int ranks)
{
    const struct ce_placement_recipe recipe = {
        .kind = CE_PLACEMENT_RANDOM, .replicas = ranks > 1 ? 2 : 1, .seed = 5};
    struct ce_placement placement = {0};
    char name[24];

    (void)snprintf(name, sizeof(name), "random%d", ranks);
    const char *path = temporary_path(state, name);
    assert_int_equal(
        ce_placement_make(&placement, &recipe, LAYERS, EXPERTS, ranks, &err), CE_OK);
    assert_int_equal(ce_placement_write(&placement, path, &err), CE_OK);
    ce_placement_destroy(&placement);
    return path;
}

static bool runs_on(int ranks)
{
    return !quick || ranks == 2 || ranks == 4;
}

/* Placement, overlap, split, threads and late messages, with the words `tables`. */
static void add_ways(void **state, const char *group, const char *tables)
{
    for (int n = 1; n <= MOST_RANKS; n++) {
        if (!runs_on(n)) {
            continue;
        }
        add(group, n, "combine=ordered %s", tables);
        add(group, n, "overlap=on placement=strided %s", tables);
        add(group,
            n,
            "overlap=off placement=%s %s",
            random_placement(state, n),
            tables);
        if (n <= 5) { /* 64 rows of h are four slices: the fifth is empty */
            add(group, n, "split=node %s", tables);
        }
        if (n <= 2) {
            add(group, n, "threads=3 %s", tables);
        }
        if (n == 2 || n == 5) {
            add(group, n, LATE " %s", tables);
        }
    }
}

static void add_formats(void)
{
    static const struct {
        const char *group;
        const char *words;
    } formats[] = {
        {"wire bf16", "wire=bf16 tables=" SCALING},
        {"wire int8", "wire=int8 tables=" SCALING},
        {"weights q8", "weights=q8"},
        {"weights q4", "weights=q4"},
        {"dense bf16", "dense=bf16"},
        {"dense q8", "dense=q8"},
        {"dense q4", "dense=q4"},
        {"kv bf16", "kv=bf16"},
        {"compressed 1", "compressed=1 tables=" SCALING},
        {"compressed 3", "compressed=3 tables=" SCALING},
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        for (int n = 1; n <= 5; n++) {
            if (n != 4 && runs_on(n)) {
                add(formats[i].group, n, "split=none %s", formats[i].words);
                add(formats[i].group, n, "split=node %s", formats[i].words);
            }
        }
        if (strncmp(formats[i].group, "dense", strlen("dense")) == 0) {
            add(formats[i].group, 2, "split=node threads=2 %s", formats[i].words);
        }
    }
}

/* Sums by owning rank depend on the placement, but not on timing. Uncompressed only: of
 * the two main experts left by compression either order gives the same sum. */
static void add_partial(void)
{
    add("partial alone", 1, "combine=partial");
    add("ordered alone", 1, "combine=ordered");
    add("partial", 3, "combine=partial overlap=off");
    add("partial", 3, "combine=partial overlap=on");
    add("partial", 3, "combine=partial " LATE);
}

/* ---- running ---- */

static enum ce_status
run_jobs(struct ce_transport *transport, void *context, struct ce_error *error)
{
    (void)context, (void)error;
    for (size_t i = 0; i < jobs; i++) {
        if (job[i].ranks == transport->ranks) {
            const uint64_t hash = forward_run(transport, MODEL, job[i].words);

            if (transport->rank == 0) {
                job[i].hash = hash;
            }
        }
    }
    return CE_OK;
}

static int run_all(void **state)
{
    quick = getenv("CEMOE_SANITIZED") != NULL;
    ce_log_init(CE_LOG_WARN, 0);
    if (temporary_setup(state) != 0) {
        return -1;
    }
    add_ways(state, "full experts", "");
    if (!quick) {
        add_ways(state, "scaling vectors", "tables=" SCALING);
    }
    add_ways(state, "affine experts", "tables=" AFFINE);
    add_formats();
    add_partial();
    for (int n = 1; n <= MOST_RANKS; n++) {
        if (ce_threads_run(n, DEADLINE_MS, run_jobs, NULL, NULL, &err) != CE_OK) {
            (void)fprintf(stderr, "%d ranks: %s\n", n, err.text);
            return -1;
        }
    }
    return 0;
}

/* ---- comparing ---- */

/* The hash of a group, of its first job. */
static uint64_t hash_of(const char *group)
{
    for (size_t i = 0; i < jobs; i++) {
        if (strcmp(job[i].group, group) == 0) {
            return job[i].hash;
        }
    }
    fail_msg("no job is of the group %s", group);
    return 0;
}

static void jobs_of_a_group_have_the_same_bits(void **state)
{
    (void)state;
    size_t others = 0;

    for (size_t i = 0; i < jobs; i++) {
        if (job[i].hash != hash_of(job[i].group)) {
            print_error("%s, %d ranks: %s\n", job[i].group, job[i].ranks, job[i].words);
            others++;
        }
    }
    assert_int_equal(others, 0);
}

/* What alone in a process has no ranks to depend on. */
static void self_has_the_same_bits(void **state)
{
    (void)state;
    struct ce_transport *transport = NULL;

    assert_int_equal(ce_transport_create(&transport, "self", DEADLINE_MS, &err), CE_OK);
    assert_int_equal(forward_run(transport, MODEL, ""), hash_of("full experts"));
    assert_int_equal(forward_run(transport, MODEL, "tables=" AFFINE),
                     hash_of("affine experts"));
    ce_transport_destroy(transport);
}

static void groups_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < jobs; i++) {
        for (size_t k = 0; k < i; k++) {
            const char *a = job[i].group;
            const char *b = job[k].group;

            /* The model is stored as BF16. */
            if (strcmp(a, b) != 0 && strstr(a, "alone") == NULL &&
                strcmp(a, "dense bf16") != 0 && strcmp(b, "dense bf16") != 0) {
                assert_int_not_equal(job[i].hash, job[k].hash);
            }
        }
    }
}

static void sums_by_rank_are_noticed(void **state)
{
    (void)state;
    assert_int_equal(hash_of("partial alone"), hash_of("ordered alone"));
    assert_int_equal(hash_of("ordered alone"), hash_of("full experts"));
    assert_int_not_equal(hash_of("partial"), hash_of("full experts"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_a_group_have_the_same_bits),
        cmocka_unit_test(self_has_the_same_bits),
        cmocka_unit_test(groups_differ),
        cmocka_unit_test(sums_by_rank_are_noticed),
    };

    return cmocka_run_group_tests(tests, run_all, temporary_teardown);
}
