/* progress.c - a line every 4 GiB */

#include "base/progress.h"

#include "base/log.h"

void ce_progress_add(struct ce_progress *progress, size_t bytes)
{
    const size_t interval = (size_t)4 << 30;
    size_t before = 0;

#pragma omp atomic capture
    {
        before = progress->done;
        progress->done += bytes;
    }
    if (before / interval != (before + bytes) / interval) {
        ce_log(CE_LOG_INFO,
               "%s %zu of %zu MiB",
               progress->verb,
               (before + bytes) >> 20,
               progress->total >> 20);
    }
}
