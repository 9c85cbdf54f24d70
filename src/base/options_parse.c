/* options_parse.c - the arguments of one command into its values
 *
 * The command line is read first, then the environment, then the defaults fill
 * what is still open: so nothing ever has to be taken back.
 */

#include "base/options_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* One option of the command and where its value lies. */
struct slot {
    const struct ce_option *option;
    unsigned char *values; /* the group's struct */
    bool set;
};

struct parser {
    const struct ce_program *program;
    const struct ce_command *command;
    int argc;
    char *const *argv;
    int next; /* argument to be read */
    struct slot *slots;
    size_t slot_count;
    struct ce_error *err;
};

/* "cemoe generate: ..." */
static enum ce_status refuse(const struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum ce_status refuse(const struct parser *p, const char *format, ...)
{
    char text[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return ce_fail(
        p->err, CE_ERR_ARG, "%s %s: %s", p->program->name, p->command->name, text);
}

/* ---- values --------------------------------------------------------------- */

/* A list holds at most all arguments, or one default. */
static enum ce_status
append_item(const struct parser *p, struct ce_option_list *list, const char *text)
{
    if (list->item == NULL) {
        list->item = calloc((size_t)p->argc + 1, sizeof(list->item[0]));
    }
    if (list->item == NULL) {
        return ce_fail(p->err, CE_ERR_NOMEM, "out of memory for arguments");
    }
    list->item[list->count++] = text;
    return CE_OK;
}

/* `from` is how messages name the origin: "--max-tokens", "CEMOE_MODEL". */
static enum ce_status
set_value(const struct parser *p, struct slot *slot, const char *from, const char *text)
{
    const struct ce_option *option = slot->option;
    void *field = slot->values + option->field;
    char wanted[300];

    if (option->kind == CE_OPTION_LIST) {
        return append_item(p, field, text);
    }
    /* A shell's variable that is not set leaves such a text. */
    if (option->required && text[0] == '\0') {
        return refuse(p, "%s: %s is empty", from, option->argument);
    }
    if (!ce_option_read(option, text, field)) {
        return refuse(p,
                      "%s wants %s, not \"%.60s\"",
                      from,
                      ce_option_wanted(option, wanted, sizeof(wanted)),
                      text);
    }
    return CE_OK;
}

static void mark_given(struct slot *slot)
{
    slot->set = true;
    if (slot->option->given != 0) {
        *(bool *)(void *)(slot->values + slot->option->given) = true;
    }
}

/* ---- options -------------------------------------------------------------- */

static struct slot *find_long(const struct parser *p, const char *name, size_t length)
{
    for (size_t i = 0; i < p->slot_count; i++) {
        const struct ce_option *option = p->slots[i].option;

        if (!option->positional && strlen(option->name) == length &&
            strncmp(option->name, name, length) == 0) {
            return &p->slots[i];
        }
    }
    return NULL;
}

static struct slot *find_short(const struct parser *p, char name)
{
    for (size_t i = 0; i < p->slot_count; i++) {
        if (p->slots[i].option->short_name == name) {
            return &p->slots[i];
        }
    }
    return NULL;
}

static enum ce_status
refuse_option(const struct parser *p, const char *argument, size_t length)
{
    struct ce_suggestion near = {.name = NULL};
    char typed[80];

    (void)snprintf(typed, sizeof(typed), "%.*s", (int)length, argument);
    for (size_t i = 0; argument[1] == '-' && i < p->slot_count; i++) {
        if (!p->slots[i].option->positional) {
            ce_suggestion_offer(&near, typed + 2, p->slots[i].option->name);
        }
    }
    if (near.name != NULL) {
        return refuse(p, "unknown option %s; did you mean --%s?", typed, near.name);
    }
    return refuse(p,
                  "unknown option %s (see %s %s --help)",
                  typed,
                  p->program->name,
                  p->command->name);
}

/* The arguments up to the next option; at least one. */
static enum ce_status
read_list(struct parser *p, struct slot *slot, const char *spelling)
{
    int first = p->next;

    while (p->next < p->argc && !ce_argument_is_option(p->argv[p->next])) {
        enum ce_status status = set_value(p, slot, spelling, p->argv[p->next++]);

        if (status != CE_OK) {
            return status;
        }
    }
    if (p->next == first) {
        return refuse(p, "%s wants %s", spelling, slot->option->argument);
    }
    return CE_OK;
}

/* The value of an option that was found: attached to it or the next argument. */
static enum ce_status read_value(struct parser *p,
                                 struct slot *slot,
                                 const char *spelling,
                                 const char *attached)
{
    mark_given(slot);
    if (attached != NULL) {
        return set_value(p, slot, spelling, attached);
    }
    if (slot->option->kind == CE_OPTION_LIST) {
        return read_list(p, slot, spelling);
    }
    if (p->next == p->argc) {
        return refuse(p, "%s wants %s", spelling, slot->option->argument);
    }
    if (ce_argument_is_option(p->argv[p->next])) {
        return refuse(p,
                      "%s wants %s before %s",
                      spelling,
                      slot->option->argument,
                      p->argv[p->next]);
    }
    return set_value(p, slot, spelling, p->argv[p->next++]);
}

static enum ce_status read_flag(const struct parser *p,
                                struct slot *slot,
                                const char *spelling,
                                const char *attached,
                                bool value)
{
    if (attached != NULL) {
        return refuse(p, "%s takes no value", spelling);
    }
    mark_given(slot);
    *(bool *)(void *)(slot->values + slot->option->field) = value;
    return CE_OK;
}

static enum ce_status read_long(struct parser *p, const char *argument)
{
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    const char *attached = name[length] == '=' ? name + length + 1 : NULL;
    struct slot *slot = find_long(p, name, length);
    bool negated = slot == NULL && strncmp(name, "no-", 3) == 0;
    char spelling[80];

    if (negated) {
        slot = find_long(p, name + 3, length - 3);
    }
    if (slot == NULL || (negated && slot->option->kind != CE_OPTION_FLAG)) {
        return refuse_option(p, argument, length + 2);
    }
    (void)snprintf(spelling, sizeof(spelling), "%.*s", (int)length + 2, argument);
    if (slot->option->kind == CE_OPTION_FLAG) {
        return read_flag(p, slot, spelling, attached, !negated);
    }
    return read_value(p, slot, spelling, attached);
}

static enum ce_status read_short(struct parser *p, const char *argument)
{
    struct slot *slot = find_short(p, argument[1]);
    const char spelling[] = {'-', argument[1], '\0'};
    const char *attached = argument[2] != '\0' ? argument + 2 : NULL;

    if (slot == NULL) {
        return refuse_option(p, argument, strlen(argument));
    }
    if (slot->option->kind == CE_OPTION_FLAG) {
        return read_flag(p, slot, spelling, attached, true);
    }
    return read_value(p, slot, spelling, attached);
}

static enum ce_status read_positional(struct parser *p, const char *argument)
{
    for (size_t i = 0; i < p->slot_count; i++) {
        struct slot *slot = &p->slots[i];

        if (slot->option->positional &&
            (!slot->set || slot->option->kind == CE_OPTION_LIST)) {
            mark_given(slot);
            return set_value(p, slot, slot->option->argument, argument);
        }
    }
    return refuse(p,
                  "unexpected argument \"%.60s\" (see %s %s --help)",
                  argument,
                  p->program->name,
                  p->command->name);
}

static enum ce_status read_arguments(struct parser *p)
{
    enum ce_status status = CE_OK;
    bool only_positional = false;

    while (status == CE_OK && p->next < p->argc) {
        const char *argument = p->argv[p->next++];

        if (only_positional || !ce_argument_is_option(argument)) {
            status = read_positional(p, argument);
        } else if (strcmp(argument, "--") == 0) {
            only_positional = true;
        } else if (argument[1] == '-') {
            status = read_long(p, argument);
        } else {
            status = read_short(p, argument);
        }
    }
    return status;
}

/* ---- what the command line left open -------------------------------------- */

static enum ce_status fill_slot(const struct parser *p, struct slot *slot)
{
    const struct ce_option *option = slot->option;
    const char *text = option->env != NULL ? getenv(option->env) : NULL;
    char spelling[80];

    if (text != NULL && text[0] != '\0') {
        mark_given(slot);
        return set_value(p, slot, option->env, text);
    }
    ce_option_spelling(option, spelling, sizeof(spelling));
    if (option->required) {
        return refuse(p,
                      "%s%s%s is required",
                      spelling,
                      option->positional ? "" : " ",
                      option->positional ? "" : option->argument);
    }
    if (option->initial == NULL) {
        return CE_OK;
    }
    /* A default outside the range stands for "not given". */
    struct ce_option unlimited = *option;

    unlimited.min = unlimited.max = 0;
    return set_value(p,
                     &(struct slot){.option = &unlimited, .values = slot->values},
                     spelling,
                     option->initial);
}

static enum ce_status fill_rest(const struct parser *p)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < p->slot_count; i++) {
        if (!p->slots[i].set) {
            status = fill_slot(p, &p->slots[i]);
        }
    }
    return status;
}

