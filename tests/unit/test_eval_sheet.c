/* Texts without a token: nothing is asked about them, and their outcome is recorded. */

#include "eval/sheet.h"
#include "temporary.h"
#include "unit/tokenizer_fixture.h"

#include <string.h>

static char prefix_text[] = "x";
static char name[] = "t";
static char texts[][4] = {"ab", "", "1", ""};

static void open_journal(struct ce_journal **journal, void **state)
{
    static const struct ce_journal_field field = {"model", "m"};
    static const struct ce_journal_task task = {name, 4};
    static const char *const variants[] = {"full", "half"};
    const struct ce_journal_header header = {.field = &field,
                                             .fields = 1,
                                             .task = &task,
                                             .tasks = 1,
                                             .variant = variants,
                                             .variants = 2,
                                             .program = "test",
                                             .start_ns = 1};
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_journal_open(
            journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_OK);
}

/* Encodes what is left and records the empty texts; returns the number of requests. */
static size_t
run(const struct ce_inputs *inputs, struct ce_journal *journal, struct ce_error *err)
{
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){0});
    const struct ce_encoder encoder = {.tokenizer = tokenizer,
                                       .max_length = 8,
                                       .prefix = 13,
                                       .prefix_text = prefix_text,
                                       .eos_text = prefix_text};
    struct ce_request_list list = {.count = 0};
    struct ce_sheet sheet;
    size_t count = 0;

    assert_int_equal(ce_sheet_fill(&sheet, inputs, journal, err), CE_OK);
    assert_int_equal(ce_sheet_encode(&sheet, inputs, &encoder, &list, err), CE_OK);
    assert_int_equal(ce_sheet_record_empty(&sheet, inputs, &list, journal, err), CE_OK);
    count = list.count;
    ce_request_list_free(&list);
    ce_sheet_free(&sheet);
    ce_tokenizer_close(tokenizer);
    return count;
}

static void empty_texts_are_recorded_once(void **state)
{
    struct ce_document documents[4];
    struct ce_query queries[4];
    struct ce_input input = {.task = {.name = name,
                                      .output = CE_OUTPUT_ROLLING,
                                      .document = documents,
                                      .documents = 4,
                                      .query = queries,
                                      .queries = 4}};
    const struct ce_inputs inputs = {
        .input = &input, .count = 1, .queries = 4, .documents = 4};
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};
    size_t count = 0;

    for (size_t i = 0; i < 4; i++) {
        documents[i] = (struct ce_document){.line = i + 1, .first = i, .queries = 1};
        queries[i] =
            (struct ce_query){.kind = CE_QUERY_ROLLING, .continuation = texts[i]};
    }
    open_journal(&journal, state);
    assert_int_equal(run(&inputs, journal, &err), 2);
    ce_journal_close(journal);
    open_journal(&journal, state);
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);

    assert_int_equal(count, 4); /* two texts in two variants */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(entry[i].item.variant, i / 2);
        assert_int_equal(entry[i].item.query, i % 2 == 0 ? 1 : 3);
        assert_true(entry[i].outcome.logprob == 0.0);
        assert_int_equal(entry[i].outcome.tokens, 0);
    }
    /* A job that goes on has them. */
    assert_int_equal(run(&inputs, journal, &err), 2);
    ce_journal_close(journal);
    open_journal(&journal, state);
    (void)ce_journal_entries(journal, &count);
    assert_int_equal(count, 4);
    ce_journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            empty_texts_are_recorded_once, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests_name("eval.sheet", tests, NULL, NULL);
}
