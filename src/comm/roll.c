/* roll.c - reads /proc for the processes of this job */

#include "comm/roll.h"

#include "comm/backend.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_ENVIRONMENT ((size_t)1 << 18)

/* Those that are set here tell the job from others of this host. */
static const char *const job_variables[] = {
    "PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID"};

/* ---- one file of /proc */

/* As a string; false when it is not there, or not ours to read. */
static bool read_proc(
    const char *proc, const char *process, const char *file, char *text, size_t size)
{
    char path[512];
    size_t used = 0;
    ssize_t count = 1;

    (void)snprintf(path, sizeof(path), "%s/%s/%s", proc, process, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    while (fd >= 0 && count > 0 && used < size - 1) {
        count = read(fd, text + used, size - 1 - used);
        used += count > 0 ? (size_t)count : 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    text[used] = '\0';
    /* Two NULs, so that an environment that was cut short ends, too. */
    text[used < size - 1 ? used + 1 : used] = '\0';
    return fd >= 0 && used > 0;
}

/* Of NAME=VALUE strings one after the other; NULL when it is not there. */
static const char *find_variable(const char *environment, const char *name)
{
    const size_t length = strlen(name);

    for (const char *at = environment; *at != '\0'; at += strlen(at) + 1) {
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            return at + length + 1;
        }
    }
    return NULL;
}

/* The rank of a process of this job, else -1. */
static int rank_in(const char *environment)
{
    const char *rank = find_variable(environment, ce_launcher_rank_variable());
    bool same = false;

    for (size_t i = 0; i < sizeof(job_variables) / sizeof(job_variables[0]); i++) {
        const char *ours = getenv(job_variables[i]);
        const char *theirs = find_variable(environment, job_variables[i]);

        if (ours != NULL && (theirs == NULL || strcmp(ours, theirs) != 0)) {
            return -1;
        }
        same = same || ours != NULL;
    }
    return same && rank != NULL ? (int)strtol(rank, NULL, 10) : -1;
}

/* ---- one process */

/* "PID (NAME) S ...", where NAME may contain anything; fields 14 and 15 are ticks. */
static bool parse_state(struct ce_roll_rank *seen, const char *text)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    char state = '?';
    uint64_t user = 0;
    uint64_t system = 0;

    if (open == NULL || close == NULL || close < open ||
        sscanf(close,
               ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64,
               &state,
               &user,
               &system) != 3) {
        return false;
    }
    (void)snprintf(
        seen->name, sizeof(seen->name), "%.*s", (int)(close - open - 1), open + 1);
    seen->stopped = state == 'T' || state == 't';
    seen->ticks = user + system;
    return state != 'Z' && state != 'X';
}

