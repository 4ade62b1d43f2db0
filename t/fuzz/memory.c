/*
 * The memory of the fuzz targets. This apr_palloc stands before libapr's, for
 * the libraries too, and takes each piece from malloc: so a sanitizer sees
 * every byte that is read or written outside one, which it does not within the
 * large blocks that a pool cuts up. It can also refuse.
 */
#include "fuzz.h"

#include <dlfcn.h>

#include <apr_general.h>

apr_pool_t *fuzz_pool;
apr_allocator_t *fuzz_allocator;
int fuzz_requests;
int fuzz_requests_until_failure = -1;

static apr_status_t release(void *piece)
{
    free(piece);
    return APR_SUCCESS;
}

void *apr_palloc(apr_pool_t *pool, apr_size_t size)
{
    static void *(*next)(apr_pool_t *, apr_size_t);
    static int registering; /* which takes memory from the pool, too */
    void *piece;

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "apr_palloc");
    }
    if (registering) {
        return next(pool, size);
    }
    fuzz_requests++;
    if (fuzz_requests_until_failure >= 0 && !fuzz_requests_until_failure--) {
        return NULL;
    }
    piece = malloc(size ? size : 1);
    must(piece);
    registering = 1;
    apr_pool_cleanup_register(pool, piece, release, apr_pool_cleanup_null);
    registering = 0;
    return piece;
}

static void end(void)
{
    apr_pool_destroy(fuzz_pool);
    apr_allocator_destroy(fuzz_allocator);
    apr_terminate();
}

/* libFuzzer calls it once, before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    must(apr_initialize() == APR_SUCCESS);
    must(apr_pool_create(&fuzz_pool, NULL) == APR_SUCCESS);
    must(apr_allocator_create(&fuzz_allocator) == APR_SUCCESS);
    atexit(end);
    return 0;
}
