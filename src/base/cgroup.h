/* cgroup.h - what the control groups of this process leave of the memory */

#ifndef CE_BASE_CGROUP_H
#define CE_BASE_CGROUP_H

#include <stdint.h>

/* The least of (limit - use + page cache that can be dropped) over the process's own
 * memory cgroup and its ancestors, of either version; UINT64_MAX without a
 * limit. The arguments are /proc/self/mountinfo and /proc/self/cgroup, or
 * files like them in a test. */
uint64_t ce_cgroup_memory_left(const char *mountinfo_path, const char *cgroup_path);

#endif
