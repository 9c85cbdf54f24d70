/* memory.c - anonymous mappings, the memory that is left, checked sizes */

#include "base/memory.h"

#include "base/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* What is really mapped for a request; 0 when the request is absurd. */
static size_t mapped_bytes(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (bytes > SIZE_MAX / 2) {
        return 0;
    }
    return bytes == 0 ? page : (bytes + page - 1) / page * page;
}

static void *map_pages(size_t bytes)
{
    /* Without NORESERVE an arena with room to spare could be refused although
     * it is never touched to its end. */
    void *memory = mmap(NULL,
                        bytes,
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1,
                        0);

    return memory == MAP_FAILED ? NULL : memory;
}

/* Maps a huge page more than asked for and gives back what is around the
 * aligned part. */
static void *map_huge(size_t bytes)
{
    unsigned char *memory = map_pages(bytes + HUGE_PAGE);

    if (memory == NULL) {
        return NULL;
    }
    size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
    unsigned char *aligned = memory + before;

    if (before > 0) {
        (void)munmap(memory, before);
    }
    (void)munmap(aligned + bytes, HUGE_PAGE - before);
    (void)madvise(aligned, bytes, MADV_HUGEPAGE); /* a wish: small pages work too */
    return aligned;
}

void *ce_memory_map(size_t bytes)
{
    size_t mapped = mapped_bytes(bytes);

    if (mapped == 0) {
        return NULL;
    }
    return mapped >= HUGE_PAGE ? map_huge(mapped) : map_pages(mapped);
}

void ce_memory_unmap(void *memory, size_t bytes)
{
    if (memory != NULL) {
        (void)munmap(memory, mapped_bytes(bytes));
    }
}

static uint64_t machine_available(void)
{
    char line[128];
    uint64_t kibibytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return UINT64_MAX;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kibibytes) == 1) {
            break;
        }
    }
    (void)fclose(file);
    return kibibytes * 1024;
}

static uint64_t user_limit(void)
{
    const char *text = getenv("CEMOE_MEMORY_LIMIT");
    char *end;

    if (text == NULL || *text == '\0') {
        return UINT64_MAX;
    }
    errno = 0;
    unsigned long long limit = strtoull(text, &end, 10);

    if (errno != 0 || *end != '\0' || strchr(text, '-') != NULL) {
        return 0;
    }
    return limit;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t ce_memory_available(void)
{
    uint64_t group = ce_cgroup_memory_left("/proc/self/mountinfo", "/proc/self/cgroup");

    return least(least(machine_available(), group), user_limit());
}

uint64_t ce_memory_available_to_machine(void)
{
    return least(machine_available(), user_limit());
}

#define USUAL_CACHE_BYTES ((size_t)32 << 20) /* where the system does not say */
#define CACHE_FILE        "/sys/devices/system/cpu/cpu0/cache/index3/size"

/* The last-level cache that a core can use. sysconf would give that of all parts of
 * the processor together, which on some is many times as much. */
size_t ce_cache_bytes(void)
{
    char text[32] = "";
    FILE *file = fopen(CACHE_FILE, "r");

    if (file != NULL) {
        if (fgets(text, sizeof(text), file) == NULL) {
            text[0] = '\0';
        }
        (void)fclose(file);
    }
    const size_t kib = strtoul(text, NULL, 10);
    return kib > 0 && strchr(text, 'K') != NULL ? kib << 10 : USUAL_CACHE_BYTES;
}

enum ce_status ce_size_mul(size_t a, size_t b, size_t *out)
{
    return __builtin_mul_overflow(a, b, out) ? CE_ERR_NOMEM : CE_OK;
}

enum ce_status ce_size_add(size_t a, size_t b, size_t *out)
{
    return __builtin_add_overflow(a, b, out) ? CE_ERR_NOMEM : CE_OK;
}
