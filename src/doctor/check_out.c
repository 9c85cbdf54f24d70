/* check_out.c - will results find a place? */

#include "base/file.h"
#include "doctor/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CHECK       "out"
#define LEAST_BYTES ((uint64_t)64 << 20)

static void fail(struct ce_findings *findings,
                 const char *host,
                 const char *path,
                 const char *reason)
{
    ce_findings_add(
        findings,
        CHECK,
        CE_VERDICT_FAILED,
        "Rank 0 writes there, on the first node of the job: name a directory "
        "that it can write to, on a file system that later jobs see, too.",
        "%s on %s: %s",
        path,
        host,
        reason);
}

/* What there is of the path: cut to the part that exists. */
static void find_existing(char *path)
{
    struct stat info;

    while (stat(path, &info) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');

        if (slash == NULL || slash == path) {
            path[0] = slash == NULL ? '.' : '/';
            path[1] = '\0';
            return;
        }
        *slash = '\0';
    }
}

/* Permissions lie where root is nobody, so a file is made. 0 or errno. */
static int try_file(const char *folder)
{
    char *path = ce_path_join(folder, ".cemoe-doctor-XXXXXX");
    int fd = -1;
    int reason = ENOMEM;

    if (path != NULL) {
        fd = mkstemp(path);
        reason = fd >= 0 ? 0 : errno;
    }
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
    free(path);
    return reason;
}

static void check_room(const char *path,
                       const char *host,
                       const char *folder,
                       struct ce_findings *findings)
{
    struct statvfs system;
    uint64_t free_bytes = UINT64_MAX;

    if (statvfs(folder, &system) == 0) {
        free_bytes = (uint64_t)system.f_bavail * system.f_frsize;
    }
    if (free_bytes < LEAST_BYTES) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_WARNING,
                        "A full disk stops a job; what was recorded before stays.",
                        "%s on %s: only %.1f MiB are free",
                        path,
                        host,
                        (double)free_bytes / 0x1p20);
    } else {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_OK,
                        NULL,
                        "%s on %s can be written",
                        path,
                        host);
    }
}

void ce_check_out(const char *path, const char *host, struct ce_findings *findings)
{
    /* Room for "." where nothing of the path exists. */
    char *folder = calloc(strlen(path) + 2, 1);
    int reason = ENOMEM;

    if (folder != NULL) {
        memcpy(folder, path, strlen(path) + 1);
        find_existing(folder);
        reason = try_file(folder);
    }
    if (reason != 0) {
        fail(findings, host, path, strerror(reason));
    } else {
        check_room(path, host, folder, findings);
    }
    free(folder);
}
