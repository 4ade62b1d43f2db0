/*
 * What the tests of the spool share: spools in real folders, and what is in
 * them.
 */
#ifndef SMARTSUPP_SPOOLED_H
#define SMARTSUPP_SPOOLED_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "smartsupp_signature.h"
#include "smartsupp_spool.h"

#include "tap.h"

#define NOW APR_INT64_C(1427470439703)
#define SERVER "www.example.com:443"
#define PLENTY (APR_INT64_C(1) << 30)

static apr_pool_t *pool;
static apr_allocator_t *allocator;
static char top[] = "/tmp/smartsupp-spool-XXXXXX";

/* A spool of its own for each test. */
typedef struct bench_t {
    const char *path;
    smartsupp_spool_usage_t usage;
    smartsupp_spool_t *spool;
} bench_t;

static inline void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static inline void make_bench(bench_t *bench, apr_int64_t max_size)
{
    static int serial;
    const char *reason;

    memset(bench, 0, sizeof(*bench));
    bench->path = apr_psprintf(pool, "%s/%d", top, ++serial);
    bench->spool =
        smartsupp_spool_create(bench->path, max_size, &bench->usage, pool);
    must(smartsupp_spool_prepare(&reason, bench->spool, geteuid(), getegid(),
                                 pool) == APR_SUCCESS,
         "prepare");
}

static inline const char *in(const bench_t *bench, const char *folder,
                             const char *name)
{
    return apr_pstrcat(pool, bench->path, "/", folder, "/", name, NULL);
}

static inline smartsupp_delivery_t *
make_delivery(const char *body, apr_size_t length, apr_int64_t received_at)
{
    smartsupp_delivery_t *delivery;

    must(smartsupp_delivery_create(&delivery, allocator) == APR_SUCCESS,
         "delivery");
    delivery->body = apr_pmemdup(delivery->pool, body, length + 1);
    delivery->body_length = length;
    delivery->received_at = received_at;
    smartsupp_signature_sha256(delivery->body_sha256, body, length);
    return delivery;
}

static inline apr_status_t put(bench_t *bench, const char *body,
                               apr_int64_t received_at)
{
    smartsupp_delivery_t *delivery =
        make_delivery(body, strlen(body), received_at);
    apr_status_t rv = smartsupp_spool_put(bench->spool, delivery, SERVER);

    smartsupp_delivery_release(delivery);
    return rv;
}

static inline apr_status_t reject(bench_t *bench, const char *body,
                                  const char *reason)
{
    smartsupp_delivery_t *delivery = make_delivery(body, strlen(body), NOW);
    apr_status_t rv =
        smartsupp_spool_reject(bench->spool, delivery, SERVER, reason);

    smartsupp_delivery_release(delivery);
    return rv;
}

static inline const char *digest(const char *bytes)
{
    char *hex = apr_palloc(pool, SMARTSUPP_SIGNATURE_HEX_SIZE);

    smartsupp_signature_sha256(hex, bytes, strlen(bytes));
    return hex;
}

static inline const char *name_of(const char *body, apr_int64_t received_at)
{
    return apr_psprintf(pool, "%013" APR_INT64_T_FMT "-%s", received_at,
                        digest(body));
}

static inline const char *repeat(char c, apr_size_t times)
{
    char *text = apr_palloc(pool, times + 1);

    memset(text, c, times);
    text[times] = '\0';
    return text;
}

static inline void write_file(const char *path, const char *bytes,
                              apr_size_t length)
{
    FILE *file = fopen(path, "w");

    must(file && fwrite(bytes, 1, length, file) == length && !fclose(file),
         path);
    must(!chmod(path, 0600), path);
}

static inline char *read_file(apr_size_t *length, const char *path)
{
    char *bytes = apr_pcalloc(pool, 100000);
    FILE *file = fopen(path, "r");

    *length = 0;
    if (!file) {
        return NULL;
    }
    *length = fread(bytes, 1, 99999, file);
    fclose(file);
    return bytes;
}

