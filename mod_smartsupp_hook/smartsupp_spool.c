#include "smartsupp_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_time.h>

#include "smartsupp_spool_file.h"
#include "smartsupp_spool_folder.h"
#include "smartsupp_spool_sync.h"

/* What an ordinary delivery takes at most. */
#define ORDINARY_SIZE (64 * 1024)

/* A file to be made: what is in it, and where it goes. */
typedef struct draft_t {
    const smartsupp_spool_folder_t *folder;
    const char *name;
    const char *text; /* the header */
    const smartsupp_delivery_t *delivery;
    apr_int64_t size; /* of the whole */
} draft_t;

/* Copy words into a header: `instead` for control characters, cut to fit. */
static void put_words(char words[256], const char *from, char instead)
{
    apr_size_t length = smartsupp_spool_header_cut(from, 255);
    apr_size_t i;

    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)from[i];

        words[i] = c < ' ' || c == '\177' ? instead : from[i];
    }
    words[length] = '\0';
}

static void describe(smartsupp_spool_header_t *header,
                     const smartsupp_delivery_t *delivery, const char *server)
{
    memset(header, 0, sizeof(*header));
    header->received_at = delivery->received_at;
    header->body_length = delivery->body_length;
    memcpy(header->body_sha256, delivery->body_sha256, SMARTSUPP_SHA256_HEX);
    put_words(header->server, server, '?');
}

static apr_int64_t figure(const apr_int64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}

static apr_int64_t total_bytes(const smartsupp_spool_t *spool)
{
    return figure(&spool->usage->waiting_bytes) +
           figure(&spool->usage->rejected_bytes);
}

/* Count a file in before it is written, so that those that are written at the
 * same time do not pass the limit together. */
static apr_status_t reserve(const smartsupp_spool_folder_t *folder,
                            apr_int64_t size)
{
    const smartsupp_spool_t *spool = folder->spool;
    apr_status_t rv = APR_SUCCESS;

    smartsupp_spool_folder_add(folder, 1, size);
    if (folder->bytes == &spool->usage->rejected_bytes &&
        figure(folder->bytes) > spool->max_size / 4) {
        rv = SMARTSUPP_ESPOOL_FULL;
    }
    else if (total_bytes(spool) > spool->max_size) {
        rv = APR_ENOSPC;
    }
    if (rv != APR_SUCCESS) {
        smartsupp_spool_folder_take(folder, 1, size);
    }
    return rv;
}

/* A path in tmp/ that no other thread, process or call has. */
static apr_status_t temp_path(char path[SMARTSUPP_SPOOL_FOLDER_PATH],
                              const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t tmp = smartsupp_spool_folder_tmp(spool);
    char name[SMARTSUPP_SPOOL_FOLDER_NAME];

    (void)snprintf(name, sizeof(name), "%" APR_INT64_T_FMT "-%ld-%u",
                   (apr_int64_t)apr_time_now(), (long)getpid(),
                   __atomic_add_fetch(spool->serial, 1, __ATOMIC_RELAXED));
    return smartsupp_spool_folder_path(path, &tmp, name);
}

/* Make a file in tmp/ and sync it. */
static apr_status_t write_temp(char path[SMARTSUPP_SPOOL_FOLDER_PATH],
                               const smartsupp_spool_t *spool, const char *text,
                               const char *body, apr_size_t body_length)
{
    apr_status_t rv;
    int i;

    /* A process of the same number in another container may have been here. */
    for (i = 0; i < 100; i++) {
        rv = temp_path(path, spool);
        if (rv == APR_SUCCESS) {
            rv = smartsupp_spool_file_write(path, text, body, body_length);
        }
        if (!APR_STATUS_IS_EEXIST(rv)) {
            break;
        }
    }
    return rv;
}

static int is_new(const smartsupp_spool_folder_t *folder)
{
    return folder->files == &folder->spool->usage->waiting;
}

