/* What fails on one rank of three that are threads ends the call on all, with the same
 * status and text; then they go on. */

#include "base/log.h"
#include "comm/threads.h"
#include "ranks/one_fails.h"
#include "test.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 60000

enum { MOST_ENDS = 16 };

/* What every rank returns. */
static const struct failure {
    const char *kind;
    enum ce_status status;
    int rank;
    const char *text; /* a pattern of fnmatch */
} failures[] = {
    {"batch", CE_ERR_ARG, 1, "token 5001 is outside the vocabulary of 2048"},
    {"two", CE_ERR_ARG, 1, "token 5001 is outside the vocabulary of 2048"},
    {"cache", CE_ERR_NOMEM, 1, "the KV cache is full: *"},
    {"idle", CE_ERR_ARG, 2, "token -1 is outside the vocabulary of 2048"},
    {"experts", CE_ERR_NUMERIC, 2, "layer 1, *expert 15*"},
    {"router", CE_ERR_NUMERIC, 2, "layer 1, *"},
    {"attention", CE_ERR_NUMERIC, 1, "layer 2, *"},
    {"logits", CE_ERR_NUMERIC, 1, "logits: *"},
    {"slice", CE_ERR_NUMERIC, 0, "layer 1, attention: *"},
    {"output", CE_ERR_NUMERIC, 0, "logits: *"},
    {"late", CE_ERR_NUMERIC, 2, "failed when rank 1 was answered"},
    {"prompt", CE_ERR_ARG, 1, "prompt 1 is empty: it has no tokens"},
};

/* All that need neither overlap, as "late" does, nor matrices that are split. */
#define ALL " batch two cache idle experts router attention logits prompt"

/* What all ranks said under one setting. */
struct said {
    const char *words;
    size_t ends[ONE_FAILS_RANKS];
    struct one_fails_end end[ONE_FAILS_RANKS][MOST_ENDS];
    char kind[ONE_FAILS_RANKS][MOST_ENDS][16];
};

static void note(void *context, const struct one_fails_end *end)
{
    struct said *said = context;
    const size_t n = said->ends[end->rank]++;

    if (n < MOST_ENDS) {
        said->end[end->rank][n] = *end;
        (void)snprintf(
            said->kind[end->rank][n], sizeof(said->kind[0][0]), "%s", end->kind);
    }
}

static enum ce_status
run_rank(struct ce_transport *transport, void *context, struct ce_error *err)
{
    struct said *said = context;

    (void)err;
    one_fails_run(transport, CE_MODEL_DIR, said->words, note, said);
    return CE_OK;
}

static const struct failure *find_failure(const char *kind)
{
    const struct failure *failure = failures;

    while (strcmp(kind, failure->kind) != 0) {
        failure++; /* one_fails_run knows no other kinds */
    }
    return failure;
}

static void check_setting(const char *words)
{
    static struct said said;
    struct ce_error err = {.text = ""};

    memset(&said, 0, sizeof(said));
    said.words = words;
    if (ce_threads_run(ONE_FAILS_RANKS, DEADLINE_MS, run_rank, &said, NULL, &err) !=
        CE_OK) {
        fail_msg("%s: %s", words, err.text);
    }
    assert_in_range(said.ends[0], 1, MOST_ENDS);
    for (int r = 0; r < ONE_FAILS_RANKS; r++) {
        assert_int_equal(said.ends[r], said.ends[0]);
        for (size_t i = 0; i < said.ends[r]; i++) {
            const struct one_fails_end *end = &said.end[r][i];
            const struct failure *wanted = find_failure(said.kind[r][i]);

            if (end->status != wanted->status || end->err.rank != wanted->rank ||
                fnmatch(wanted->text, end->err.text, 0) != 0 ||
                strcmp(end->err.text, said.end[0][i].err.text) != 0) {
                fail_msg("%s: rank %d, %s: %s of rank %d: %s",
                         words,
                         r,
                         wanted->kind,
                         ce_status_name(end->status),
                         end->err.rank,
                         end->err.text);
            }
        }
    }
}

static void rows_that_are_sent(void **state)
{
    (void)state;
    check_setting("f32 f32 ordered auto none" ALL);
    check_setting("overlap f32 ordered on none experts late router");
    if (getenv("CEMOE_SANITIZED") == NULL) {
        check_setting("alone f32 ordered off none" ALL);
        check_setting("partial f32 partial on none late experts late attention");
    }
}

/* What is not finite must not be rounded to a number on its way. */
static void rows_that_are_rounded(void **state)
{
    (void)state;
    check_setting("bf16 bf16 ordered on none experts late");
    check_setting("int8 int8 partial auto none experts");
}

static void matrices_that_are_split(void **state)
{
    (void)state;
    check_setting("split f32 ordered auto node" ALL);
    if (getenv("CEMOE_SANITIZED") == NULL) {
        check_setting("split-int8 int8 ordered auto node experts router experts batch");
        check_setting("split-dense f32 ordered auto node slice attention output logits "
                      "idle slice");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_are_sent),
        cmocka_unit_test(rows_that_are_rounded),
        cmocka_unit_test(matrices_that_are_split),
    };

    ce_log_init(CE_LOG_WARN, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
