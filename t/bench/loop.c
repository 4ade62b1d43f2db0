/*
 * What a database itself can do: threads that store one delivery after the
 * other, each in a transaction of its own on a connection of its own, by the
 * module's SQL through apr_dbd. There is no httpd in it, no socket between
 * sender and receiver, and the JSON is decoded once.
 *
 *   BENCH_DRIVER=pgsql BENCH_PARAMS="host=..." loop BODY THREADS SECONDS FIRST
 *
 * stores the delivery in the file BODY under the channels FIRST, FIRST + 1 and
 * so on, and prints one line of JSON. The first WARM_UP of each thread are not
 * measured. With 0 threads it makes the tables and no more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "smartsupp_conversation.h"
#include "smartsupp_rows.h"
#include "smartsupp_schema.h"
#include "smartsupp_signature.h"
#include "smartsupp_sql_driver.h"
#include "smartsupp_store.h"

#define PREFIX "smartsupp_"
#define WARM_UP apr_time_from_msec(300)

/* How far the channels of two threads are apart. */
#define CHANNELS APR_INT64_C(10000000)

/* What all threads share. */
typedef struct loop_t {
    apr_pool_t *pool;
    const apr_dbd_driver_t *driver;
    const char *params;
    apr_thread_mutex_t *turn; /* SQLite has one writer at a time, or NULL */
    const smartsupp_delivery_t *delivery;
    int by_statement;
    apr_int64_t first;
    apr_time_t start; /* of what is measured */
    apr_time_t end;
} loop_t;

typedef struct worker_t {
    loop_t *loop;
    apr_int64_t channel; /* the next one */
    apr_pool_t *pool;
    apr_pool_t *scratch;
    smartsupp_sql_t *sql;
    apr_dbd_prepared_t *statement; /* of all rows, or NULL */
    apr_size_t values;             /* that it takes */
    apr_int64_t warm_up;           /* deliveries */
    apr_uint32_t *times;           /* µs, of each measured delivery */
    size_t count;
    size_t room;
} worker_t;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "loop: %s: %s\n", what, why);
    exit(1);
}

static apr_pool_t *make_pool(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;

    if (apr_allocator_create(&allocator) != APR_SUCCESS ||
        apr_pool_create_ex(&pool, NULL, NULL, allocator) != APR_SUCCESS) {
        die("memory", "none");
    }
    apr_allocator_owner_set(allocator, pool);
    return pool;
}

static const smartsupp_delivery_t *read_delivery(const char *file,
                                                 apr_pool_t *pool)
{
    smartsupp_problems_t *errors = smartsupp_problems_make(1, pool);
    apr_allocator_t *allocator;
    smartsupp_delivery_t *delivery;
    apr_file_t *in;
    apr_finfo_t info;
    char *body;

    if (apr_file_open(&in, file, APR_FOPEN_READ, 0, pool) != APR_SUCCESS ||
        apr_file_info_get(&info, APR_FINFO_SIZE, in) != APR_SUCCESS ||
        smartsupp_delivery_allocator(&allocator, pool) != APR_SUCCESS ||
        smartsupp_delivery_create(&delivery, allocator) != APR_SUCCESS) {
        die(file, "cannot be read");
    }
    delivery->body_length = (apr_size_t)info.size;
    body = apr_pcalloc(delivery->pool, delivery->body_length + 1);
    if (apr_file_read_full(in, body, delivery->body_length, NULL) !=
        APR_SUCCESS) {
        die(file, "cannot be read");
    }
    delivery->body = body;
    delivery->received_at = apr_time_as_msec(apr_time_now());
    smartsupp_signature_sha256(delivery->body_sha256, body,
                               delivery->body_length);
    if (smartsupp_conversation_decode(delivery, errors, APR_SIZE_MAX) !=
            APR_SUCCESS ||
        !delivery->conversation) {
        die(file, "is no conversation");
    }
    return delivery;
}

/* A connection of the worker's own. */
static void open_database(worker_t *worker)
{
    const loop_t *loop = worker->loop;
    smartsupp_sql_error_t error;
    smartsupp_sql_loan_t loan = {.driver = loop->driver, .pool = worker->pool};
    const char *why = NULL;

    if (apr_dbd_open_ex(loop->driver, worker->pool, loop->params, &loan.handle,
                        &why) != APR_SUCCESS) {
        die("the database cannot be opened", why ? why : "");
    }
    loan.prepared = apr_hash_make(worker->pool);
    if (smartsupp_sql_lend(&worker->sql, &error, &loan, PREFIX,
                           worker->scratch) != APR_SUCCESS) {
        die("the session cannot be set up", error.text);
    }
}

/*
 * The module's own inserts, as the parts of one statement:
 * WITH part0 AS (INSERT …), part1 AS (INSERT …) INSERT …
 */
