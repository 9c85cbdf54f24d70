/* What the stages are made of: UTF-8, NFC, the byte alphabet, the trie. */

#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/character.h"
#include "model/tokenizer/nfc.h"
#include "model/tokenizer/trie.h"
#include "model/tokenizer/utf8.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static struct ce_span span_of(const char *text)
{
    return (struct ce_span){.data = text, .bytes = strlen(text)};
}

static void assert_reads(const char *text, enum ce_utf8_kind kind, size_t bytes)
{
    struct ce_utf8 next = ce_utf8_read(text, strlen(text));

    assert_int_equal(next.kind, kind);
    assert_int_equal(next.bytes, bytes);
}

static void utf8_is_read_by_the_table_of_the_standard(void **state)
{
    (void)state;
    assert_reads("a", CE_UTF8_CHARACTER, 1);
    assert_reads("\xC2\x80", CE_UTF8_CHARACTER, 2);
    assert_reads("\xE0\xA0\x80", CE_UTF8_CHARACTER, 3);
    assert_reads("\xF4\x8F\xBF\xBF", CE_UTF8_CHARACTER, 4);
    assert_reads("\x80", CE_UTF8_INVALID, 1);
    assert_reads("\xC1\xBF", CE_UTF8_INVALID, 1);
    assert_reads("\xC2", CE_UTF8_TRUNCATED, 1);
    assert_reads("\xC2\x41", CE_UTF8_INVALID, 1);
    assert_reads("\xE0\x9F\xBF", CE_UTF8_INVALID, 1);
    assert_reads("\xED\xA0\x80", CE_UTF8_INVALID, 1);
    assert_reads("\xE2\x82", CE_UTF8_TRUNCATED, 2);
    assert_reads("\xE2\x82\x41", CE_UTF8_INVALID, 2);
    assert_reads("\xF0\x8F\xBF\xBF", CE_UTF8_INVALID, 1);
    assert_reads("\xF0\x9F\x98", CE_UTF8_TRUNCATED, 3);
    assert_reads("\xF0\x9F\x98\xFF", CE_UTF8_INVALID, 3);
    assert_reads("\xF4\x90\x80\x80", CE_UTF8_INVALID, 1);
    assert_reads("\xF5", CE_UTF8_INVALID, 1);
    assert_int_equal(ce_utf8_read("\xF0\x9F\x98\x80", 4).code, 0x1F600);
    assert_int_equal(ce_utf8_valid_bytes("a\xE2\x82\xAC\xC2", 5), 4);
    assert_int_equal(ce_utf8_valid_bytes("", 0), 0);
}

static void assert_nfc(const char *text, const char *wanted)
{
    struct ce_text out = {.data = NULL};
    struct ce_ids codes = {.id = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_nfc_append(&out, span_of(text), &codes, &err), CE_OK);
    assert_string_equal(out.data, wanted);
    ce_text_free(&out);
    ce_ids_free(&codes);
}

static void nfc_composes_and_orders(void **state)
{
    (void)state;
    assert_nfc("plain \xC3\xA9", "plain \xC3\xA9");
    assert_nfc("xe\xCC\x81y", "x\xC3\xA9y");
    assert_nfc("e\xCC\x81", "\xC3\xA9");
    assert_nfc("\xCC\x81"
               "e",
               "\xCC\x81"
               "e");
    assert_nfc("q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87");
    assert_nfc("\xE1\xB8\x8B\xCC\xA3", "\xE1\xB8\x8D\xCC\x87");
    assert_nfc("\xE2\x84\xA6", "\xCE\xA9"); /* ohm to omega */
    assert_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C");
}

/* U+1100 U+1161 U+11A7: the last is no trailing consonant. */
static void nfc_leaves_what_the_reference_leaves(void **state)
{
    (void)state;
    assert_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA7", "\xEA\xB0\x80\xE1\x86\xA7");
    assert_nfc("x\xCC\x81\xDF\xBD", "x\xCC\x81\xDF\xBD");
    assert_nfc("x\xE0\xA2\x98\xCC\xA3", "x\xE0\xA2\x98\xCC\xA3");
}

/* Below above below above ...: an insertion sort would take hours. */
static void nfc_orders_megabytes_of_marks(void **state)
{
    (void)state;
    size_t pairs = 500000;
    char *text = malloc(1 + 4 * pairs);
    struct ce_text out = {.data = NULL};
    struct ce_ids codes = {.id = NULL};
    struct ce_error err = {.text = ""};

    assert_non_null(text);
    text[0] = 'q';
    for (size_t i = 0; i < 4 * pairs; i++) {
        text[1 + i] = "\xCC\x81\xCC\xA3"[i % 4];
    }
    struct ce_span span = {.data = text, .bytes = 1 + 4 * pairs};

    assert_int_equal(ce_nfc_append(&out, span, &codes, &err), CE_OK);
    assert_int_equal(out.bytes, span.bytes);
    for (size_t i = 0; i < pairs; i++) {
        assert_memory_equal(out.data + 1 + 2 * i, "\xCC\xA3", 2);
        assert_memory_equal(out.data + 1 + 2 * (pairs + i), "\xCC\x81", 2);
    }
    ce_text_free(&out);
    ce_ids_free(&codes);
    free(text);
}

static void the_byte_alphabet_has_every_byte_once(void **state)
{
    (void)state;
    bool seen[256] = {false};

    for (unsigned code = 1; code < 0x200; code++) {
        char text[3] = {(char)code, '\0', '\0'};
        char byte[3];
        size_t bytes = 0;

        if (code >= 0x80) {
            text[0] = (char)(0xC0 | code >> 6);
            text[1] = (char)(0x80 | (code & 0x3F));
        }
        if (ce_byte_alphabet_decode(span_of(text), byte, &bytes)) {
            assert_int_equal(bytes, 1);
            assert_false(seen[(unsigned char)byte[0]]);
            seen[(unsigned char)byte[0]] = true;
        }
    }
    for (size_t i = 0; i < 256; i++) {
        assert_true(seen[i]);
    }
}