static bool has_waiting_thread(const char *proc, const char *process)
{
    char path[512];
    char file[300];
    char name[32];
    bool found = false;
    const struct dirent *entry = NULL;

    (void)snprintf(path, sizeof(path), "%s/%s/task", proc, process);
    DIR *tasks = opendir(path);

    while (tasks != NULL && !found && (entry = readdir(tasks)) != NULL) {
        (void)snprintf(file, sizeof(file), "task/%.255s/comm", entry->d_name);
        found = read_proc(proc, process, file, name, sizeof(name)) &&
                strcmp(name, CE_ROLL_THREAD "\n") == 0;
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
    return found;
}

static bool see_process(const char *proc,
                        const char *process,
                        char *environment,
                        struct ce_roll_rank *seen)
{
    char text[1024];

    *seen = (struct ce_roll_rank){.rank = -1, .process = strtol(process, NULL, 10)};
    if (read_proc(proc, process, "environ", environment, MOST_ENVIRONMENT)) {
        seen->rank = rank_in(environment);
    }
    if (seen->rank < 0 || !read_proc(proc, process, "stat", text, sizeof(text)) ||
        !parse_state(seen, text)) {
        return false;
    }
    seen->waits = has_waiting_thread(proc, process);
    return true;
}

/* ---- all */

static struct ce_roll_rank *find_rank(const struct ce_roll *roll, int rank)
{
    for (size_t i = 0; i < roll->count; i++) {
        if (roll->rank[i].rank == rank) {
            return &roll->rank[i];
        }
    }
    return NULL;
}

/* NULL without memory: then this rank is not judged. */
static struct ce_roll_rank *
add_rank(struct ce_roll *roll, const struct ce_roll_rank *seen, uint64_t now_ns)
{
    struct ce_roll_rank *grown =
        realloc(roll->rank, (roll->count + 1) * sizeof(roll->rank[0]));

    if (grown == NULL) {
        return NULL;
    }
    roll->rank = grown;
    grown[roll->count] = (struct ce_roll_rank){.rank = seen->rank};
    ce_patience_begin_at(&grown[roll->count].silent, roll->deadline_ms, now_ns);
    return &grown[roll->count++];
}

/* A rank may have several processes, a wrapper and the program: what any of them does
 * counts. `looked` tells which ranks have been seen in this look. */
static void note(struct ce_roll *roll, const struct ce_roll_rank *seen, uint64_t now_ns)
{
    struct ce_roll_rank *known = find_rank(roll, seen->rank);

    if (known == NULL) {
        known = add_rank(roll, seen, now_ns);
    }
    if (known == NULL) {
        return;
    }
    if (known->process == 0 || (seen->waits && !known->waits)) {
        known->process = seen->process;
        known->waits = seen->waits;
        known->stopped = seen->stopped;
        memcpy(known->name, seen->name, sizeof(known->name));
    }
    known->ticks += seen->ticks;
}

static void look_at_all(struct ce_roll *roll, char *environment, uint64_t now_ns)
{
    DIR *processes = opendir(roll->proc);
    const struct dirent *entry = NULL;
    struct ce_roll_rank seen;

    while (processes != NULL && (entry = readdir(processes)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            see_process(roll->proc, entry->d_name, environment, &seen)) {
            note(roll, &seen, now_ns);
        }
    }
    if (processes != NULL) {
        (void)closedir(processes);
    }
}

static bool gives_sign(const struct ce_roll *roll, const struct ce_roll_rank *now)
{
    if (now->process == 0) {
        return !roll->none_may_end;
    }
    return !now->stopped && (now->waits || now->ticks != now->before);
}

static bool sees_itself(const struct ce_roll *roll)
{
    int rank;
    int ranks;

    ce_transport_launcher(&rank, &ranks);
    const struct ce_roll_rank *own = find_rank(roll, rank);
    return own != NULL && own->process != 0;
}

/* All ranks of the job, if they are on this host. */
static void expect_all(struct ce_roll *roll, uint64_t now_ns)
{
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    int rank;
    int ranks;

    ce_transport_launcher(&rank, &ranks);
    if (here == NULL || strtol(here, NULL, 10) != ranks) {
        return;
    }
    for (rank = 0; rank < ranks; rank++) {
        (void)add_rank(roll, &(struct ce_roll_rank){.rank = rank}, now_ns);
    }
}

static size_t judge(struct ce_roll *roll, uint64_t now_ns)
{
    size_t missing = 0;

    for (size_t i = 0; i < roll->count; i++) {
        struct ce_roll_rank *rank = &roll->rank[i];

        if (gives_sign(roll, rank)) {
            ce_patience_begin_at(&rank->silent, roll->deadline_ms, now_ns);
        }
        rank->missing = ce_patience_is_over_at(&rank->silent, now_ns);
        missing += rank->missing;
    }
    return missing;
}

static void forget_processes(struct ce_roll *roll)
{
    for (size_t i = 0; i < roll->count; i++) {
        struct ce_roll_rank *rank = &roll->rank[i];

        rank->before = rank->ticks;
        rank->process = 0;
        rank->waits = false;
        rank->stopped = false;
        rank->ticks = 0;
    }
}

size_t ce_roll_look(struct ce_roll *roll, uint64_t now_ns)
{
    char *environment = malloc(MOST_ENVIRONMENT);

    if (environment == NULL || ce_launcher_rank_variable() == NULL) {
        free(environment);
        return 0;
    }
    if (roll->count == 0 && roll->none_may_end) {
        expect_all(roll, now_ns);
    }
    forget_processes(roll);
    look_at_all(roll, environment, now_ns);
    free(environment);
    return sees_itself(roll) ? judge(roll, now_ns) : 0;
}

void ce_roll_init(struct ce_roll *roll,
                  const char *proc,
                  uint64_t deadline_ms,
                  bool none_may_end)
{
    *roll = (struct ce_roll){
        .proc = proc, .deadline_ms = deadline_ms, .none_may_end = none_may_end};
}

void ce_roll_fini(struct ce_roll *roll)
{
    free(roll->rank);
    *roll = (struct ce_roll){.proc = NULL};
}

#define NAMED_RANKS 4 /* whose texts fit */

static size_t describe_rank(char *text,
                            size_t size,
                            const struct ce_roll_rank *rank,
                            bool others_before)
{
    const char *comma = others_before ? ", " : "";

    if (rank->process == 0) {
        return (size_t)snprintf(
            text, size, "%srank %d (which has no process)", comma, rank->rank);
    }
    return (size_t)snprintf(text,
                            size,
                            "%srank %d (process %ld%s%s%s)",
                            comma,
                            rank->rank,
                            rank->process,
                            rank->stopped ? " is stopped" : ", ",
                            rank->stopped ? "" : rank->name,
                            rank->stopped ? "" : ", has not come so far");
}

void ce_roll_describe(const struct ce_roll *roll, char *text)
{
    const size_t size = CE_ROLL_TEXT;
    size_t used = 0;
    int named = 0;
    int more = 0;

    text[0] = '\0';
    for (size_t i = 0; i < roll->count; i++) {
        const struct ce_roll_rank *rank = &roll->rank[i];

        if (!rank->missing) {
            continue;
        }
        if (named == NAMED_RANKS) {
            more++;
            continue;
        }
        used += describe_rank(text + used, size - used, rank, named++ > 0);
    }
    if (more > 0) {
        (void)snprintf(text + used, size - used, " and %d more", more);
    }
}
