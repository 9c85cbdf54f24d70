/* Messages there and back, and messages no honest rank would send. */

#include "moe/message.h"
#include "test.h"

#include <stdbool.h>
#include <string.h>

enum { WIDTH = 16, ROWS = 3, AUXILIARY = 2, MAINS = 5, SOURCE = 4 };
enum { PAIRS = MAINS + ROWS * AUXILIARY };
enum { ROW_BYTES = WIDTH * sizeof(float) };
enum { VALUES = ROWS * WIDTH, RESULTS = MAINS * WIDTH };

static const struct ce_message_key dispatch_key = {9, 2, CE_PHASE_DISPATCH};
static const struct ce_message_key combine_key = {9, 2, CE_PHASE_COMBINE};
static const uint16_t row_mains[ROWS] = {1, 1, 3};

/* Aligned as the transports' buffers are, with room behind every message. */
struct buffer {
    _Alignas(64) unsigned char data[2048];
    size_t bytes;
};

static struct ce_bytes bytes_of(const struct buffer *buffer)
{
    return (struct ce_bytes){buffer->data, buffer->bytes};
}

static struct ce_message_header *header_of(struct buffer *buffer)
{
    return (void *)buffer->data;
}

static float element(size_t row, size_t i)
{
    return (float)(row * 100 + i) + 0.25F;
}

/* A dispatch of 3 rows with 1, 1 and 3 main and 2 auxiliary experts each. */
static void write_dispatch(struct buffer *buffer)
{
    struct ce_pair *pair = NULL;
    float *x = NULL;

    memset(buffer, 0xee, sizeof(*buffer));
    buffer->bytes = ce_message_dispatch_bytes(ROWS, PAIRS, ROW_BYTES);
    ce_message_write_header(
        buffer->data, &dispatch_key, ROWS, PAIRS, AUXILIARY, ROW_BYTES);
    memcpy(ce_message_row_mains(buffer->data), row_mains, sizeof(row_mains));
    pair = ce_message_pairs(buffer->data, ROWS);
    for (size_t i = 0; i < PAIRS; i++) {
        pair[i] = (struct ce_pair){(uint16_t)(i * 3), (uint16_t)i, (float)i / 8};
    }
    x = (void *)ce_message_dispatch_rows(buffer->data, ROWS, PAIRS);
    for (size_t i = 0; i < VALUES; i++) {
        x[i] = element(i / WIDTH, i % WIDTH);
    }
}

static void write_combine(struct buffer *buffer)
{
    float *results = NULL;

    memset(buffer, 0xee, sizeof(*buffer));
    buffer->bytes = ce_message_combine_bytes(MAINS, ROW_BYTES);
    ce_message_write_header(buffer->data, &combine_key, MAINS, 0, 0, ROW_BYTES);
    results = (void *)ce_message_combine_rows(buffer->data);
    for (size_t i = 0; i < RESULTS; i++) {
        results[i] = element(i / WIDTH, i % WIDTH);
    }
}

static enum ce_status check(const struct buffer *buffer,
                            const struct ce_message_key *key,
                            struct ce_error *err)
{
    struct ce_bytes message = bytes_of(buffer);

    return ce_message_check(&message, key, SOURCE, err);
}

static enum ce_status read_dispatch(const struct buffer *buffer,
                                    struct ce_dispatch_view *view,
                                    struct ce_error *err)
{
    struct ce_bytes message = bytes_of(buffer);

    return ce_message_read_dispatch(&message, ROW_BYTES, AUXILIARY, SOURCE, view, err);
}

static enum ce_status read_combine(const struct buffer *buffer, struct ce_error *err)
{
    struct ce_bytes message = bytes_of(buffer);
    const unsigned char *results = NULL;

    return ce_message_read_combine(&message, MAINS, ROW_BYTES, SOURCE, &results, err);
}

static float value_at(const unsigned char *rows, size_t i)
{
    float value = 0;

    memcpy(&value, rows + i * sizeof(value), sizeof(value));
    return value;
}

static void dispatch_there_and_back(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_dispatch_view view;
    struct ce_error err;

    write_dispatch(&buffer);
    assert_int_equal(check(&buffer, &dispatch_key, &err), CE_OK);
    assert_int_equal(read_dispatch(&buffer, &view, &err), CE_OK);
    assert_int_equal(view.rows, ROWS);
    assert_int_equal(view.assignments, MAINS);
    assert_int_equal(view.auxiliary, AUXILIARY);
    assert_memory_equal(view.row_mains, row_mains, sizeof(row_mains));
    for (size_t i = 0; i < PAIRS; i++) {
        assert_int_equal(view.pairs[i].expert, i * 3);
        assert_int_equal(view.pairs[i].position, i);
        assert_true(view.pairs[i].weight == (float)i / 8);
    }
    assert_int_equal((uintptr_t)view.x % 64, 0);
    for (size_t i = 0; i < VALUES; i++) {
        assert_true(value_at(view.x, i) == element(i / WIDTH, i % WIDTH));
    }
    assert_ptr_equal(view.x + ROWS * ROW_BYTES, buffer.data + buffer.bytes);
}

