/* Requests to bytes and back; bytes that are wrong in one place. */

#include "eval/request_table.h"
#include "eval/request_table_parts.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct ce_request_limits limits = {.vocab = 100, .positions = 8};

struct built {
    void *data;
    size_t bytes;
};

static char until_text[] = "\n\n\0stop";
static char *until[] = {until_text, until_text + 2, until_text + 3};
static const struct ce_generate_settings sampled = {
    .until = until, .untils = 3, .temperature = 0.5, .top_p = 0.25, .seed = 9};

static void add(struct ce_request_list *list, const struct ce_token_request *request)
{
    assert_int_equal(ce_request_list_add(list, request, NULL), CE_OK);
}

/* One that scores, one that generates; two settings. */
static struct built build(void)
{
    static const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    struct ce_generate_settings greedy = {.top_p = 1};
    struct ce_request_list list = {.count = 0};
    struct built built = {.data = NULL};
    uint32_t index = 7;

    assert_int_equal(ce_request_list_add_settings(&list, &greedy, NULL, &index, NULL),
                     CE_OK);
    assert_int_equal(index, 0);
    assert_int_equal(ce_request_list_add_settings(&list, &sampled, "E", &index, NULL),
                     CE_OK);
    assert_int_equal(index, 1);
    add(&list,
        &(struct ce_token_request){
            .tokens = tokens, .count = 9, .scored = 8, .query = 4, .dropped = 2});
    add(&list,
        &(struct ce_token_request){.tokens = tokens,
                                   .count = 3,
                                   .max_new_tokens = 5,
                                   .key = UINT64_MAX,
                                   .group = 6,
                                   .settings = 1,
                                   .query = 5});
    assert_int_equal(ce_request_table_build(&list, &built.data, &built.bytes, NULL),
                     CE_OK);
    ce_request_list_free(&list);
    return built;
}

static void assert_stop(const struct ce_stop_string *stop, const char *text)
{
    assert_int_equal(stop->bytes, strlen(text));
    assert_memory_equal(stop->text, text, stop->bytes);
}

static void a_view_has_what_was_added(void **state)
{
    (void)state;
    struct built built = build();
    struct ce_request_table table;

    assert_int_equal(
        ce_request_table_view(&table, built.data, built.bytes, &limits, NULL), CE_OK);
    assert_int_equal(table.count, 2);
    assert_int_equal(table.request[0].count, 9);
    assert_int_equal(table.request[0].tokens[5], 9);
    assert_int_equal(table.request[0].scored, 8);
    assert_int_equal(table.request[1].tokens[2], 4);
    assert_int_equal(table.request[1].max_new_tokens, 5);
    assert_true(table.request[1].key == UINT64_MAX);
    assert_int_equal(table.request[1].group, 6);
    assert_int_equal(table.request[1].query, 5);
    assert_int_equal(table.settings_count, 2);
    assert_int_equal(table.settings[0].stops, 0);
    assert_int_equal(table.settings[1].stops, 3); /* without "", with the EOS */
    assert_stop(&table.settings[1].stop[0], "\n\n");
    assert_stop(&table.settings[1].stop[1], "stop");
    assert_stop(&table.settings[1].stop[2], "E");
    assert_true(table.settings[1].seed == 9 && table.settings[1].temperature == 0.5);
    assert_int_equal(table.dropping, 1);
    assert_int_equal(table.dropped, 2);
    ce_request_table_free(&table);
    free(built.data);
}

static void nothing_is_a_table_too(void **state)
{
    (void)state;
    struct ce_request_list list = {.count = 0};
    struct ce_request_table table;
    void *data = NULL;
    size_t bytes = 0;

    assert_int_equal(ce_request_table_build(&list, &data, &bytes, NULL), CE_OK);
    assert_int_equal(ce_request_table_view(&table, data, bytes, &limits, NULL), CE_OK);
    assert_int_equal(table.count, 0);
    ce_request_table_free(&table);
    ce_request_list_free(&list);
    free(data);
}

static void equal_settings_are_one(void **state)
{
    (void)state;
    struct ce_generate_settings other = sampled;
    struct ce_request_list list = {.count = 0};
    uint32_t index[4] = {9, 9, 9, 9};

    other.seed = 10;
    assert_int_equal(
        ce_request_list_add_settings(&list, &sampled, "E", &index[0], NULL), CE_OK);
    assert_int_equal(ce_request_list_add_settings(&list, &other, "E", &index[1], NULL),
                     CE_OK);
    assert_int_equal(
        ce_request_list_add_settings(&list, &sampled, "E", &index[2], NULL), CE_OK);
    assert_int_equal(
        ce_request_list_add_settings(&list, &sampled, "stop", &index[3], NULL), CE_OK);
    assert_int_equal(index[0], 0);
    assert_int_equal(index[1], 1);
    assert_int_equal(index[2], 0);
    assert_int_equal(index[3], 2); /* "stop" is there already: no fourth string */
    assert_int_equal(list.stops, 8);
    ce_request_list_free(&list);
}

/* ---- damage */

