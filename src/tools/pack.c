/* pack.c - `cemoe pack`: a checkpoint to a directory that is only read to be loaded */

#include "model/pack.h"

#include "base/clock.h"
#include "base/directory.h"
#include "base/file.h"
#include "base/log.h"
#include "base/threads.h"
#include "model/packed_model.h"
#include "tools/commands.h"
#include "tools/common.h"
#include "tools/pack_report.h"
#include "tools/report.h"

#include <dirent.h>
#include <fnmatch.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *model;
    const char *out;
    const char *weights;
    const char *dense_weights;
    const char *report;
    bool quiet;
};

struct job {
    const struct values *values;
    struct ce_config config;
    struct ce_checkpoint checkpoint;
    unsigned char *owned; /* [layers][experts], all 1 */
    struct ce_weight_formats formats;
    const struct ce_kernels *kernels;
    struct ce_directory_writer directory;
    struct ce_pack_report report;
};

static const char *const formats[] = {"stored", "bf16", "q8", "q4", NULL};

static const struct ce_option options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Checkpoint directory as Hugging Face writes it."},
    {.name = "out",
     .short_name = 'o',
     .kind = CE_OPTION_STRING,
     .argument = "NEWDIR",
     .field = offsetof(struct values, out),
     .required = true,
     .help = "Directory to make, for --model of other commands. It must not be there "
             "yet, or be empty; it appears when it is complete."},
    {.name = "weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct values, weights),
     .initial = "stored",
     .choices = formats,
     .help = "The experts' weights: stored, exactly as in the checkpoint; bf16, "
             "rounded; q8 and q4, quantised to 8 or 4 bits with a scale for every 32 "
             "(8.5 and 4.5 bits per weight)."},
    {.name = "dense-weights",
     .kind = CE_OPTION_STRING,
     .argument = "FORMAT",
     .field = offsetof(struct values, dense_weights),
     .initial = "stored",
     .choices = formats,
     .help = "The same for the matrices of attention and the output layer. Router and "
             "embedding stay as they are stored; norms, biases and compressed experts "
             "become 32-bit floats, exactly."},
    {.name = "report",
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, report),
     .help =
         "Write the bytes and the error of every tensor to FILE as JSON; its fields "
         "are described above."},
    {.name = "quiet",
     .short_name = 'q',
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, quiet),
     .help = "Only warnings and errors on stderr."},
    {0}};

/* In the new directory; malloc'ed. */
static char *new_path(const struct job *job, const char *name, struct ce_error *err)
{
    char *path = ce_path_join(job->directory.temporary, name);

    if (path == NULL) {
        (void)ce_fail(
            err, CE_ERR_NOMEM, "%s: no memory for its paths", job->values->out);
    }
    return path;
}

static enum ce_status refuse_packed(const char *model, struct ce_error *err)
{
    char *path = ce_path_join(model, CE_PACKED_MODEL_NAME);
    enum ce_status status = CE_OK;

    if (path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its paths", model);
    }
    if (ce_file_exists(path)) {
        status = ce_fail(
            err, CE_ERR_ARG, "%s: is packed already; pack the checkpoint", path);
    }
    free(path);
    return status;
}

static enum ce_status choose(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    enum ce_isa isa = CE_ISA_REF;
    enum ce_status status = ce_isa_choose(&isa, err);

    if (status == CE_OK) {
        job->kernels = ce_kernels_get(isa);
        status = ce_weight_format_by_name(
            &job->formats.experts, values->weights, "--weights", err);
    }
    if (status == CE_OK) {
        status = ce_weight_format_by_name(
            &job->formats.dense, values->dense_weights, "--dense-weights", err);
    }
    return status;
}

static enum ce_status open_model(struct job *job, struct ce_error *err)
{
    const char *model = job->values->model;
    enum ce_status status = choose(job, err);

    if (status == CE_OK) {
        status = ce_config_load(&job->config, model, err);
    }
    if (status == CE_OK) {
        status = refuse_packed(model, err);
    }
    if (status == CE_OK) {
        status = ce_checkpoint_open(&job->checkpoint, model, err);
    }
    if (status != CE_OK) {
        return status;
    }
    job->owned = malloc(job->config.layers * job->config.experts);
    if (job->owned == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of experts");
    }
    memset(job->owned, 1, job->config.layers * job->config.experts);
    return CE_OK;
}

static enum ce_status pack_weights(struct job *job, struct ce_error *err)
{
    const struct ce_weights_request request = {.config = &job->config,
                                               .checkpoint = &job->checkpoint,
                                               .owned = job->owned,
                                               .formats = job->formats,
                                               .want_compressed = true};
    char *path = new_path(job, CE_PACKED_MODEL_NAME, err);
    enum ce_status status =
        path == NULL ? CE_ERR_NOMEM
                     : ce_pack(&job->report, &request, path, job->kernels, err);

    free(path);
    return status;
}

/* Of a configuration or a tokenizer. */
#define MOST_BYTES ((size_t)256 << 20)

