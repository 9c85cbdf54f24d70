/* random.c - Philox4x32-10 */

#include "base/random.h"

#define ROUNDS 10

/* Multipliers and key increments of the paper's section 5.3. */
#define MULTIPLIER_0 UINT64_C(0xD2511F53)
#define MULTIPLIER_1 UINT64_C(0xCD9E8D57)
#define WEYL_0       0x9E3779B9U
#define WEYL_1       0xBB67AE85U

static struct ce_philox mix(struct ce_philox in, uint32_t key_0, uint32_t key_1)
{
    uint64_t product_0 = MULTIPLIER_0 * in.word[0];
    uint64_t product_1 = MULTIPLIER_1 * in.word[2];

    return (struct ce_philox){{(uint32_t)(product_1 >> 32) ^ in.word[1] ^ key_0,
                               (uint32_t)product_1,
                               (uint32_t)(product_0 >> 32) ^ in.word[3] ^ key_1,
                               (uint32_t)product_0}};
}

struct ce_philox
ce_philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    struct ce_philox block = {{(uint32_t)counter_low,
                               (uint32_t)(counter_low >> 32),
                               (uint32_t)counter_high,
                               (uint32_t)(counter_high >> 32)}};
    uint32_t key_0 = (uint32_t)key;
    uint32_t key_1 = (uint32_t)(key >> 32);

    for (int round = 0; round < ROUNDS; round++) {
        block = mix(block, key_0, key_1);
        key_0 += WEYL_0;
        key_1 += WEYL_1;
    }
    return block;
}

double ce_random_unit(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    struct ce_philox block = ce_philox4x32(key, counter_low, counter_high);
    uint64_t bits = (uint64_t)block.word[0] << 32 | block.word[1];

    return (double)(bits >> 11) * 0x1p-53;
}
