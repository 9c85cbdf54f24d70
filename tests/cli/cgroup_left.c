/* cgroup_left.c - prints the bytes that a control group leaves, for a mountinfo and a
 * cgroup file that are given */

#include "base/cgroup.h"

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    return printf("%" PRIu64 "\n", ce_cgroup_memory_left(argv[1], argv[2])) < 0;
}