static enum ce_status
copy_file(const struct job *job, const char *name, struct ce_error *err)
{
    char *from = ce_path_join(job->values->model, name);
    char *to = new_path(job, name, err);
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status =
        from == NULL || to == NULL
            ? ce_fail(err, CE_ERR_NOMEM, "no memory to copy %s", name)
            : ce_file_read(from, MOST_BYTES, &text, &bytes, err);

    if (status == CE_OK) {
        status = ce_file_write_atomic(to, text, bytes, err);
        free(text);
    }
    free(from);
    free(to);
    return status;
}

static bool is_copied(const char *name)
{
    return strcmp(name, "config.json") == 0 ||
           strcmp(name, "generation_config.json") == 0 ||
           fnmatch("tokenizer*.json", name, 0) == 0;
}

static enum ce_status copy_files(const struct job *job, struct ce_error *err)
{
    DIR *listing = opendir(job->values->model);
    const struct dirent *entry = NULL;
    enum ce_status status = CE_OK;

    if (listing == NULL) {
        return ce_fail(
            err, CE_ERR_IO, "%s: not a directory that can be read", job->values->model);
    }
    while (status == CE_OK && (entry = readdir(listing)) != NULL) {
        if (is_copied(entry->d_name)) {
            status = copy_file(job, entry->d_name, err);
        }
    }
    (void)closedir(listing);
    return status;
}

static enum ce_status write_directory(struct job *job, struct ce_error *err)
{
    enum ce_status status =
        ce_directory_writer_open(&job->directory, job->values->out, err);

    if (status == CE_OK) {
        status = copy_files(job, err);
    }
    if (status == CE_OK) {
        status = pack_weights(job, err);
    }
    if (status == CE_OK) {
        status = ce_directory_writer_commit(&job->directory, err);
    }
    ce_directory_writer_close(&job->directory);
    return status;
}

static enum ce_status work(struct job *job, struct ce_error *err)
{
    const struct values *values = job->values;
    const uint64_t began = ce_clock_ns();
    enum ce_status status = open_model(job, err);

    if (status == CE_OK) {
        status = write_directory(job, err);
    }
    if (status != CE_OK) {
        return status;
    }
    ce_pack_report_log(&job->report, (double)(ce_clock_ns() - began) / 1e9);
    return values->report == NULL
               ? CE_OK
               : ce_report_write(values->report,
                                 ce_pack_report_describe(&job->report, job->formats),
                                 err);
}

static int run(const void *untyped)
{
    struct job job = {.values = untyped};
    struct ce_error err = {.text = ""};
    enum ce_status status = CE_OK;

    if (!ce_log_is_speaker()) {
        return CE_EXIT_DONE; /* under a launcher one process does it */
    }
    ce_log_init(job.values->quiet ? CE_LOG_WARN : CE_LOG_INFO, 0);
    status = ce_threads_check((size_t)omp_get_max_threads(), &err);
    if (status == CE_OK) {
        status = work(&job, &err);
    }
    ce_pack_report_free(&job.report);
    ce_checkpoint_close(&job.checkpoint);
    free(job.owned);
    return status == CE_OK ? CE_EXIT_DONE : ce_report_failure("pack", &err);
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options}, {0}};

static const struct ce_example examples[] = {
    {"A model of 8 bits, for --model olmoe-q8/",
     "cemoe pack -m olmoe/ -o olmoe-q8/ --weights q8 --dense-weights q8"},
    {"The five tensors that quantising changed most",
     "cemoe pack -m olmoe/ -o olmoe-q4/ --weights q4 --report q4.json && jq -c "
     "'.tensors | sort_by(-.error)[:5][] | [.name, .error]' q4.json"},
    {0}};

static const char *const usage[] = {"--model DIR --out NEWDIR [options]", NULL};

const struct ce_command ce_command_pack = {
    .name = "pack",
    .summary = "Write a model as the kernels read it, so that it loads faster",
    .usage = usage,
    .description =
        "Makes a directory with model.cemoe, which has all weights in the formats "
        "asked for and the tables of compressed experts, and with the checkpoint's "
        "configuration and tokenizer. The other commands take it as --model, on any "
        "number of ranks; each reads only what it owns and checks what it reads. "
        "Results are the same bits as from the checkpoint with the same --weights and "
        "--dense-weights.\n\n"
        "Errors are relative: the root of the mean square of what changed, divided by "
        "that of the stored weights.\n\n"
        "Fields of --report:\n\n"
        "  weights, dense_weights\n"
        "                      the formats\n"
        "  stored_bytes, packed_bytes\n"
        "                      of all tensors\n"
        "  roles.R             experts, dense, exact (embedding, routers), vectors,\n"
        "                      tables (compressed experts): tensors, stored_bytes,\n"
        "                      packed_bytes, error_min, error_mean, error_max\n"
        "  tensors[]           name, role, stored, packed (types), stored_bytes,\n"
        "                      packed_bytes, error",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
