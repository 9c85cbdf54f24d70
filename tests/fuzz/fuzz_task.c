/* fuzz_task.c - no description gives one that is not whole */

#include "eval/description.h"
#include "eval/task.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check_scoring(const struct ce_task *task)
{
    require(task->metrics > 0 && task->filters > 0);
    for (size_t i = 0; i < task->metrics; i++) {
        require(task->metric[i].name != NULL);
    }
    for (size_t i = 0; i < task->filters; i++) {
        require(task->filter[i].name != NULL && task->filter[i].steps > 0);
        for (size_t j = 0; j < task->filter[i].steps; j++) {
            const struct ce_filter_step *step = &task->filter[i].step[j];

            require((step->kind == CE_FILTER_REGEX) ==
                    (step->pattern != NULL && step->fallback != NULL));
        }
    }
}

static void check(const struct ce_description *description)
{
    bool choice = description->output == CE_OUTPUT_MULTIPLE_CHOICE;

    require(description->name != NULL && description->documents != NULL);
    require(description->version != NULL && description->target_delimiter != NULL);
    require(description->fewshot.delimiter != NULL);
    require(choice == (description->gold != NULL));
    require(choice || description->target != NULL);
    require(choice || description->output == CE_OUTPUT_ROLLING ||
            description->prompt != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ce_description description;
    struct ce_task task = {.name = NULL};
    struct ce_error err = {.text = ""};
    const char *text = size > 0 ? (const char *)data : "";
    enum ce_status status = ce_description_parse(&description, text, size, "t", &err);

    if (status == CE_OK) {
        check(&description);
        task.output = description.output;
        status = ce_description_read_scoring(&description, &task, &err);
    }
    if (status == CE_OK) {
        check_scoring(&task);
    } else {
        require(strncmp(err.text, "t: ", 3) == 0);
    }
    ce_task_close(&task);
    ce_description_close(&description);
    return 0;
}
