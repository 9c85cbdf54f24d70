/* journal_owner.c - names a process so that others can tell whether it is alive */

#include "eval/journal_owner.h"

#include "base/host.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of /proc/PROCESS/stat, field 22; the name before it may contain anything. 0: unknown.
 */
static unsigned long long started_of(long process)
{
    char path[64];
    char text[1024];
    unsigned long long started = 0;

    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", process);
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return 0;
    }
    size_t bytes = fread(text, 1, sizeof(text) - 1, file);

    (void)fclose(file);
    text[bytes] = '\0';
    const char *rest = strrchr(text, ')');

    if (rest == NULL ||
        sscanf(rest,
               ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
               "%*s %*s %*s %llu",
               &started) != 1) {
        return 0;
    }
    return started;
}

void ce_journal_owner_self(struct ce_journal_owner *owner)
{
    struct stat info;
    struct ce_host host;

    *owner = (struct ce_journal_owner){.process = (long)getpid(), .since = time(NULL)};
    owner->started = started_of(owner->process);
    if (stat("/proc/self/ns/pid", &info) == 0) {
        owner->processes = info.st_ino;
    }
    ce_host_self(&host);
    (void)snprintf(owner->host, sizeof(owner->host), "%.64s", host.name);
    ce_host_read_boot(owner->boot, sizeof(owner->boot));
}

size_t
ce_journal_owner_print(const struct ce_journal_owner *owner, char *text, size_t bytes)
{
    int length = snprintf(text,
                          bytes,
                          "host %s\nprocess %ld\nboot %s\nprocesses %llu\n"
                          "started %llu\nsince %lld\n",
                          owner->host,
                          owner->process,
                          owner->boot,
                          owner->processes,
                          owner->started,
                          owner->since);

    return length < 0 ? 0 : (size_t)length;
}

bool ce_journal_owner_parse(struct ce_journal_owner *owner, const char *text)
{
    *owner = (struct ce_journal_owner){.process = 0};
    if (sscanf(text,
               "host %64s process %ld boot %64s processes %llu started %llu since %lld",
               owner->host,
               &owner->process,
               owner->boot,
               &owner->processes,
               &owner->started,
               &owner->since) == 6) {
        return true;
    }
    *owner = (struct ce_journal_owner){.host = "unknown", .boot = "unknown"};
    return false;
}

bool ce_journal_owner_is_here(const struct ce_journal_owner *owner,
                              const struct ce_journal_owner *self)
{
    return strcmp(owner->boot, self->boot) == 0 && strcmp(self->boot, "unknown") != 0;
}

bool ce_journal_owner_is_dead(const struct ce_journal_owner *owner,
                              const struct ce_journal_owner *self)
{
    if (!ce_journal_owner_is_here(owner, self) || owner->process <= 0 ||
        owner->processes == 0 || owner->processes != self->processes) {
        return false;
    }
    if (kill((pid_t)owner->process, 0) != 0 && errno == ESRCH) {
        return true;
    }
    unsigned long long started = started_of(owner->process);

    return started != 0 && owner->started != 0 && started != owner->started;
}