static void combine_there_and_back(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_bytes message;
    const unsigned char *results = NULL;

    write_combine(&buffer);
    message = bytes_of(&buffer);
    assert_int_equal(check(&buffer, &combine_key, NULL), CE_OK);
    assert_int_equal(
        ce_message_read_combine(&message, MAINS, ROW_BYTES, SOURCE, &results, NULL),
        CE_OK);
    for (size_t i = 0; i < RESULTS; i++) {
        assert_true(value_at(results, i) == element(i / WIDTH, i % WIDTH));
    }
}

static void empty_messages_are_a_header(void **state)
{
    (void)state;
    struct buffer buffer = {.bytes = 64};
    struct ce_dispatch_view view;

    assert_int_equal(ce_message_dispatch_bytes(0, 0, ROW_BYTES), 64);
    assert_int_equal(ce_message_combine_bytes(0, ROW_BYTES), 64);
    ce_message_write_header(buffer.data, &dispatch_key, 0, 0, AUXILIARY, ROW_BYTES);
    assert_int_equal(check(&buffer, &dispatch_key, NULL), CE_OK);
    assert_int_equal(read_dispatch(&buffer, &view, NULL), CE_OK);
    assert_int_equal(view.rows, 0);
    assert_int_equal(view.assignments, 0);
}

/* The parts follow each other without overlap for any counts. */
static void parts_do_not_overlap(void **state)
{
    (void)state;
    struct buffer buffer;

    for (size_t rows = 0; rows < 12; rows++) {
        for (size_t pairs = rows; pairs < 5 * rows; pairs++) {
            unsigned char *mains = (void *)ce_message_row_mains(buffer.data);
            unsigned char *pair = (void *)ce_message_pairs(buffer.data, rows);
            unsigned char *x = ce_message_dispatch_rows(buffer.data, rows, pairs);

            assert_true(mains == buffer.data + 64);
            assert_true(pair >= mains + rows * sizeof(uint16_t));
            assert_true(x >= pair + pairs * sizeof(struct ce_pair));
            assert_int_equal((x - buffer.data) % 64, 0);
            assert_int_equal(x - buffer.data, ce_message_metadata_bytes(rows, pairs));
            assert_int_equal(ce_message_dispatch_bytes(rows, pairs, ROW_BYTES),
                             (size_t)(x - buffer.data) + rows * WIDTH * sizeof(float));
        }
    }
}

static void refuses_what_has_no_header(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_error err;

    write_dispatch(&buffer);
    for (buffer.bytes = 0; buffer.bytes < 64; buffer.bytes++) {
        assert_int_equal(check(&buffer, &dispatch_key, &err), CE_ERR_COMM);
        assert_non_null(strstr(err.text, "rank 4"));
    }
}

static void refuses_another_step_layer_or_phase(void **state)
{
    (void)state;
    static const struct ce_message_key others[] = {
        {8, 2, CE_PHASE_DISPATCH}, {9, 1, CE_PHASE_DISPATCH}, {9, 2, CE_PHASE_COMBINE}};
    struct buffer buffer;
    struct ce_error err;

    write_dispatch(&buffer);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(check(&buffer, &others[i], &err), CE_ERR_COMM);
        assert_non_null(strstr(err.text, "rank 4 sent step 9 layer 2 phase 1"));
    }
    header_of(&buffer)->magic ^= 1;
    assert_int_equal(check(&buffer, &dispatch_key, &err), CE_ERR_COMM);
}

/* One wrong field each; the message is as long as before. */
static void refuses_counts_that_do_not_match_the_size(void **state)
{
    (void)state;
    struct buffer good;
    struct ce_dispatch_view view;
    struct ce_error err;

    write_dispatch(&good);
    for (int field = 0; field < 4; field++) {
        static const uint32_t values[] = {0, 1, 2, 4, 6, 1000, 0x7fffffff, 0xffffffff};

        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            struct buffer bad = good;
            uint32_t *fields[] = {&header_of(&bad)->rows,
                                  &header_of(&bad)->pairs,
                                  &header_of(&bad)->auxiliary,
                                  &header_of(&bad)->row_bytes};

            if (*fields[field] == values[v]) {
                continue;
            }
            *fields[field] = values[v];
            assert_int_equal(read_dispatch(&bad, &view, &err), CE_ERR_COMM);
            assert_non_null(strstr(err.text, "rank 4"));
        }
    }
}

static void refuses_any_other_size(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_dispatch_view view;
    size_t right;

    write_dispatch(&buffer);
    right = buffer.bytes;
    for (buffer.bytes = 64; buffer.bytes < right + 200; buffer.bytes++) {
        assert_int_equal(read_dispatch(&buffer, &view, NULL),
                         buffer.bytes == right ? CE_OK : CE_ERR_COMM);
    }
    write_combine(&buffer);
    right = buffer.bytes;
    for (buffer.bytes = 64; buffer.bytes < right + 200; buffer.bytes++) {
        assert_int_equal(read_combine(&buffer, NULL),
                         buffer.bytes == right ? CE_OK : CE_ERR_COMM);
    }
}

