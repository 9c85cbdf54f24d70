/* status.h - what a call returns and the text of what went wrong
 *
 * Every function that can fail returns an enum ce_status and takes a struct
 * ce_error. The text is written once, where the failure is detected; callers
 * pass it on unchanged. The library never prints an error and never exits.
 */

#ifndef CEMOE_STATUS_H
#define CEMOE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define CE_MUST_CHECK __attribute__((warn_unused_result))

enum ce_status {
    CE_OK = 0,
    CE_AGAIN,           /* not finished yet, call again */
    CE_ERR_ARG,         /* an argument is out of its range */
    CE_ERR_NOMEM,       /* memory: not there, or over the plan */
    CE_ERR_IO,          /* a file cannot be opened, read or written */
    CE_ERR_FORMAT,      /* a file's content is not what its format allows */
    CE_ERR_UNSUPPORTED, /* valid, but not something this build can do */
    CE_ERR_NUMERIC,     /* NaN or infinity appeared in a step */
    CE_ERR_COMM,        /* the transport failed */
    CE_ERR_TIMEOUT,     /* a peer did not answer before the deadline */
    CE_ERR_MISMATCH,    /* ranks disagree on version, options or model */
};

/* Where and why. `rank` is the rank that detected the failure. */
struct ce_error {
    int rank;
    char text[480];
};

/* Short English name of a status, never NULL. */
const char *ce_status_name(enum ce_status code);

#ifdef __cplusplus
}
#endif

#endif