static apr_status_t sync_folder(const smartsupp_spool_folder_t *folder)
{
    smartsupp_spool_sync_t *shared = folder->spool->sync;

    return shared && is_new(folder)
               ? smartsupp_spool_sync_folder(shared, folder)
               : smartsupp_spool_folder_sync(folder);
}

/* Rename a whole file from tmp/ to its place, for good. */
static apr_status_t move_into_place(const char *temp, const draft_t *draft)
{
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    struct stat other; /* that is replaced */
    int replaces;
    apr_status_t rv =
        smartsupp_spool_folder_path(path, draft->folder, draft->name);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    replaces = lstat(path, &other) == 0;
    if (rename(temp, path) != 0) {
        return smartsupp_spool_file_error();
    }
    rv = sync_folder(draft->folder);
    /* What it replaced was promised to another sender, and stays; and so may
     * meanwhile be what is in rejected/. */
    if (rv != APR_SUCCESS && !replaces && is_new(draft->folder)) {
        unlink(path);
    }
    if (rv == APR_SUCCESS && replaces && S_ISREG(other.st_mode)) {
        smartsupp_spool_folder_take(draft->folder, 1, other.st_size);
    }
    return rv;
}

static apr_status_t keep(const draft_t *draft)
{
    char temp[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv = reserve(draft->folder, draft->size);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = write_temp(temp, draft->folder->spool, draft->text,
                    draft->delivery->body, draft->delivery->body_length);
    if (rv == APR_SUCCESS) {
        rv = move_into_place(temp, draft);
        if (rv != APR_SUCCESS) {
            unlink(temp);
        }
    }
    if (rv != APR_SUCCESS) {
        smartsupp_spool_folder_take(draft->folder, 1, draft->size);
    }
    return rv;
}

smartsupp_spool_t *smartsupp_spool_create(const char *path,
                                          apr_int64_t max_size,
                                          smartsupp_spool_usage_t *usage,
                                          apr_pool_t *pool)
{
    smartsupp_spool_t *spool = apr_palloc(pool, sizeof(*spool));
    apr_size_t length = strlen(path);

    /* With a slash at its end a symbolic link would look like a folder. */
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    spool->path = apr_pstrmemdup(pool, path, length);
    spool->max_size = max_size;
    spool->usage = usage;
    spool->serial = apr_pcalloc(pool, sizeof(*spool->serial));
    spool->sync = NULL;
    return spool;
}

apr_status_t smartsupp_spool_share_syncs(smartsupp_spool_t *spool,
                                         apr_pool_t *pool)
{
    return smartsupp_spool_sync_create(&spool->sync, pool);
}

const char *smartsupp_spool_path(const smartsupp_spool_t *spool)
{
    return spool->path;
}

const smartsupp_spool_usage_t *
smartsupp_spool_usage(const smartsupp_spool_t *spool)
{
    return spool->usage;
}

apr_int64_t smartsupp_spool_max_size(const smartsupp_spool_t *spool)
{
    return spool->max_size;
}

apr_status_t smartsupp_spool_probe(const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t new_folder = smartsupp_spool_folder_new(spool);
    smartsupp_spool_folder_t rejected = smartsupp_spool_folder_rejected(spool);
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv = write_temp(path, spool, "probe\n", NULL, 0);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (unlink(path) != 0) {
        return smartsupp_spool_file_error();
    }
    rv = smartsupp_spool_folder_sync(&new_folder);
    return rv == APR_SUCCESS ? smartsupp_spool_folder_sync(&rejected) : rv;
}

int smartsupp_spool_has_room(const smartsupp_spool_t *spool)
{
    return total_bytes(spool) + ORDINARY_SIZE <= spool->max_size;
}

apr_status_t smartsupp_spool_put(smartsupp_spool_t *spool,
                                 const smartsupp_delivery_t *delivery,
                                 const char *server)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(spool);
    char text[SMARTSUPP_SPOOL_HEADER_TEXT];
    char name[SMARTSUPP_SPOOL_FOLDER_NAME];
    smartsupp_spool_header_t header;
    draft_t draft = {&folder, name, text, delivery, 0};
    apr_status_t rv;

    describe(&header, delivery, server);
    rv = smartsupp_spool_header_build(text, &header);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    smartsupp_spool_folder_name(name, &header);
    draft.size = (apr_int64_t)(header.body_offset + header.body_length);
    rv = keep(&draft);
    if (rv == APR_SUCCESS) {
        smartsupp_spool_folder_note_oldest(spool->usage, header.received_at);
    }
    return rv;
}

