/*
 * The spool on real folders: what is put comes back byte for byte, what is
 * damaged is found and set aside, and the figures are those of the files. Also
 * run under ThreadSanitizer (make tsan).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
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
#define MEGABYTES_3 (3 * 1024 * 1024)

static apr_pool_t *pool;
static apr_allocator_t *allocator;
static char top[] = "/tmp/smartsupp-spool-XXXXXX";

/* A spool of its own for each test. */
typedef struct bench_t {
    const char *path;
    smartsupp_spool_usage_t usage;
    smartsupp_spool_t *spool;
} bench_t;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void make_bench(bench_t *bench, apr_int64_t max_size)
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

static const char *in(const bench_t *bench, const char *folder,
                      const char *name)
{
    return apr_pstrcat(pool, bench->path, "/", folder, "/", name, NULL);
}

static smartsupp_delivery_t *make_delivery(const char *body, apr_size_t length,
                                           apr_int64_t received_at)
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

static apr_status_t put(bench_t *bench, const char *body,
                        apr_int64_t received_at)
{
    smartsupp_delivery_t *delivery =
        make_delivery(body, strlen(body), received_at);
    apr_status_t rv = smartsupp_spool_put(bench->spool, delivery, SERVER);

    smartsupp_delivery_release(delivery);
    return rv;
}

static apr_status_t reject(bench_t *bench, const char *body, const char *reason)
{
    smartsupp_delivery_t *delivery = make_delivery(body, strlen(body), NOW);
    apr_status_t rv =
        smartsupp_spool_reject(bench->spool, delivery, SERVER, reason);

    smartsupp_delivery_release(delivery);
    return rv;
}

static const char *digest(const char *bytes)
{
    char *hex = apr_palloc(pool, SMARTSUPP_SIGNATURE_HEX_SIZE);

    smartsupp_signature_sha256(hex, bytes, strlen(bytes));
    return hex;
}

static const char *name_of(const char *body, apr_int64_t received_at)
{
    return apr_psprintf(pool, "%013" APR_INT64_T_FMT "-%s", received_at,
                        digest(body));
}

static const char *repeat(char c, apr_size_t times)
{
    char *text = apr_palloc(pool, times + 1);

    memset(text, c, times);
    text[times] = '\0';
    return text;
}

static void write_file(const char *path, const char *bytes, apr_size_t length)
{
    FILE *file = fopen(path, "w");

    must(file && fwrite(bytes, 1, length, file) == length && !fclose(file),
         path);
    must(!chmod(path, 0600), path);
}

static char *read_file(apr_size_t *length, const char *path)
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

static int mode_of(const char *path)
{
    struct stat info;

    return lstat(path, &info) ? -1 : (int)(info.st_mode & 07777);
}

static int is_there(const char *path)
{
    return mode_of(path) >= 0;
}

static void age(const char *path, int seconds)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}, {0}};

    times[1] = times[0];
    must(!utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), path);
}

