/*
 * The scanner or the decoder at work on one body, for t/bench/instructions to
 * count the machine's instructions of.
 *
 *   instructions scan|decode FILE   does it TIMES times
 *   instructions toolchain          prints what decides how many they are
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnu/libc-version.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <cjson/cJSON.h>

#include "smartsupp_conversation.h"
#include "smartsupp_json.h"

/* What is done once only, such as the allocator's first page, shall not show.
 */
#define TIMES 10

#ifdef __clang__
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

#ifdef __OPTIMIZE__
#define OPTIMIZED "optimized"
#else
#define OPTIMIZED "not optimized"
#endif

static int print_toolchain(void)
{
    int bits = (int)sizeof(void *) * 8;

    printf("%s %s, %s, glibc %s, cJSON %s, %d bits\n", COMPILER, __VERSION__,
           OPTIMIZED, gnu_get_libc_version(), cJSON_Version(), bits);
    return 0;
}

static int scan(const char *body, apr_size_t length)
{
    smartsupp_json_scan_t result;

    return smartsupp_json_scan(&result, body, length, APR_SIZE_MAX) ==
           APR_SUCCESS;
}

static int decode(const char *body, apr_size_t length, apr_pool_t *pool)
{
    smartsupp_problems_t *errors = smartsupp_problems_make(1, pool);
    smartsupp_delivery_t delivery = {
        .pool = pool, .body = body, .body_length = length};

    return smartsupp_conversation_decode(&delivery, errors, APR_SIZE_MAX) ==
           APR_SUCCESS;
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *pool;
    apr_pool_t *scratch;
    apr_file_t *in;
    apr_finfo_t info;
    char *body;
    int done = 1;
    int i;

    if (argc == 2 && !strcmp(argv[1], "toolchain")) {
        return print_toolchain();
    }
    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);
    apr_pool_create(&scratch, pool);
    if (argc != 3 ||
        apr_file_open(&in, argv[2], APR_FOPEN_READ, 0, pool) != APR_SUCCESS ||
        apr_file_info_get(&info, APR_FINFO_SIZE, in) != APR_SUCCESS) {
        fputs("usage: instructions scan|decode FILE\n", stderr);
        return 2;
    }
    body = apr_pcalloc(pool, (apr_size_t)info.size + 1);
    done = apr_file_read_full(in, body, (apr_size_t)info.size, NULL) ==
           APR_SUCCESS;
    for (i = 0; done && i < TIMES; i++) {
        done = strcmp(argv[1], "scan")
                   ? decode(body, (apr_size_t)info.size, scratch)
                   : scan(body, (apr_size_t)info.size);
        apr_pool_clear(scratch);
    }
    if (!done) {
        fprintf(stderr, "%s: cannot %s it\n", argv[2], argv[1]);
    }
    return !done;
}
