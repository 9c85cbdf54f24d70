/* hello.c - packs what a rank is, compares what the others are */

#include "comm/hello.h"

#include "comm/collective.h"
#include "hello.pb-c.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More would not be a hello. */
#define HELLO_MAX_BYTES 65536

struct option_list {
    Cemoe__Hello__Option option[CE_HELLO_MAX_OPTIONS];
    Cemoe__Hello__Option *entry[CE_HELLO_MAX_OPTIONS];
    size_t count;
};

/* Cuts "name=value" lines in place; false when a line has no '=' or there are
 * too many. */
static bool parse_options(struct option_list *list, char *lines)
{
    char *rest = NULL;

    list->count = 0;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');

        if (equals == NULL || list->count == CE_HELLO_MAX_OPTIONS) {
            return false;
        }
        *equals = '\0';
        Cemoe__Hello__Option *option = &list->option[list->count];
        cemoe__hello__option__init(option);
        option->name = line;
        option->value = equals + 1;
        list->entry[list->count++] = option;
    }
    return true;
}

/* protobuf-c has no const strings, but packing only reads them. */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* *packed is malloc'ed, NULL after a failure. */
static enum ce_status pack_hello(const struct ce_hello *mine,
                                 struct ce_bytes *packed,
                                 uint8_t **memory,
                                 struct ce_error *err)
{
    struct option_list options;
    Cemoe__Hello hello;
    enum ce_status status = CE_OK;

    cemoe__hello__init(&hello);
    char *lines = strdup(mine->options);
    if (lines == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a hello");
    }
    if (!parse_options(&options, lines)) {
        status =
            ce_fail(err, CE_ERR_ARG, "options of a hello are not name=value lines");
        goto fail;
    }
    hello.version = unconst(mine->version);
    hello.n_options = options.count;
    hello.options = options.entry;
    hello.config_hash = mine->config_hash;
    hello.isa = mine->isa;
    hello.threads = mine->threads;
    hello.hostname = unconst(mine->host);
    hello.host_id = mine->host_id;
    *memory = malloc(cemoe__hello__get_packed_size(&hello));
    if (*memory == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for a hello");
        goto fail;
    }
    *packed = (struct ce_bytes){*memory, cemoe__hello__pack(&hello, *memory)};
fail:
    free(lines);
    return status;
}

/* All ranks find the same failure, so err->rank says whose it is. */
static void blame(struct ce_error *err, int rank)
{
    if (err != NULL) {
        err->rank = rank;
    }
}

static void free_hellos(Cemoe__Hello **hellos, int ranks)
{
    for (int rank = 0; hellos != NULL && rank < ranks; rank++) {
        cemoe__hello__free_unpacked(hellos[rank], NULL);
    }
    free(hellos);
}

/* Reads all hellos, NULL for one that cannot be read. 0 bytes would be a valid
 * message with nothing set, but it is what a rank sends that could not make its
 * own. The caller frees the list; NULL when out of memory. */
static Cemoe__Hello **unpack_hellos(const struct ce_bytes *all, int ranks)
{
    Cemoe__Hello **hellos = calloc((size_t)ranks, sizeof(Cemoe__Hello *));

    for (int rank = 0; hellos != NULL && rank < ranks; rank++) {
        if (all[rank].bytes > 0 && all[rank].bytes <= HELLO_MAX_BYTES) {
            hellos[rank] = cemoe__hello__unpack(NULL, all[rank].bytes, all[rank].data);
        }
    }
    return hellos;
}

static const Cemoe__Hello__Option *find_option(const Cemoe__Hello *hello,
                                               const char *name)
{
    for (size_t i = 0; i < hello->n_options; i++) {
        if (strcmp(hello->options[i]->name, name) == 0) {
            return hello->options[i];
        }
    }
    return NULL;
}

/* The options of `a` against those of `b`; a name only `b` has is not seen. */
static enum ce_status compare_options(const Cemoe__Hello *a,
                                      int rank_a,
                                      const Cemoe__Hello *b,
                                      int rank_b,
                                      struct ce_error *err)
{
    for (size_t i = 0; i < a->n_options; i++) {
        const Cemoe__Hello__Option *mine = a->options[i];
        const Cemoe__Hello__Option *other = find_option(b, mine->name);

        if (other != NULL && strcmp(mine->value, other->value) == 0) {
            continue;
        }
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "rank %d (%.60s) has %.80s=%.80s, rank %d (%.60s) has %s%.80s",
                       rank_a,
                       a->hostname,
                       mine->name,
                       mine->value,
                       rank_b,
                       b->hostname,
                       other != NULL ? "" : "no such option",
                       other != NULL ? other->value : "");
    }
    return CE_OK;
}