/* ---- the whole ------------------------------------------------------------ */

static enum ce_status make_slots(struct parser *p, unsigned char *values)
{
    struct ce_option_cursor at = {.group = p->command->groups};
    size_t count = 0;

    while (ce_option_cursor_next(&at)) {
        count++;
    }
    p->slots = calloc(count + 1, sizeof(p->slots[0]));
    if (p->slots == NULL) {
        return ce_fail(p->err, CE_ERR_NOMEM, "out of memory for options");
    }
    at = (struct ce_option_cursor){.group = p->command->groups};
    while (ce_option_cursor_next(&at)) {
        struct slot *slot = &p->slots[p->slot_count++];

        slot->option = at.option;
        slot->values = values + at.group->offset;
    }
    return CE_OK;
}

enum ce_status ce_command_read_values(const struct ce_program *program,
                                      const struct ce_command *command,
                                      int argc,
                                      char *const *argv,
                                      void *values,
                                      struct ce_error *err)
{
    struct parser parser = {
        .program = program, .command = command, .argc = argc, .argv = argv, .err = err};
    enum ce_status status = make_slots(&parser, values);

    if (status == CE_OK) {
        status = read_arguments(&parser);
    }
    if (status == CE_OK) {
        status = fill_rest(&parser);
    }
    free(parser.slots);
    return status;
}
