#include "journal_fixture.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

static double double_of(uint64_t bits)
{
    double value = 0;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void append(struct ce_journal *journal,
                   struct ce_journal_item item,
                   const struct ce_outcome *outcome)
{
    struct ce_error err = {.text = ""};

    assert_ok(ce_journal_append(journal, &item, outcome, &err), &err);
}

/* Outcomes come back bit by bit, by item. */
static void test_round_trip(void **state)
{
    char nothing[] = "";
    char unicode[] = "\n答案 é \xff\x80";
    char *large = malloc(300001);
    struct ce_outcome outcome[] = {
        {.logprob = -0.0, .text = nothing},
        {.logprob = 0.0, .greedy = true},
        {.logprob = -HUGE_VAL, .text = unicode, .tokens = UINT32_MAX},
        {.logprob = DBL_TRUE_MIN, .context = UINT32_MAX, .dropped = UINT32_MAX},
        {.logprob = -DBL_MAX, .by_length = true, .text = large},
        {.logprob = double_of(UINT64_C(0x7ff800000000beef))},
    };
    size_t count = sizeof(outcome) / sizeof(outcome[0]);
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);

    assert_non_null(large);
    memset(large, 'x', 300000);
    large[300000] = '\0';
    for (size_t i = count; i-- > 0;) { /* the last first */
        append(journal, fixture_item(i), &outcome[i]);
    }
    append(journal, (struct ce_journal_item){.variant = 1, .query = 1}, &outcome[0]);
    append(journal, (struct ce_journal_item){.task = 1, .query = 1}, &outcome[0]);
    fixture_sync(journal);
    ce_journal_close(journal);

    size_t entries = 0;
    size_t notices = 1;

    journal = fixture_open(state, CE_JOURNAL_RESUME);
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &entries);

    (void)ce_journal_notices(journal, &notices);
    assert_int_equal(notices, 0);
    assert_int_equal(entries, count + 2);
    for (size_t i = 0; i < count; i++) {
        outcome[i].done = true;
        assert_int_equal(entry[i].item.query, i);
        assert_true(same_outcome(&entry[i].outcome, &outcome[i]));
    }
    assert_int_equal(entry[count].item.task, 1);
    assert_int_equal(entry[count + 1].item.variant, 1);
    ce_journal_close(journal);
    free(large);
}

/* The header of the file is that of the job that began it. */
static void test_header(void **state)
{
    struct ce_journal_header later = fixture_header();
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    struct ce_error err = {.text = ""};

    ce_journal_close(journal);
    later.program = "cemoe 9";
    later.start_ns = 5;
    later.notes = 0;
    assert_ok(ce_journal_open(
                  &journal, temporary_path(state, ""), &later, CE_JOURNAL_RESUME, &err),
              &err);
    const struct ce_journal_header *header = ce_journal_header(journal);

    assert_string_equal(header->program, "cemoe 0.1.0");
    assert_true(header->start_ns == fixture_header().start_ns);
    assert_int_equal(header->notes, 2);
    assert_string_equal(header->note[0].name, "model name");
    assert_string_equal(header->note[0].value, "Käse/模型");
    assert_string_equal(header->note[1].name, "");
    assert_int_equal(header->fields, 3);
    assert_string_equal(header->field[2].value, "01");
    assert_string_equal(header->variant[1], "compressed");
    assert_string_equal(header->task[1].name, "piqa");
    assert_int_equal(header->task[1].queries, 2);
    ce_journal_close(journal);
}

static void expect_other(void **state,
                         const struct ce_journal_header *header,
                         const char *name,
                         const char *values)
{
    static const enum ce_journal_mode mode[] = {CE_JOURNAL_RESUME, CE_JOURNAL_READ};

    for (size_t i = 0; i < 2; i++) {
        struct ce_journal *journal = NULL;
        struct ce_error err = {.text = ""};

        assert_int_equal(
            ce_journal_open(&journal, temporary_path(state, ""), header, mode[i], &err),
            CE_ERR_MISMATCH);
        assert_null(journal);
        if (strstr(err.text, name) == NULL || strstr(err.text, values) == NULL) {
            fail_msg("%s", err.text);
        }
        assert_non_null(strstr(err.text, CE_JOURNAL_NAME));
    }
}

