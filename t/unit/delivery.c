/*
 * Deliveries, their memory, and what happens when there is none left.
 */
#include <dlfcn.h>
#include <sys/mman.h>

#include <apr_thread_proc.h>

#include <cjson/cJSON.h>

#include "decoded.h"

/*
 * Memory that runs out. The program's own malloc and mmap (from which Debian's
 * APR makes its pools) stand before those of libc, for the libraries too, and
 * let the request fail whose turn it is. Where something else has taken malloc
 * (valgrind; a sanitizer that is linked in), only cJSON's can be made to fail.
 */
static int requests;
static int requests_until_failure = -1; /* -1: never */

static int request_fails(void)
{
    requests++;
    return requests_until_failure >= 0 && !requests_until_failure--;
}

static void *malloc_of_cjson(size_t size)
{
    return request_fails() ? NULL : malloc(size);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MALLOC_IS_TAKEN
#endif
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(memory_sanitizer)
#define MALLOC_IS_TAKEN
#endif
#endif

#ifndef MALLOC_IS_TAKEN
void *malloc(size_t size)
{
    static void *(*next)(size_t);

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "malloc");
    }
    return request_fails() ? NULL : next(size);
}

void *mmap(void *at, size_t size, int protection, int flags, int file,
           off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "mmap");
    }
    return request_fails() ? MAP_FAILED
                           : next(at, size, protection, flags, file, offset);
}
#endif

static int malloc_is_ours(void)
{
    void *(*volatile call)(size_t) = malloc; /* so that it is not left out */
    int before = requests;

    free(call(1));
    return requests > before;
}

/* A body whose decoding takes memory everywhere: for the copy that is parsed,
 * the tree, rows, texts (one of that length) and three warnings. */
static char *hungry_body(int length)
{
    return json(apr_psprintf(
        pool,
        "{" MINIMAL ",'endAt':'7','visitor':{'name':'n','note':'a\\u0000',"
        "'variables':{'v':{'label':[],'value':'%s'},'w':{'value':1.5}}},"
        "'paths':[{'url':'u'}],'messages':[{'type':'visitor','from':'x',"
        "'content':'c'},{'from':3}]}",
        repeat("v", length)));
}

/* Decode once, with so many bytes of the pool's first block taken before, and
 * with the request of that number failing. Gives whether it came to that. */
static int fail_one_request(const char *body, apr_size_t taken, int number,
                            int *wrong)
{
    smartsupp_problems_t *errors = smartsupp_problems_make(16, pool);
    smartsupp_delivery_t *delivery;
    apr_allocator_t *fresh;
    apr_status_t status;
    int failed;

    apr_allocator_create(&fresh);
    if (smartsupp_delivery_create(&delivery, fresh)) {
        abort();
    }
    delivery->body = body;
    delivery->body_length = strlen(body);
    apr_palloc(delivery->pool, taken);
    requests_until_failure = number;
    status = smartsupp_conversation_decode(delivery, errors, MANY);
    failed = requests_until_failure < 0;
    requests_until_failure = -1;

    /* A warning that finds no memory is no failure. */
    if (status == APR_SUCCESS) {
        *wrong += !delivery->conversation ||
                  smartsupp_problems_count(delivery->warnings) != 3;
    }
    else {
        *wrong += !failed || status != APR_ENOMEM || delivery->conversation ||
                  delivery->warnings;
    }
    *wrong += smartsupp_problems_count(errors) != 0;
    smartsupp_delivery_release(delivery);
    apr_allocator_destroy(fresh);
    return failed;
}

/* Fail each request for memory in turn, until none is left to fail. */
static void fail_each_request(const char *body, apr_size_t taken, int *wrong)
{
    int number = 0;

    while (fail_one_request(body, taken, number, wrong)) {
        number++;
    }
    *wrong += number < 60; /* which would be less than the tree takes */
}

