/* wall_clock.c - preloaded: the clock on the wall is an hour ahead of the kernel's, as
 * one that is set back after it was read */

#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += 3600;
    }
    return result;
}
