/* Files that are valid, but not the packed model of this configuration. */

#include "model/pack.h"
#include "model/packed_model.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
    struct ce_config config;
    struct ce_weight_formats formats;
    unsigned char *owned;
    const struct ce_kernels *kernels;
    struct ce_packed_file file; /* of the shipped model */
};

static void check(enum ce_status status, const struct ce_error *err)
{
    if (status != CE_OK) {
        fail_msg("%s", err->text);
    }
}

static void fixture_open(struct fixture *f, void **state)
{
    const char *path = temporary_path(state, "whole");
    struct ce_pack_report report = {.count = 0};
    struct ce_checkpoint checkpoint;
    struct ce_error err = {.text = ""};

    *f = (struct fixture){.formats = {CE_WEIGHTS_Q8, CE_WEIGHTS_STORED},
                          .kernels = ce_kernels_get(CE_ISA_REF)};
    check(ce_config_load(&f->config, CE_MODEL_DIR, &err), &err);
    check(ce_checkpoint_open(&checkpoint, CE_MODEL_DIR, &err), &err);
    f->owned = calloc(f->config.layers * f->config.experts, 1);
    const struct ce_weights_request request = {.config = &f->config,
                                               .checkpoint = &checkpoint,
                                               .owned = f->owned,
                                               .formats = f->formats,
                                               .want_compressed = true};
    check(ce_pack(&report, &request, path, f->kernels, &err), &err);
    check(ce_packed_file_open(&f->file, path, f->kernels, &err), &err);
    ce_pack_report_free(&report);
    ce_checkpoint_close(&checkpoint);
}

static void fixture_close(struct fixture *f)
{
    ce_packed_file_close(&f->file);
    free(f->owned);
}

/* Changes a tensor; false leaves it out. */
typedef bool change_function(struct ce_packed_tensor *tensor);

static void
rewrite(struct fixture *f, const char *path, change_function *change, const char *extra)
{
    struct ce_packed_writer writer;
    struct ce_error err = {.text = ""};

    check(ce_packed_writer_open(&writer, path, &f->file.source, f->kernels, &err),
          &err);
    for (size_t i = 0; i < f->file.count; i++) {
        struct ce_packed_tensor tensor = f->file.tensors[i];
        void *data = calloc(tensor.bytes, 2);

        if (change(&tensor)) {
            check(ce_packed_writer_add(&writer, &tensor, data, &err), &err);
        }
        free(data);
    }
    if (extra != NULL) {
        const struct ce_packed_tensor tensor = {
            .name = extra, .dtype = "F32", .dims = 1, .shape = {1}, .bytes = 4};

        check(ce_packed_writer_add(&writer, &tensor, "data", &err), &err);
    }
    check(ce_packed_writer_commit(&writer, &err), &err);
    ce_packed_writer_close(&writer);
}

static void assert_refused(void **state,
                           change_function *change,
                           const char *extra,
                           const char *part)
{
    const char *path = temporary_path(state, "changed");
    struct ce_packed_file file;
    struct ce_weights plan;
    struct ce_error err = {.text = ""};
    struct fixture f;

    fixture_open(&f, state);
    rewrite(&f, path, change, extra);
    check(ce_packed_file_open(&file, path, f.kernels, &err), &err);
    const struct ce_weights_request request = {.config = &f.config,
                                               .packed = &file,
                                               .owned = f.owned,
                                               .formats = f.formats,
                                               .want_compressed = true};
    enum ce_status status = ce_weights_plan(&plan, &request, &err);

    ce_weights_destroy(&plan);
    ce_packed_file_close(&file);
    fixture_close(&f);
    assert_int_equal(status, part == NULL ? CE_OK : CE_ERR_FORMAT);
    if (part != NULL &&
        (strstr(err.text, path) == NULL || strstr(err.text, part) == NULL)) {
        fail_msg("%s", err.text);
    }
}

#define EXPERT "model.layers.2.mlp.experts.3.up_proj.weight"

static bool is_expert(const struct ce_packed_tensor *tensor)
{
    return strcmp(tensor->name, EXPERT) == 0;
}

static bool keep(struct ce_packed_tensor *tensor)
{
    return tensor->bytes > 0;
}

static bool drop(struct ce_packed_tensor *tensor)
{
    return !is_expert(tensor);
}

static bool rename_norm(struct ce_packed_tensor *tensor)
{
    if (strcmp(tensor->name, "model.norm.weight") == 0) {
        tensor->name = "model.abnorm.weight";
    }
    return true;
}

static bool transpose(struct ce_packed_tensor *tensor)
{
    if (is_expert(tensor)) {
        size_t outputs = tensor->shape[0];

        tensor->shape[0] = tensor->shape[1];
        tensor->shape[1] = outputs;
    }
    return true;
}

static bool lengthen(struct ce_packed_tensor *tensor)
{
    tensor->bytes += is_expert(tensor) ? 64 : 0;
    return true;
}

static bool retype(struct ce_packed_tensor *tensor)
{
    if (is_expert(tensor)) {
        tensor->dtype = "q4";
    }
    return true;
}

static bool retype_norm(struct ce_packed_tensor *tensor)
{
    if (strcmp(tensor->name, "model.norm.weight") == 0) {
        tensor->dtype = "BF16";
    }
    return true;
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    assert_refused(state, keep, NULL, NULL);
    assert_refused(
        state, keep, "model.layers.4.mlp.ces", "tensor model.layers.4.mlp.ces");
    assert_refused(state, drop, NULL, "'" EXPERT "' is missing");
    assert_refused(state, rename_norm, NULL, "'model.norm.weight' is missing");
    assert_refused(state, transpose, NULL, "'" EXPERT "' is q8 [128, 64]");
    assert_refused(state, lengthen, NULL, "'" EXPERT "'");
    assert_refused(state, retype, NULL, "'" EXPERT "' is q4");
    assert_refused(state, retype_norm, NULL, "'model.norm.weight' is BF16");
}

static void a_directory_without_one_is_no_failure(void **state)
{
    struct ce_weight_formats formats = {CE_WEIGHTS_Q4, CE_WEIGHTS_Q8};
    struct ce_packed_file file;
    struct ce_config config;
    struct ce_error err = {.text = ""};

    check(ce_config_load(&config, CE_MODEL_DIR, &err), &err);
    check(ce_packed_model_open(&file,
                               &formats,
                               ((struct temporary *)*state)->dir,
                               &config,
                               ce_kernels_get(CE_ISA_REF),
                               &err),
          &err);
    assert_null(file.path);
    assert_int_equal(formats.experts, CE_WEIGHTS_Q4);
    ce_packed_file_close(&file);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(what_does_not_fit_is_refused_by_name),
        WITH_FILES(a_directory_without_one_is_no_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