apr_status_t smartsupp_spool_reject(smartsupp_spool_t *spool,
                                    const smartsupp_delivery_t *delivery,
                                    const char *server, const char *reason)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_rejected(spool);
    char text[SMARTSUPP_SPOOL_HEADER_TEXT];
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    smartsupp_spool_header_t header;
    draft_t draft = {&folder, header.body_sha256, text, delivery, 0};
    apr_status_t rv;

    describe(&header, delivery, server);
    put_words(header.reason, reason, ' ');
    rv = smartsupp_spool_header_build(text, &header);
    if (rv == APR_SUCCESS) {
        rv = smartsupp_spool_folder_path(path, &folder, header.body_sha256);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (smartsupp_spool_file_holds(path, delivery)) {
        /* Whoever made it may not have come to this yet. */
        return smartsupp_spool_folder_sync(&folder);
    }
    draft.size = (apr_int64_t)(header.body_offset + header.body_length);
    return keep(&draft);
}

apr_status_t smartsupp_spool_read(smartsupp_delivery_t **delivery,
                                  const char **server,
                                  const smartsupp_spool_t *spool,
                                  const char *name, apr_allocator_t *allocator)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(spool);
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    smartsupp_spool_header_t header;
    apr_size_t size;
    char *copy;
    apr_status_t rv = smartsupp_spool_folder_path(path, &folder, name);

    if (rv == APR_SUCCESS) {
        rv = smartsupp_spool_file_read(delivery, &header, path, allocator);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    size = strlen(header.server) + 1;
    copy = apr_palloc((*delivery)->pool, size);
    if (!copy) {
        smartsupp_delivery_release(*delivery);
        return APR_ENOMEM;
    }
    *server = memcpy(copy, header.server, size);
    return APR_SUCCESS;
}

apr_status_t smartsupp_spool_done(smartsupp_spool_t *spool, const char *name)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(spool);
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    struct stat info;
    apr_status_t rv = smartsupp_spool_folder_path(path, &folder, name);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (lstat(path, &info) != 0 || unlink(path) != 0) {
        return errno == ENOENT ? APR_SUCCESS : smartsupp_spool_file_error();
    }
    if (S_ISREG(info.st_mode)) {
        smartsupp_spool_folder_take(&folder, 1, info.st_size);
    }
    return APR_SUCCESS;
}

apr_status_t smartsupp_spool_set_aside(smartsupp_spool_t *spool,
                                       const char *name)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(spool);

    return smartsupp_spool_folder_set_aside(&folder, name);
}

apr_status_t smartsupp_spool_lock(int *lock, const smartsupp_spool_t *spool)
{
    smartsupp_spool_folder_t folder = smartsupp_spool_folder_new(spool);
    char path[SMARTSUPP_SPOOL_FOLDER_PATH];
    apr_status_t rv = smartsupp_spool_folder_path(path, &folder, "");
    int file;

    *lock = -1;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return smartsupp_spool_file_error();
    }
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
        *lock = file;
        return APR_SUCCESS;
    }
    rv = errno == EWOULDBLOCK ? APR_EBUSY : smartsupp_spool_file_error();
    close(file);
    return rv;
}

void smartsupp_spool_unlock(int lock)
{
    if (lock >= 0) {
        close(lock);
    }
}