static inline int mode_of(const char *path)
{
    struct stat info;

    return lstat(path, &info) ? -1 : (int)(info.st_mode & 07777);
}

static inline int is_there(const char *path)
{
    return mode_of(path) >= 0;
}

static inline void age(const char *path, int seconds)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}, {0}};

    times[1] = times[0];
    must(!utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), path);
}

/* How many things are in a folder, and the bytes of its files. */
static inline int count_things(apr_int64_t *files, apr_int64_t *bytes,
                               const bench_t *bench, const char *folder)
{
    DIR *dir = opendir(in(bench, folder, ""));
    struct dirent *entry;
    struct stat info;
    int things = 0;

    *files = 0;
    *bytes = 0;
    must(dir != NULL, folder);
    while ((entry = readdir(dir)) != NULL) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
            continue;
        }
        things++;
        if (!fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) &&
            S_ISREG(info.st_mode)) {
            *files += 1;
            *bytes += info.st_size;
        }
    }
    closedir(dir);
    return things;
}

static inline int things(const bench_t *bench, const char *folder)
{
    apr_int64_t files;
    apr_int64_t bytes;

    return count_things(&files, &bytes, bench, folder);
}

/* The figures are those of the files. */
static inline int usage_is_right(const bench_t *bench)
{
    smartsupp_spool_usage_t now = {0};

    count_things(&now.waiting, &now.waiting_bytes, bench, "new");
    count_things(&now.rejected, &now.rejected_bytes, bench, "rejected");
    if (now.waiting != bench->usage.waiting ||
        now.waiting_bytes != bench->usage.waiting_bytes ||
        now.rejected != bench->usage.rejected ||
        now.rejected_bytes != bench->usage.rejected_bytes) {
        printf("# waiting %ld (%ld) bytes %ld (%ld), "
               "rejected %ld (%ld) bytes %ld (%ld)\n",
               (long)bench->usage.waiting, (long)now.waiting,
               (long)bench->usage.waiting_bytes, (long)now.waiting_bytes,
               (long)bench->usage.rejected, (long)now.rejected,
               (long)bench->usage.rejected_bytes, (long)now.rejected_bytes);
        return 0;
    }
    return 1;
}

static inline apr_array_header_t *scan(int *left, bench_t *bench, int max)
{
    apr_array_header_t *names = NULL;
    apr_status_t rv =
        smartsupp_spool_scan(&names, left, bench->spool, max, pool);

    if (rv != APR_SUCCESS) {
        printf("# scan: %d\n", rv);
        return apr_array_make(pool, 1, sizeof(const char *));
    }
    return names;
}

static inline const char *listed(bench_t *bench, int max)
{
    int left;

    return apr_array_pstrcat(pool, scan(&left, bench, max), ' ');
}

/* Read and let go at once: only the status. */
static inline apr_status_t try_read(bench_t *bench, const char *name)
{
    smartsupp_delivery_t *delivery;
    const char *server;
    apr_status_t rv =
        smartsupp_spool_read(&delivery, &server, bench->spool, name, allocator);

    if (rv == APR_SUCCESS) {
        smartsupp_delivery_release(delivery);
    }
    return rv;
}

/* A file with the lines, the check over them, and the body. */
static inline const char *file_of(const char *lines, const char *body)
{
    return apr_pstrcat(pool, lines, "check ", digest(lines), "\n", body, NULL);
}

static inline int remove_one(const char *path, const struct stat *info,
                             int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

/* For main: what every test needs, and its end. */
static inline void begin(void)
{
    apr_thread_mutex_t *mutex;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_allocator_create(&allocator);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_allocator_mutex_set(allocator, mutex);
    must(mkdtemp(top) != NULL, top);
}

static inline int end(void)
{
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    apr_pool_destroy(pool);
    apr_allocator_destroy(allocator);
    apr_terminate();
    return tap_done();
}

#endif
