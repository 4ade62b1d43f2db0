/*
 * The folders of the spool: paths in them, what is counted of them, and moving
 * files between them. The inner face of smartsupp_spool, for the files of that
 * name only.
 */
#ifndef SMARTSUPP_SPOOL_FOLDER_H
#define SMARTSUPP_SPOOL_FOLDER_H

#include "smartsupp_spool.h"

/* Room for a path and its NUL; a longer one is APR_ENAMETOOLONG. */
#define SMARTSUPP_SPOOL_FOLDER_PATH 4096

/* Room for a name and its NUL. */
#define SMARTSUPP_SPOOL_FOLDER_NAME 256

typedef struct smartsupp_spool_sync_t smartsupp_spool_sync_t;

struct smartsupp_spool_t {
    const char *path;
    apr_int64_t max_size;
    smartsupp_spool_usage_t *usage;
    apr_uint32_t *serial;         /* of the last file in tmp/; atomic */
    smartsupp_spool_sync_t *sync; /* of new/; NULL: each syncs it alone */
};

/* One of the three, and what is counted of it: nothing, for tmp/. */
typedef struct smartsupp_spool_folder_t {
    const smartsupp_spool_t *spool;
    const char *name;
    apr_int64_t *files;
    apr_int64_t *bytes;
} smartsupp_spool_folder_t;

smartsupp_spool_folder_t
smartsupp_spool_folder_tmp(const smartsupp_spool_t *spool);
smartsupp_spool_folder_t
smartsupp_spool_folder_new(const smartsupp_spool_t *spool);
smartsupp_spool_folder_t
smartsupp_spool_folder_rejected(const smartsupp_spool_t *spool);

/**
 * The path of a file in the folder, or of the folder itself where name is "".
 *
 * @return APR_SUCCESS, APR_ENAMETOOLONG, or APR_EBADPATH: the name has a slash
 */
apr_status_t smartsupp_spool_folder_path(char path[SMARTSUPP_SPOOL_FOLDER_PATH],
                                         const smartsupp_spool_folder_t *folder,
                                         const char *name);

/** fsync the folder. */
apr_status_t
smartsupp_spool_folder_sync(const smartsupp_spool_folder_t *folder);

/** Count files in, or (never below zero) out. */
void smartsupp_spool_folder_add(const smartsupp_spool_folder_t *folder,
                                apr_int64_t files, apr_int64_t bytes);
void smartsupp_spool_folder_take(const smartsupp_spool_folder_t *folder,
                                 apr_int64_t files, apr_int64_t bytes);

/** Note that a delivery waits which was received then. */
void smartsupp_spool_folder_note_oldest(smartsupp_spool_usage_t *usage,
                                        apr_int64_t received_at);

/**
 * Write the header as the name of a file in new/.
 */
void smartsupp_spool_folder_name(char name[SMARTSUPP_SPOOL_FOLDER_NAME],
                                 const smartsupp_spool_header_t *header);

/** The received time in such a name, or 0 where it is not one of ours. */
apr_int64_t smartsupp_spool_folder_received(const char *name);

/**
 * Move whatever has that name from the folder to rejected/, under a name that
 * is free there.
 *
 * @return as smartsupp_spool_set_aside
 */
apr_status_t
smartsupp_spool_folder_set_aside(const smartsupp_spool_folder_t *folder,
                                 const char *name);

#endif
