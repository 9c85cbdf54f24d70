/* self.c - the transport of a rank alone: its message to itself is all there is */

#include "comm/backend.h"

#include <stdlib.h>

static void self_destroy(struct ce_transport *t)
{
    ce_transport_fini(t);
    free(t);
}

static enum ce_status self_create(struct ce_transport **out, struct ce_error *err)
{
    int rank;
    int ranks;

    ce_transport_launcher(&rank, &ranks);
    if (ranks != 1) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "transport self was asked for in a launch of several "
                       "processes (this is rank %d): each would do the whole job "
                       "alone; use transport mpi, and with srun --mpi=pmix",
                       rank);
    }
    struct ce_transport *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a transport");
    }
    enum ce_status status = ce_transport_init(t, &ce_transport_self, 0, 1, err);
    if (status != CE_OK) {
        self_destroy(t);
        return status;
    }
    *out = t;
    return CE_OK;
}

static enum ce_status
self_progress(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    (void)t, (void)slot, (void)err;
    return CE_AGAIN;
}

static void self_abort(struct ce_transport *t, int exit_code)
{
    (void)t, (void)exit_code;
}

const struct ce_transport_ops ce_transport_self = {
    .name = "self",
    .create = self_create,
    .progress = self_progress,
    .destroy = self_destroy,
    .abort = self_abort,
};
