/* Text files as Python's text mode reads them, and files that are none. */

#include "base/text_file.h"
#include "temporary.h"
#include "test.h"

#include <string.h>

static void check_clean(const char *text, size_t bytes, const char *wanted)
{
    char copy[64];
    struct ce_error err = {.text = ""};

    assert_true(bytes < sizeof(copy));
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    assert_int_equal(ce_text_clean(copy, &bytes, "f", &err), CE_OK);
    assert_int_equal(bytes, strlen(wanted));
    assert_string_equal(copy, wanted);
}

#define CLEANED(text, wanted) check_clean(text, sizeof(text) - 1, wanted)

/* What open(newline=None, encoding="utf-8-sig").read() gives. */
static void marks_and_line_ends_are_those_of_python(void **state)
{
    (void)state;
    CLEANED("", "");
    CLEANED("a\nb", "a\nb");
    CLEANED("a\r\nb\r\n", "a\nb\n");
    CLEANED("a\rb\r", "a\nb\n");
    CLEANED("\r\r\n\n\r", "\n\n\n\n");
    CLEANED("\xEF\xBB\xBF", "");
    CLEANED("\xEF\xBB\xBF\xEF\xBB\xBF"
            "a\r\n",
            "\xEF\xBB\xBF"
            "a\n");
    CLEANED("a\xEF\xBB\xBF"
            "b",
            "a\xEF\xBB\xBF"
            "b");
    CLEANED("\xEF\xBB", "\xEF\xBB");
    /* No ends of lines: U+2028, U+0085, vertical tab, form feed. */
    CLEANED("a\xE2\x80\xA8"
            "b\xC2\x85"
            "c\vd\fe",
            "a\xE2\x80\xA8"
            "b\xC2\x85"
            "c\vd\fe");
}

static void assert_refused(const char *text, size_t bytes, const char *name)
{
    struct ce_error err = {.text = ""};
    char wanted[128];

    (void)snprintf(wanted, sizeof(wanted), "f: is %s, not UTF-8 text: ", name);
    assert_int_equal(ce_text_check(text, bytes, "f", &err), CE_ERR_FORMAT);
    assert_memory_equal(err.text, wanted, strlen(wanted));
}

#define REFUSED(text, name) assert_refused(text, sizeof(text) - 1, name)

static void other_files_are_refused_by_name(void **state)
{
    (void)state;
    REFUSED("\x1f\x8b\x08\0\0", "a gzip file");
    REFUSED("PK\x03\x04....", "a zip archive");
    REFUSED("\x28\xb5\x2f\xfd....", "a zstd file");
    REFUSED("\xfd"
            "7zXZ\0",
            "an xz file");
    REFUSED("BZh91AY&SY....", "a bzip2 file");
    REFUSED("PAR1........PAR1", "a Parquet table");
    REFUSED("ARROW1\0\0", "an Arrow table");
    REFUSED("\x93NUMPY\x01\0", "a NumPy array");
    REFUSED("SQLite format 3\0", "an SQLite database");
    REFUSED("%PDF-1.7\n", "a PDF");
    REFUSED("\xff\xfe"
            "a\0b\0",
            "UTF-16");
    REFUSED("\xfe\xff\0a\0b", "UTF-16");
    REFUSED("\xff\xfe\0\0a\0\0\0", "UTF-32");
    REFUSED("\0\0\xfe\xff\0\0\0a", "UTF-32");
    REFUSED("T\0w\0o\0", "UTF-16 without a byte order mark");
    REFUSED("\0T\0w\0o", "UTF-16 without a byte order mark");
}

static void texts_that_begin_alike_are_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "PAR1 is a mark", "BZh is one too", "PK", "ARROW1", "%PDF", "7z", "P"};
    struct ce_error err = {.text = ""};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(ce_text_check(texts[i], strlen(texts[i]), "f", &err), CE_OK);
    }
    assert_int_equal(ce_text_check("", 0, "f", &err), CE_OK);
}

static void files_are_read_clean_or_named(void **state)
{
    const char *path = temporary_path(state, "f");
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err = {.text = ""};

    temporary_write(state, "f", "\xEF\xBB\xBFTwo\r\n", 8);
    assert_int_equal(ce_text_file_read(path, 100, &text, &bytes, &err), CE_OK);
    assert_string_equal(text, "Two\n");
    assert_int_equal(bytes, 4);
    free(text);
    temporary_write(state, "f", "\x1f\x8b", 2);
    assert_int_equal(ce_text_file_read(path, 100, &text, &bytes, &err), CE_ERR_FORMAT);
    assert_null(text);
    assert_memory_equal(err.text, path, strlen(path));
    temporary_mkdir(state, "d");
    assert_int_equal(
        ce_text_file_read(temporary_path(state, "d"), 100, &text, &bytes, &err),
        CE_ERR_IO);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_and_line_ends_are_those_of_python),
        cmocka_unit_test(other_files_are_refused_by_name),
        cmocka_unit_test(texts_that_begin_alike_are_texts),
        cmocka_unit_test_setup_teardown(
            files_are_read_clean_or_named, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests_name("base.text_file", tests, NULL, NULL);
}
