/* journal_fixture.h - a small job and outcomes that a number determines */

#ifndef CE_TESTS_UNIT_JOURNAL_FIXTURE_H
#define CE_TESTS_UNIT_JOURNAL_FIXTURE_H

#include "base/file.h"
#include "eval/journal.h"
#include "eval/journal_frame.h"
#include "eval/journal_lock.h"
#include "temporary.h"
#include "test.h"

#include <string.h>
#include <time.h>

#define FIXTURE_QUERIES 1000000

static const struct ce_journal_field fixture_field[] = {
    {.name = "model", .value = "8f3a"},
    {.name = "wire", .value = "bf16"},
    {.name = "task gsm8k", .value = "01"},
};
static const struct ce_journal_field fixture_note[] = {
    {.name = "model name", .value = "Käse/模型"},
    {.name = "", .value = ""},
};
static const struct ce_journal_task fixture_task[] = {
    {.name = "gsm8k", .queries = FIXTURE_QUERIES},
    {.name = "piqa", .queries = 2},
};
static const char *const fixture_variant[] = {"plain", "compressed"};

static inline struct ce_journal_header fixture_header(void)
{
    return (struct ce_journal_header){.field = fixture_field,
                                      .fields = 3,
                                      .task = fixture_task,
                                      .tasks = 2,
                                      .variant = fixture_variant,
                                      .variants = 2,
                                      .note = fixture_note,
                                      .notes = 2,
                                      .program = "cemoe 0.1.0",
                                      .start_ns = UINT64_C(1760000000123456789)};
}

static inline void assert_ok(enum ce_status status, const struct ce_error *err)
{
    if (status != CE_OK) {
        fail_msg("%s", err->text);
    }
}

/* Query `number` of the first task. */
static inline struct ce_journal_item fixture_item(size_t number)
{
    return (struct ce_journal_item){.query = number};
}

/* Of different lengths; `text` has room for 64 bytes. */
static inline struct ce_outcome fixture_outcome(size_t number, char *text)
{
    (void)snprintf(text, 64, "%.*s%zu", (int)(number % 40), "answer ä – 答 ", number);
    return (struct ce_outcome){.done = true,
                               .logprob = -1.0 / (double)(number + 3),
                               .greedy = number % 2 == 0,
                               .text = number % 3 == 0 ? NULL : text,
                               .tokens = (uint32_t)number,
                               .context = 7,
                               .dropped = (uint32_t)(number % 5),
                               .by_length = number % 7 == 0};
}

static inline bool same_outcome(const struct ce_outcome *left,
                                const struct ce_outcome *right)
{
    bool texts = (left->text == NULL) == (right->text == NULL) &&
                 (left->text == NULL || strcmp(left->text, right->text) == 0);

    return texts && left->done == right->done &&
           memcmp(&left->logprob, &right->logprob, sizeof(left->logprob)) == 0 &&
           left->greedy == right->greedy && left->tokens == right->tokens &&
           left->context == right->context && left->dropped == right->dropped &&
           left->by_length == right->by_length;
}

/* An entry is of the first task and has the outcome of its number. */
static inline bool is_fixture_entry(const struct ce_journal_entry *entry)
{
    char text[64];
    struct ce_outcome outcome = fixture_outcome((size_t)entry->item.query, text);

    return entry->item.variant == 0 && entry->item.task == 0 &&
           same_outcome(&entry->outcome, &outcome);
}

static inline const char *fixture_dir(void **state)
{
    return ((struct temporary *)*state)->dir;
}

static inline struct ce_journal *fixture_open(void **state, enum ce_journal_mode mode)
{
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    assert_ok(ce_journal_open(&journal, fixture_dir(state), &header, mode, &err), &err);
    return journal;
}

static inline void fixture_append(struct ce_journal *journal, size_t number)
{
    char text[64];
    struct ce_journal_item item = fixture_item(number);
    struct ce_outcome outcome = fixture_outcome(number, text);
    struct ce_error err = {.text = ""};

    assert_ok(ce_journal_append(journal, &item, &outcome, &err), &err);
}

static inline void fixture_sync(struct ce_journal *journal)
{
    struct ce_error err = {.text = ""};

    assert_ok(ce_journal_sync(journal, &err), &err);
}

/* A journal of outcomes 0 to count - 1, as bytes; the caller frees them. */
static inline unsigned char *fixture_image(void **state, size_t count, size_t *bytes)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_FRESH);
    struct ce_error err = {.text = ""};
    char *data = NULL;

    for (size_t i = 0; i < count; i++) {
        fixture_append(journal, i);
    }
    fixture_sync(journal);
    ce_journal_close(journal);
    assert_ok(ce_file_read(temporary_path(state, CE_JOURNAL_NAME),
                           (size_t)1 << 30,
                           &data,
                           bytes,
                           &err),
              &err);
    return (unsigned char *)data;
}

static inline void fixture_nap(long milliseconds)
{
    const struct timespec nap = {.tv_sec = milliseconds / 1000,
                                 .tv_nsec = milliseconds % 1000 * 1000000};

    (void)nanosleep(&nap, NULL);
}

#endif