static void prepare_statement(worker_t *worker)
{
    const smartsupp_conversation_t *conversation =
        worker->loop->delivery->conversation;
    smartsupp_sql_t *sql = worker->sql;
    const char *text = "WITH ";
    const smartsupp_rows_child_t *child;
    int parts = 0;

    for (child = smartsupp_rows_children; child->rows; child++) {
        int left = child->count(conversation);

        worker->values += (apr_size_t)(left * child->values);
        while (left > 0) {
            int rows =
                left < SMARTSUPP_SQL_ROWS_MAX ? left : SMARTSUPP_SQL_ROWS_MAX;

            text = apr_psprintf(
                worker->scratch, "%s%spart%d AS (%s)", text, parts ? ", " : "",
                parts,
                smartsupp_sql_statement_text(sql->dialect, child->insert, rows,
                                             PREFIX, worker->scratch));
            parts++;
            left -= rows;
        }
    }
    text = apr_pstrcat(worker->scratch, parts ? text : "", " ",
                       smartsupp_sql_statement_text(
                           sql->dialect, SMARTSUPP_SQL_INSERT_CONVERSATIONS, 1,
                           PREFIX, worker->scratch),
                       NULL);
    worker->values += SMARTSUPP_SQL_CONVERSATION_VALUES;
    if (apr_dbd_prepare(sql->loan.driver, worker->pool, sql->loan.handle, text,
                        "loop", &worker->statement) != 0) {
        die("one statement",
            apr_dbd_error(sql->loan.driver, sql->loan.handle, 0));
    }
}

static void prepare_worker(worker_t *worker, loop_t *loop, int number)
{
    worker->loop = loop;
    worker->channel = loop->first + number * CHANNELS;
    worker->pool = make_pool();
    worker->scratch = make_pool();
    open_database(worker);
    if (loop->by_statement && loop->delivery) {
        prepare_statement(worker);
    }
}

/* Note how long a delivery took, unless it belongs to the warm-up. */
static void note_time(worker_t *worker, apr_time_t begin, apr_time_t end)
{
    if (begin < worker->loop->start) {
        worker->warm_up++;
        return;
    }
    if (worker->count == worker->room) {
        worker->room = worker->room ? worker->room * 2 : 4096;
        worker->times =
            realloc(worker->times, worker->room * sizeof(*worker->times));
        if (!worker->times) {
            die("memory", "none");
        }
    }
    worker->times[worker->count++] = (apr_uint32_t)(end - begin);
}

static void store(worker_t *worker, smartsupp_delivery_t *delivery)
{
    smartsupp_sql_t *sql = worker->sql;
    smartsupp_store_result_e result;

    if (smartsupp_store(&result, sql, &delivery, 1, worker->scratch) !=
        APR_SUCCESS) {
        die("not stored", smartsupp_sql_error(sql)->text);
    }
    if (result != SMARTSUPP_STORE_STORED) {
        die("not stored", "the channel is known");
    }
}

static void store_by_statement(worker_t *worker,
                               const smartsupp_delivery_t *delivery)
{
    const smartsupp_conversation_t *conversation = delivery->conversation;
    const char *key[SMARTSUPP_SQL_KEY_VALUES] = {
        smartsupp_rows_integer(conversation->account_id, worker->scratch),
        conversation->channel_id,
        smartsupp_rows_integer(conversation->begin_at, worker->scratch),
    };
    const char **values =
        apr_palloc(worker->scratch, worker->values * sizeof(*values));
    const char **end = values;
    const smartsupp_rows_child_t *child;
    int inserted = 0;

    for (child = smartsupp_rows_children; child->rows; child++) {
        end = child->rows(end, conversation, key, worker->scratch);
    }
    smartsupp_rows_conversation(end, delivery, key, worker->scratch);
    if (apr_dbd_pquery(worker->sql->loan.driver, worker->scratch,
                       worker->sql->loan.handle, &inserted, worker->statement,
                       (int)worker->values, values) != 0) {
        die("not stored", apr_dbd_error(worker->sql->loan.driver,
                                        worker->sql->loan.handle, 0));
    }
    if (inserted != 1) {
        die("not stored", "the channel is known");
    }
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    worker_t *worker = data;
    loop_t *loop = worker->loop;
    smartsupp_conversation_t conversation = *loop->delivery->conversation;
    smartsupp_delivery_t delivery = *loop->delivery;
    apr_time_t now = apr_time_now();

    (void)thread;
    delivery.conversation = &conversation;
    while (now < loop->end) {
        apr_time_t begin = now;

        conversation.channel_id = apr_psprintf(
            worker->scratch, "%" APR_INT64_T_FMT, worker->channel++);
        if (loop->turn) {
            apr_thread_mutex_lock(loop->turn);
        }
        if (worker->statement) {
            store_by_statement(worker, &delivery);
        }
        else {
            store(worker, &delivery);
        }
        if (loop->turn) {
            apr_thread_mutex_unlock(loop->turn);
        }
        apr_pool_clear(worker->scratch);
        now = apr_time_now();
        note_time(worker, begin, now);
    }
    return NULL;
}