/* The pairs would be read beyond their end. */
static void refuses_mains_that_do_not_add_up(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_dispatch_view view;
    struct ce_error err;

    for (size_t row = 0; row < ROWS; row++) {
        write_dispatch(&buffer);
        ce_message_row_mains(buffer.data)[row]++;
        assert_int_equal(read_dispatch(&buffer, &view, &err), CE_ERR_COMM);
        ce_message_row_mains(buffer.data)[row] = UINT16_MAX;
        assert_int_equal(read_dispatch(&buffer, &view, &err), CE_ERR_COMM);
    }
}

/* A row without an expert here would take the results of the next when they are
 * summed by row. */
static void refuses_a_row_without_mains(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_dispatch_view view;
    struct ce_error err;

    write_dispatch(&buffer);
    ce_message_row_mains(buffer.data)[0]--;
    ce_message_row_mains(buffer.data)[1]++;
    assert_int_equal(read_dispatch(&buffer, &view, &err), CE_ERR_COMM);
}

static void refuses_results_of_another_count_or_width(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_error err;

    write_combine(&buffer);
    header_of(&buffer)->rows--;
    assert_int_equal(read_combine(&buffer, &err), CE_ERR_COMM);
    write_combine(&buffer);
    header_of(&buffer)->row_bytes *= 2;
    assert_int_equal(read_combine(&buffer, &err), CE_ERR_COMM);
    assert_non_null(strstr(err.text, "combine message of rank 4"));
}

static void a_failure_arrives_with_status_text_and_rank(void **state)
{
    (void)state;
    static const struct ce_error why = {.text = "layer 3, experts: 100 %s not finite"};
    struct buffer buffer;
    struct ce_error err = {.rank = -1};

    buffer.bytes =
        ce_message_write_failure(buffer.data, &combine_key, CE_ERR_NUMERIC, &why);
    assert_int_equal(buffer.bytes, 64 + strlen(why.text));
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_NUMERIC);
    assert_string_equal(err.text, why.text);
    assert_int_equal(err.rank, SOURCE);
    /* Failures of another step are no news: the ranks are out of step. */
    assert_int_equal(check(&buffer, &dispatch_key, &err), CE_ERR_COMM);
}

static void the_longest_failure_fits(void **state)
{
    (void)state;
    struct buffer buffer;
    struct ce_error why;
    struct ce_error err;

    memset(why.text, 'x', sizeof(why.text)); /* not even terminated */
    buffer.bytes = ce_message_write_failure(buffer.data, &combine_key, CE_ERR_IO, &why);
    assert_true(buffer.bytes <= CE_MESSAGE_FAILURE_BYTES);
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_IO);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

/* The text ends where the message or the room for it does. */
static void a_failure_longer_than_allowed_is_cut(void **state)
{
    (void)state;
    static const struct ce_error why = {.text = "short"};
    struct buffer buffer;
    struct ce_error err;

    buffer.bytes = ce_message_write_failure(buffer.data, &combine_key, CE_ERR_IO, &why);
    header_of(&buffer)->text_bytes = UINT32_MAX;
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_IO);
    assert_string_equal(err.text, "short");

    memset(buffer.data + 64, 'y', sizeof(buffer.data) - 64);
    buffer.bytes = sizeof(buffer.data);
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_IO);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);

    buffer.bytes = 64;
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_IO);
    assert_string_equal(err.text, "");
}

static void a_status_that_is_none_is_a_failure_of_communication(void **state)
{
    (void)state;
    static const struct ce_error why = {.text = "?"};
    struct buffer buffer;
    struct ce_error err;

    buffer.bytes = ce_message_write_failure(buffer.data, &combine_key, CE_AGAIN, &why);
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_COMM);
    header_of(&buffer)->status = 255;
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_COMM);
    header_of(&buffer)->status = CE_ERR_MISMATCH;
    assert_int_equal(check(&buffer, &combine_key, &err), CE_ERR_MISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dispatch_there_and_back),
        cmocka_unit_test(combine_there_and_back),
        cmocka_unit_test(empty_messages_are_a_header),
        cmocka_unit_test(parts_do_not_overlap),
        cmocka_unit_test(refuses_what_has_no_header),
        cmocka_unit_test(refuses_another_step_layer_or_phase),
        cmocka_unit_test(refuses_counts_that_do_not_match_the_size),
        cmocka_unit_test(refuses_any_other_size),
        cmocka_unit_test(refuses_mains_that_do_not_add_up),
        cmocka_unit_test(refuses_a_row_without_mains),
        cmocka_unit_test(refuses_results_of_another_count_or_width),
        cmocka_unit_test(a_failure_arrives_with_status_text_and_rank),
        cmocka_unit_test(the_longest_failure_fits),
        cmocka_unit_test(a_failure_longer_than_allowed_is_cut),
        cmocka_unit_test(a_status_that_is_none_is_a_failure_of_communication),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
