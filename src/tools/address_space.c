/* address_space.c - whether the libraries can be started
 *
 * OpenBLAS takes buffers when it is loaded, before main, and tries without end where
 * a limit of address space (ulimit -v) or of data (ulimit -d) leaves no room for them.
 * Functions of the section .preinit_array run before that: the libraries are mapped by
 * then, but none has been initialised, so that room can be looked for. A stack that
 * is too small ends a process by SIGSEGV, so it is looked at here too.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* OpenBLAS takes two buffers of 128 MiB; the rest is what libraries allocate beside
 * them. */
#define START_BYTES ((size_t)288 << 20)

/* What the deepest calls take is a third of it. */
#define STACK_BYTES ((size_t)256 << 10)

#define EXIT_FAILED 1

/* The limit in bytes; 0: there is none. */
static unsigned long long limit_of(__rlimit_resource_t resource)
{
    struct rlimit limit;

    return getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY
               ? 0
               : (unsigned long long)limit.rlim_cur;
}

static void fail(const char *line, int length)
{
    (void)!write(STDERR_FILENO, line, (size_t)length);
    _exit(EXIT_FAILED);
}

static void say_no_room(void)
{
    const unsigned long long space = limit_of(RLIMIT_AS);
    const unsigned long long data = limit_of(RLIMIT_DATA);
    const bool is_data = data > 0 && (space == 0 || data < space);
    char line[256];
    int length =
        space == 0 && data == 0
            ? snprintf(
                  line,
                  sizeof(line),
                  "cemoe: error: start: the system has no %zu MiB of address space "
                  "for OpenBLAS\n",
                  START_BYTES >> 20)
            : snprintf(line,
                       sizeof(line),
                       "cemoe: error: start: the limit of %s, %llu MiB, "
                       "leaves no %zu MiB for OpenBLAS: raise it (ulimit %s)\n",
                       is_data ? "data" : "address space",
                       (is_data ? data : space) >> 20,
                       START_BYTES >> 20,
                       is_data ? "-d" : "-v");

    fail(line, length);
}

static void look_at_stack(void)
{
    const unsigned long long stack = limit_of(RLIMIT_STACK);
    char line[256];

    if (stack > 0 && stack < STACK_BYTES) {
        fail(line,
             snprintf(line,
                      sizeof(line),
                      "cemoe: error: start: the limit of the stack, %llu KiB, is below "
                      "%zu KiB: raise it (ulimit -s)\n",
                      stack >> 10,
                      STACK_BYTES >> 10));
    }
}

/* Writable memory counts for both limits; none of it is used. */
static void look_for_room(void)
{
    look_at_stack();
    void *room = mmap(NULL,
                      START_BYTES,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1,
                      0);

    if (room == MAP_FAILED) {
        say_no_room();
    }
    (void)munmap(room, START_BYTES);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = look_for_room;
