/*
 * The spool on real folders: what is put comes back byte for byte, within its
 * limits, and the figures are those of the files.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "spooled.h"

#define MEGABYTES_3 (3 * 1024 * 1024)

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
    const char *empty = apr_pstrcat(pool, top, "/empty", NULL);
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
    must(!mkdir(empty, 0700) && !chown(empty, 12346, 0), "chown");
    tap_ok(is_refused(empty, 12345, "belongs to the user 12346"),
           "... an empty one too");
    must(!mkdir(filled, 0755), "mkdir");
    write_file(apr_pstrcat(pool, filled, "/x", NULL), "", 0);
    tap_ok(is_refused(filled, 12345, "belongs to the user root"),
           "root's folder with something in it is refused");
    tap_ok(!lstat(filled, &info) && (info.st_mode & 07777) == 0755,
           "... and left as it was");
}

int main(void)
{
    begin();
    test_round_trip();
    test_format();
    test_words();
    test_limit();
    test_rejected();
    test_scan_order();
    test_usage_heals();
    test_failures();
    test_prepare();
    test_prepare_as_root();
    return end();
}