static void test_other_fields(void **state)
{
    struct ce_journal_header header = fixture_header();
    struct ce_journal_field field[4];

    ce_journal_close(fixture_open(state, CE_JOURNAL_FRESH));
    memcpy(field, fixture_field, sizeof(fixture_field));
    header.field = field;
    field[1].value = "f32";
    expect_other(state, &header, ": wire is", "\"bf16\" there and \"f32\" here;");
    field[2].value = "02";
    expect_other(state, &header, ": wire is", "here (and 1 more differ);");
    header.fields = 2;
    field[1].value = "bf16";
    expect_other(state, &header, ": task gsm8k is", "\"01\" there and missing here;");
    field[2].value = "01";
    field[3] = (struct ce_journal_field){.name = "kernels", .value = "avx2"};
    header.fields = 4;
    expect_other(state, &header, ": kernels is", "missing there and \"avx2\" here;");
    header.fields = 3; /* in any order */
    field[0] = fixture_field[2];
    field[2] = fixture_field[0];
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    assert_ok(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        &err);
    ce_journal_close(journal);
}

/* A job that learns a field after it has opened the journal. */
static void test_a_field_known_later(void **state)
{
    struct ce_journal_field field[3];
    struct ce_journal_header header = fixture_header();
    const struct ce_journal_item item = fixture_item(3);
    struct ce_error err = {.text = ""};
    struct ce_journal *journal = NULL;
    char text[64];
    const struct ce_outcome outcome = fixture_outcome(3, text);
    size_t count = 0;

    memcpy(field, fixture_field, sizeof(field));
    header.field = field;
    for (int run = 0; run < 3; run++) { /* of which the last has another model */
        field[0].value = NULL;
        assert_ok(
            ce_journal_open(
                &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
            &err);
        (void)ce_journal_entries(journal, &count);
        assert_int_equal(count, run > 0);
        assert_int_equal(ce_journal_header(journal)->variants, 2);
        assert_int_equal(ce_file_exists(temporary_path(state, CE_JOURNAL_NAME)),
                         run > 0);
        assert_int_equal(ce_journal_append(journal, &item, &outcome, &err), CE_ERR_ARG);
        field[0].value = run < 2 ? "8f3a" : "8f3b";
        assert_int_equal(ce_journal_confirm(journal, &header, &err),
                         run < 2 ? CE_OK : CE_ERR_MISMATCH);
        if (run == 0) {
            assert_ok(ce_journal_append(journal, &item, &outcome, &err), &err);
        }
        ce_journal_close(journal);
    }
    assert_non_null(strstr(err.text, "journal of another job: model is \"8f3a\""));
    field[0].value = NULL;
    field[1].value = "f32"; /* what is known is compared at once */
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_MISMATCH);
    assert_non_null(strstr(err.text, "wire"));
}

/* What is known later must be there, or an earlier version began the journal. */
static void test_earlier_version(void **state)
{
    struct ce_journal_field field[4];
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    ce_journal_close(fixture_open(state, CE_JOURNAL_FRESH));
    memcpy(field, fixture_field, header.fields * sizeof(field[0]));
    field[header.fields] = (struct ce_journal_field){"all bytes", NULL};
    header.field = field;
    header.fields++;
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_MISMATCH);
    assert_non_null(strstr(err.text, "begun by an earlier version"));
    assert_non_null(strstr(err.text, "does not say \"all bytes\""));
}

