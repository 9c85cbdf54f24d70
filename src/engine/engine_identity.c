/* engine_identity.c - do all ranks have one model, which is it, does it stay as it is?
 *
 * Before loading, ranks whose files are not the very same ones compare samples of every
 * tensor: a stale copy is found in seconds, also in experts that its rank does not own.
 * While loading, each hashes what it reads; afterwards what several have read must be
 * alike, and all together have read everything once.
 */

#include "engine/engine_identity.h"

#include "base/file.h"
#include "base/hash.h"
#include "comm/collective.h"
#include "model/identity_read.h"
#include "model/packed_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a rank reads of a model directory besides the weights; all but config.json,
 * which is compared field by field, may be missing. */
static const char *const small_files[] = {"tokenizer.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "added_tokens.json",
                                          "generation_config.json",
                                          "config.json"};
enum { SMALL_FILES = 6, COMPARED_FILES = SMALL_FILES - 1 };

/* ---- small files ---- */

/* Appends its line to *lines. */
static enum ce_status describe_file(char **lines,
                                    const struct ce_kernels *kernels,
                                    const char *dir,
                                    const char *name,
                                    struct ce_error *err)
{
    char *path = ce_path_join(dir, name);
    struct ce_file_map map = {.data = NULL};
    enum ce_status status = CE_OK;
    char *longer = NULL;
    int length = -1;

    if (path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its paths", dir);
    }
    if (!ce_file_exists(path)) {
        length = asprintf(&longer, "%s%s=none\n", *lines, name);
    } else {
        status = ce_file_map_open(&map, path, err);
        if (status == CE_OK) {
            length =
                asprintf(&longer,
                         "%s%s=%016" PRIx64 "\n",
                         *lines,
                         name,
                         map.bytes == 0 ? 0 : kernels->checksum(map.data, map.bytes));
        }
        ce_file_map_close(&map);
    }
    free(path);
    if (status == CE_OK && length < 0) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to describe it", dir);
    }
    if (status == CE_OK) {
        free(*lines);
        *lines = longer;
    }
    return status;
}

enum ce_status ce_engine_describe_files(char **lines,
                                        const struct ce_kernels *kernels,
                                        const char *dir,
                                        struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *lines = strdup("");
    if (*lines == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to describe it", dir);
    }
    for (size_t i = 0; status == CE_OK && i < COMPARED_FILES; i++) {
        status = describe_file(lines, kernels, dir, small_files[i], err);
    }
    if (status != CE_OK) {
        free(*lines);
        *lines = NULL;
    }
    return status;
}

/* ---- files that must stay as they are ---- */

enum ce_status ce_engine_watch_small_files(struct ce_file_watch *watch,
                                           const char *dir,
                                           struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < SMALL_FILES; i++) {
        char *path = ce_path_join(dir, small_files[i]);

        status = path == NULL ? ce_fail(err, CE_ERR_NOMEM, "no memory for a path")
                              : ce_file_watch_add(watch, path, NULL, err);
        free(path);
    }
    return status;
}

enum ce_status ce_engine_watch_files(struct ce_engine *engine,
                                     const struct ce_engine_options *options,
                                     struct ce_error *err)
{
    enum ce_status status =
        ce_engine_watch_small_files(&engine->files, options->model, err);

    if (status == CE_OK && options->compressed_experts != NULL) {
        status =
            ce_file_watch_add(&engine->files, options->compressed_experts, NULL, err);
    }
    if (status == CE_OK && options->placement != NULL) {
        status = ce_file_watch_add(&engine->files, options->placement, NULL, err);
    }
    return status;
}

enum ce_status ce_engine_watch_weights(struct ce_engine *engine,
                                       const struct ce_weights_request *request,
                                       struct ce_error *err)
{
    return request->packed != NULL
               ? ce_file_watch_add(&engine->files,
                                   request->packed->path,
                                   &request->packed->stamp,
                                   err)
               : ce_checkpoint_watch(request->checkpoint, &engine->files, err);
}

enum ce_status ce_engine_check_files(const struct ce_engine *engine,
                                     struct ce_error *err)
{
    return ce_file_watch_check(&engine->files, engine->options.map_weights, err);
}

/* ---- ranks ---- */

