/*
 * Whatever a crash, a disk or an administrator may leave in the spool: it is
 * found, set aside as it is, and nothing else is disturbed.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "spooled.h"

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

int main(void)
{
    begin();
    test_parse();
    test_damaged_lines();
    test_damaged_bytes();
    test_foreign_things();
    test_set_aside_names();
    test_leftovers();
    return end();
}