static void assert_refused(struct built built, enum ce_status code, const char *text)
{
    struct ce_request_table table;
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_request_table_view(&table, built.data, built.bytes, &limits, &err), code);
    assert_non_null(strstr(err.text, text));
    ce_request_table_free(&table);
    free(built.data);
}

static struct ce_request_entry *entry_of(struct built built, size_t index)
{
    return (struct ce_request_entry *)((char *)built.data +
                                       sizeof(struct ce_request_header)) +
           index;
}

static struct ce_settings_entry *settings_of(struct built built)
{
    return (struct ce_settings_entry *)entry_of(built, 2) + 1;
}

static void every_length_but_its_own_is_refused(void **state)
{
    (void)state;
    for (size_t bytes = 0;; bytes++) {
        struct built built = build();

        if (bytes == built.bytes) {
            free(built.data);
            return;
        }
        built.bytes = bytes;
        assert_refused(built, CE_ERR_FORMAT, "the requests from rank 0: ");
    }
}

static void counts_that_wrap_are_refused(void **state)
{
    (void)state;
    for (size_t field = 0; field < 6; field++) {
        struct built built = build();

        ((uint64_t *)built.data)[field] = UINT64_MAX / 3;
        assert_refused(built, CE_ERR_FORMAT, "the requests from rank 0: ");
    }
}

#define REFUSE_ENTRY(index, change, code, text)                                        \
    do {                                                                               \
        struct built built = build();                                                  \
                                                                                       \
        entry_of(built, index)->change;                                                \
        assert_refused(built, code, text);                                             \
    } while (0)

static void requests_that_cannot_be_are_refused(void **state)
{
    (void)state;
    REFUSE_ENTRY(0, first_token = 4, CE_ERR_FORMAT, "tokens lie outside");
    REFUSE_ENTRY(0, first_token = UINT64_MAX, CE_ERR_FORMAT, "tokens lie outside");
    REFUSE_ENTRY(0, tokens = 0, CE_ERR_FORMAT, "tokens lie outside");
    REFUSE_ENTRY(0, scored = 9, CE_ERR_FORMAT, "neither scores nor generates");
    REFUSE_ENTRY(0, scored = 0, CE_ERR_FORMAT, "neither scores nor generates");
    REFUSE_ENTRY(1, scored = 1, CE_ERR_FORMAT, "neither scores nor generates");
    REFUSE_ENTRY(1, zero = 1, CE_ERR_FORMAT, "neither scores nor generates");
    REFUSE_ENTRY(1, settings = 2, CE_ERR_FORMAT, "settings that are not there");
    REFUSE_ENTRY(1, max_new_tokens = 6, CE_ERR_ARG, "takes 9 positions of 8");
    REFUSE_ENTRY(1, max_new_tokens = UINT32_MAX, CE_ERR_ARG, "positions of 8");
}

#define REFUSE_SETTINGS(change, text)                                                  \
    do {                                                                               \
        struct built built = build();                                                  \
                                                                                       \
        settings_of(built)->change;                                                    \
        assert_refused(built, CE_ERR_FORMAT, text);                                    \
    } while (0)

static void settings_that_cannot_be_are_refused(void **state)
{
    (void)state;
    REFUSE_SETTINGS(stops = 4, "stop strings that are not there");
    REFUSE_SETTINGS(first_stop = UINT32_MAX, "stop strings that are not there");
    REFUSE_SETTINGS(temperature = -1, "out of range");
    REFUSE_SETTINGS(temperature = (double)NAN, "out of range");
    REFUSE_SETTINGS(top_p = 0, "out of range");
    REFUSE_SETTINGS(top_p = (double)NAN, "out of range");
}

static void tokens_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct built built = build();
        int32_t *tokens =
            (int32_t *)((struct ce_stop_entry *)(settings_of(built) + 1) + 3);

        tokens[4] = i == 0 ? -1 : 100;
        assert_refused(built, CE_ERR_ARG, "is not among the 100 of the vocabulary");
    }
}

static void stop_strings_are_text(void **state)
{
    (void)state;
    struct built built = build();

    ((char *)built.data)[built.bytes - 1] = (char)0xC3;
    assert_refused(built, CE_ERR_FORMAT, "a stop string is not UTF-8");
    built = build();
    ((struct ce_stop_entry *)(settings_of(built) + 1))->bytes = 99;
    assert_refused(built, CE_ERR_FORMAT, "a stop string lies outside");
    built = build();
    ((struct ce_stop_entry *)(settings_of(built) + 1))->offset = UINT64_MAX;
    assert_refused(built, CE_ERR_FORMAT, "a stop string lies outside");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_has_what_was_added),
        cmocka_unit_test(nothing_is_a_table_too),
        cmocka_unit_test(equal_settings_are_one),
        cmocka_unit_test(every_length_but_its_own_is_refused),
        cmocka_unit_test(counts_that_wrap_are_refused),
        cmocka_unit_test(requests_that_cannot_be_are_refused),
        cmocka_unit_test(settings_that_cannot_be_are_refused),
        cmocka_unit_test(tokens_outside_the_vocabulary_are_refused),
        cmocka_unit_test(stop_strings_are_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