static void test_other_items(void **state)
{
    static const struct ce_journal_task fewer[] = {{.name = "gsm8k", .queries = 999},
                                                   {.name = "piqa", .queries = 2}};
    static const struct ce_journal_task turned[] = {
        {.name = "piqa", .queries = 2}, {.name = "gsm8k", .queries = FIXTURE_QUERIES}};
    struct ce_journal_header header = fixture_header();

    ce_journal_close(fixture_open(state, CE_JOURNAL_FRESH));
    header.task = fewer;
    expect_other(
        state, &header, "queries of gsm8k", "\"1000000\" there and \"999\" here");
    header.task = turned;
    expect_other(state, &header, "task 1 is", "\"gsm8k\" there and \"piqa\" here");
    header = fixture_header();
    header.tasks = 1;
    expect_other(state, &header, "task 2 is", "\"piqa\" there and missing here");
    header = fixture_header();
    header.variants = 1;
    expect_other(
        state, &header, "variant 2 is", "\"compressed\" there and missing here");
}

static void expect_failure(void **state,
                           enum ce_journal_mode mode,
                           enum ce_status status,
                           const char *text)
{
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_journal_open(&journal, temporary_path(state, ""), &header, mode, &err),
        status);
    assert_null(journal);
    if (strstr(err.text, text) == NULL) {
        fail_msg("%s", err.text);
    }
}

static void test_modes(void **state)
{
    struct ce_journal_item item = fixture_item(0);
    struct ce_outcome outcome = {.done = true};
    struct ce_error err = {.text = ""};

    expect_failure(state, CE_JOURNAL_READ, CE_ERR_ARG, "there is no journal");
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_FRESH);

    expect_failure(state, CE_JOURNAL_RESUME, CE_ERR_ARG, "another job writes here");
    expect_failure(state, CE_JOURNAL_FRESH, CE_ERR_ARG, "another job writes here");
    fixture_append(journal, 1);
    fixture_sync(journal);
    struct ce_journal *reader = fixture_open(state, CE_JOURNAL_READ);
    size_t count = 0;

    (void)ce_journal_entries(reader, &count);
    assert_int_equal(count, 1);
    assert_int_equal(ce_journal_append(reader, &item, &outcome, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "open for reading"));
    ce_journal_close(reader);
    ce_journal_close(journal);
    expect_failure(state, CE_JOURNAL_FRESH, CE_ERR_ARG, "a job was begun here already");
    assert_false(ce_file_exists(temporary_path(state, CE_JOURNAL_LOCK_NAME)));
    ce_journal_close(fixture_open(state, CE_JOURNAL_RESUME));
}

static void test_no_directory(void **state)
{
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, "none"), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_IO);
    assert_non_null(strstr(err.text, "No such file"));
}

static void test_impossible_job(void **state)
{
    static const struct ce_journal_task huge[] = {{.name = "x", .queries = UINT64_MAX}};
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    header.task = huge;
    header.tasks = 1;
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_ARG);
    header.tasks = 0;
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_ARG);
    assert_false(ce_file_exists(temporary_path(state, CE_JOURNAL_NAME)));
}

static void test_items_once(void **state)
{
    static const struct ce_journal_item never[] = {{.variant = 2},
                                                   {.task = 2},
                                                   {.query = FIXTURE_QUERIES},
                                                   {.task = 1, .query = 2}};
    struct ce_outcome outcome = {.done = true};
    struct ce_journal_item item = fixture_item(3);
    struct ce_error err = {.text = ""};
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);

    fixture_append(journal, 3);
    assert_int_equal(ce_journal_append(journal, &item, &outcome, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "query 3 cannot be recorded: it is already"));
    ce_journal_close(journal);
    journal = fixture_open(state, CE_JOURNAL_RESUME);
    assert_int_equal(ce_journal_append(journal, &item, &outcome, &err), CE_ERR_ARG);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ce_journal_append(journal, &never[i], &outcome, &err),
                         CE_ERR_ARG);
    }
    ce_journal_close(journal);
}

static size_t file_bytes(void **state)
{
    struct stat info;

    assert_int_equal(stat(temporary_path(state, CE_JOURNAL_NAME), &info), 0);
    return (size_t)info.st_size;
}

