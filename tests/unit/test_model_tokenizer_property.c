/* What holds for any text: it comes back in NFC, at once, as a stream and from
 * several threads. */

#include "base/random.h"
#include "model/tokenizer/nfc.h"
#include "model/tokenizer/utf8.h"
#include "tokenizer_fixture.h"

#include <pthread.h>

enum { CHARACTERS = 60, ROUNDS = 3000, THREADS = 4 };

static uint64_t below(uint64_t limit, uint64_t round, uint64_t nth)
{
    return (uint64_t)(ce_random_unit(7, round, nth) * (double)limit);
}

/* Mostly ASCII and marks, now and then anything. */
static uint32_t random_code(uint64_t round, uint64_t nth)
{
    static const struct {
        uint32_t first;
        uint32_t count;
    } ranges[] = {
        {0x00, 0x80},
        {' ', 1},
        {'a', 26},
        {'0', 10},
        {0x0A, 1},
        {0x80, 0x280},
        {0x300, 0x70},
        {0x590, 0x200},
        {0x1100, 0x200},
        {0x1AB0, 0x50},
        {0x2000, 0x400},
        {0x3000, 0x100},
        {0xAC00, 0x2BA4},
        {0x10000, 0x800},
        {0x1D000, 0x1000},
        {0x1F300, 0x400},
        {0xE000, 0x2000},
        {0x10F000, 0x1000},
    };
    size_t kind = (size_t)below(sizeof(ranges) / sizeof(ranges[0]), round, 2 * nth);

    return ranges[kind].first + (uint32_t)below(ranges[kind].count, round, 2 * nth + 1);
}

static size_t write_code(char *out, uint32_t code)
{
    size_t bytes = code < 0x80 ? 1 : 2;

    if (code >= 0x800) {
        bytes = code < 0x10000 ? 3 : 4;
    }
    for (size_t i = bytes - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(bytes == 1 ? code : (0xF00U >> bytes & 0xFF) | code);
    return bytes;
}

static size_t write_text(char *out, uint64_t round)
{
    size_t bytes = 0;

    for (uint64_t i = 0; i < CHARACTERS; i++) {
        bytes += write_code(out + bytes, random_code(round, i));
    }
    assert_int_equal(ce_utf8_valid_bytes(out, bytes), bytes);
    return bytes;
}

static struct ce_tokenizer *open_shipped(void)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    return tokenizer;
}

static struct ce_ids encode(const struct ce_tokenizer *tokenizer, struct ce_span text)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_encode(tokenizer, text.data, text.bytes, false, &ids, &err) !=
        CE_OK) {
        fail_msg("%s", err.text);
    }
    return ids;
}

static struct ce_text stream(const struct ce_tokenizer *tokenizer,
                             const struct ce_ids *ids)
{
    struct ce_text pieces = {.data = NULL};
    struct ce_decode_stream decoding;
    struct ce_error err = {.text = ""};

    ce_decode_stream_init(&decoding, tokenizer, false);
    for (size_t i = 0; i < ids->count; i++) {
        size_t before = pieces.bytes;

        assert_int_equal(ce_decode_stream_push(&decoding, ids->id[i], &pieces, &err),
                         CE_OK);
        assert_int_equal(
            before + ce_utf8_valid_bytes(pieces.data + before, pieces.bytes - before),
            pieces.bytes);
    }
    assert_int_equal(ce_decode_stream_finish(&decoding, &pieces, &err), CE_OK);
    ce_decode_stream_fini(&decoding);
    return pieces;
}

static void assert_same(const struct ce_text *text, const struct ce_text *wanted)
{
    assert_int_equal(text->bytes, wanted->bytes);
    assert_memory_equal(text->data, wanted->data, text->bytes);
}

static void text_comes_back_in_nfc(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = open_shipped();
    struct ce_ids codes = {.id = NULL};
    struct ce_error err = {.text = ""};
    char text[4 * CHARACTERS];

    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct ce_span span = {.data = text, .bytes = write_text(text, round)};
        struct ce_ids ids = encode(tokenizer, span);
        struct ce_text wanted = {.data = NULL};
        struct ce_text whole = {.data = NULL};
        struct ce_text pieces = stream(tokenizer, &ids);

        assert_int_equal(ce_nfc_append(&wanted, span, &codes, &err), CE_OK);
        assert_int_equal(
            ce_tokenizer_decode(tokenizer, ids.id, ids.count, false, &whole, &err),
            CE_OK);
        assert_same(&whole, &wanted);
        assert_same(&pieces, &wanted);
        ce_text_free(&wanted);
        ce_text_free(&whole);
        ce_text_free(&pieces);
        ce_ids_free(&ids);
    }
    ce_ids_free(&codes);
    ce_tokenizer_close(tokenizer);
}

/* Normal text is normal: once more changes nothing. */
static void nfc_is_idempotent(void **state)
{
    (void)state;
    struct ce_ids codes = {.id = NULL};
    struct ce_error err = {.text = ""};
    char text[4 * CHARACTERS];

    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct ce_span span = {.data = text, .bytes = write_text(text, round)};
        struct ce_text once = {.data = NULL};
        struct ce_text twice = {.data = NULL};

        assert_int_equal(ce_nfc_append(&once, span, &codes, &err), CE_OK);
        assert_int_equal(
            ce_nfc_append(&twice,
                          (struct ce_span){.data = once.data, .bytes = once.bytes},
                          &codes,
                          &err),
            CE_OK);
        assert_same(&twice, &once);
        ce_text_free(&once);
        ce_text_free(&twice);
    }
    ce_ids_free(&codes);
}

/* What a thread does; cmocka's assertions are for the main one. */
struct worker {
    pthread_t thread;
    const struct ce_tokenizer *tokenizer;
    struct ce_span text;
    struct ce_ids ids;
    enum ce_status status;
};

static void *work(void *argument)
{
    struct worker *worker = argument;

    for (int i = 0; i < 20 && worker->status == CE_OK; i++) {
        worker->ids.count = 0;
        worker->status = ce_tokenizer_encode(worker->tokenizer,
                                             worker->text.data,
                                             worker->text.bytes,
                                             false,
                                             &worker->ids,
                                             NULL);
    }
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = open_shipped();
    struct worker workers[THREADS];
    char text[4 * CHARACTERS];
    struct ce_span span = {.data = text, .bytes = write_text(text, 1)};
    struct ce_ids wanted = encode(tokenizer, span);

    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.tokenizer = tokenizer, .text = span};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]),
                         0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].status, CE_OK);
        assert_int_equal(workers[i].ids.count, wanted.count);
        assert_memory_equal(
            workers[i].ids.id, wanted.id, wanted.count * sizeof(*wanted.id));
        ce_ids_free(&workers[i].ids);
    }
    ce_ids_free(&wanted);
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back_in_nfc),
        cmocka_unit_test(nfc_is_idempotent),
        cmocka_unit_test(threads_share_a_tokenizer),
    };

    return cmocka_run_group_tests_name("model.tokenizer_property", tests, NULL, NULL);
}
