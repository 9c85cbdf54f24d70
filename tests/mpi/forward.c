/* forward.c - the model over the ranks of a job: see ranks/forward.c
 *
 *     forward MODEL SETTING...     a setting: words as in "wire=int8 split=node
 * threads=2"
 *
 * One engine for each setting, one after the other. Rank 0 prints a hash for each,
 * which check_forward.py compares between runs. CE_TEST_TRANSPORT names the transport.
 */

#include "ranks/forward.h"

#include "base/log.h"
#include "ranks/require.h"

#include <inttypes.h>

int main(int argc, char **argv)
{
    struct ce_transport *transport = NULL;
    struct ce_error err = {.text = ""};
    const char *name = getenv("CE_TEST_TRANSPORT");

    REQUIRE(argc > 2, "usage: forward MODEL SETTING...");
    REQUIRE(ce_transport_create(
                &transport, name != NULL ? name : "auto", 30000, &err) == CE_OK,
            "%s",
            err.text);
    ce_log_init(CE_LOG_WARN, ce_transport_rank(transport));
    for (int i = 2; i < argc; i++) {
        const uint64_t hash = forward_run(transport, argv[1], argv[i]);

        if (ce_transport_rank(transport) == 0) {
            (void)printf("hash %016" PRIx64 "\n", hash);
        }
    }
    ce_transport_destroy(transport);
    return 0;
}
