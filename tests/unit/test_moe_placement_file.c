/* Placements in files: what is written is read, and nothing else is. */

#include "base/file.h"
#include "moe/placement_file.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static const struct ce_placement_recipe recipe = {
    .kind = CE_PLACEMENT_RANDOM, .replicas = 3, .seed = 5};

static void make(struct ce_placement *placement, int ranks)
{
    assert_int_equal(ce_placement_make(placement, &recipe, 3, 7, ranks, NULL), CE_OK);
}

static void what_is_written_is_read(void **state)
{
    struct ce_error err = {.text = ""};
    const char *path = temporary_path(state, "placement");

    for (int ranks = 3; ranks <= 30000; ranks *= 7) {
        struct ce_placement written;
        struct ce_placement read;

        make(&written, ranks);
        assert_int_equal(ce_placement_write(&written, path, &err), CE_OK);
        assert_int_equal(ce_placement_read(&read, path, &err), CE_OK);
        assert_string_equal(read.name, "random 5, 1 to 3 replicas");
        assert_true(ce_placement_hash(&read) == ce_placement_hash(&written));
        assert_memory_equal(
            read.begin, written.begin, (3 * 7 + 1) * sizeof(read.begin[0]));
        assert_memory_equal(
            read.owner, written.owner, read.begin[3 * 7] * sizeof(read.owner[0]));
        ce_placement_destroy(&read);
        ce_placement_destroy(&written);
    }
}

static void assert_refused(const char *data, size_t bytes, const char *word)
{
    struct ce_placement placement;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_placement_parse(&placement, data, bytes, "some.file", &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "some.file: "));
    if (strstr(err.text, word) == NULL) {
        fail_msg("%s: does not say %s", err.text, word);
    }
}

/* Every shorter file and every changed byte: a torn file is never taken for one. */
static void torn_and_damaged_files_are_refused(void **state)
{
    struct ce_placement placement;
    struct ce_error err = {.text = ""};
    const char *path = temporary_path(state, "placement");
    char *data = NULL;
    size_t bytes = 0;

    make(&placement, 4);
    assert_int_equal(ce_placement_write(&placement, path, &err), CE_OK);
    ce_placement_destroy(&placement);
    assert_int_equal(ce_file_read(path, 4096, &data, &bytes, &err), CE_OK);
    for (size_t cut = 0; cut < bytes; cut++) {
        assert_refused(data, cut, "");
    }
    for (size_t i = 0; i < bytes; i++) {
        for (int bit = 0; bit < 8; bit++) {
            data[i] = (char)(data[i] ^ (1 << bit));
            assert_refused(data, bytes, "");
            data[i] = (char)(data[i] ^ (1 << bit));
        }
    }
    data[bytes - 1] = (char)(data[bytes - 1] ^ 1);
    assert_refused(data, bytes, "checksum");
    data[1] = 2;
    assert_refused(data, bytes, "format is 2");
    assert_refused("{\"layers\": 3}", 13, "not a placement");
    free(data);
}

/* Placements that cannot be made, but can be written: the field is named. */
static void invalid_placements_name_the_field(void **state)
{
    static const struct {
        uint16_t owner[4]; /* of two experts, the first has `first` */
        size_t first;
        int ranks;
        const char *words;
    } cases[] = {
        {{0, 1, 2, 3}, 2, 4, NULL},
        {{0, 1, 1, 3}, 1, 4, "owner: layer 0, expert 1 is on rank 1, which is out of"},
        {{2, 0, 1, 3}, 2, 4, "owner: layer 0, expert 0 is on rank 0, which is out of"},
        {{0, 1, 2, 3}, 2, 3, "expert 1 is on rank 3, which is not one of the ranks"},
        {{0, 1, 2, 3}, 0, 4, "owners: layer 0, expert 0 has 0 owners"},
        {{0, 1, 2, 3}, 4, 4, "owners: layer 0, expert 1 has 0 owners"},
        {{0, 1, 2, 3}, 2, 0, "ranks is 0"},
        {{0, 1, 2, 3}, 2, 65536, "ranks is 65536"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = temporary_path(state, "placement");
        struct ce_placement placement;
        struct ce_placement read;
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_placement_create(&placement, 1, 2, cases[i].ranks, 4, NULL),
                         CE_OK);
        memcpy(placement.owner, cases[i].owner, sizeof(cases[i].owner));
        placement.begin[1] = cases[i].first;
        placement.begin[2] = 4;
        assert_int_equal(ce_placement_write(&placement, path, &err), CE_OK);
        ce_placement_destroy(&placement);
        assert_int_equal(ce_placement_read(&read, path, &err),
                         cases[i].words == NULL ? CE_OK : CE_ERR_FORMAT);
        if (cases[i].words != NULL) {
            assert_non_null(strstr(err.text, path));
            assert_non_null(strstr(err.text, cases[i].words));
        }
        ce_placement_destroy(&read);
    }
}

static void names_are_built_in_or_files(void **state)
{
    const char *path = temporary_path(state, "placement");
    struct ce_placement placement;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_placement_open(&placement, NULL, 3, 7, 4, &err), CE_OK);
    assert_string_equal(placement.name, "contiguous");
    ce_placement_destroy(&placement);
    assert_int_equal(ce_placement_open(&placement, "contiguous", 3, 7, 4, &err), CE_OK);
    assert_string_equal(placement.name, "contiguous");
    ce_placement_destroy(&placement);
    assert_int_equal(ce_placement_open(&placement, "strided", 3, 7, 4, &err), CE_OK);
    assert_string_equal(placement.name, "strided");
    assert_int_equal(ce_placement_write(&placement, path, &err), CE_OK);
    ce_placement_destroy(&placement);
    assert_int_equal(ce_placement_open(&placement, path, 3, 7, 4, &err), CE_OK);
    assert_string_equal(placement.name, "strided");
    ce_placement_destroy(&placement);
    assert_int_equal(ce_placement_open(&placement, "random", 3, 7, 4, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "contiguous, strided or a file: random"));
}

/* The message has both sizes and says what to do. */
static void files_for_other_sizes_are_refused(void **state)
{
    static const struct {
        size_t layers, experts;
        int ranks;
    } others[] = {{2, 7, 4}, {3, 8, 4}, {3, 7, 5}};
    const char *path = temporary_path(state, "placement");
    struct ce_placement placement;
    struct ce_error err = {.text = ""};

    make(&placement, 4);
    assert_int_equal(ce_placement_write(&placement, path, &err), CE_OK);
    ce_placement_destroy(&placement);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        char here[64];

        assert_int_equal(ce_placement_open(&placement,
                                           path,
                                           others[i].layers,
                                           others[i].experts,
                                           others[i].ranks,
                                           &err),
                         CE_ERR_ARG);
        (void)snprintf(here,
                       sizeof(here),
                       "%zu layers with %zu experts and %d rank",
                       others[i].layers,
                       others[i].experts,
                       others[i].ranks);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, "3 layers with 7 experts on 4 rank"));
        assert_non_null(strstr(err.text, here));
        assert_non_null(strstr(err.text, "cemoe plan"));
        assert_null(placement.owner);
    }
}

int main(void)
{
#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(torn_and_damaged_files_are_refused),
        TEST(invalid_placements_name_the_field),
        TEST(names_are_built_in_or_files),
        TEST(files_for_other_sizes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
