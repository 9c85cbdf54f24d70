/* options_demo.h - a program with every kind of option, for the tests of options.h */

#ifndef CE_TESTS_OPTIONS_DEMO_H
#define CE_TESTS_OPTIONS_DEMO_H

#include "base/options.h"

#include <math.h>

struct model_values {
    const char *model;
    int compressed;
    bool compressed_given;
};

struct say_values {
    bool stream;
    bool json;
    struct ce_option_list prompts;
    int max_tokens;
    uint64_t seed;
    size_t memory;
    double temperature;
    const char *combine;
    struct model_values model;
};

struct sum_values {
    const char *first;
    struct ce_option_list rest;
};

static int run_nothing(const void *values)
{
    (void)values;
    return CE_EXIT_DONE;
}

static const char *const combines[] = {"ordered", "partial", NULL};

static const struct ce_option model_options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct model_values, model),
     .required = true,
     .env = "CEMOE_TEST_MODEL",
     .help = "Checkpoint directory."},
    {.name = "compressed",
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct model_values, compressed),
     .given = offsetof(struct model_values, compressed_given),
     .initial = "-1",
     .initial_help = "what the checkpoint says",
     .min = 0,
     .max = HUGE_VAL,
     .help = "How many of the selected experts are compressed."},
    {0},
};

static const struct ce_option say_options[] = {
    {.name = "prompt",
     .short_name = 'p',
     .kind = CE_OPTION_LIST,
     .argument = "TEXT",
     .field = offsetof(struct say_values, prompts),
     .initial = "Hello",
     .help = "Texts to continue. One result each, in the order given, whatever "
             "the order they were finished in."},
    {.name = "max-tokens",
     .short_name = 'n',
     .kind = CE_OPTION_INT,
     .argument = "N",
     .field = offsetof(struct say_values, max_tokens),
     .initial = "16",
     .min = 1,
     .max = 1000,
     .env = "CEMOE_TEST_MAX_TOKENS",
     .help = "At most so many new tokens."},
    {.name = "seed",
     .kind = CE_OPTION_UINT64,
     .argument = "N",
     .field = offsetof(struct say_values, seed),
     .help = "Key of the random numbers."},
    {.name = "memory",
     .kind = CE_OPTION_SIZE,
     .argument = "BYTES",
     .field = offsetof(struct say_values, memory),
     .initial = "64k",
     .help = "Memory of the cache."},
    {.name = "temperature",
     .kind = CE_OPTION_DOUBLE,
     .argument = "T",
     .field = offsetof(struct say_values, temperature),
     .min = 0,
     .max = HUGE_VAL,
     .help = "Divides the logits."},
    {.name = "combine",
     .kind = CE_OPTION_STRING,
     .argument = "HOW",
     .field = offsetof(struct say_values, combine),
     .choices = combines,
     .initial = "ordered",
     .help = "Order of the sums."},
    {.name = "stream",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct say_values, stream),
     .initial = "yes",
     .env = "CEMOE_TEST_STREAM",
     .help = "Write pieces as they come."},
    {.name = "json",
     .short_name = 'j',
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct say_values, json),
     .help = "Write JSON."},
    {0},
};

static const struct ce_option sum_options[] = {
    {.name = "first",
     .positional = true,
     .required = true,
     .kind = CE_OPTION_STRING,
     .argument = "FIRST",
     .field = offsetof(struct sum_values, first),
     .help = "First file."},
    {.name = "rest",
     .positional = true,
     .kind = CE_OPTION_LIST,
     .argument = "MORE",
     .field = offsetof(struct sum_values, rest),
     .help = "Other files."},
    {0},
};

static const struct ce_option_group say_groups[] = {
    {.title = "Model",
     .options = model_options,
     .offset = offsetof(struct say_values, model)},
    {.title = "Text", .options = say_options},
    {0},
};
static const struct ce_option_group sum_groups[] = {
    {.title = "Files", .options = sum_options},
    {0},
};
static const struct ce_option_group load_groups[] = {
    {.title = "Model", .options = model_options},
    {0},
};

static const struct ce_command say_command = {
    .name = "say",
    .summary = "Continue texts",
    .usage = (const char *const[]){"--model DIR [options]", NULL},
    .description = "Filled text that is long enough to need a second line when "
                   "it is shown on a terminal.\n\n  kept   as it is",
    .examples =
        (const struct ce_example[]){
            {.what = "One text:", .line = "demo say --model here"}, {0}},
    .groups = say_groups,
    .values_size = sizeof(struct say_values),
    .run = run_nothing,
};
static const struct ce_command sum_command = {
    .name = "bench sum",
    .summary = "Add files",
    .usage = (const char *const[]){"FIRST [MORE...]", NULL},
    .groups = sum_groups,
    .values_size = sizeof(struct sum_values),
    .run = run_nothing,
};
static const struct ce_command load_command = {
    .name = "bench load",
    .summary = "Load a model",
    .usage = (const char *const[]){"--model DIR", NULL},
    .groups = load_groups,
    .values_size = sizeof(struct model_values),
    .run = run_nothing,
};
static const struct ce_command man_command = {
    .name = "man", .summary = "Manual", .hidden = true, .run = run_nothing};

static const struct ce_program demo = {
    .name = "demo",
    .version = "1.2.3",
    .summary = "shows options",
    .description = "A program of the tests.",
    .commands =
        (const struct ce_command *const[]){
            &say_command, &sum_command, &load_command, &man_command, NULL},
    .sections =
        (const struct ce_manual_section[]){
            {.title = "EXIT STATUS", .text = ".5 is none\n\n 0  done"}, {0}},
};

#endif
