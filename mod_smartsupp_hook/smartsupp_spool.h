/*
 * The durable file queue for deliveries that the database cannot take now.
 *
 * A spool is a folder of its own, on one host, with three folders in it:
 *
 *   tmp/       files that are being written
 *   new/       deliveries that wait for the database
 *   rejected/  what it refused for good, what was no conversation, and what
 *              was found damaged; nobody but an administrator takes it away
 *
 * All of them have mode 0700 and all files 0600, and belong to the user that
 * httpd's children run as.
 *
 * A file is one delivery: a header of text lines, then the body, byte for
 * byte, to the end of the file. Every line of the header ends with a newline:
 *
 *   smartsupp-spool 1            the format, and its version
 *   received 1427470439703       when its body was read, epoch ms
 *   server www.example.com:443   the virtual host that received it
 *   length 2345                  of the body, in bytes
 *   sha256 <64 hex digits>       of the body
 *   reason <words>               in rejected/ only: why it is there
 *   check <64 hex digits>        SHA-256 of all lines above this one
 *
 * in that order, with one space after the word, lower-case hex, and decimal
 * numbers without sign or leading zeros. `server` and `reason` hold no control
 * characters and at most 255 bytes. A file in which any of this is otherwise,
 * or whose body has another length or SHA-256, is damaged.
 *
 * A file in new/ is named <received, 13 digits>-<sha256>, so that names sort
 * by age, and the same delivery written twice is one file. One in rejected/ is
 * named <sha256>, so that what is sent again does not pile up. What was found
 * damaged keeps its name there, with ".damaged" after it.
 *
 * How it gets there: the file is written under tmp/, fsynced, renamed into
 * new/, and new/ is fsynced (once for several, where threads put at the same
 * time); only then has smartsupp_spool_put succeeded. So a
 * name in new/ is a whole file, after a crash at any instant. How it goes: the
 * delivery is committed to the database, then its file is unlinked. A crash in
 * between means that it is committed again, which is harmless. There is no
 * claim on a file; two drainers do the same work twice, and for both ENOENT is
 * success.
 *
 * The size of the spool is counted in memory that all processes share, and
 * counted anew from the files by smartsupp_spool_scan, so that what a crash
 * left miscounted does not stay so. While it is counted anew the figure may be
 * off by what is put or taken at that moment.
 *
 * One spool may be used by any number of threads and processes at once.
 */
#ifndef SMARTSUPP_SPOOL_H
#define SMARTSUPP_SPOOL_H

#include <sys/types.h>

#include <apr_allocator.h>
#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "smartsupp_delivery.h"

/* Statuses beside APR's: the limit of rejected/, a quarter of the whole, is
 * reached; the file is not a whole delivery. */
#define SMARTSUPP_ESPOOL_FULL (APR_OS_START_USERERR + 11)
#define SMARTSUPP_ESPOOL_DAMAGED (APR_OS_START_USERERR + 12)

/* What the spool holds, in memory shared by all processes that use it. Zeros
 * are an empty spool. Read and written with the compiler's atomics only. */
typedef struct smartsupp_spool_usage_t {
    apr_int64_t waiting;        /* deliveries in new/ */
    apr_int64_t waiting_bytes;  /* of their files */
    apr_int64_t oldest;         /* received time of the oldest, epoch ms; 0:
                                 * none waits. It stays when that one is taken,
                                 * until the next scan */
    apr_int64_t rejected;       /* files in rejected/ */
    apr_int64_t rejected_bytes; /* of them */
} smartsupp_spool_usage_t;

typedef struct smartsupp_spool_t smartsupp_spool_t;

/**
 * Describe a spool; touches no file. Never fails.
 *
 * @param path of its folder, absolute; copied
 * @param max_size of all files together, in bytes
 * @param usage must outlive the spool
 */
smartsupp_spool_t *smartsupp_spool_create(const char *path,
                                          apr_int64_t max_size,
                                          smartsupp_spool_usage_t *usage,
                                          apr_pool_t *pool);

/**
 * Let threads of one process that put at the same time share the fsync of the
 * folder. Not where a signal handler may end the process, as with prefork: the
 * thread that it interrupts may have promised its fsync to another.
 *
 * @return APR_SUCCESS or the system's error
 */
apr_status_t smartsupp_spool_share_syncs(smartsupp_spool_t *spool,
                                         apr_pool_t *pool);

/** The path it was created with, without slashes at its end. */
const char *smartsupp_spool_path(const smartsupp_spool_t *spool);

/** What it holds. */
const smartsupp_spool_usage_t *
smartsupp_spool_usage(const smartsupp_spool_t *spool);

/** The most that it may hold, in bytes. */
apr_int64_t smartsupp_spool_max_size(const smartsupp_spool_t *spool);

/**
 * Make the folders where they are missing, in the parent, as root or not, and
 * see that they belong to the user and are nobody else's to read.
 *
 * Called by root: new folders, and existing empty ones that are root's, are
 * given to uid and gid. Modes wider than 0700 are narrowed. A symbolic link in
 * the place of one of the four folders, or a folder of another user, is
 * refused.
 *
 * @param reason on failure: what is wrong with which folder and what to do
 * @return APR_SUCCESS, or an error with the reason set
 */