/* What a rank says of itself and of its files before they are compared. */
struct introduction {
    struct ce_engine_peer peer;
    uint64_t files; /* which files they are: the same on ranks that see the same ones */
    uint64_t kinds; /* names, types and shapes of their tensors */
};

static uint64_t hash_stamp(uint64_t hash, const struct ce_file_stamp *stamp)
{
    hash =
        ce_hash_u64(hash, stamp->inode); /* the device has another number elsewhere */
    hash = ce_hash_u64(hash, stamp->bytes);
    hash = ce_hash_u64(hash, (uint64_t)stamp->modified_ns);
    return ce_hash_u64(hash, (uint64_t)stamp->changed_ns);
}

static struct introduction introduce(const char *dir,
                                     const struct ce_weights_request *request)
{
    struct introduction mine = {.files = CE_HASH_START};

    (void)gethostname(mine.peer.host, sizeof(mine.peer.host) - 1);
    (void)snprintf(mine.peer.model, sizeof(mine.peer.model), "%s", dir);
    if (request->packed != NULL) {
        mine.files = hash_stamp(mine.files, &request->packed->stamp);
        mine.kinds = request->packed->hash;
        return mine;
    }
    for (size_t i = 0; i < request->checkpoint->files; i++) {
        mine.files = hash_stamp(mine.files, &request->checkpoint->file[i].map.stamp);
    }
    mine.kinds = ce_checkpoint_hash(request->checkpoint);
    return mine;
}

/* *alike: all ranks see the same files. */
static enum ce_status introduce_ranks(struct ce_engine *engine,
                                      const char *dir,
                                      const struct ce_weights_request *request,
                                      bool *alike,
                                      struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    struct introduction mine;
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    memset(&mine, 0, sizeof(mine));
    mine = introduce(dir, request);
    engine->peers = calloc((size_t)transport->ranks, sizeof(engine->peers[0]));
    if (engine->peers == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the names of the ranks");
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status =
            ce_allgather(transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);
    }
    *alike = true;
    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        struct introduction other;

        if (all[r].bytes != sizeof(other)) {
            return ce_fail(err, CE_ERR_COMM, "rank %d did not introduce itself", r);
        }
        memcpy(&other, all[r].data, sizeof(other));
        other.peer.host[sizeof(other.peer.host) - 1] = '\0';
        other.peer.model[sizeof(other.peer.model) - 1] = '\0';
        engine->peers[r] = other.peer;
        *alike = *alike && other.files == mine.files && other.kinds == mine.kinds;
    }
    return status;
}

/* ---- tensors of all ranks ---- */

/* Copies of what all ranks sent, where they can be read. */
struct gathered {
    struct ce_identity_mark *memory;
    const struct ce_identity_mark **all; /* [ranks] */
    size_t *count;                       /* [ranks] */
};

static void free_gathered(struct gathered *gathered)
{
    free(gathered->memory);
    free(gathered->all);
    free(gathered->count);
}

static enum ce_status keep_marks(struct gathered *gathered,
                                 const struct ce_bytes *all,
                                 size_t ranks,
                                 struct ce_error *err)
{
    const size_t size = sizeof(gathered->memory[0]);
    size_t total = 0;

    for (size_t r = 0; r < ranks; r++) {
        if (all[r].bytes % size != 0) {
            return ce_fail(err, CE_ERR_COMM, "rank %zu sent bad hashes", r);
        }
        total += all[r].bytes / size;
    }
    gathered->memory = calloc(total + 1, size);
    gathered->all = calloc(ranks, sizeof(gathered->all[0]));
    gathered->count = calloc(ranks, sizeof(gathered->count[0]));
    if (gathered->memory == NULL || gathered->all == NULL || gathered->count == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the hashes of all ranks");
    }
    total = 0;
    for (size_t r = 0; r < ranks; r++) {
        gathered->all[r] = gathered->memory + total;
        gathered->count[r] = all[r].bytes / size;
        if (all[r].bytes > 0) {
            memcpy(gathered->memory + total, all[r].data, all[r].bytes);
        }
        total += gathered->count[r];
    }
    return CE_OK;
}

/* The file that has the tensor, within the directory, as on this rank; "": not known.
 */
static const char *file_of(const struct ce_weights_request *request, const char *tensor)
{
    const char *path = NULL;

    if (request->packed != NULL) {
        return "/" CE_PACKED_MODEL_NAME;
    }
    return ce_checkpoint_find(request->checkpoint, tensor, &path) != NULL
               ? path + strlen(request->checkpoint->dir)
               : "";
}

