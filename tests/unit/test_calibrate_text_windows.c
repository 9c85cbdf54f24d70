/* Windows of documents: all of a short text, an even choice of a long one, and a stream
 * that comes apart as it was put together or is refused. */

#include "calibrate/text_windows.h"
#include "test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 1000 };

/* ids[i] is i, so that a window says where it is from. */
static void number(int32_t *ids)
{
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = i;
    }
}

static struct ce_text_windows open_windows(const struct ce_documents_ids *documents,
                                           struct ce_text_choice choice)
{
    struct ce_text_stream stream = {0};
    struct ce_text_windows windows;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_text_stream_add(&stream, documents, &choice, &err), CE_OK);
    assert_int_equal(ce_text_windows_open(&windows, stream.value, stream.count, &err),
                     CE_OK);
    assert_int_equal(stream.tokens,
                     windows.tokens[CE_TEXT_FIT] + windows.tokens[CE_TEXT_HELDOUT]);
    return windows;
}

static void short_texts_are_taken_whole(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    /* The second is a window and a rest, the third too short, the fourth has 2 tokens.
     */
    const size_t end[] = {100, 250, 251, 253};
    const struct ce_documents_ids documents = {ids, end, 4};

    number(ids);
    struct ce_text_windows windows =
        open_windows(&documents, (struct ce_text_choice){100, TOKENS, 0});

    assert_int_equal(windows.count[CE_TEXT_FIT], 4);
    assert_int_equal(windows.count[CE_TEXT_HELDOUT], 0);
    assert_int_equal(windows.tokens[CE_TEXT_FIT], 252);
    assert_int_equal(windows.longest, 100);
    assert_int_equal(windows.window[CE_TEXT_FIT][2].ids[0], 200);
    assert_int_equal(windows.window[CE_TEXT_FIT][2].count, 50);
    assert_int_equal(windows.window[CE_TEXT_FIT][3].ids[0], 251);
    ce_text_windows_close(&windows);
}

static void long_texts_are_taken_evenly(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    const size_t end = TOKENS;
    const struct ce_documents_ids documents = {ids, &end, 1};

    number(ids);
    /* 100 windows of 10, of which every fourth, of which every fifth is held out. */
    struct ce_text_windows windows =
        open_windows(&documents, (struct ce_text_choice){10, 250, 5});

    assert_int_equal(windows.count[CE_TEXT_FIT], 20);
    assert_int_equal(windows.count[CE_TEXT_HELDOUT], 5);
    for (size_t i = 0; i < 20; i++) {
        const size_t chosen = i / 4 * 5 + i % 4;

        assert_int_equal(windows.window[CE_TEXT_FIT][i].ids[0], 40 * chosen);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(windows.window[CE_TEXT_HELDOUT][i].ids[0], 40 * (5 * i + 4));
    }
    ce_text_windows_close(&windows);
}

static void hash_tells_texts_apart(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    const size_t end = TOKENS;
    const struct ce_documents_ids documents = {ids, &end, 1};

    number(ids);
    struct ce_text_windows one =
        open_windows(&documents, (struct ce_text_choice){10, 250, 5});
    struct ce_text_windows other =
        open_windows(&documents, (struct ce_text_choice){10, 250, 6});

    assert_int_not_equal(ce_text_windows_hash(&one), ce_text_windows_hash(&other));
    ce_text_windows_close(&other);
    other = open_windows(&documents, (struct ce_text_choice){10, 250, 5});
    assert_true(ce_text_windows_hash(&one) == ce_text_windows_hash(&other));
    other.window[CE_TEXT_HELDOUT][4].count--;
    assert_int_not_equal(ce_text_windows_hash(&one), ce_text_windows_hash(&other));
    ce_text_windows_close(&other);
    ce_text_windows_close(&one);
}

static void bad_streams_are_refused(void **state)
{
    (void)state;
    static const int32_t streams[][3] = {
        {3, 1, 2}, {1, 5, 0}, {-3, 1, 2}, {0, 0, 0}, {2, 7, 7}, {INT32_MIN, 1, 2}};

    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        int32_t *copy = malloc(sizeof(streams[i]));
        struct ce_text_windows windows;
        struct ce_error err = {.text = ""};
        const bool is_good = i == 4; /* a window of two tokens: nothing is missing */

        assert_non_null(copy);
        memcpy(copy, streams[i], sizeof(streams[i]));
        assert_int_equal(ce_text_windows_open(&windows, copy, 3, &err),
                         is_good ? CE_OK : CE_ERR_COMM);
        ce_text_windows_close(&windows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts_are_taken_whole),
        cmocka_unit_test(long_texts_are_taken_evenly),
        cmocka_unit_test(hash_tells_texts_apart),
        cmocka_unit_test(bad_streams_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
