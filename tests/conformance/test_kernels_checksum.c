/* The checksum of every set against XXH3's published values and the reference */

#include "test_kernels.h"

enum { MAX = 3000 };

/* The generator of the test values that xxHash publishes. */
static void fill(unsigned char *data, size_t bytes)
{
    uint64_t generator = UINT64_C(2654435761);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)(generator >> 56);
        generator *= UINT64_C(11400714785074694797);
    }
}

/* Source: tests/sanity_test_vectors.h of xxHash, XXH3_64bits without a seed. */
static void check_published(const struct ce_kernels *kernels)
{
    static const struct {
        size_t bytes;
        uint64_t value;
    } published[] = {
        {0, UINT64_C(0x2D06800538D394C2)},
        {1, UINT64_C(0xC44BDFF4074EECDB)},
        {6, UINT64_C(0x27B56A84CD2D7325)},
        {12, UINT64_C(0xA713DAF0DFBB77E7)},
        {24, UINT64_C(0xA3FE70BF9D3510EB)},
        {48, UINT64_C(0x397DA259ECBA1F11)},
        {80, UINT64_C(0xBCDEFBBB2C47C90A)},
        {195, UINT64_C(0xCD94217EE362EC3A)},
        {403, UINT64_C(0xCDEB804D65C6DEA4)},
        {512, UINT64_C(0x617E49599013CB6B)},
        {2048, UINT64_C(0xDD59E2C3A5F038E0)},
        {2367, UINT64_C(0xCB37AEB9E5D361ED)},
    };
    static unsigned char data[MAX];

    fill(data, sizeof(data));
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        assert_true(kernels->checksum(data, published[i].bytes) == published[i].value);
    }
}

static void every_set_has_the_published_values(void **state)
{
    (void)state;
    with_every_set(check_published);
}

/* All sizes, at every address of a word, up to a page that may not be touched. */
static void check_alike(const struct ce_kernels *kernels)
{
    const struct ce_kernels *reference = ce_kernels_get(CE_ISA_REF);

    for (size_t bytes = 0; bytes < MAX; bytes = bytes < 600 ? bytes + 1 : bytes + 97) {
        struct guarded data = guard_bytes(bytes, bytes % 9);

        fill(data.data, bytes);
        assert_true(kernels->checksum(data.data, bytes) ==
                    reference->checksum(data.data, bytes));
        guard_free(&data);
    }
}

static void every_set_has_the_value_of_the_reference(void **state)
{
    (void)state;
    with_every_set(check_alike);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_has_the_published_values),
        cmocka_unit_test(every_set_has_the_value_of_the_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
