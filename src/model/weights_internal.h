/* weights_internal.h - what loaded and dummy weights have in common */

#ifndef CE_MODEL_WEIGHTS_INTERNAL_H
#define CE_MODEL_WEIGHTS_INTERNAL_H

#include "model/tensor_walk.h"
#include "model/weights.h"

/* The lists of layers and experts, empty. */
CE_MUST_CHECK enum ce_status ce_weights_take_layers(struct ce_weights *weights,
                                                    const struct ce_config *config,
                                                    struct ce_error *err);

/* Adds the bytes of a resident tensor to the count of its kind. */
void ce_weights_count(struct ce_weights *weights,
                      enum ce_tensor_role role,
                      size_t bytes);

/* The type in memory of a matrix that is stored as `stored`, and its bytes. */
enum ce_dtype ce_weights_dtype(struct ce_weight_formats formats,
                               const struct ce_tensor_slot *slot,
                               enum ce_dtype stored);

/* The rows of a tensor that this rank holds: all, but of a matrix that is not exact its
 * slice. */
struct ce_slice ce_weights_rows(struct ce_weights_split split,
                                const struct ce_tensor_slot *slot);

/* The output matrix of tied embeddings: the rank's slice, in the memory of the whole,
 * which every rank has to look its ids up. */
void ce_weights_tie(struct ce_weights *weights, struct ce_weights_split split);

/* Outputs first .. first + count - 1 of `from` into `to`, the matrix in memory; first
 * and count in panels of 16 where that is packed. Returns the first output with a
 * weight that cannot be quantised, else from->outputs. */
size_t ce_weights_convert(const struct ce_matrix *to,
                          const struct ce_matrix *from,
                          size_t first,
                          size_t count);

enum ce_status ce_weights_fail_quantising(const char *name, struct ce_error *err);

/* The weights [inputs] of one output of any matrix, as they are computed with. */
void ce_weights_output(float *weights, const struct ce_matrix *matrix, size_t output);

/* Finds what the walk asks for in the files of a request, and remembers the names, so
 * that what nobody asked for can be found too. Zeroed but for the request; to be freed
 * with fini. */
struct ce_weights_finder {
    const struct ce_weights_request *request;
    size_t missing_tables;
    char **name;
    size_t names;
    size_t capacity;
};
void ce_weights_finder_fini(struct ce_weights_finder *finder);

/* The tensor as it is stored, checked; its data is NULL where there is none or none is
 * wanted, which only tables may be. */
CE_MUST_CHECK enum ce_status ce_weights_find(struct ce_weights_finder *finder,
                                             const struct ce_tensor_slot *slot,
                                             struct ce_tensor *found,
                                             struct ce_error *err);
/* The same in request->packed, which has it as it will be in memory, of `dtype`. */
CE_MUST_CHECK enum ce_status
ce_weights_find_packed(struct ce_weights_finder *finder,
                       const struct ce_tensor_slot *slot,
                       const struct ce_packed_tensor **found,
                       enum ce_dtype *dtype,
                       struct ce_error *err);
/* A tensor in memory as a packed model describes it; the name is the slot's. */
struct ce_packed_tensor ce_weights_packed_tensor(const struct ce_tensor_slot *slot,
                                                 enum ce_dtype dtype);
/* After the whole walk. */
CE_MUST_CHECK enum ce_status
ce_weights_check_leftovers(const struct ce_weights_finder *finder,
                           struct ce_error *err);

#endif
