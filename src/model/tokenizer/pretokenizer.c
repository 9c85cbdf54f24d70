/* pretokenizer.c - cutting text into the pieces that BPE sees */

#include "model/tokenizer/pretokenizer.h"

#include "model/tokenizer/utf8.h"

#include <utf8proc.h>

/* GPT-2's pattern, which ByteLevel uses unless told otherwise. */
static const char byte_level_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
                                         "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static enum ce_status read_byte_level(struct ce_pretokenizer_step *step,
                                      const struct ce_component *component,
                                      struct ce_error *err)
{
    struct ce_span pattern = {.data = byte_level_pattern,
                              .bytes = sizeof(byte_level_pattern) - 1};
    bool use_regex = true;

    step->kind = CE_PRETOKENIZER_BYTE_LEVEL;
    step->behavior = CE_SPLIT_ISOLATED;
    step->prefix_space = true;
    enum ce_status status =
        ce_component_bool(component, "add_prefix_space", &step->prefix_space, err);

    if (status == CE_OK) {
        status = ce_component_bool(component, "use_regex", &use_regex, err);
    }
    if (status == CE_OK && use_regex) {
        status = ce_regex_compile(&step->pattern, pattern, component->path, err);
    }
    return status;
}

static enum ce_status read_split(struct ce_pretokenizer_step *step,
                                 const struct ce_component *component,
                                 struct ce_error *err)
{
    struct ce_span behavior;
    enum ce_status status = ce_regex_read(&step->pattern, component, err);

    step->kind = CE_PRETOKENIZER_SPLIT;
    if (status == CE_OK) {
        status = ce_component_bool(component, "invert", &step->invert, err);
    }
    if (status == CE_OK) {
        status = ce_component_string(component, "behavior", SIZE_MAX, &behavior, err);
    }
    if (status == CE_OK && !ce_split_behavior_parse(behavior.data, &step->behavior)) {
        status = ce_component_fail(
            component, "behavior", CE_ERR_FORMAT, "is none of the known ones", err);
    }
    return status;
}

static enum ce_status read_digits(struct ce_pretokenizer_step *step,
                                  const struct ce_component *component,
                                  struct ce_error *err)
{
    bool individual = false;
    enum ce_status status =
        ce_component_bool(component, "individual_digits", &individual, err);

    step->kind = CE_PRETOKENIZER_DIGITS;
    step->behavior = individual ? CE_SPLIT_ISOLATED : CE_SPLIT_CONTIGUOUS;
    return status;
}

static enum ce_status
read_step(void *user, const struct ce_component *component, struct ce_error *err)
{
    struct ce_pretokenizer *pretokenizer = user;
    struct ce_pretokenizer_step *step = &pretokenizer->step[pretokenizer->steps];

    if (pretokenizer->steps == CE_COMPONENTS_MAX) {
        return ce_component_fail(
            component, "type", CE_ERR_UNSUPPORTED, "one pre-tokenizer too many", err);
    }
    /* What follows it would see the byte alphabet, not text. */
    if (pretokenizer->byte_level) {
        return ce_component_fail(
            component, "type", CE_ERR_UNSUPPORTED, "stands behind ByteLevel", err);
    }
    pretokenizer->steps++;
    if (ce_component_is(component, "ByteLevel")) {
        pretokenizer->byte_level = true;
        return read_byte_level(step, component, err);
    }
    if (ce_component_is(component, "Split")) {
        return read_split(step, component, err);
    }
    if (ce_component_is(component, "Digits")) {
        return read_digits(step, component, err);
    }
    return ce_component_refuse(component, err);
}

enum ce_status ce_pretokenizer_read(struct ce_pretokenizer *pretokenizer,
                                    const json_t *root,
                                    const char *file,
                                    struct ce_error *err)
{
    return ce_component_each(json_object_get(root, "pre_tokenizer"),
                             file,
                             "pre_tokenizer",
                             "pretokenizers",
                             read_step,
                             pretokenizer,
                             err);
}

void ce_pretokenizer_fini(struct ce_pretokenizer *pretokenizer)
{
    for (size_t i = 0; i < pretokenizer->steps; i++) {
        ce_regex_destroy(pretokenizer->step[i].pattern);
    }
}

/* A part on its way to `step`, seen from the step before. */
struct handover {
    struct ce_cutting *cutting;
    size_t step;
    struct ce_span text; /* of which the parts are */
};

