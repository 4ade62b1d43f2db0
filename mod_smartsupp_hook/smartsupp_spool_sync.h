/*
 * One fsync of a folder for all threads that wait for one at that moment: it
 * makes durable whatever was renamed before it began. The inner face of
 * smartsupp_spool, for the files of that name only.
 */
#ifndef SMARTSUPP_SPOOL_SYNC_H
#define SMARTSUPP_SPOOL_SYNC_H

#include "smartsupp_spool_folder.h"

/**
 * Let threads of this process share their fsyncs, of one folder only.
 *
 * @return APR_SUCCESS or the system's error
 */
apr_status_t smartsupp_spool_sync_create(smartsupp_spool_sync_t **sync,
                                         apr_pool_t *pool);

/**
 * fsync the folder, or wait for another thread's fsync of it that begins after
 * this call.
 *
 * @return the status of that fsync
 */
apr_status_t
smartsupp_spool_sync_folder(smartsupp_spool_sync_t *sync,
                            const smartsupp_spool_folder_t *folder);

#endif
