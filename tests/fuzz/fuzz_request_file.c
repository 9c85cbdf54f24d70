/* fuzz_request_file.c - any bytes are requests or refused, and requests can be encoded
 * or are refused */

#include "eval/request_file.h"
#include "requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ce_task task;

    if (ce_request_file_parse(&task, (const char *)data, size, "requests", NULL) ==
        CE_OK) {
        require(task.documents > 0 && task.documents == task.queries);
        (void)check_task(&task);
    }
    ce_request_file_close(&task);
    return 0;
}