static int by_time(const void *av, const void *bv)
{
    const apr_uint32_t *a = av;
    const apr_uint32_t *b = bv;

    return (*a > *b) - (*a < *b);
}

/* All workers' times in one sorted array. */
static worker_t merge(const worker_t *workers, int count)
{
    worker_t all = {.times = NULL};
    size_t at = 0;
    int i;

    for (i = 0; i < count; i++) {
        all.count += workers[i].count;
        all.warm_up += workers[i].warm_up;
    }
    all.times = calloc(all.count + 1, sizeof(*all.times));
    if (!all.times) {
        die("memory", "none");
    }
    for (i = 0; i < count; i++) {
        if (workers[i].count) {
            memcpy(all.times + at, workers[i].times,
                   workers[i].count * sizeof(*all.times));
        }
        at += workers[i].count;
    }
    qsort(all.times, all.count, sizeof(*all.times), by_time);
    return all;
}

static apr_uint32_t quantile(const worker_t *all, double part)
{
    size_t place = (size_t)((double)all->count * part);

    return all->times[place < all->count || !place ? place : all->count - 1];
}

/* CPU time of this process so far, in seconds. */
static double cpu_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(const loop_t *loop, const worker_t *workers, int count,
                   double cpu)
{
    worker_t all = merge(workers, count);
    double seconds = (double)(apr_time_now() - loop->start) / 1e6;

    printf("{\"requests\":%lu,\"warm_up\":%" APR_INT64_T_FMT
           ",\"seconds\":%.6f,\"p50\":%u,\"p99\":%u,\"p99_9\":%u,"
           "\"cpu\":%.6f}\n",
           (unsigned long)all.count, all.warm_up, seconds, quantile(&all, 0.5),
           quantile(&all, 0.99), quantile(&all, 0.999), cpu);
    free(all.times);
}

static void run(loop_t *loop, int count, double seconds)
{
    worker_t *workers =
        apr_pcalloc(loop->pool, (apr_size_t)count * sizeof(*workers));
    apr_thread_t **threads =
        apr_palloc(loop->pool, (apr_size_t)count * sizeof(apr_thread_t *));
    double cpu;
    apr_status_t rv;
    int i;

    for (i = 0; i < count; i++) {
        prepare_worker(&workers[i], loop, i);
    }
    loop->start = apr_time_now() + WARM_UP;
    loop->end = loop->start + (apr_time_t)(seconds * 1e6);
    for (i = 0; i < count; i++) {
        if (apr_thread_create(&threads[i], NULL, work, &workers[i],
                              loop->pool) != APR_SUCCESS) {
            die("threads", "not so many");
        }
    }
    apr_sleep(WARM_UP);
    cpu = cpu_time();
    for (i = 0; i < count; i++) {
        apr_thread_join(&rv, threads[i]);
    }
    report(loop, workers, count, cpu_time() - cpu);
}

static void make_tables(loop_t *loop)
{
    worker_t worker = {.loop = NULL};

    prepare_worker(&worker, loop, 0);
    if (smartsupp_schema_ensure(worker.sql, SMARTSUPP_SCHEMA_CREATE,
                                worker.scratch) != APR_SUCCESS) {
        die("the tables cannot be made", smartsupp_sql_error(worker.sql)->text);
    }
    apr_pool_destroy(worker.pool);
}

int main(int argc, const char *const *argv)
{
    const char *driver = getenv("BENCH_DRIVER");
    const char *form = getenv("BENCH_FORM");
    loop_t loop = {.params = getenv("BENCH_PARAMS"),
                   .by_statement = form && !strcmp(form, "statement")};
    int threads = argc == 5 ? atoi(argv[2]) : -1;

    if (!driver || !loop.params || threads < 0) {
        die("usage", "BENCH_DRIVER=... BENCH_PARAMS=... loop BODY THREADS "
                     "SECONDS FIRST");
    }
    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&loop.pool, NULL);
    if (apr_dbd_init(loop.pool) != APR_SUCCESS ||
        apr_dbd_get_driver(loop.pool, driver, &loop.driver) != APR_SUCCESS) {
        die(driver, "apr_dbd has no such driver");
    }
    if (!threads) {
        make_tables(&loop);
        return 0;
    }
    if (!strcmp(driver, "sqlite3")) {
        apr_thread_mutex_create(&loop.turn, APR_THREAD_MUTEX_DEFAULT,
                                loop.pool);
    }
    loop.delivery = read_delivery(argv[1], loop.pool);
    loop.first = apr_atoi64(argv[4]);
    run(&loop, threads, atof(argv[3]));
    return 0;
}