static void test_memory(void)
{
    cJSON_Hooks hooks = {malloc_of_cjson, free};
    const char *body = hungry_body(9000);
    apr_size_t taken;
    int wrong = 0;

    if (!malloc_is_ours()) {
        cJSON_InitHooks(&hooks);
        fail_each_request(body, 0, &wrong);
        cJSON_InitHooks(NULL);
        tap_is_int(wrong, 0, "vector 48: each malloc of cJSON fails");
        return;
    }
    fail_each_request(body, 0, &wrong);
    tap_is_int(wrong, 0, "vector 48: each request for memory fails");
    body = hungry_body(1);
    for (taken = 0; taken < 8192; taken += 16) {
        fail_each_request(body, taken, &wrong);
    }
    tap_is_int(wrong, 0, "vector 48: each thing that the pool is asked for");
}

static void test_delivery(void)
{
    smartsupp_delivery_t *first;
    smartsupp_delivery_t *second;
    apr_allocator_t *fresh;

    if (malloc_is_ours()) {
        apr_allocator_create(&fresh);
        requests_until_failure = 0;
        tap_is_int(smartsupp_delivery_create(&first, fresh), APR_ENOMEM,
                   "no memory, no delivery");
        requests_until_failure = -1;
        apr_allocator_destroy(fresh);
    }
    tap_is_int(smartsupp_delivery_create(&first, allocator), APR_SUCCESS,
               "a delivery is made");
    tap_ok(first->pool && !first->body && !first->conversation &&
               !first->event && !first->warnings && !first->body_sha256[0],
           "... and empty");
    tap_ok(!apr_pool_parent_get(first->pool), "... its pool has no parent");
    smartsupp_delivery_create(&second, allocator);
    tap_ok(first->pool != second->pool, "another has another pool");
    smartsupp_delivery_retain(first);
    smartsupp_delivery_release(first);
    first->body = apr_pstrdup(first->pool, "still there");
    smartsupp_delivery_release(second);
    tap_is(first->body, "still there", "one reference is left");
    smartsupp_delivery_release(first);
    tap_is_int(smartsupp_delivery_create(&first, allocator), APR_SUCCESS,
               "the allocator outlives its deliveries");
    smartsupp_delivery_release(first);
}

static apr_status_t count_cleanup(void *count)
{
    ++*(int *)count;
    return APR_SUCCESS;
}

static void *APR_THREAD_FUNC hold_and_release(apr_thread_t *thread, void *data)
{
    smartsupp_delivery_t *delivery = data;
    int i;

    for (i = 0; i < 20000; i++) {
        smartsupp_delivery_retain(delivery);
        smartsupp_delivery_release(delivery);
    }
    smartsupp_delivery_release(delivery);
    apr_thread_exit(thread, APR_SUCCESS);
    return NULL;
}

static void test_threads(void)
{
    smartsupp_delivery_t *delivery;
    apr_thread_t *threads[4];
    apr_status_t status;
    int destroyed = 0;
    int i;

    smartsupp_delivery_create(&delivery, allocator);
    apr_pool_cleanup_register(delivery->pool, &destroyed, count_cleanup,
                              apr_pool_cleanup_null);
    for (i = 0; i < 4; i++) {
        smartsupp_delivery_retain(delivery);
        if (apr_thread_create(&threads[i], NULL, hold_and_release, delivery,
                              pool)) {
            abort();
        }
    }
    for (i = 0; i < 4; i++) {
        apr_thread_join(&status, threads[i]);
    }
    tap_is_int(destroyed, 0, "four threads leave the last reference");
    smartsupp_delivery_release(delivery);
    tap_is_int(destroyed, 1, "... which destroys the delivery, once");
}

/* A body of more values than allowed is refused by the scanner. */
static void test_too_many_values(void)
{
    const char *text =
        apr_psprintf(pool, ROOT("'unknown':[0%s]"), repeat(",0", 65530));
    smartsupp_problems_t *errors = smartsupp_problems_make(1, pool);
    smartsupp_delivery_t *delivery;
    int before;

    smartsupp_problems_add(errors, "", "", 0); /* takes its memory */
    smartsupp_delivery_create(&delivery, allocator);
    delivery->body = json(text);
    delivery->body_length = strlen(text);
    before = requests;
    tap_is_int(smartsupp_conversation_decode(delivery, errors, MANY),
               SMARTSUPP_ESYNTAX, "vector 23: one more is refused");
    tap_is_int(requests - before, 0, "... before any memory is spent");
    smartsupp_delivery_release(delivery);
}

int main(void)
{
    begin();
    test_memory();
    test_too_many_values();
    test_delivery();
    test_threads();
    return end();
}