static enum ce_status cut(struct ce_cutting *cutting,
                          size_t index,
                          struct ce_span text,
                          struct ce_error *err);

static enum ce_status
hand_on(void *user, size_t start, size_t end, struct ce_error *err)
{
    const struct handover *over = user;
    struct ce_span part = {.data = over->text.data + start, .bytes = end - start};

    return cut(over->cutting, over->step, part, err);
}

static enum ce_status cut_by_pattern(struct ce_splitter *splitter,
                                     const struct ce_pretokenizer_step *step,
                                     struct ce_regex_scratch *scratch,
                                     struct ce_span text,
                                     struct ce_error *err)
{
    struct ce_regex_cursor cursor = {
        .regex = step->pattern, .scratch = scratch, .text = text};
    size_t done = 0;
    bool found = true;
    enum ce_status status = CE_OK;

    while (found && status == CE_OK) {
        size_t start;
        size_t end;

        status = ce_regex_next(&cursor, &found, &start, &end, err);
        if (status == CE_OK && done < start) {
            status = ce_splitter_add(
                splitter,
                (struct ce_stretch){.start = done, .end = start, .match = step->invert},
                err);
        }
        if (found && status == CE_OK) {
            status = ce_splitter_add(
                splitter,
                (struct ce_stretch){.start = start, .end = end, .match = !step->invert},
                err);
        }
        done = end;
    }
    return status;
}

/* General category N: not only 0-9. */
static bool is_digit(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);

    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

static enum ce_status
cut_by_digits(struct ce_splitter *splitter, struct ce_span text, struct ce_error *err)
{
    size_t done = 0;
    enum ce_status status = CE_OK;

    for (size_t at = 0; at < text.bytes && status == CE_OK;) {
        struct ce_utf8 next = ce_utf8_read(text.data + at, text.bytes - at);
        size_t end = at + next.bytes;

        if (next.kind == CE_UTF8_CHARACTER && is_digit(next.code)) {
            if (done < at) {
                status = ce_splitter_add(
                    splitter, (struct ce_stretch){.start = done, .end = at}, err);
            }
            if (status == CE_OK) {
                status = ce_splitter_add(
                    splitter,
                    (struct ce_stretch){.start = at, .end = end, .match = true},
                    err);
            }
            done = end;
        }
        at = end;
    }
    if (status == CE_OK && done < text.bytes) {
        status = ce_splitter_add(
            splitter, (struct ce_stretch){.start = done, .end = text.bytes}, err);
    }
    return status;
}

/* `text` behind one space; stands in cutting->prefixed. */
static enum ce_status
prefix_space(struct ce_cutting *cutting, struct ce_span *text, struct ce_error *err)
{
    struct ce_text *prefixed = &cutting->prefixed;

    prefixed->bytes = 0;
    enum ce_status status =
        ce_text_append(prefixed, (struct ce_span){.data = " ", .bytes = 1}, err);

    if (status == CE_OK) {
        status = ce_text_append(prefixed, *text, err);
    }
    *text = (struct ce_span){.data = prefixed->data, .bytes = prefixed->bytes};
    return status;
}

static enum ce_status
cut(struct ce_cutting *cutting, size_t index, struct ce_span text, struct ce_error *err)
{
    if (text.bytes == 0) {
        return CE_OK;
    }
    if (index == cutting->pretokenizer->steps) {
        return cutting->sink(cutting->user, text, err);
    }
    const struct ce_pretokenizer_step *step = &cutting->pretokenizer->step[index];
    enum ce_status status = CE_OK;

    if (step->prefix_space && text.data[0] != ' ') {
        status = prefix_space(cutting, &text, err);
    }
    struct handover over = {.cutting = cutting, .step = index + 1, .text = text};
    struct ce_splitter splitter = {
        .behavior = step->behavior, .emit = hand_on, .user = &over};

    if (status != CE_OK) {
        return status;
    }
    if (step->kind == CE_PRETOKENIZER_DIGITS) {
        status = cut_by_digits(&splitter, text, err);
    } else if (step->pattern != NULL) {
        status = cut_by_pattern(&splitter, step, cutting->regex, text, err);
    } else {
        return hand_on(&over, 0, text.bytes, err);
    }
    return status == CE_OK ? ce_splitter_finish(&splitter, err) : status;
}

enum ce_status ce_pretokenizer_cut(struct ce_cutting *cutting,
                                   struct ce_span text,
                                   struct ce_error *err)
{
    return cut(cutting, 0, text, err);
}