static enum ce_status fail_difference(const struct ce_engine *engine,
                                      const struct ce_identity *identity,
                                      const struct ce_weights_request *request,
                                      const struct ce_identity_difference *found,
                                      struct ce_error *err)
{
    const bool known = found->tensor < identity->count;
    const char *tensor = known ? identity->tensor[found->tensor].name : "";
    const struct ce_engine_peer *rank = &engine->peers[found->rank];
    const struct ce_engine_peer *other = &engine->peers[found->other];

    if (err != NULL) {
        err->rank = found->rank;
    }
    return ce_fail(err,
                   CE_ERR_MISMATCH,
                   "rank %d (%s) has another model than rank %d (%s): %.128s%s: tensor "
                   "'%.128s' has %s: all ranks need copies of one model",
                   found->rank,
                   rank->host,
                   found->other,
                   other->host,
                   rank->model,
                   file_of(request, tensor),
                   known ? tensor : "beyond the last one",
                   found->kind ? "another type or shape, or is not there"
                               : "other values");
}

/* Collective; `status` is this rank's so far. */
static enum ce_status compare_marks(struct ce_engine *engine,
                                    struct ce_identity *identity,
                                    const struct ce_weights_request *request,
                                    bool combine,
                                    struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    const struct ce_bytes mine = {identity->mark,
                                  identity->count * sizeof(identity->mark[0])};
    struct gathered gathered = {.memory = NULL};
    struct ce_identity_difference found = {.tensor = 0};
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_allgather(transport, mine, &all, err);

    if (status != CE_OK) {
        return status;
    }
    status = keep_marks(&gathered, all, (size_t)transport->ranks, err);
    if (status == CE_OK &&
        ce_identity_find_difference(
            gathered.all, gathered.count, transport->ranks, &found)) {
        status = fail_difference(engine, identity, request, &found, err);
    } else if (status == CE_OK && combine) {
        status = ce_identity_combine(identity, gathered.all, transport->ranks, err);
    }
    free_gathered(&gathered);
    return ce_agree(transport, status, err);
}

enum ce_status ce_engine_compare_files(struct ce_engine *engine,
                                       const char *dir,
                                       const struct ce_weights_request *request,
                                       struct ce_error *err)
{
    /* Ranks that split tensors have none of them in whole to compare after loading; on
     * one host their files are the very same, and if not, all bytes are compared. */
    const size_t parts = request->split.ranks > 1 ? 1 : 0;
    struct ce_identity samples = {.count = 0};
    bool alike = true;
    enum ce_status status = introduce_ranks(engine, dir, request, &alike, err);

    status = ce_agree(engine->transport, status, err);
    if (status != CE_OK || alike) {
        return status;
    }
    status = ce_agree(
        engine->transport, ce_identity_read(&samples, request, 0, parts, err), err);
    if (status == CE_OK) {
        status = compare_marks(engine, &samples, request, false, err);
    }
    ce_identity_free(&samples);
    return status;
}

/* A packed model says which checkpoint it was made of; what is computed with is what it
 * has itself. */
static void take_identity(struct ce_engine *engine,
                          const struct ce_identity *identity,
                          const struct ce_packed_file *packed)
{
    engine->identity.weights = ce_identity_sum(identity, false, CE_HASH_START);
    engine->identity.tables = ce_identity_sum(identity, true, CE_HASH_START);
    engine->identity.model =
        packed != NULL ? packed->source.content_hash : engine->identity.weights;
    if (packed != NULL) {
        engine->identity.weights =
            ce_hash_u64(engine->identity.weights, engine->identity.model);
    }
}

enum ce_status ce_engine_identify(struct ce_engine *engine,
                                  struct ce_identity *identity,
                                  const struct ce_weights_request *request,
                                  struct ce_error *err)
{
    enum ce_status status = compare_marks(engine, identity, request, true, err);

    if (status == CE_OK) {
        take_identity(engine, identity, request->packed);
    }
    return status;
}

void ce_engine_identify_dummy(struct ce_engine *engine, uint64_t seed)
{
    const uint64_t hash = ce_hash_u64(ce_packed_config_hash(&engine->config), seed);

    engine->identity = (struct ce_engine_identity){hash, hash, hash};
}
