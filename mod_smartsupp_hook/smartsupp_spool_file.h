/*
 * One file of the spool on disk: made, read, and compared. The inner face of
 * smartsupp_spool, for the files of that name only.
 */
#ifndef SMARTSUPP_SPOOL_FILE_H
#define SMARTSUPP_SPOOL_FILE_H

#include "smartsupp_spool_header.h"

/**
 * errno as a status; a user's quota that is used up is a full disk.
 */
apr_status_t smartsupp_spool_file_error(void);

/**
 * Make a file of that text and body, where there is none, and fsync it. Leaves
 * nothing behind where it fails.
 *
 * @return APR_SUCCESS, APR_EEXIST, or the system's error
 */
apr_status_t smartsupp_spool_file_write(const char *path, const char *text,
                                        const char *body,
                                        apr_size_t body_length);

/**
 * Read a whole file into a new delivery.
 *
 * @return as smartsupp_spool_read
 */
apr_status_t smartsupp_spool_file_read(smartsupp_delivery_t **delivery,
                                       smartsupp_spool_header_t *header,
                                       const char *path,
                                       apr_allocator_t *allocator);

/**
 * Whether there is a whole file of the delivery's body.
 */
int smartsupp_spool_file_holds(const char *path,
                               const smartsupp_delivery_t *delivery);

/**
 * fsync what is there already.
 *
 * @param kind O_DIRECTORY for a folder, O_NOFOLLOW for a file
 */
apr_status_t smartsupp_spool_file_sync(const char *path, int kind);

#endif
