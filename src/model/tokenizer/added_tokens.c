/* added_tokens.c - cutting the added tokens out of a text
 *
 * White space that a token strips is still looked through for the next token,
 * which may then overlap it: so it does in the reference, and ids must be equal.
 */

#include "model/tokenizer/added_tokens.h"

#include "model/tokenizer/character.h"
#include "model/tokenizer/utf8.h"

struct match {
    const struct ce_added_token *token;
    size_t start;
    size_t end;
};

struct splitting {
    const struct ce_added_tokens *added;
    const struct ce_trie *set;
    struct ce_budget *budget;
    struct ce_span text;
    size_t next;      /* where the next token is looked for */
    size_t done;      /* behind the last token and what it stripped */
    size_t space_end; /* a run of white space is known to reach to here */
};

/* The character before `at`; its length 0 when there is none. */
static struct ce_utf8 read_before(struct ce_span text, size_t at)
{
    size_t start = at;

    while (start > 0 && at - start < 4) {
        start--;
        if (((unsigned char)text.data[start] & 0xC0) != 0x80) {
            return ce_utf8_read(text.data + start, at - start);
        }
    }
    return (struct ce_utf8){.kind = CE_UTF8_INVALID};
}

static struct ce_utf8 read_at(struct ce_span text, size_t at)
{
    return at == text.bytes ? (struct ce_utf8){.kind = CE_UTF8_INVALID}
                            : ce_utf8_read(text.data + at, text.bytes - at);
}

static bool is_word(struct ce_utf8 character)
{
    return character.kind == CE_UTF8_CHARACTER && ce_character_is_word(character.code);
}

static bool is_space(struct ce_utf8 character)
{
    return character.kind == CE_UTF8_CHARACTER && ce_character_is_space(character.code);
}

static bool is_single_word(const struct splitting *splitting, const struct match *match)
{
    return !is_word(read_before(splitting->text, match->start)) &&
           !is_word(read_at(splitting->text, match->end));
}

/* Not over the end of the last token. */
static size_t strip_left(const struct splitting *splitting, size_t start)
{
    while (start > splitting->done) {
        struct ce_utf8 before = read_before(splitting->text, start);

        if (!is_space(before)) {
            break;
        }
        start -= before.bytes;
    }
    return start > splitting->done ? start : splitting->done;
}

/* Remembers the run it found: many tokens in it must not each walk through it. */
static size_t strip_right(struct splitting *splitting, size_t end)
{
    struct ce_utf8 next = read_at(splitting->text, end);

    if (end < splitting->space_end && is_space(next)) {
        return splitting->space_end;
    }
    while (is_space(next)) {
        end += next.bytes;
        next = read_at(splitting->text, end);
    }
    splitting->space_end = end;
    return end;
}

/* The next token from `next` on, without what it strips. Ends at once when no steps are
 * left, which its caller sees. */
static bool find(struct splitting *splitting, bool plain_specials, struct match *match)
{
    while (splitting->next < splitting->text.bytes) {
        struct ce_span rest = {.data = splitting->text.data + splitting->next,
                               .bytes = splitting->text.bytes - splitting->next};
        size_t bytes = 1;
        size_t visits = 0;
        int32_t index = ce_trie_longest(splitting->set, rest, &bytes, &visits);

        match->start = splitting->next;
        match->end = splitting->next + bytes;
        splitting->next = match->end;
        if (!ce_steps_take(&splitting->budget->steps, visits)) {
            return false;
        }
        if (index < 0) {
            continue;
        }
        match->token = &splitting->added->token[index];
        if (!(plain_specials && match->token->special) &&
            (!match->token->single_word || is_single_word(splitting, match))) {
            return true;
        }
    }
    return false;
}

static struct ce_span part(const struct splitting *splitting, size_t start, size_t end)
{
    return (struct ce_span){.data = splitting->text.data + start, .bytes = end - start};
}

enum ce_status ce_added_tokens_split(const struct ce_added_tokens *added,
                                     const struct ce_trie *set,
                                     struct ce_span text,
                                     bool plain_specials,
                                     struct ce_budget *budget,
                                     ce_added_tokens_visit *visit,
                                     void *user,
                                     struct ce_error *err)
{
    struct splitting splitting = {
        .added = added, .set = set, .budget = budget, .text = text};
    struct match match;
    enum ce_status status = CE_OK;

    while (status == CE_OK && find(&splitting, plain_specials, &match)) {
        if (match.token->strip_left) {
            match.start = strip_left(&splitting, match.start);
        }
        if (match.token->strip_right) {
            match.end = strip_right(&splitting, match.end);
        }
        if (splitting.done < match.start) {
            status =
                visit(user, NULL, part(&splitting, splitting.done, match.start), err);
        }
        /* All of it may have been stripped by the token before. */
        if (status == CE_OK && match.start < match.end) {
            status =
                visit(user, match.token, part(&splitting, match.start, match.end), err);
        }
        splitting.done = match.end;
    }
    if (status == CE_OK && budget->steps.left == 0) {
        return ce_fail(
            err,
            CE_ERR_UNSUPPORTED,
            "%s: added_tokens: looking for them takes too many steps on this "
            "text",
            added->file);
    }
    if (status == CE_OK && splitting.done < text.bytes) {
        status = visit(user, NULL, part(&splitting, splitting.done, text.bytes), err);
    }
    return status;
}