static void the_byte_alphabet_spells_words(void **state)
{
    (void)state;
    char out[16];
    size_t bytes = 0;

    assert_true(
        ce_byte_alphabet_decode(span_of("\xC4\xA0\xC4\x8A\xC4\x89x"), out, &bytes));
    assert_int_equal(bytes, 4);
    assert_memory_equal(out, " \n\tx", 4);
    assert_true(
        ce_byte_alphabet_decode(span_of("\xC5\x83\xC2\xAC\xC2\xAE"), out, &bytes));
    assert_memory_equal(out, "\xAD\xAC\xAE", 3);
    assert_false(ce_byte_alphabet_decode(span_of("a b"), out, &bytes));
    assert_false(ce_byte_alphabet_decode(span_of("\xC2\xAD"), out, &bytes));
    assert_false(ce_byte_alphabet_decode(span_of("\xC5\x84"), out, &bytes));
}

static void add(struct ce_trie *trie, const char *key, int32_t value, bool is_new)
{
    struct ce_error err = {.text = ""};
    bool added = false;

    assert_int_equal(ce_trie_add(trie, span_of(key), value, &added, &err), CE_OK);
    assert_int_equal(added, is_new);
}

static void the_trie_finds_the_longest_key(void **state)
{
    (void)state;
    struct ce_trie trie = {.count = 0};
    size_t bytes = 0;
    size_t visits = 0;

    assert_int_equal(ce_trie_longest(&trie, span_of("a"), &bytes, &visits), -1);
    add(&trie, "ab", 1, true);
    add(&trie, "abcd", 2, true);
    add(&trie, "ax", 3, true);
    add(&trie, "\xFF", 4, true);
    add(&trie, "ab", 5, false);
    assert_int_equal(ce_trie_longest(&trie, span_of("abcx"), &bytes, &visits), 1);
    assert_int_equal(bytes, 2);
    assert_int_equal(ce_trie_longest(&trie, span_of("abcdabcd"), &bytes, &visits), 2);
    assert_int_equal(bytes, 4);
    assert_int_equal(ce_trie_longest(&trie, span_of("ax"), &bytes, &visits), 3);
    assert_int_equal(ce_trie_longest(&trie, span_of("\xFF"), &bytes, &visits), 4);
    assert_int_equal(ce_trie_longest(&trie, span_of("a"), &bytes, &visits), -1);
    assert_int_equal(ce_trie_longest(&trie, span_of("b"), &bytes, &visits), -1);
    assert_int_equal(ce_trie_longest(&trie, span_of(""), &bytes, &visits), -1);
    ce_trie_fini(&trie);
}

static void characters_are_classed(void **state)
{
    (void)state;
    static const uint32_t words[] = {
        'a', '_', '1', 0xE9, 0x301, 0x200D, 0x2160, 0x24B6};
    static const uint32_t spaces[] = {' ', '\n', 0x85, 0xA0, 0x2003, 0x3000};
    static const uint32_t others[] = {'-', 0xBD, 0xB2, 0x200B, 0x180E, 0x1F600};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_true(ce_character_is_word(words[i]));
        assert_false(ce_character_is_space(words[i]));
    }
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        assert_true(ce_character_is_space(spaces[i]));
        assert_false(ce_character_is_word(spaces[i]));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(ce_character_is_word(others[i]));
        assert_false(ce_character_is_space(others[i]));
    }
}

static void quotes_are_printable_and_cut(void **state)
{
    (void)state;
    char out[8];

    assert_string_equal(ce_text_quote(out, sizeof(out), span_of("a\n\x7F")), "a??");
    assert_string_equal(ce_text_quote(out, sizeof(out), span_of("abcdefghij")),
                        "abcdefg");
    assert_string_equal(ce_text_quote(out, sizeof(out), span_of("abcde\xE6\xBC\xA2")),
                        "abcde");
}

static void text_grows_and_is_terminated(void **state)
{
    (void)state;
    struct ce_text text = {.data = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_text_append(&text, span_of(""), &err), CE_OK);
    assert_string_equal(text.data, "");
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(ce_text_append(&text, span_of("ab"), &err), CE_OK);
        assert_int_equal(strlen(text.data), 2 * (i + 1));
    }
    assert_int_equal(ce_text_reserve(&text, SIZE_MAX - 1, &err), CE_ERR_NOMEM);
    assert_int_equal(ce_text_reserve(&text, SIZE_MAX, &err), CE_ERR_NOMEM);
    assert_int_equal(text.bytes, 2000);
    ce_text_free(&text);
    assert_null(text.data);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_read_by_the_table_of_the_standard),
        cmocka_unit_test(nfc_composes_and_orders),
        cmocka_unit_test(nfc_leaves_what_the_reference_leaves),
        cmocka_unit_test(nfc_orders_megabytes_of_marks),
        cmocka_unit_test(the_byte_alphabet_has_every_byte_once),
        cmocka_unit_test(the_byte_alphabet_spells_words),
        cmocka_unit_test(the_trie_finds_the_longest_key),
        cmocka_unit_test(characters_are_classed),
        cmocka_unit_test(quotes_are_printable_and_cut),
        cmocka_unit_test(text_grows_and_is_terminated),
    };

    return cmocka_run_group_tests_name("model.tokenizer_text", tests, NULL, NULL);
}