apr_status_t smartsupp_spool_prepare(const char **reason,
                                     const smartsupp_spool_t *spool, uid_t uid,
                                     gid_t gid, apr_pool_t *pool);

/**
 * Whether this process, as the user it is, could put a delivery: writes, syncs
 * and removes a small file in tmp/, opens and syncs the other folders.
 *
 * @return APR_SUCCESS, or the system's error
 */
apr_status_t smartsupp_spool_probe(const smartsupp_spool_t *spool);

/**
 * Whether a delivery of ordinary size would fit now, by the figures alone.
 */
int smartsupp_spool_has_room(const smartsupp_spool_t *spool);

/**
 * Keep a delivery until the database takes it: body, body_sha256 and
 * received_at are used, it need not be decoded. Leaves nothing behind where it
 * fails.
 *
 * @param server the virtual host that received it
 * @return APR_SUCCESS: it is durable; APR_ENOSPC: the limit would be passed, or
 *         the disk is full; APR_EINVAL: received_at or body_sha256 is
 *         not set; otherwise the system's error
 */
apr_status_t smartsupp_spool_put(smartsupp_spool_t *spool,
                                 const smartsupp_delivery_t *delivery,
                                 const char *server);

/**
 * Keep a delivery in rejected/, as durably. Where the same body is there
 * already, whole, it is left as it is.
 *
 * @param reason why, in words that do not quote the delivery; control
 *        characters become spaces, and it is cut to 255 bytes between two
 *        characters
 * @return APR_SUCCESS; SMARTSUPP_ESPOOL_FULL; otherwise as smartsupp_spool_put
 */
apr_status_t smartsupp_spool_reject(smartsupp_spool_t *spool,
                                    const smartsupp_delivery_t *delivery,
                                    const char *server, const char *reason);

/**
 * Look through the folders: count anew what the spool holds, bring back what a
 * crash left in tmp/ (a whole delivery goes to new/, anything else to
 * rejected/, once it is a minute old), and list what waits. What in new/ has
 * no name of ours is listed first: smartsupp_spool_read will tell.
 *
 * @param names takes an array of const char *, the oldest first, at most `max`
 *        of them, from the pool
 * @param left how many files were brought back from tmp/, to either. One that
 *        cannot be stays there for the next scan
 * @return APR_SUCCESS, or the system's error
 */
apr_status_t smartsupp_spool_scan(apr_array_header_t **names, int *left,
                                  smartsupp_spool_t *spool, int max,
                                  apr_pool_t *pool);

/**
 * Read a delivery of new/ back, whatever its name; one that was moved back from
 * rejected/ too.
 *
 * @param delivery takes a new one, with one reference, not decoded; its pool
 *        takes its memory from the allocator
 * @param server takes the virtual host that received it, from that pool
 * @return APR_SUCCESS; APR_ENOENT: another drainer was faster;
 *         SMARTSUPP_ESPOOL_DAMAGED: for smartsupp_spool_set_aside; APR_ENOMEM;
 *         otherwise the system's error
 */
apr_status_t smartsupp_spool_read(smartsupp_delivery_t **delivery,
                                  const char **server,
                                  const smartsupp_spool_t *spool,
                                  const char *name, apr_allocator_t *allocator);

/**
 * Forget a delivery of new/: it is committed, or kept in rejected/.
 *
 * @return APR_SUCCESS, also where it is gone already; or the system's error
 */
apr_status_t smartsupp_spool_done(smartsupp_spool_t *spool, const char *name);

/**
 * Move a damaged or foreign file of new/ to rejected/, whatever the limit.
 *
 * @return APR_SUCCESS, also where it is gone already; or the system's error
 */
apr_status_t smartsupp_spool_set_aside(smartsupp_spool_t *spool,
                                       const char *name);

/**
 * Try to become the one process that drains this spool, until the lock is
 * closed or the process ends. Never waits.
 *
 * @param lock takes a file descriptor for smartsupp_spool_unlock
 * @return APR_SUCCESS; APR_EBUSY: another process is; or the system's error
 */
apr_status_t smartsupp_spool_lock(int *lock, const smartsupp_spool_t *spool);

/** Let another process drain. Harmless on -1. */
void smartsupp_spool_unlock(int lock);

/* The header of a file, parsed. */
typedef struct smartsupp_spool_header_t {
    apr_int64_t received_at; /* epoch ms */
    apr_size_t body_length;  /* bytes */
    apr_size_t body_offset;  /* bytes from the start of the file */
    char body_sha256[SMARTSUPP_SHA256_HEX + 1];
    char server[256];
    char reason[256]; /* "" where there is none */
} smartsupp_spool_header_t;

/**
 * Parse the first bytes of a file, of which `length` are there. The body is
 * not looked at. Reads no byte past the header, whatever it holds.
 *
 * @return APR_SUCCESS or SMARTSUPP_ESPOOL_DAMAGED
 */
apr_status_t smartsupp_spool_parse(smartsupp_spool_header_t *header,
                                   const char *bytes, apr_size_t length);

#endif
