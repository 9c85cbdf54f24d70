/* kv_prefix.c - finding pages by the tokens they are of
 *
 * A page is the child of the page before it, so equal tokens in a page whose parent is
 * the page found before are equal from the beginning on; hashes only say where to look.
 * Whoever has a page has its parents, and gives them back after it: the idle pages,
 * from the oldest on, never have a parent before its child, and whatever is found has
 * all its parents.
 */

#include "base/hash.h"
#include "engine/kv_cache.h"

#include <string.h>

static uint64_t hash_page(uint64_t before, const int32_t *tokens)
{
    return ce_hash_bytes(before, tokens, CE_PAGE_TOKENS * sizeof(tokens[0]));
}

static uint32_t *bucket_of(const struct ce_kv_cache *cache, uint64_t hash)
{
    return &cache->bucket[(hash ^ hash >> 32) & (cache->buckets - 1)];
}

static uint32_t find_page(const struct ce_kv_cache *cache,
                          uint64_t hash,
                          uint32_t parent,
                          const int32_t *tokens)
{
    uint32_t at = *bucket_of(cache, hash);

    while (at != CE_NO_PAGE) {
        const struct ce_page *page = &cache->page[at];

        if (page->hash == hash && page->parent == parent &&
            memcmp(page->token, tokens, sizeof(page->token)) == 0) {
            break;
        }
        at = page->chain;
    }
    return at;
}

/* Page by page through a text: all zero but parent and hash before the first. */
struct walk {
    const int32_t *tokens;
    uint32_t parent;
    uint64_t hash; /* of the page that was looked at last */
};

/* The page of the next tokens, or CE_NO_PAGE. */
static uint32_t look_up(const struct ce_kv_cache *cache, struct walk *walk)
{
    walk->hash = hash_page(walk->hash, walk->tokens);
    return find_page(cache, walk->hash, walk->parent, walk->tokens);
}

static void step_on(struct walk *walk, uint32_t page)
{
    walk->parent = page;
    walk->tokens += CE_PAGE_TOKENS;
}

static struct walk start_walk(const int32_t *tokens)
{
    return (struct walk){tokens, CE_NO_PAGE, CE_HASH_START};
}

struct ce_kv_match
ce_kv_cache_find(const struct ce_kv_cache *cache, const int32_t *tokens, size_t count)
{
    struct walk walk = start_walk(tokens);
    struct ce_kv_match match = {.pending = CE_NO_PAGE};

    while (match.pages < count / CE_PAGE_TOKENS) {
        uint32_t page = look_up(cache, &walk);

        if (page != CE_NO_PAGE && cache->page[page].state == CE_PAGE_PENDING) {
            match.pending = page;
            match.hash = walk.hash;
        }
        if (page == CE_NO_PAGE || match.pending != CE_NO_PAGE) {
            break;
        }
        match.pages++;
        step_on(&walk, page);
    }
    return match;
}

bool ce_kv_cache_is_pending(const struct ce_kv_cache *cache,
                            const struct ce_kv_match *match)
{
    return match->pending != CE_NO_PAGE &&
           cache->page[match->pending].state == CE_PAGE_PENDING &&
           cache->page[match->pending].hash == match->hash;
}

static void leave_idle(struct ce_kv_cache *cache, uint32_t at)
{
    const struct ce_page *page = &cache->page[at];
    uint32_t *from_older =
        page->older == CE_NO_PAGE ? &cache->oldest : &cache->page[page->older].newer;
    uint32_t *from_newer =
        page->newer == CE_NO_PAGE ? &cache->newest : &cache->page[page->newer].older;

    *from_older = page->newer;
    *from_newer = page->older;
}

void ce_page_idle(struct ce_kv_cache *cache, uint32_t at)
{
    struct ce_page *page = &cache->page[at];

    page->older = cache->newest;
    page->newer = CE_NO_PAGE;
    if (cache->newest == CE_NO_PAGE) {
        cache->oldest = at;
    } else {
        cache->page[cache->newest].newer = at;
    }
    cache->newest = at;
}

void ce_page_forget(struct ce_kv_cache *cache, uint32_t at)
{
    struct ce_page *page = &cache->page[at];
    uint32_t *link = bucket_of(cache, page->hash);

    if (page->state == CE_PAGE_PRIVATE) {
        return;
    }
    while (*link != at) {
        link = &cache->page[*link].chain;
    }
    *link = page->chain;
    page->state = CE_PAGE_PRIVATE;
}

uint32_t ce_page_evict(struct ce_kv_cache *cache)
{
    uint32_t page = cache->oldest;

    leave_idle(cache, page);
    ce_page_forget(cache, page);
    return page;
}

void ce_sequence_share(struct ce_kv_cache *cache,
                       struct ce_sequence *sequence,
                       const int32_t *tokens,
                       size_t count)
{
    struct walk walk = start_walk(tokens);

    while ((sequence->pages + 1) * CE_PAGE_TOKENS <= count) {
        uint32_t page = look_up(cache, &walk);

        if (page == CE_NO_PAGE || cache->page[page].state != CE_PAGE_KNOWN) {
            break;
        }
        if (cache->page[page].users++ == 0) {
            leave_idle(cache, page);
            cache->free_pages--;
        }
        sequence->page[sequence->pages++] = page;
        step_on(&walk, page);
    }
    sequence->announced = sequence->pages;
    sequence->length = sequence->pages * CE_PAGE_TOKENS;
}

static void insert(struct ce_kv_cache *cache, uint32_t at, const struct walk *walk)
{
    struct ce_page *page = &cache->page[at];
    uint32_t *bucket = bucket_of(cache, walk->hash);

    page->state = CE_PAGE_PENDING;
    page->parent = walk->parent;
    page->hash = walk->hash;
    memcpy(page->token, walk->tokens, sizeof(page->token));
    page->chain = *bucket;
    *bucket = at;
}

/* Where another sequence has the same page, this one's is of no use to others, and so
 * are all after it, whose parents would not be the ones that are found. */
void ce_sequence_announce(struct ce_kv_cache *cache,
                          struct ce_sequence *sequence,
                          const int32_t *tokens,
                          size_t count)
{
    struct walk walk = start_walk(tokens);

    for (size_t i = 0; i < count / CE_PAGE_TOKENS; i++) {
        uint32_t page = sequence->page[i];

        if (i < sequence->announced) {
            walk.hash = cache->page[page].hash;
        } else if (look_up(cache, &walk) == CE_NO_PAGE) {
            insert(cache, page, &walk);
            sequence->announced++;
        } else {
            break;
        }
        step_on(&walk, page);
    }
}

void ce_sequence_publish(struct ce_kv_cache *cache,
                         const struct ce_sequence *sequence,
                         size_t before)
{
    for (size_t i = before / CE_PAGE_TOKENS;
         i < sequence->length / CE_PAGE_TOKENS && i < sequence->announced;
         i++) {
        cache->page[sequence->page[i]].state = CE_PAGE_KNOWN;
    }
}

void ce_kv_cache_forget(struct ce_kv_cache *cache)
{
    while (cache->oldest != CE_NO_PAGE) {
        cache->free_page[cache->blank_pages++] = ce_page_evict(cache);
    }
}