static enum ce_status compare_with_first(const Cemoe__Hello *hello,
                                         int rank,
                                         const Cemoe__Hello *first,
                                         struct ce_error *err)
{
    if (strcmp(hello->version, first->version) != 0) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "rank %d (%.60s) runs version %.80s, rank 0 (%.60s) runs %.80s",
                       rank,
                       hello->hostname,
                       hello->version,
                       first->hostname,
                       first->version);
    }
    enum ce_status status = compare_options(hello, rank, first, 0, err);
    if (status == CE_OK) {
        status = compare_options(first, 0, hello, rank, err);
    }
    if (status == CE_OK && hello->config_hash != first->config_hash) {
        status = ce_fail(err,
                         CE_ERR_MISMATCH,
                         "rank %d (%.60s) read a config.json, or a "
                         "generation_config.json, with hash %016" PRIx64
                         ", rank 0 (%.60s) one with %016" PRIx64
                         ": do all ranks see the same model directory?",
                         rank,
                         hello->hostname,
                         hello->config_hash,
                         first->hostname,
                         first->config_hash);
    }
    return status;
}

static bool is_same_host(const Cemoe__Hello *a, const Cemoe__Hello *b)
{
    return strcmp(a->hostname, b->hostname) == 0 && a->host_id == b->host_id;
}

/* "#2" and so on for another host of the same name as one before; else "". */
static void write_number(char *text, size_t size, Cemoe__Hello *const *hellos, int rank)
{
    int number = 1;

    for (int r = 0; r < rank; r++) {
        bool other = strcmp(hellos[r]->hostname, hellos[rank]->hostname) == 0;

        if (is_same_host(hellos[r], hellos[rank])) {
            break;
        }
        for (int before = 0; other && before < r; before++) {
            other = !is_same_host(hellos[before], hellos[r]);
        }
        number += other;
    }
    text[0] = '\0';
    if (number > 1) {
        (void)snprintf(text, size, "#%d", number);
    }
}

/* One past the last of the ranks from `first` on with the same host and threads. */
static int end_of_group(Cemoe__Hello *const *hellos, int first, int ranks)
{
    int end = first + 1;

    while (end < ranks && hellos[end]->threads == hellos[first]->threads &&
           is_same_host(hellos[end], hellos[first])) {
        end++;
    }
    return end;
}

static void
write_summary(char *summary, size_t size, Cemoe__Hello *const *hellos, int ranks)
{
    size_t used =
        (size_t)snprintf(summary, size, "%d rank%s:", ranks, ranks == 1 ? "" : "s");

    for (int first = 0; first < ranks && used < size;) {
        const Cemoe__Hello *hello = hellos[first];
        const int end = end_of_group(hellos, first, ranks);
        char last[16] = "";
        char number[16] = "";

        write_number(number, sizeof(number), hellos, first);
        if (end - first > 1) {
            (void)snprintf(last, sizeof(last), "-%d", end - 1);
        }
        used += (size_t)snprintf(summary + used,
                                 size - used,
                                 "%s %.60s%s %d%s (%d thread%s%s)",
                                 first == 0 ? "" : ",",
                                 hello->hostname,
                                 number,
                                 first,
                                 last,
                                 hello->threads,
                                 hello->threads == 1 ? "" : "s",
                                 end - first > 1 ? " each" : "");
        first = end;
    }
}

/* Compares all with the first; writes the rest of what ce_hello_exchange returns. */
static enum ce_status judge_hellos(Cemoe__Hello *const *hellos,
                                   int ranks,
                                   int *lowest_isa,
                                   char *summary,
                                   size_t size,
                                   struct ce_error *err)
{
    *lowest_isa = INT_MAX;
    for (int rank = 0; rank < ranks; rank++) {
        if (hellos[rank] == NULL) {
            blame(err, rank);
            return ce_fail(
                err, CE_ERR_COMM, "rank %d sent no hello that can be read", rank);
        }
        enum ce_status status = compare_with_first(hellos[rank], rank, hellos[0], err);
        if (status != CE_OK) {
            blame(err, rank);
            return status;
        }
        if (hellos[rank]->isa < *lowest_isa) {
            *lowest_isa = hellos[rank]->isa;
        }
    }
    write_summary(summary, size, hellos, ranks);
    return CE_OK;
}

enum ce_status ce_hello_exchange(struct ce_transport *transport,
                                 const struct ce_hello *mine,
                                 int *lowest_isa,
                                 char *summary,
                                 size_t size,
                                 struct ce_error *err)
{
    struct ce_bytes packed = {NULL, 0};
    uint8_t *memory = NULL;
    Cemoe__Hello **hellos = NULL;
    const struct ce_bytes *all;
    struct ce_error unused; /* keeps a failure here from covering the first */

    /* A rank that cannot pack still takes part, with an empty message. */
    enum ce_status packing = pack_hello(mine, &packed, &memory, err);
    enum ce_status status =
        ce_allgather(transport, packed, &all, packing == CE_OK ? err : &unused);
    if (packing != CE_OK) {
        status = packing;
    }
    if (status != CE_OK) {
        goto fail;
    }
    hellos = unpack_hellos(all, transport->ranks);
    if (hellos == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the ranks' hellos");
        goto fail;
    }
    status = judge_hellos(hellos, transport->ranks, lowest_isa, summary, size, err);
fail:
    free_hellos(hellos, transport->ranks);
    free(memory);
    return status;
}