/* How many things are in a folder, and the bytes of its files. */
static int count_things(apr_int64_t *files, apr_int64_t *bytes,
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

static int things(const bench_t *bench, const char *folder)
{
    apr_int64_t files;
    apr_int64_t bytes;

    return count_things(&files, &bytes, bench, folder);
}

/* The figures are those of the files. */
static int usage_is_right(const bench_t *bench)
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

static apr_array_header_t *scan(int *left, bench_t *bench, int max)
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

static const char *listed(bench_t *bench, int max)
{
    int left;

    return apr_array_pstrcat(pool, scan(&left, bench, max), ' ');
}

/* Read and let go at once: only the status. */
static apr_status_t try_read(bench_t *bench, const char *name)
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
static const char *file_of(const char *lines, const char *body)
{
    return apr_pstrcat(pool, lines, "check ", digest(lines), "\n", body, NULL);
}

static void round_trip(const char *what, const char *body, apr_size_t length)
{
    smartsupp_delivery_t *delivery = make_delivery(body, length, NOW);
    smartsupp_delivery_t *back = NULL;
    const char *server = "";
    const char *name = apr_psprintf(pool, "%" APR_INT64_T_FMT "-%s", NOW,
                                    delivery->body_sha256);
    bench_t bench;

    make_bench(&bench, PLENTY);
    tap_is_int(smartsupp_spool_put(bench.spool, delivery, SERVER), APR_SUCCESS,
               apr_psprintf(pool, "%s is put", what));
    tap_is(listed(&bench, 9), name, "... under its name");
    tap_is_int(
        smartsupp_spool_read(&back, &server, bench.spool, name, allocator),
        APR_SUCCESS, "... and read");
    tap_ok(back && back->body_length == length &&
               !memcmp(back->body, body, length) && !back->body[length],
           "... byte for byte, and a NUL");
    tap_ok(back && !strcmp(back->body_sha256, delivery->body_sha256) &&
               back->received_at == NOW && back->references == 1 &&
               !back->conversation && !back->event && !back->warnings,
           "... with all that belongs to it, not decoded");
    tap_is(server, SERVER, "... and its server");
    tap_ok(usage_is_right(&bench) && bench.usage.oldest == NOW, "... counted");
    tap_is_int(smartsupp_spool_done(bench.spool, name), APR_SUCCESS,
               "... and done");
    tap_is_int(smartsupp_spool_done(bench.spool, name), APR_SUCCESS,
               "... twice");
    tap_is_int(try_read(&bench, name), APR_ENOENT, "... gone");
    tap_ok(usage_is_right(&bench) && bench.usage.oldest == 0 &&
               !things(&bench, "tmp"),
           "... and not counted");
    smartsupp_delivery_release(back);
    smartsupp_delivery_release(delivery);
}

static void test_round_trip(void)
{
    char *large = malloc(MEGABYTES_3 + 1);
    unsigned int state = 1;
    int i;

    for (i = 0; i < MEGABYTES_3; i++) {
        state = state * 1103515245 + 12345;
        large[i] = (char)(state >> 16);
    }
    large[MEGABYTES_3] = '\0';
    round_trip("a small body", "{\"a\":1}", 7);
    round_trip("a body with NUL and newlines", "a\0b\n\0check \n\n\0", 14);
    round_trip("an empty body", "", 0);
    round_trip("a body that ends where the first read does", large, 500);
    round_trip("a body of 3 MiB", large, MEGABYTES_3);
    free(large);
}

/* What is on the disk is what the header file tells, to the byte. */
static void test_format(void)
{
    const char *lines = apr_psprintf(pool,
                                     "smartsupp-spool 1\n"
                                     "received 1427470439703\n"
                                     "server www.example.com:443\n"
                                     "length 11\nsha256 %s\n",
                                     digest("hello\nworld"));
    const char *name = name_of("hello\nworld", NOW);
    apr_size_t length;
    bench_t bench;

    make_bench(&bench, PLENTY);
    put(&bench, "hello\nworld", NOW);
    tap_is(read_file(&length, in(&bench, "new", name)),
           file_of(lines, "hello\nworld"), "a file in new/");
    tap_is_int(mode_of(in(&bench, "new", name)), 0600, "... its mode");
    put(&bench, "hello\nworld", NOW);
    tap_is_int(things(&bench, "new"), 1, "put again: one file");
    tap_ok(usage_is_right(&bench), "... counted once");
    reject(&bench, "hello\nworld", "no\nconversation\177");
    tap_is(read_file(&length, in(&bench, "rejected", digest("hello\nworld"))),
           file_of(apr_pstrcat(pool, lines, "reason no conversation \n", NULL),
                   "hello\nworld"),
           "a file in rejected/");
    tap_is_int(mode_of(in(&bench, "rejected", digest("hello\nworld"))), 0600,
               "... its mode");
    tap_ok(usage_is_right(&bench), "... counted");
    put(&bench, "", 12345);
    tap_ok(is_there(in(&bench, "new", name_of("", 12345))),
           "an early time has 13 digits in its name too");
    tap_is_int(put(&bench, "", 0), APR_EINVAL, "no time is refused");
    tap_is_int(bench.usage.oldest, 12345, "the oldest is known");
}

/* What the server's name and the reason become. */
static void words_become(const char *what, const char *server,
                         const char *reason, const char *expected_server,
                         const char *expected_reason)
{
    smartsupp_delivery_t *delivery = make_delivery(what, strlen(what), NOW);
    smartsupp_spool_header_t header;
    apr_size_t length;
    char *bytes;
    bench_t bench;

    make_bench(&bench, PLENTY);
    tap_is_int(smartsupp_spool_reject(bench.spool, delivery, server, reason),
               APR_SUCCESS, what);
    bytes = read_file(&length, in(&bench, "rejected", digest(what)));
    tap_is_int(smartsupp_spool_parse(&header, bytes, length), APR_SUCCESS,
               "... parsed");
    tap_is(header.server, expected_server, "... server");
    tap_is(header.reason, expected_reason, "... reason");
    smartsupp_delivery_release(delivery);
}

static void test_words(void)
{
    const char *a254 = repeat('a', 254);

    words_become("control characters", "a\r\nb\tc", "a\r\nb\tc", "a??b?c",
                 "a  b c");
    words_become("no words", "", "", "", "");
    words_become("255 bytes", apr_pstrcat(pool, a254, "b", NULL),
                 apr_pstrcat(pool, a254, "b", NULL),
                 apr_pstrcat(pool, a254, "b", NULL),
                 apr_pstrcat(pool, a254, "b", NULL));
    words_become("256 bytes", apr_pstrcat(pool, a254, "bc", NULL),
                 apr_pstrcat(pool, a254, "bc", NULL),
                 apr_pstrcat(pool, a254, "b", NULL),
                 apr_pstrcat(pool, a254, "b", NULL));
    words_become("a character across the cut",
                 apr_pstrcat(pool, a254, "\303\241x", NULL),
                 apr_pstrcat(pool, a254, "\360\237\230\200x", NULL), a254,
                 a254);
    words_become("no UTF-8", repeat('\200', 300), repeat('\377', 300),
                 repeat('\200', 255), repeat('\377', 255));
}

static void test_limit(void)
{
    const char *body = repeat('x', 1000);
    apr_int64_t size;
    bench_t bench;

    make_bench(&bench, PLENTY);
    put(&bench, body, NOW);
    size = bench.usage.waiting_bytes;

    make_bench(&bench, 3 * size);
    tap_is_int(put(&bench, body, NOW), APR_SUCCESS, "the limit: one");
    tap_is_int(put(&bench, body, NOW + 1), APR_SUCCESS, "... two");
    tap_is_int(put(&bench, body, NOW + 2), APR_SUCCESS, "... just full");
    tap_is_int(put(&bench, "", NOW + 3), APR_ENOSPC, "... no more");
    tap_is_int(reject(&bench, "", "r"), APR_ENOSPC, "... nor in rejected/");
    tap_ok(usage_is_right(&bench) && bench.usage.waiting == 3 &&
               !things(&bench, "tmp"),
           "... and nothing is left behind");
    smartsupp_spool_done(bench.spool, name_of(body, NOW));
    tap_is_int(put(&bench, body, NOW + 4), APR_SUCCESS, "room again");

    make_bench(&bench, 65536 + 2 * size);
    put(&bench, body, NOW);
    put(&bench, body, NOW + 1);
    tap_ok(smartsupp_spool_has_room(bench.spool), "room for 64 KiB");
    put(&bench, "", NOW + 2);
    tap_ok(!smartsupp_spool_has_room(bench.spool), "no room for 64 KiB");
}

static void test_rejected(void)
{
    const char *body = repeat('x', 1000);
    const char *path;
    apr_size_t length;
    char *bytes;
    bench_t bench;

    make_bench(&bench, 4 * 3000);
    path = in(&bench, "rejected", digest(body));
    tap_is_int(reject(&bench, body, "first"), APR_SUCCESS, "rejected: one");
    tap_is_int(reject(&bench, repeat('y', 1000), "r"), APR_SUCCESS, "... two");
    tap_is_int(reject(&bench, repeat('z', 1000), "r"), SMARTSUPP_ESPOOL_FULL,
               "... and a quarter of the limit is full");
    tap_is_int(reject(&bench, body, "second"), APR_SUCCESS,
               "what is there already, is");
    bytes = read_file(&length, path);
    tap_ok(strstr(bytes, "reason first\n") != NULL, "... left as it was");
    tap_ok(usage_is_right(&bench) && bench.usage.rejected == 2, "... counted");
    bytes[length - 1] ^= 1;
    write_file(path, bytes, length);
    unlink(in(&bench, "rejected", digest(repeat('y', 1000))));
    bench.usage.rejected--;
    bench.usage.rejected_bytes -= (apr_int64_t)length - 4;
    tap_is_int(reject(&bench, body, "third"), APR_SUCCESS,
               "what is there, but damaged");
    tap_ok(strstr(read_file(&length, path), "reason third\n") != NULL,
           "... is written anew");
    tap_ok(usage_is_right(&bench), "... and counted once");
    must(!rename(path, in(&bench, "new", digest(body))), "rename");
    tap_is_int(try_read(&bench, digest(body)), APR_SUCCESS,
               "back in new/ under its name of rejected/, it is read");
}

/* A damaged file in new/, beside a good one. */
static void damaged_file(const char *what, const char *bytes, apr_size_t length)
{
    const char *name = name_of("hello world", NOW);
    const char *good = name_of("good", NOW + 1);
    apr_size_t aside_length;
    const char *aside;
    bench_t bench;
    int ok;

    make_bench(&bench, PLENTY);
    put(&bench, "good", NOW + 1);
    write_file(in(&bench, "new", name), bytes, length);
    ok = !strcmp(listed(&bench, 9), apr_pstrcat(pool, name, " ", good, NULL)) &&
         usage_is_right(&bench) && bench.usage.waiting == 2;
    tap_ok(ok && try_read(&bench, name) == SMARTSUPP_ESPOOL_DAMAGED,
           apr_psprintf(pool, "%s: damaged", what));
    ok = smartsupp_spool_set_aside(bench.spool, name) == APR_SUCCESS;
    aside =
        read_file(&aside_length, in(&bench, "rejected",
                                    apr_pstrcat(pool, name, ".damaged", NULL)));
    tap_ok(ok && aside && aside_length == length &&
               !memcmp(aside, bytes, length) && usage_is_right(&bench) &&
               bench.usage.waiting == 1 && bench.usage.rejected == 1,
           "... set aside as it is");
    tap_ok(!strcmp(listed(&bench, 9), good) &&
               try_read(&bench, good) == APR_SUCCESS && usage_is_right(&bench),
           "... and nothing else");
}

static void damaged_lines(const char *what, const char *lines)
{
    const char *file = file_of(lines, "hello world");

    damaged_file(what, file, strlen(file));
}

#define LINES(version, received, server, length, sha256, rest)                 \
    apr_pstrcat(pool, version "\n" received "\n", server, "\n" length "\n",    \
                sha256, rest "\n", NULL)
#define V "smartsupp-spool 1"
#define R "received 1427470439703"
#define S "server " SERVER
#define L "length 11"
#define H apr_pstrcat(pool, "sha256 ", digest("hello world"), NULL)

static void test_damaged_lines(void)
{
    const char *upper = apr_pstrdup(pool, H);
    char *c;

    for (c = strchr(upper, ' '); *c; c++) {
        *c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
    }
    damaged_lines("version 2", LINES("smartsupp-spool 2", R, S, L, H, ""));
    damaged_lines("no version", LINES("smartsupp-spool ", R, S, L, H, ""));
    damaged_lines("version 10", LINES("smartsupp-spool 10", R, S, L, H, ""));
    damaged_lines("leading zero in the time",
                  LINES(V, "received 01427470439703", S, L, H, ""));
    damaged_lines("time 0", LINES(V, "received 0", S, L, H, ""));
    damaged_lines("time 2^53",
                  LINES(V, "received 9007199254740992", S, L, H, ""));
    damaged_lines("time of many digits",
                  LINES(V, "received 18446744073709551617", S, L, H, ""));
    damaged_lines("a sign", LINES(V, "received +1427470439703", S, L, H, ""));
    damaged_lines("no time", LINES(V, "received ", S, L, H, ""));
    damaged_lines("two spaces", LINES(V, "received  1", S, L, H, ""));
    damaged_lines("a space after", LINES(V, "received 1 ", S, L, H, ""));
    damaged_lines("CRLF", LINES(V "\r", R "\r", S "\r", L "\r", H, "\r"));
    damaged_lines("a tab in the server", LINES(V, R, "server a\tb", L, H, ""));
    damaged_lines("a server of 256 bytes",
                  LINES(V, R,
                        apr_pstrcat(pool, "server ", repeat('a', 256), NULL), L,
                        H, ""));
    damaged_lines("no server", LINES(V, R, "server", L, H, ""));
    damaged_lines("leading zero in the length",
                  LINES(V, R, S, "length 011", H, ""));
    damaged_lines("length 2^40", LINES(V, R, S, "length 1099511627776", H, ""));
    damaged_lines("a length that adds up to the size when it overflows",
                  LINES(V, R, S, "length 18446744073709551627", H, ""));
    damaged_lines("a SHA-256 in upper case", LINES(V, R, S, L, upper, ""));
    damaged_lines("a SHA-256 that is longer", LINES(V, R, S, L, H, "0"));
    damaged_lines(
        "the SHA-256 of another body",
        LINES(V, R, S, L, apr_pstrcat(pool, "sha256 ", digest("x"), NULL), ""));
    damaged_lines("an unknown line", LINES(V, R, S, L, H, "\ncolour red"));
    damaged_lines("two reasons", LINES(V, R, S, L, H, "\nreason a\nreason b"));
    damaged_lines("a control character in the reason",
                  LINES(V, R, S, L, H, "\nreason \033[1m"));
    damaged_lines("another order", LINES(V, S, R, L, H, ""));
}

static void test_damaged_bytes(void)
{
    const char *lines = LINES(V, R, S, L, H, "");
    const char *whole = file_of(lines, "hello world");
    apr_size_t length = strlen(whole);
    char *bytes = apr_pstrdup(pool, whole);
    bench_t bench;

    make_bench(&bench, PLENTY);
    write_file(in(&bench, "new", "x"), whole, length);
    tap_is_int(try_read(&bench, "x"), APR_SUCCESS, "what is now damaged");
    damaged_file("0 bytes", "", 0);
    damaged_file("half a header", whole, 100);
    damaged_file("a header less its last newline", whole, length - 12);
    damaged_file("a header without body", whole, length - 11);
    damaged_file("half a body", whole, length - 6);
    damaged_file("one byte less", whole, length - 1);
    damaged_file("one more byte", apr_pstrcat(pool, whole, "x", NULL),
                 length + 1);
    damaged_file("one more NUL", whole, length + 1);
    damaged_file("all NUL", apr_pcalloc(pool, length), length);
    bytes[length - 3] ^= 1;
    damaged_file("a bit of the body", bytes, length);
    bytes = apr_pstrdup(pool, whole);
    bytes[strlen(lines) + 20] ^= 1;
    damaged_file("a bit of the check line", bytes, length);
    bytes = apr_pstrdup(pool, whole);
    bytes[strlen(V) + 15] ^= 1;
    damaged_file("a bit of the time", bytes, length);
}

/* Something in new/ that is no file, beside a good one. */
static void foreign_thing(bench_t *bench, const char *what)
{
    apr_int64_t files;
    apr_int64_t bytes;
    const char *good = name_of("good", NOW);

    put(bench, "good", NOW);
    tap_is(listed(bench, 9), apr_pstrcat(pool, "thing ", good, NULL),
           apr_psprintf(pool, "%s: listed first", what));
    tap_ok(usage_is_right(bench) && bench->usage.oldest == NOW,
           "... not counted");
    tap_is_int(try_read(bench, "thing"), SMARTSUPP_ESPOOL_DAMAGED,
               "... damaged");
    tap_is_int(smartsupp_spool_set_aside(bench->spool, "thing"), APR_SUCCESS,
               "... set aside");
    tap_ok(is_there(in(bench, "rejected", "thing.damaged")) &&
               count_things(&files, &bytes, bench, "rejected") == 1 &&
               files == 0 && usage_is_right(bench),
           "... as it is");
    tap_is_int(smartsupp_spool_set_aside(bench->spool, "thing"), APR_SUCCESS,
               "... twice");
    tap_ok(!strcmp(listed(bench, 9), good) && usage_is_right(bench) &&
               try_read(bench, good) == APR_SUCCESS,
           "... and nothing else");
}

static void test_foreign_things(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *whole = file_of(LINES(V, R, S, L, H, ""), "hello world");
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    bench_t bench;

    make_bench(&bench, PLENTY);
    must(!mkfifo(in(&bench, "new", "thing"), 0600), "fifo");
    foreign_thing(&bench, "a fifo");

    make_bench(&bench, PLENTY);
    write_file(apr_pstrcat(pool, bench.path, "/whole", NULL), whole,
               strlen(whole));
    must(!symlink("../whole", in(&bench, "new", "thing")), "symlink");
    foreign_thing(&bench, "a symbolic link to a whole file");
    tap_ok(is_there(apr_pstrcat(pool, bench.path, "/whole", NULL)),
           "... not what it leads to");

    make_bench(&bench, PLENTY);
    must(!mkdir(in(&bench, "new", "thing"), 0700), "mkdir");
    write_file(in(&bench, "new", "thing/inside"), "x", 1);
    foreign_thing(&bench, "a folder");
    tap_ok(is_there(in(&bench, "rejected", "thing.damaged/inside")),
           "... with what is in it");

    make_bench(&bench, PLENTY);
    apr_cpystrn(address.sun_path, in(&bench, "new", "thing"),
                sizeof(address.sun_path));
    must(!bind(file, (struct sockaddr *)&address, sizeof(address)), "bind");
    close(file);
    foreign_thing(&bench, "a socket");
}

static void test_set_aside_names(void)
{
    const char *longest = repeat('n', 255);
    bench_t bench;

    make_bench(&bench, PLENTY);
    write_file(in(&bench, "new", "x"), "1", 1);
    smartsupp_spool_set_aside(bench.spool, "x");
    write_file(in(&bench, "new", "x"), "22", 2);
    smartsupp_spool_set_aside(bench.spool, "x");
    must(!mkdir(in(&bench, "new", "x"), 0700), "mkdir");
    tap_is_int(smartsupp_spool_set_aside(bench.spool, "x"), APR_SUCCESS,
               "one name, three times");
    tap_ok(is_there(in(&bench, "rejected", "x.damaged")) &&
               is_there(in(&bench, "rejected", "x.damaged.2")) &&
               is_there(in(&bench, "rejected", "x.damaged.3")) &&
               things(&bench, "rejected") == 3,
           "... nothing is written over");
    write_file(in(&bench, "new", longest), "x", 1);
    tap_is_int(smartsupp_spool_set_aside(bench.spool, longest), APR_SUCCESS,
               "the longest name there is");
    tap_is_int(things(&bench, "new"), 0, "... set aside too");
    tap_is_int(smartsupp_spool_set_aside(bench.spool, "../x"), APR_EBADPATH,
               "a name that leads elsewhere is refused");
    tap_is_int(smartsupp_spool_done(bench.spool, "../tmp/x"), APR_EBADPATH,
               "... by done too");
    write_file(in(&bench, "new", "x"), "x", 1);
    must(!rename(in(&bench, "rejected", ""), in(&bench, "elsewhere", "")),
         "rename");
    tap_is_int(smartsupp_spool_set_aside(bench.spool, "x"), APR_ENOENT,
               "without rejected/ it is an error");
    tap_ok(is_there(in(&bench, "new", "x")), "... and the file stays");
}

/* What a crash left in tmp/. */
static void test_leftovers(void)
{
    const char *whole = file_of(LINES(V, R, S, L, H, ""), "hello world");
    const char *name = name_of("hello world", NOW);
    bench_t bench;
    int left = -1;

    make_bench(&bench, PLENTY);
    write_file(in(&bench, "tmp", "whole"), whole, strlen(whole));
    write_file(in(&bench, "tmp", "torn"), whole, strlen(whole) - 1);
    write_file(in(&bench, "tmp", "empty"), "", 0);
    must(!mkdir(in(&bench, "tmp", "folder"), 0700), "mkdir");
    must(!symlink("whole", in(&bench, "tmp", "link")), "symlink");
    tap_is(apr_array_pstrcat(pool, scan(&left, &bench, 9), ' '), "",
           "what is young in tmp/");
    tap_ok(left == 0 && things(&bench, "tmp") == 5 && usage_is_right(&bench),
           "... stays");
    age(in(&bench, "tmp", "whole"), 30);
    scan(&left, &bench, 9);
    tap_ok(left == 0 && things(&bench, "tmp") == 5, "... also 30 s later");
    age(in(&bench, "tmp", "whole"), 90);
    age(in(&bench, "tmp", "torn"), 90);
    age(in(&bench, "tmp", "empty"), 90);
    age(in(&bench, "tmp", "folder"), 90);
    age(in(&bench, "tmp", "link"), 90);
    tap_is(apr_array_pstrcat(pool, scan(&left, &bench, 9), ' '), name,
           "what is old and whole goes to new/");
    tap_ok(try_read(&bench, name) == APR_SUCCESS, "... and is read");
    tap_ok(is_there(in(&bench, "rejected", "torn.damaged")) &&
               is_there(in(&bench, "rejected", "empty.damaged")) &&
               is_there(in(&bench, "rejected", "folder.damaged")) &&
               is_there(in(&bench, "rejected", "link.damaged")),
           "all else goes to rejected/");
    tap_is_int(left, 5, "five were brought back");
    tap_ok(usage_is_right(&bench) && !things(&bench, "tmp") &&
               bench.usage.oldest == NOW,
           "... and are counted");
    scan(&left, &bench, 9);
    tap_ok(left == 0 && usage_is_right(&bench), "... once");
}

static void test_scan_order(void)
{
    const char *expected = "aaa zzz 9999999999999999-x";
    bench_t bench;
    int i;

    make_bench(&bench, PLENTY);
    for (i = 0; i < 60; i++) {
        put(&bench, "x", NOW + (i * 37) % 60);
    }
    write_file(in(&bench, "new", "zzz"), "", 0);
    write_file(in(&bench, "new", "aaa"), "", 0);
    write_file(in(&bench, "new", "9999999999999999-x"), "", 0);
    expected = "9999999999999999-x aaa zzz";
    tap_is(listed(&bench, 3), expected, "scan: what is foreign first");
    for (i = 0; i < 7; i++) {
        expected =
            apr_pstrcat(pool, expected, " ", name_of("x", NOW + i), NULL);
    }
    tap_is(listed(&bench, 10), expected, "... then the oldest, ten in all");
    tap_ok(usage_is_right(&bench) && bench.usage.waiting == 63,
           "... but all are counted");
    for (i = 7; i < 60; i++) {
        expected =
            apr_pstrcat(pool, expected, " ", name_of("x", NOW + i), NULL);
    }
    tap_is(listed(&bench, 63), expected, "... all, where just all are wanted");
    tap_is(listed(&bench, 10000), expected, "... or more");
    tap_is(listed(&bench, 0), "", "... or none");
    tap_is_int(bench.usage.oldest, NOW, "the oldest is known");
}

static void test_usage_heals(void)
{
    const smartsupp_spool_usage_t nonsense[] = {
        {0, 0, 0, 0, 0},
        {1000, 1000000, 1, 1000, 1000000},
        {-1000, -1000000, -1, -1000, -1000000},
        {0, 0, NOW * 2, 0, 0},
    };
    apr_size_t i;
    bench_t bench;
    int left;

    make_bench(&bench, PLENTY);
    put(&bench, "a", NOW + 1);
    put(&bench, "bb", NOW);
    reject(&bench, "ccc", "r");
    for (i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
        bench.usage = nonsense[i];
        scan(&left, &bench, 1);
        tap_ok(usage_is_right(&bench) && bench.usage.oldest == NOW,
               "figures that were wrong are right after a scan");
    }
    bench.usage = nonsense[0];
    smartsupp_spool_done(bench.spool, name_of("a", NOW + 1));
    tap_ok(bench.usage.waiting == 0 && bench.usage.waiting_bytes == 0,
           "never below zero");
    smartsupp_spool_done(bench.spool, name_of("bb", NOW));
    bench.usage.oldest = 7;
    scan(&left, &bench, 1);
    tap_ok(usage_is_right(&bench) && bench.usage.oldest == 0,
           "nothing waits: no oldest");
}

/* Each cut of a header, and each bit of it turned, in memory of its length. */
static void test_parse(void)
{
    const char *whole =
        file_of(LINES(V, R, S, L, H, "\nreason because"), "hello world");
    apr_size_t length = strlen(whole);
    apr_size_t header_length = length - 11;
    smartsupp_spool_header_t header;
    apr_size_t i;
    char *bytes;
    int wrong = 0;

    tap_is_int(smartsupp_spool_parse(&header, whole, length), APR_SUCCESS,
               "a header is parsed");
    tap_ok(header.received_at == NOW && header.body_length == 11 &&
               header.body_offset == header_length &&
               !strcmp(header.server, SERVER) &&
               !strcmp(header.reason, "because") &&
               !strcmp(header.body_sha256, digest("hello world")),
           "... with all that is in it");
    for (i = 0; i <= header_length; i++) {
        bytes = malloc(i ? i : 1);
        memcpy(bytes, whole, i);
        wrong += smartsupp_spool_parse(&header, bytes, i) !=
                 (i < header_length ? SMARTSUPP_ESPOOL_DAMAGED : APR_SUCCESS);
        free(bytes);
    }
    tap_is_int(wrong, 0, "each part of it is damaged");
    bytes = malloc(header_length);
    for (i = 0; i < header_length * 8; i++) {
        memcpy(bytes, whole, header_length);
        bytes[i / 8] ^= (char)(1 << i % 8);
        wrong += smartsupp_spool_parse(&header, bytes, header_length) !=
                 SMARTSUPP_ESPOOL_DAMAGED;
    }
    free(bytes);
    tap_is_int(wrong, 0, "each bit turned is damaged");
}

/* Failures that need no shim: what is missing, too long, too large. */
static void test_failures(void)
{
    struct rlimit limit;
    struct rlimit small;
    apr_array_header_t *names;
    const char *reason = NULL;
    smartsupp_spool_t *far;
    bench_t bench;
    int left;

    make_bench(&bench, PLENTY);
    tap_is_int(smartsupp_spool_probe(bench.spool), APR_SUCCESS, "a probe");
    tap_is_int(things(&bench, "tmp"), 0, "... leaves nothing");
    getrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    small = limit;
    small.rlim_cur = 1000;
    setrlimit(RLIMIT_FSIZE, &small);
    tap_is_int(put(&bench, repeat('x', 5000), NOW), EFBIG,
               "a write that ends in the middle");
    setrlimit(RLIMIT_FSIZE, &limit);
    tap_ok(!things(&bench, "tmp") && usage_is_right(&bench),
           "... leaves nothing");
    must(!mkdir(in(&bench, "new", name_of("x", NOW)), 0700), "mkdir");
    tap_ok(put(&bench, "x", NOW) != APR_SUCCESS, "a folder is in the way");
    tap_ok(!things(&bench, "tmp") && usage_is_right(&bench),
           "... leaves nothing");
    must(!rename(in(&bench, "new", ""), in(&bench, "elsewhere", "")), "rename");
    tap_is_int(put(&bench, "x", NOW), APR_ENOENT, "new/ is gone");
    tap_ok(!things(&bench, "tmp") && !bench.usage.waiting &&
               !bench.usage.waiting_bytes,
           "... leaves nothing");
    tap_is_int(smartsupp_spool_probe(bench.spool), APR_ENOENT,
               "... the probe tells");
    tap_is_int(smartsupp_spool_scan(&names, &left, bench.spool, 1, pool),
               APR_ENOENT, "... the scan too");
    tap_is_int(smartsupp_spool_lock(&left, bench.spool), APR_ENOENT,
               "... the lock too");
    must(!mkdir(in(&bench, "new", ""), 0700), "mkdir");
    tap_is_int(put(&bench, "x", NOW), APR_SUCCESS,
               "another in its place is used at once");

    far = smartsupp_spool_create(
        apr_pstrcat(pool, top, "/", repeat('p', 4100), NULL), PLENTY,
        &bench.usage, pool);
    tap_is_int(smartsupp_spool_probe(far), APR_ENAMETOOLONG, "a long path");
    tap_is_int(smartsupp_spool_done(far, "x"), APR_ENAMETOOLONG, "... done");
    tap_is_int(smartsupp_spool_lock(&left, far), APR_ENAMETOOLONG, "... lock");
    tap_ok(smartsupp_spool_prepare(&reason, far, geteuid(), getegid(), pool) !=
                   APR_SUCCESS &&
               reason,
           "... prepare");
}

static const char *refusal(const char *path, uid_t uid)
{
    smartsupp_spool_usage_t usage = {0};
    smartsupp_spool_t *spool =
        smartsupp_spool_create(path, PLENTY, &usage, pool);
    const char *reason = NULL;
    apr_status_t rv =
        smartsupp_spool_prepare(&reason, spool, uid, getegid(), pool);

    return rv == APR_SUCCESS ? NULL : reason ? reason : "?";
}

/* Whether it is refused, with those words in the reason. */
static int is_refused(const char *path, uid_t uid, const char *words)
{
    const char *reason = refusal(path, uid);

    return reason && strstr(reason, words);
}

static void test_prepare(void)
{
    const char *path = apr_pstrcat(pool, top, "/prepare", NULL);
    const char *link = apr_pstrcat(pool, top, "/link", NULL);
    const char *inner = apr_pstrcat(pool, path, "/rejected", NULL);
    const char *deep = apr_pstrcat(pool, top, "/no/spool", NULL);
    const char *file = apr_pstrcat(pool, top, "/file", NULL);
    smartsupp_spool_usage_t usage = {0};
    mode_t mask = umask(0);

    tap_is(smartsupp_spool_path(
               smartsupp_spool_create("/a/b//", PLENTY, &usage, pool)),
           "/a/b", "slashes at the end are dropped");
    tap_is(refusal(path, geteuid()), NULL, "folders are made");
    tap_ok(mode_of(path) == 0700 && mode_of(inner) == 0700 &&
               mode_of(apr_pstrcat(pool, path, "/new", NULL)) == 0700 &&
               mode_of(apr_pstrcat(pool, path, "/tmp", NULL)) == 0700,
           "... with mode 0700");
    tap_is(refusal(path, geteuid()), NULL, "... and are right the next time");
    must(!chmod(path, 0755) && !chmod(inner, 0750), "chmod");
    tap_is(refusal(path, geteuid()), NULL, "modes that are wider");
    tap_ok(mode_of(path) == 0700 && mode_of(inner) == 0700, "... are narrowed");
    must(!symlink(path, link), "symlink");
    tap_ok(is_refused(link, geteuid(), "symbolic link"),
           "a symbolic link is refused");
    tap_ok(is_refused(apr_pstrcat(pool, link, "/", NULL), geteuid(),
                      "symbolic link"),
           "... with a slash after it too");
    must(!rmdir(inner) && !symlink("new", inner), "symlink");
    tap_ok(is_refused(path, geteuid(), inner), "... inside too");
    unlink(inner);
    write_file(inner, "", 0);
    tap_ok(is_refused(path, geteuid(), "not a folder"), "a file is refused");
    tap_ok(is_refused(deep, geteuid(),
                      apr_pstrcat(pool, top, "/no does not exist", NULL)),
           "the parent must be there");
    write_file(file, "", 0);
    tap_ok(refusal(apr_pstrcat(pool, file, "/spool", NULL), geteuid()) != NULL,
           "... and be a folder");
    umask(mask);
}

/* What only root can be asked. */
static void test_prepare_as_root(void)
{
    const char *path = apr_pstrcat(pool, top, "/other", NULL);
    const char *filled = apr_pstrcat(pool, top, "/filled", NULL);
    struct stat info;

    if (geteuid() != 0) {
        tap_ok(is_refused("/", geteuid(), "belongs to the user root"),
               "another user's folder is refused");
        return;
    }
    must(!mkdir(path, 0755), "mkdir");
    tap_is(refusal(path, 12345), NULL, "root's empty folder is given away");
    tap_ok(!lstat(path, &info) && info.st_uid == 12345 &&
               !lstat(apr_pstrcat(pool, path, "/tmp", NULL), &info) &&
               info.st_uid == 12345,
           "... with those in it");
    tap_is(refusal(path, 12345), NULL, "... once");
    tap_ok(is_refused(path, 12346, "belongs to the user 12345"),
           "another user's is refused");
    must(!mkdir(filled, 0755), "mkdir");
    write_file(apr_pstrcat(pool, filled, "/x", NULL), "", 0);
    tap_ok(is_refused(filled, 12345, "belongs to the user root"),
           "root's folder with something in it is refused");
    tap_ok(!lstat(filled, &info) && (info.st_mode & 07777) == 0755,
           "... and left as it was");
}

/* Threads that put until they are refused, or so many times. */
typedef struct putter_t {
    bench_t *bench;
    int number;
    int attempts;
    int kept;
    int refused;
    int wrong;
    pthread_t thread;
} putter_t;

static void *put_many(void *baton)
{
    putter_t *putter = baton;
    char body[1001];
    int i;

    memset(body, 'a' + putter->number, 1000);
    body[1000] = '\0';
    for (i = 0; i < putter->attempts; i++) {
        apr_status_t rv = put(putter->bench, body, NOW + i);

        putter->kept += rv == APR_SUCCESS;
        putter->refused += rv == APR_ENOSPC;
        putter->wrong += rv != APR_SUCCESS && rv != APR_ENOSPC;
    }
    return NULL;
}

static void *scan_often(void *baton)
{
    bench_t *bench = baton;
    apr_array_header_t *names;
    apr_pool_t *scratch;
    int wrong = 0;
    int left;
    int i;

    for (i = 0; i < 30; i++) {
        apr_pool_create_unmanaged_ex(&scratch, NULL, NULL);
        wrong += smartsupp_spool_scan(&names, &left, bench->spool, 5,
                                      scratch) != APR_SUCCESS ||
                 left != 0;
        apr_pool_destroy(scratch);
    }
    return wrong ? baton : NULL;
}

enum { PUTTERS = 16 };

static void run_putters(putter_t *putters, bench_t *bench, int attempts)
{
    int i;

    for (i = 0; i < PUTTERS; i++) {
        putter_t putter = {.bench = bench, .number = i, .attempts = attempts};

        putters[i] = putter;
        must(!pthread_create(&putters[i].thread, NULL, put_many, &putters[i]),
             "thread");
    }
}

static void join_putters(putter_t *sum, putter_t *putters)
{
    int i;

    memset(sum, 0, sizeof(*sum));
    for (i = 0; i < PUTTERS; i++) {
        pthread_join(putters[i].thread, NULL);
        sum->kept += putters[i].kept;
        sum->refused += putters[i].refused;
        sum->wrong += putters[i].wrong;
    }
}

static void test_many_threads(void)
{
    putter_t putters[PUTTERS];
    pthread_t scanner;
    apr_int64_t size;
    putter_t sum;
    void *wrong;
    bench_t bench;
    int round;
    int ok = 1;
    int left;

    make_bench(&bench, PLENTY);
    put(&bench, repeat('a', 1000), NOW);
    size = bench.usage.waiting_bytes;
    for (round = 0; round < 5; round++) {
        make_bench(&bench, 40 * size);
        run_putters(putters, &bench, 5);
        join_putters(&sum, putters);
        ok = ok && sum.kept <= 40 && sum.kept + sum.refused == 80 &&
             !sum.wrong && bench.usage.waiting == sum.kept &&
             usage_is_right(&bench) && !things(&bench, "tmp");
    }
    tap_ok(ok, "16 threads against a limit never pass it");

    make_bench(&bench, PLENTY);
    run_putters(putters, &bench, 10);
    must(!pthread_create(&scanner, NULL, scan_often, &bench), "thread");
    join_putters(&sum, putters);
    pthread_join(scanner, &wrong);
    tap_ok(sum.kept == 160 && !wrong, "16 threads put while one scans");
    scan(&left, &bench, 1);
    tap_ok(things(&bench, "new") == 160 && usage_is_right(&bench) &&
               bench.usage.oldest == NOW,
           "... and all is there");
}

typedef struct drainer_t {
    bench_t *bench;
    int seen;
    int wrong;
} drainer_t;

static void drain_one(drainer_t *drainer, const char *name)
{
    smartsupp_delivery_t *delivery;
    const char *server;
    apr_status_t rv = smartsupp_spool_read(
        &delivery, &server, drainer->bench->spool, name, allocator);

    if (rv == APR_SUCCESS) {
        drainer->seen++;
        smartsupp_delivery_release(delivery);
        rv = smartsupp_spool_done(drainer->bench->spool, name);
    }
    else if (rv == SMARTSUPP_ESPOOL_DAMAGED) {
        rv = smartsupp_spool_set_aside(drainer->bench->spool, name);
    }
    drainer->wrong += rv != APR_SUCCESS && rv != APR_ENOENT;
}

static void *drain(void *baton)
{
    drainer_t *drainer = baton;
    apr_array_header_t *names;
    apr_pool_t *scratch;
    int left;
    int i;

    apr_pool_create_unmanaged_ex(&scratch, NULL, NULL);
    do {
        apr_pool_clear(scratch);
        if (smartsupp_spool_scan(&names, &left, drainer->bench->spool, 7,
                                 scratch) != APR_SUCCESS) {
            drainer->wrong++;
            break;
        }
        for (i = 0; i < names->nelts; i++) {
            drain_one(drainer, APR_ARRAY_IDX(names, i, const char *));
        }
    } while (names->nelts > 0);
    apr_pool_destroy(scratch);
    return NULL;
}

static void test_two_drainers(void)
{
    enum { DELIVERIES = 100, DAMAGED = 5 };
    pthread_t threads[2];
    drainer_t drainers[2];
    bench_t bench;
    int left;
    int i;

    make_bench(&bench, PLENTY);
    for (i = 0; i < DELIVERIES; i++) {
        put(&bench, "x", NOW + i);
    }
    for (i = 0; i < DAMAGED; i++) {
        write_file(in(&bench, "new", apr_itoa(pool, i)), "x", 1);
    }
    for (i = 0; i < 2; i++) {
        drainer_t drainer = {.bench = &bench};

        drainers[i] = drainer;
        must(!pthread_create(&threads[i], NULL, drain, &drainers[i]), "thread");
    }
    for (i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    tap_is_int(drainers[0].wrong + drainers[1].wrong, 0,
               "two drain one spool, and both succeed");
    tap_ok(drainers[0].seen + drainers[1].seen >= DELIVERIES,
           "... each delivery is seen");
    scan(&left, &bench, 1);
    tap_ok(!things(&bench, "new") && things(&bench, "rejected") == DAMAGED &&
               usage_is_right(&bench) && bench.usage.oldest == 0,
           "... and gone, but for what is damaged");
}

static int status_of_child(pid_t child)
{
    int status = -1;

    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What another process is told: 0: it has the lock; 1: busy; 2: an error. */
static int lock_elsewhere(const bench_t *bench)
{
    pid_t child = fork();
    apr_status_t rv;
    int lock;

    if (child == 0) {
        rv = smartsupp_spool_lock(&lock, bench->spool);
        _exit(rv == APR_SUCCESS ? 0 : rv == APR_EBUSY ? 1 : 2);
    }
    return status_of_child(child);
}

static void test_lock(void)
{
    bench_t bench;
    int lock = -1;
    int other = 0;

    make_bench(&bench, PLENTY);
    tap_is_int(smartsupp_spool_lock(&lock, bench.spool), APR_SUCCESS, "locked");
    tap_is_int(lock_elsewhere(&bench), 1, "... no other process may");
    tap_is_int(smartsupp_spool_lock(&other, bench.spool), APR_EBUSY,
               "... nor this one again");
    tap_is_int(other, -1, "... nothing to unlock");
    tap_ok((fcntl(lock, F_GETFD) & FD_CLOEXEC) != 0,
           "... no program that is started holds it");
    smartsupp_spool_unlock(lock);
    smartsupp_spool_unlock(-1);
    tap_is_int(lock_elsewhere(&bench), 0, "unlocked: another process may");
    tap_is_int(smartsupp_spool_lock(&lock, bench.spool), APR_SUCCESS,
               "its end unlocks");
    smartsupp_spool_unlock(lock);
    tap_is_int(things(&bench, "new"), 0, "a lock is no file");
}

static int remove_one(const char *path, const struct stat *info, int kind,
                      struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

int main(void)
{
    apr_thread_mutex_t *mutex;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_allocator_create(&allocator);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_allocator_mutex_set(allocator, mutex);
    must(mkdtemp(top) != NULL, top);
    test_round_trip();
    test_format();
    test_words();
    test_limit();
    test_rejected();
    test_parse();
    test_damaged_lines();
    test_damaged_bytes();
    test_foreign_things();
    test_set_aside_names();
    test_leftovers();
    test_scan_order();
    test_usage_heals();
    test_failures();
    test_prepare();
    test_prepare_as_root();
    test_lock();
    test_many_threads();
    test_two_drainers();
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    apr_pool_destroy(pool);
    apr_allocator_destroy(allocator);
    apr_terminate();
    return tap_done();
}
