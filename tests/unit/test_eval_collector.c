/* test_eval_collector.c - sums in the order of the text, whatever order windows end in
 */

#include "eval/collector.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOWS 3

/* Query 0 of the second task is a text of three windows, query 1 one continuation. */
struct fixture {
    char dir[64];
    struct ce_token_request request[WINDOWS + 1];
    struct ce_request_table table;
    struct ce_input input[2];
    struct ce_inputs inputs;
    struct ce_journal *journal;
    struct ce_collector collector;
};

static const int32_t tokens[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static void fill_table(struct fixture *f)
{
    for (size_t i = 0; i <= WINDOWS; i++) {
        f->request[i] = (struct ce_token_request){.tokens = tokens,
                                                  .count = 5,
                                                  .scored = i < WINDOWS ? 2 : 3,
                                                  .query = i < WINDOWS ? 7 : 8,
                                                  .dropped = i < WINDOWS ? 0 : 4};
    }
    f->table = (struct ce_request_table){.request = f->request, .count = WINDOWS + 1};
    f->input[1].first_query = 7;
    f->inputs = (struct ce_inputs){.input = f->input, .count = 2, .queries = 9};
}

static void open_journal(struct fixture *f)
{
    static const struct ce_journal_field field = {"model", "m"};
    static const struct ce_journal_task task[2] = {{"first", 7}, {"second", 2}};
    static const char *const variant[1] = {"full"};
    const struct ce_journal_header header = {.field = &field,
                                             .fields = 1,
                                             .task = task,
                                             .tasks = 2,
                                             .variant = variant,
                                             .variants = 1,
                                             .program = "test",
                                             .start_ns = 1};
    struct ce_error err;

    assert_int_equal(
        ce_journal_open(&f->journal, f->dir, &header, CE_JOURNAL_RESUME, &err), CE_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct ce_error err;

    strcpy(f->dir, "/tmp/cemoe-collector-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    fill_table(f);
    open_journal(f);
    const struct ce_collector_parts parts = {&f->inputs, &f->table, NULL, f->journal};
    assert_int_equal(ce_collector_open(&f->collector, &parts, 0, &err), CE_OK);
    *state = f;
    return 0;
}

static void remove_file(const struct fixture *f, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    (void)unlink(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    ce_collector_close(&f->collector);
    ce_journal_close(f->journal);
    remove_file(f, CE_JOURNAL_NAME);
    remove_file(f, "journal.lock");
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void take(struct fixture *f,
                 size_t request,
                 double logprob,
                 int32_t most_likely,
                 enum ce_finish finish)
{
    const struct ce_new_token token = {
        .id = 3, .most_likely = most_likely, .logprob = logprob};
    struct ce_error err;

    assert_int_equal(ce_collector_take(&f->collector, request, &token, 1, finish, &err),
                     CE_OK);
}

static void take_window(struct fixture *f, size_t window)
{
    take(f, window, -0.1 * (double)(window + 1), 3, CE_FINISH_NONE);
    take(f, window, -1e-9 / 3, 3, CE_FINISH_SCORED);
}

/* As a job that goes on would find it. */
static const struct ce_journal_entry *reopen(struct fixture *f, size_t wanted)
{
    size_t count = 0;

    ce_journal_close(f->journal);
    open_journal(f);
    const struct ce_journal_entry *entry = ce_journal_entries(f->journal, &count);
    assert_int_equal(count, wanted);
    return entry;
}

static void windows_are_added_in_the_order_of_the_text(void **state)
{
    struct fixture *f = *state;
    double wanted = 0;

    take_window(f, 2);
    take_window(f, 0);
    assert_int_equal(f->collector.recorded, 0);
    take_window(f, 1);
    assert_int_equal(f->collector.recorded, 1);
    for (size_t i = 0; i < WINDOWS; i++) {
        double window = 0;

        window += -0.1 * (double)(i + 1);
        window += -1e-9 / 3;
        wanted += window;
    }
    const struct ce_journal_entry *entry = reopen(f, 1);
    assert_int_equal(entry->item.task, 1);
    assert_int_equal(entry->item.query, 0);
    assert_true(entry->outcome.logprob == wanted);
    assert_true(entry->outcome.greedy);
    assert_int_equal(entry->outcome.tokens, 2 * WINDOWS);
}

static void one_unlikely_token_is_enough(void **state)
{
    struct fixture *f = *state;

    take(f, WINDOWS, -1, 3, CE_FINISH_NONE);
    take(f, WINDOWS, -2, 4, CE_FINISH_NONE);
    take(f, WINDOWS, -4, 3, CE_FINISH_SCORED);
    const struct ce_journal_entry *entry = reopen(f, 1);
    assert_int_equal(entry->item.query, 1);
    assert_true(entry->outcome.logprob == -7);
    assert_false(entry->outcome.greedy);
    assert_int_equal(entry->outcome.tokens, 3);
    assert_int_equal(entry->outcome.context, 2);
    assert_int_equal(entry->outcome.dropped, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            windows_are_added_in_the_order_of_the_text, setup, teardown),
        cmocka_unit_test_setup_teardown(one_unlikely_token_is_enough, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
