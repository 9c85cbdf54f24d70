/* address_space.c - whether the libraries can be started
 *
 * OpenBLAS takes buffers when it is loaded, before main, and tries without end where
 * the limit of address space (ulimit -v) leaves no room for them. Functions of the
 * section .preinit_array run before that: the libraries are mapped by then, but none
 * has been initialised, so that room can be looked for.
 */

#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* OpenBLAS takes two buffers of 128 MiB; the rest is what libraries allocate beside
 * them. */
#define START_BYTES ((size_t)288 << 20)

#define EXIT_FAILED 1

static void say_limit(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    char line[256];

    (void)getrlimit(RLIMIT_AS, &limit);
    int length =
        limit.rlim_cur == RLIM_INFINITY
            ? snprintf(
                  line,
                  sizeof(line),
                  "cemoe: error: start: the system has no %zu MiB of address space "
                  "for OpenBLAS\n",
                  START_BYTES >> 20)
            : snprintf(line,
                       sizeof(line),
                       "cemoe: error: start: the limit of address space, %llu MiB, "
                       "leaves no %zu MiB for OpenBLAS: raise it (ulimit -v)\n",
                       (unsigned long long)limit.rlim_cur >> 20,
                       START_BYTES >> 20);

    (void)!write(STDERR_FILENO, line, (size_t)length);
}

static void look_for_room(void)
{
    void *room = mmap(NULL,
                      START_BYTES,
                      PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1,
                      0);

    if (room == MAP_FAILED) {
        say_limit();
        _exit(EXIT_FAILED);
    }
    (void)munmap(room, START_BYTES);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = look_for_room;
