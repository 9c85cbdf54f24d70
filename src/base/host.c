/* host.c - which processes are on one host */

#include "base/host.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_FILE   "/proc/sys/kernel/random/boot_id"
#define GROUPS_FILE "/proc/self/ns/cgroup"
#define UNKNOWN     "unknown"

void ce_host_read_boot(char *boot, size_t bytes)
{
    FILE *file = fopen(BOOT_FILE, "re");

    boot[0] = '\0';
    if (file != NULL) {
        if (fgets(boot, (int)bytes, file) != NULL) {
            boot[strcspn(boot, "\n")] = '\0';
        }
        (void)fclose(file);
    }
    if (boot[0] == '\0') {
        (void)snprintf(boot, bytes, UNKNOWN);
    }
}

/* Where the boot is not known, the name is all there is. */
void ce_host_self(struct ce_host *host)
{
    char boot[65];
    struct stat groups = {.st_ino = 0};

    *host = (struct ce_host){.machine = CE_HASH_START};
    if (gethostname(host->name, sizeof(host->name) - 1) != 0 || host->name[0] == '\0') {
        (void)snprintf(host->name, sizeof(host->name), UNKNOWN);
    }
    ce_host_read_boot(boot, sizeof(boot));
    (void)stat(GROUPS_FILE, &groups);
    host->machine = ce_hash_bytes(host->machine, boot, strlen(boot));
    if (strcmp(boot, UNKNOWN) == 0) {
        host->machine = ce_hash_bytes(host->machine, host->name, strlen(host->name));
    }
    host->id = ce_hash_u64(host->machine, groups.st_ino);
    host->id = ce_hash_bytes(host->id, host->name, strlen(host->name));
}

bool ce_host_is_same(const struct ce_host *a, const struct ce_host *b)
{
    return a->id == b->id;
}

static struct ce_host *host_at(struct ce_host *first, size_t stride, size_t index)
{
    return (struct ce_host *)(void *)((char *)first + index * stride);
}

/* Which of the hosts of its name it is, from 1; names before it may have a number. */
static size_t count_namesakes(struct ce_host *first, size_t stride, size_t index)
{
    const struct ce_host *host = host_at(first, stride, index);
    const size_t length = strlen(host->name);
    size_t number = 1;

    for (size_t i = 0; i < index; i++) {
        const struct ce_host *other = host_at(first, stride, i);
        bool is_new = strncmp(other->name, host->name, length) == 0 &&
                      (other->name[length] == '\0' || other->name[length] == '#');

        for (size_t j = 0; is_new && j < i; j++) {
            is_new = !ce_host_is_same(host_at(first, stride, j), other);
        }
        number += is_new;
    }
    return number;
}

static void number_host(struct ce_host *first, size_t stride, size_t index)
{
    struct ce_host *host = host_at(first, stride, index);
    char name[sizeof(host->name)];

    for (size_t i = 0; i < index; i++) {
        if (ce_host_is_same(host_at(first, stride, i), host)) {
            memcpy(host->name, host_at(first, stride, i)->name, sizeof(host->name));
            return;
        }
    }
    const size_t number = count_namesakes(first, stride, index);

    if (number > 1) {
        memcpy(name, host->name, sizeof(name));
        (void)snprintf(
            host->name, sizeof(host->name), "%.58s#%u", name, (unsigned)number);
    }
}

void ce_host_number(struct ce_host *first, size_t stride, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        number_host(first, stride, i);
    }
}

uint64_t ce_host_memory_left(uint64_t available,
                             uint64_t machine_available,
                             uint64_t machine_bytes,
                             uint64_t bytes)
{
    const uint64_t others = machine_bytes > bytes ? machine_bytes - bytes : 0;
    const uint64_t left = machine_available > others ? machine_available - others : 0;

    return left < available ? left : available;
}
