/*
 * One spool, used by many threads and processes at once. Also run under
 * ThreadSanitizer (make tsan).
 */
#include <pthread.h>
#include <sys/wait.h>

#include "spooled.h"

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

static void share_syncs(bench_t *bench, int share)
{
    must(!share ||
             smartsupp_spool_share_syncs(bench->spool, pool) == APR_SUCCESS,
         "share syncs");
}

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

/* Of a spool whose threads share their fsyncs, or do not. */
static void test_many_threads(int share)
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
        share_syncs(&bench, share);
        run_putters(putters, &bench, 5);
        join_putters(&sum, putters);
        ok = ok && sum.kept <= 40 && sum.kept + sum.refused == 80 &&
             !sum.wrong && bench.usage.waiting == sum.kept &&
             usage_is_right(&bench) && !things(&bench, "tmp");
    }
    tap_ok(ok, "16 threads against a limit never pass it");

    make_bench(&bench, PLENTY);
    share_syncs(&bench, share);
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

int main(void)
{
    begin();
    test_lock();
    test_many_threads(0);
    test_many_threads(1);
    test_two_drainers();
    return end();
}
