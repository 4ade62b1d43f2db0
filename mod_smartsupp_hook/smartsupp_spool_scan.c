#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_time.h>

#include "smartsupp_spool_file.h"
#include "smartsupp_spool_folder.h"

/* What is younger than this in tmp/ may still be written. */
#define LEFTOVER_SECONDS 60

/* The first names of a folder, in our order. To keep `max` of them, twice as
 * many are collected and the later half dropped, again and again. */
typedef struct first_names_t {
    char **names; /* 2 * max of them, NULL where none ever was */
    apr_size_t count;
    apr_size_t max;
    const char *last; /* what comes after it is not wanted; NULL: all is */
} first_names_t;

/* What was found in a folder. */
typedef struct count_t {
    apr_int64_t files;
    apr_int64_t bytes;
    apr_int64_t oldest;
    first_names_t *first; /* NULL: not wanted */
    apr_pool_t *pool;
} count_t;

/* The work of bringing leftovers back. */
typedef struct recovery_t {
    smartsupp_spool_folder_t tmp;
    apr_time_t now;
    int *left;
    apr_pool_t *pool;
} recovery_t;

typedef void visit_t(void *baton, const char *name, const struct stat *info);

/* Show each thing in the folder to the visitor. */
static apr_status_t visit_each(const smartsupp_spool_folder_t *folder,
                               visit_t *visit, void *baton)
{
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv = smartsupp_spool_folder_path(path, folder, "");
    struct dirent *entry;
    struct stat info;
    DIR *dir;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    dir = opendir(path);
    if (!dir) {
        return smartsupp_spool_file_error();
    }
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) ==
            0) {
            visit(baton, entry->d_name, &info);
        }
        else if (errno != ENOENT) {
            memset(&info, 0, sizeof(info)); /* it is there, and is no file */
            visit(baton, entry->d_name, &info);
        }
    }
    rv = errno ? smartsupp_spool_file_error() : APR_SUCCESS;
    closedir(dir);
    return rv;
}

/* Names that are not ours first, then by age. */
static int compare_names(const void *left, const void *right)
{
    const char *a = *(char *const *)left;
    const char *b = *(char *const *)right;
    int ours = (smartsupp_spool_folder_received(a) != 0) -
               (smartsupp_spool_folder_received(b) != 0);

    return ours ? ours : strcmp(a, b);
}

static void sort_names(first_names_t *first)
{
    qsort(first->names, first->count, sizeof(*first->names), compare_names);
    if (first->count > first->max) {
        first->count = first->max;
        first->last = first->names[first->max - 1];
    }
}

static void keep_name(first_names_t *first, const char *name, apr_pool_t *pool)
{
    apr_size_t length = strlen(name);

    if (first->max == 0 || length >= SMARTSUPP_SPOOL_FOLDER_NAME ||
        (first->last && compare_names(&name, &first->last) > 0)) {
        return;
    }
    if (first->count == 2 * first->max) {
        sort_names(first);
    }
    if (!first->names[first->count]) {
        first->names[first->count] =
            apr_palloc(pool, SMARTSUPP_SPOOL_FOLDER_NAME);
    }
    memcpy(first->names[first->count++], name, length + 1);
}

static void count_one(void *baton, const char *name, const struct stat *info)
{
    count_t *count = baton;
    apr_int64_t received = smartsupp_spool_folder_received(name);

    if (S_ISREG(info->st_mode)) {
        count->files++;
        count->bytes += info->st_size;
    }
    if (received && (!count->oldest || received < count->oldest)) {
        count->oldest = received;
    }
    if (count->first) {
        keep_name(count->first, name, count->pool);
    }
}

/* Rename a leftover that is whole, which may not be on the disk yet. */
static apr_status_t bring_back(const smartsupp_spool_folder_t *tmp,
                               const char *path,
                               const smartsupp_spool_header_t *header)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(tmp->spool);
    char name[SMARTSUPP_SPOOL_FOLDER_NAME];
    char to[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv;

    smartsupp_spool_folder_name(name, header);
    rv = smartsupp_spool_folder_path(to, &folder, name);
    if (rv == APR_SUCCESS) {
        rv = smartsupp_spool_file_sync(path, O_NOFOLLOW);
    }
    if (rv == APR_SUCCESS && rename(path, to) != 0) {
        rv = smartsupp_spool_file_error();
    }
    return rv == APR_SUCCESS ? smartsupp_spool_folder_sync(&folder) : rv;
}

