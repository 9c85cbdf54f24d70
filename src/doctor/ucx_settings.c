/* ucx_settings.c - the words of UCX_TLS and UCX_NET_DEVICES against what there is */

#include "doctor/ucx_settings.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Names for several transports, by how theirs begin (ucp_context.c of UCX). */
static const struct alias {
    const char *name;
    const char *begins[5];
} aliases[] = {
    {"mm", {"posix", "sysv", "xpmem"}},
    {"sm", {"posix", "sysv", "xpmem", "knem", "cma"}},
    {"shm", {"posix", "sysv", "xpmem", "knem", "cma"}},
    {"ib", {"rc_", "ud_", "dc_"}},
    {"rc", {"rc_"}},
    {"rc_v", {"rc_verbs"}},
    {"rc_x", {"rc_mlx5"}},
    {"ud", {"ud_"}},
    {"ud_v", {"ud_verbs"}},
    {"ud_x", {"ud_mlx5"}},
    {"dc", {"dc_"}},
    {"dc_x", {"dc_mlx5"}},
    {"ugni", {"ugni_"}},
    {"cuda", {"cuda_", "gdr_copy"}},
    {"rocm", {"rocm_"}},
    {"ze", {"ze_"}},
};

/* A word of a list: between commas, without the marks UCX allows. */
struct word {
    const char *text;
    size_t length;
};

static bool next_word(const char **list, struct word *word)
{
    *list += strspn(*list, ", \\");
    word->text = *list;
    word->length = strcspn(*list, ", ");
    *list += word->length;
    return word->length > 0;
}

static bool is(const struct word *word, const char *name)
{
    return strlen(name) == word->length && memcmp(word->text, name, word->length) == 0;
}

static bool names_transport(const struct word *word, const struct ce_way *way)
{
    if (is(word, "all") || is(word, way->transport)) {
        return true;
    }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        for (size_t j = 0; j < 5 && aliases[i].begins[j] != NULL; j++) {
            const char *begin = aliases[i].begins[j];

            if (is(word, aliases[i].name) &&
                strncmp(way->transport, begin, strlen(begin)) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool names_device(const struct word *word, const struct ce_way *way)
{
    return way->network && (is(word, "all") || is(word, way->device));
}

typedef bool match(const struct word *word, const struct ce_way *way);

/* NULL and "" allow all; ^ before the list turns it round. */
static bool allows(const char *list, match *matches, const struct ce_way *way)
{
    struct word word;
    bool negated = list != NULL && *list == '^';
    bool found = false;

    if (list == NULL || *list == '\0') {
        return true;
    }
    list += negated;
    while (next_word(&list, &word)) {
        /* tcp:aux allows it for starting connections alone. */
        const char *colon =
            matches == names_transport ? memchr(word.text, ':', word.length) : NULL;

        if (colon == NULL) {
            found = found || matches(&word, way);
        }
    }
    return found != negated;
}

/* The first word that names nothing; none of a list of what not to use. */
static void find_unknown(char *unknown,
                         size_t size,
                         const char *list,
                         match *matches,
                         const struct ce_way *ways,
                         size_t count)
{
    struct word word;

    while (list != NULL && *list != '^' && next_word(&list, &word)) {
        bool known =
            matches == names_transport && memchr(word.text, ':', word.length) != NULL;

        for (size_t i = 0; i < count; i++) {
            known = known || matches(&word, &ways[i]);
        }
        if (!known) {
            (void)snprintf(unknown, size, "%.*s", (int)word.length, word.text);
            return;
        }
    }
}

static bool has_device(const struct ce_way *ways, size_t count, const char *device)
{
    for (size_t i = 0; i < count; i++) {
        if (ways[i].network && strcmp(ways[i].device, device) == 0) {
            return true;
        }
    }
    return false;
}

static void
list_devices(char *text, size_t size, const struct ce_way *ways, size_t count)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used < size; i++) {
        if (ways[i].network && !has_device(ways, i, ways[i].device)) {
            used += (size_t)snprintf(text + used,
                                     size - used,
                                     "%s%s",
                                     used == 0 ? "" : ", ",
                                     ways[i].device);
        }
    }
}

/* Words of hardware that is there although UCX has nothing for it. */
static void find_unused_fabric(struct ce_ucx_settings *settings,
                               const struct ce_way *ways,
                               size_t count,
                               const char *fabrics)
{
    const struct word ib = {.text = "ib", .length = 2};
    DIR *folder = opendir(fabrics);
    const struct dirent *entry = NULL;

    for (size_t i = 0; i < count; i++) {
        if (folder != NULL && names_transport(&ib, &ways[i])) {
            (void)closedir(folder);
            folder = NULL;
        }
    }
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(settings->unused_fabric,
                           sizeof(settings->unused_fabric),
                           "%.40s",
                           entry->d_name);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
}

void ce_ucx_settings_judge(struct ce_ucx_settings *settings,
                           const char *tls,
                           const char *net_devices,
                           const struct ce_way *ways,
                           size_t count,
                           const char *fabrics)
{
    *settings = (struct ce_ucx_settings){.known = true};
    find_unknown(settings->no_transport,
                 sizeof(settings->no_transport),
                 tls,
                 names_transport,
                 ways,
                 count);
    find_unknown(settings->no_device,
                 sizeof(settings->no_device),
                 net_devices,
                 names_device,
                 ways,
                 count);
    list_devices(settings->devices, sizeof(settings->devices), ways, count);
    find_unused_fabric(settings, ways, count, fabrics);
    for (size_t i = 0; i < count; i++) {
        bool allowed = allows(tls, names_transport, &ways[i]);
        bool is_self = strcmp(ways[i].transport, "self") == 0;

        if (ways[i].network) {
            bool device = allows(net_devices, names_device, &ways[i]);

            settings->has_device = settings->has_device || device;
            allowed = allowed && device;
            settings->reaches_hosts = settings->reaches_hosts || allowed;
        }
        settings->reaches_ranks = settings->reaches_ranks || (allowed && !is_self);
    }
}
