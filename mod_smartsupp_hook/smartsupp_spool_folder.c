#include "smartsupp_spool_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "smartsupp_spool_file.h"

/* A name of ours: the digits of a time, a dash, a SHA-256. */
#define TIME_DIGITS 13
#define NAME_LENGTH (TIME_DIGITS + 1 + SMARTSUPP_SHA256_HEX)

#define DAMAGED ".damaged"

/* How many files of one name may be set aside. */
#define ASIDE_MAX 1000

/* Never below zero, though what was counted before may be wrong. */
static apr_int64_t take_some(apr_int64_t *figure, apr_int64_t amount)
{
    apr_int64_t old = __atomic_load_n(figure, __ATOMIC_SEQ_CST);
    apr_int64_t rest;

    do {
        rest = old > amount ? old - amount : 0;
    } while (!__atomic_compare_exchange_n(figure, &old, rest, 0,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return rest;
}

/* A free path in rejected/ for what is set aside. */
static apr_status_t free_path(char path[SMARTSUPP_SPOOL_FOLDER_PATH],
                              const smartsupp_spool_folder_t *rejected,
                              const char *name)
{
    apr_size_t kept = smartsupp_spool_header_cut(
        name, SMARTSUPP_SPOOL_FOLDER_NAME - 1 - strlen(DAMAGED ".999"));
    char aside[SMARTSUPP_SPOOL_FOLDER_NAME];
    struct stat info;
    apr_status_t rv;
    int i;

    for (i = 1; i < ASIDE_MAX; i++) {
        int end =
            snprintf(aside, sizeof(aside), "%.*s" DAMAGED, (int)kept, name);

        if (i > 1) {
            (void)snprintf(aside + end, sizeof(aside) - (apr_size_t)end, ".%d",
                           i);
        }
        rv = smartsupp_spool_folder_path(path, rejected, aside);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (lstat(path, &info) != 0) {
            return errno == ENOENT ? APR_SUCCESS : smartsupp_spool_file_error();
        }
    }
    return APR_EEXIST;
}

smartsupp_spool_folder_t
smartsupp_spool_folder_tmp(const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t folder = {spool, "tmp", NULL, NULL};

    return folder;
}

smartsupp_spool_folder_t
smartsupp_spool_folder_new(const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t folder = {spool, "new", &spool->usage->waiting,
                                       &spool->usage->waiting_bytes};

    return folder;
}

smartsupp_spool_folder_t
smartsupp_spool_folder_rejected(const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t folder = {spool, "rejected",
                                       &spool->usage->rejected,
                                       &spool->usage->rejected_bytes};

    return folder;
}

apr_status_t smartsupp_spool_folder_path(char path[SMARTSUPP_SPOOL_FOLDER_PATH],
                                         const smartsupp_spool_folder_t *folder,
                                         const char *name)
{
    int length;

    if (strchr(name, '/')) {
        return APR_EBADPATH;
    }
    length =
        snprintf(path, SMARTSUPP_SPOOL_FOLDER_PATH, "%s/%s%s%s",
                 folder->spool->path, folder->name, *name ? "/" : "", name);
    return length < SMARTSUPP_SPOOL_FOLDER_PATH ? APR_SUCCESS
                                                : APR_ENAMETOOLONG;
}

apr_status_t smartsupp_spool_folder_sync(const smartsupp_spool_folder_t *folder)
{
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv = smartsupp_spool_folder_path(path, folder, "");

    return rv == APR_SUCCESS ? smartsupp_spool_file_sync(path, O_DIRECTORY)
                             : rv;
}

void smartsupp_spool_folder_add(const smartsupp_spool_folder_t *folder,
                                apr_int64_t files, apr_int64_t bytes)
{
    if (folder->files) {
        __atomic_add_fetch(folder->files, files, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(folder->bytes, bytes, __ATOMIC_SEQ_CST);
    }
}

void smartsupp_spool_folder_take(const smartsupp_spool_folder_t *folder,
                                 apr_int64_t files, apr_int64_t bytes)
{
    smartsupp_spool_usage_t *usage = folder->spool->usage;

    if (!folder->files) {
        return;
    }
    take_some(folder->bytes, bytes);
    if (take_some(folder->files, files) == 0 &&
        folder->files == &usage->waiting) {
        __atomic_store_n(&usage->oldest, 0, __ATOMIC_SEQ_CST);
    }
}

void smartsupp_spool_folder_note_oldest(smartsupp_spool_usage_t *usage,
                                        apr_int64_t received_at)
{
    apr_int64_t old = __atomic_load_n(&usage->oldest, __ATOMIC_SEQ_CST);

    while ((old <= 0 || old > received_at) &&
           !__atomic_compare_exchange_n(&usage->oldest, &old, received_at, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

void smartsupp_spool_folder_name(char name[SMARTSUPP_SPOOL_FOLDER_NAME],
                                 const smartsupp_spool_header_t *header)
{
    (void)snprintf(name, SMARTSUPP_SPOOL_FOLDER_NAME,
                   "%0*" APR_INT64_T_FMT "-%s", TIME_DIGITS,
                   header->received_at, header->body_sha256);
}

apr_int64_t smartsupp_spool_folder_received(const char *name)
{
    if (strlen(name) != NAME_LENGTH ||
        strspn(name, "0123456789") != TIME_DIGITS || name[TIME_DIGITS] != '-' ||
        strspn(name + TIME_DIGITS + 1, "0123456789abcdef") !=
            SMARTSUPP_SHA256_HEX) {
        return 0;
    }
    return strtoll(name, NULL, 10);
}

apr_status_t
smartsupp_spool_folder_set_aside(const smartsupp_spool_folder_t *folder,
                                 const char *name)
{
    smartsupp_spool_folder_t rejected =
        smartsupp_spool_folder_rejected(folder->spool);
    char from[SMARTSUPP_SPOOL_FOLDER_PATH];
    char to[SMARTSUPP_SPOOL_FOLDER_PATH];
    struct stat info;
    apr_status_t rv = smartsupp_spool_folder_path(from, folder, name);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (lstat(from, &info) != 0) {
        return errno == ENOENT ? APR_SUCCESS : smartsupp_spool_file_error();
    }
    rv = free_path(to, &rejected, name);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (rename(from, to) != 0) {
        rv = smartsupp_spool_file_error();
        /* Is it gone, or is rejected/? */
        return rv == APR_ENOENT && lstat(from, &info) != 0 && errno == ENOENT
                   ? APR_SUCCESS
                   : rv;
    }
    if (S_ISREG(info.st_mode)) {
        smartsupp_spool_folder_take(folder, 1, info.st_size);
        smartsupp_spool_folder_add(&rejected, 1, info.st_size);
    }
    return smartsupp_spool_folder_sync(&rejected);
}