/* What cannot be brought back now stays for the next scan: it must not keep
 * this one from its work. */
static void recover_one(void *baton, const char *name, const struct stat *info)
{
    recovery_t *recovery = baton;
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    smartsupp_spool_header_t header;
    smartsupp_delivery_t *delivery;
    apr_status_t rv;

    if (apr_time_sec(recovery->now) - info->st_mtime <= LEFTOVER_SECONDS) {
        return;
    }
    rv = smartsupp_spool_folder_path(path, &recovery->tmp, name);
    if (rv == APR_SUCCESS) {
        rv = smartsupp_spool_file_read(&delivery, &header, path,
                                       apr_pool_allocator_get(recovery->pool));
    }
    if (rv == APR_SUCCESS) {
        smartsupp_delivery_release(delivery);
        rv = bring_back(&recovery->tmp, path, &header);
    }
    else if (rv == SMARTSUPP_ESPOOL_DAMAGED) {
        rv = smartsupp_spool_folder_set_aside(&recovery->tmp, name);
    }
    *recovery->left += rv == APR_SUCCESS;
}

/* Put the count in the place of the figure, changed by what was put and taken
 * since the figure was `before`. */
static void correct(apr_int64_t *figure, apr_int64_t before, apr_int64_t count)
{
    apr_int64_t now = __atomic_load_n(figure, __ATOMIC_SEQ_CST);
    apr_int64_t next;

    do {
        next = now - before + count;
        next = next < 0 ? 0 : next;
    } while (!__atomic_compare_exchange_n(figure, &now, next, 0,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}

static void correct_oldest(smartsupp_spool_usage_t *usage, apr_int64_t before,
                           apr_int64_t oldest)
{
    /* Where it changed, deliveries came or went meanwhile. */
    if (!__atomic_compare_exchange_n(&usage->oldest, &before, oldest, 0,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
        oldest) {
        smartsupp_spool_folder_note_oldest(usage, oldest);
    }
}

/* Count a folder, and correct its two figures. */
static apr_status_t count_folder(count_t *count,
                                 const smartsupp_spool_folder_t *folder)
{
    apr_int64_t files = __atomic_load_n(folder->files, __ATOMIC_SEQ_CST);
    apr_int64_t bytes = __atomic_load_n(folder->bytes, __ATOMIC_SEQ_CST);
    apr_status_t rv = visit_each(folder, count_one, count);

    if (rv == APR_SUCCESS) {
        correct(folder->files, files, count->files);
        correct(folder->bytes, bytes, count->bytes);
    }
    return rv;
}

static apr_array_header_t *listed(first_names_t *first, apr_pool_t *pool)
{
    apr_array_header_t *names =
        apr_array_make(pool, (int)first->max, sizeof(const char *));
    apr_size_t i;

    sort_names(first);
    for (i = 0; i < first->count; i++) {
        APR_ARRAY_PUSH(names, const char *) = first->names[i];
    }
    return names;
}

apr_status_t smartsupp_spool_scan(apr_array_header_t **names, int *left,
                                  smartsupp_spool_t *spool, int max,
                                  apr_pool_t *pool)
{
    smartsupp_spool_folder_t new_folder = smartsupp_spool_folder_new(spool);
    smartsupp_spool_folder_t rejected = smartsupp_spool_folder_rejected(spool);
    recovery_t recovery = {smartsupp_spool_folder_tmp(spool), apr_time_now(),
                           left, pool};
    first_names_t first = {.max = max > 0 ? (apr_size_t)max : 0};
    count_t waiting = {0, 0, 0, &first, pool};
    count_t refused = {0, 0, 0, NULL, pool};
    apr_int64_t oldest;
    apr_status_t rv;

    *left = 0;
    first.names = apr_pcalloc(pool, 2 * first.max * sizeof(*first.names));
    rv = visit_each(&recovery.tmp, recover_one, &recovery);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    oldest = __atomic_load_n(&spool->usage->oldest, __ATOMIC_SEQ_CST);
    rv = count_folder(&waiting, &new_folder);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    correct_oldest(spool->usage, oldest, waiting.oldest);
    *names = listed(&first, pool);
    return count_folder(&refused, &rejected);
}