/* Nobody syncs, and still the record gets to the file. */
static void test_writes_by_itself(void **state)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    size_t before = file_bytes(state);
    size_t after = before;

    fixture_append(journal, 0);
    for (int i = 0; i < 55 && after == before; i++) {
        fixture_nap(i < 30 ? 100 : 1000); /* a second, on a machine that has time */
        after = file_bytes(state);
    }
    assert_true(after > before);
    ce_journal_close(journal);
}

/* Memory is bounded: so many bytes go out at once. */
static void test_writes_when_full(void **state)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    char *text = malloc(CE_JOURNAL_SYNC_BYTES + 1);
    struct ce_outcome outcome = {.text = text};
    size_t before = file_bytes(state);

    assert_non_null(text);
    memset(text, 'x', CE_JOURNAL_SYNC_BYTES);
    text[CE_JOURNAL_SYNC_BYTES] = '\0';
    append(journal, fixture_item(0), &outcome);
    assert_true(file_bytes(state) > before + CE_JOURNAL_SYNC_BYTES);
    ce_journal_close(journal);
    free(text);
}

struct worker {
    struct ce_journal *journal;
    size_t first;
    pthread_t thread;
};

static void *work(void *argument)
{
    const struct worker *worker = argument;

    for (size_t i = 0; i < 500; i++) {
        char text[64];
        struct ce_journal_item item = fixture_item(worker->first + i);
        struct ce_outcome outcome = fixture_outcome(worker->first + i, text);

        if (ce_journal_append(worker->journal, &item, &outcome, NULL) != CE_OK ||
            (i % 50 == 0 && ce_journal_sync(worker->journal, NULL) != CE_OK)) {
            return argument; /* cmocka's assertions are for the main thread */
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    struct worker worker[4];
    size_t count = 0;

    for (size_t i = 0; i < 4; i++) {
        worker[i] = (struct worker){.journal = journal, .first = i * 500};
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;

        assert_int_equal(pthread_join(worker[i].thread, &failed), 0);
        assert_null(failed);
    }
    ce_journal_close(journal);
    journal = fixture_open(state, CE_JOURNAL_READ);
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);

    assert_int_equal(count, 2000);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entry[i].item.query, i);
        assert_true(is_fixture_entry(&entry[i]));
    }
    ce_journal_close(journal);
}

/* Somebody removes the lock: nothing more is written. */
static void test_lost_lock(void **state)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    struct ce_error err = {.text = ""};
    size_t before = file_bytes(state);

    assert_int_equal(unlink(temporary_path(state, CE_JOURNAL_LOCK_NAME)), 0);
    struct ce_journal *second = fixture_open(state, CE_JOURNAL_RESUME);

    fixture_append(second, 1);
    struct ce_journal_item item = fixture_item(0);
    struct ce_outcome outcome = {.done = true};
    enum ce_status status = ce_journal_append(journal, &item, &outcome, &err);

    if (status == CE_OK) {
        status = ce_journal_sync(journal, &err);
    }
    assert_int_equal(status, CE_ERR_IO);
    assert_non_null(strstr(err.text, "not this job's any more"));
    ce_journal_close(journal);
    assert_true(ce_file_exists(temporary_path(state, CE_JOURNAL_LOCK_NAME)));
    fixture_sync(second);
    assert_true(file_bytes(state) > before);
    ce_journal_close(second);
    ce_journal_close(fixture_open(state, CE_JOURNAL_RESUME));
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_header),
        TEST(test_other_fields),
        TEST(test_a_field_known_later),
        TEST(test_earlier_version),
        TEST(test_other_items),
        TEST(test_modes),
        TEST(test_no_directory),
        TEST(test_impossible_job),
        TEST(test_items_once),
        TEST(test_writes_by_itself),
        TEST(test_writes_when_full),
        TEST(test_threads),
        TEST(test_lost_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
