/*
 * The commit room on a SQLite file of its own, lent by this program in place
 * of mod_dbd: who gets which answer, and what is in the database afterwards.
 * Also run under ThreadSanitizer (make tsan).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "smartsupp_commit.h"
#include "smartsupp_signature.h"
#include "tap.h"

#define NOW 1700000000000
#define LONG apr_time_from_sec(60)
#define SHORT apr_time_from_msec(20)
/* Long enough that a slow machine spends most of it in the lender. */
#define IN_VAIN apr_time_from_msec(500)

/* The lender: one connection, a gate that the test opens and shuts, an outage
 * that it can feign, and what was reported. */
typedef struct lender_t {
    smartsupp_sql_loan_t loan;
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *changed;
    int shut;      /* borrow waits */
    int passes;    /* so many borrows do not */
    int waiting;   /* borrow is waiting */
    int outage;    /* borrow fails */
    int borrowers; /* in borrow */
    int borrowed;
    apr_thread_mutex_t *connection; /* locked while it is lent */
    int reports;
    int recoveries;
} lender_t;

static apr_pool_t *pool;
static apr_allocator_t *allocator;
static lender_t lender;
static smartsupp_breaker_t breaker;

static apr_status_t borrow(smartsupp_batch_loan_t *loan,
                           smartsupp_sql_error_t *error, void *baton,
                           apr_pool_t *scratch)
{
    int outage;

    (void)baton;
    apr_thread_mutex_lock(lender.mutex);
    lender.waiting = 1;
    lender.borrowers++;
    apr_thread_cond_broadcast(lender.changed);
    while (lender.shut && !lender.passes) {
        apr_thread_cond_wait(lender.changed, lender.mutex);
    }
    lender.passes -= lender.passes > 0;
    lender.waiting = 0;
    lender.borrowers--;
    lender.borrowed++;
    outage = lender.outage;
    apr_thread_mutex_unlock(lender.mutex);
    if (outage) {
        apr_cpystrn(error->text, "feigned", sizeof(error->text));
        return APR_EGENERAL;
    }
    apr_thread_mutex_lock(lender.connection);
    return smartsupp_sql_lend(&loan->sql, error, &lender.loan, "t_", scratch);
}

static void give_back(smartsupp_batch_loan_t *loan, void *baton)
{
    (void)loan;
    (void)baton;
    apr_thread_mutex_unlock(lender.connection);
}

static void report(const smartsupp_sql_error_t *error, void *baton)
{
    (void)baton;
    apr_thread_mutex_lock(lender.mutex);
    lender.reports += error != NULL;
    lender.recoveries += error == NULL;
    apr_thread_mutex_unlock(lender.mutex);
}

static void set_lender(int shut, int outage)
{
    apr_thread_mutex_lock(lender.mutex);
    lender.shut = shut;
    lender.outage = outage;
    apr_thread_cond_broadcast(lender.changed);
    apr_thread_mutex_unlock(lender.mutex);
}

static void await_borrower(void)
{
    apr_thread_mutex_lock(lender.mutex);
    while (!lender.waiting) {
        apr_thread_cond_wait(lender.changed, lender.mutex);
    }
    apr_thread_mutex_unlock(lender.mutex);
}

/* Let one borrower through the gate, and await the next. */
static void pass_one(void)
{
    apr_thread_mutex_lock(lender.mutex);
    lender.passes = 1;
    lender.waiting = 0;
    apr_thread_cond_broadcast(lender.changed);
    apr_thread_mutex_unlock(lender.mutex);
    await_borrower();
}

static smartsupp_commit_t *any_room(int writers, int capacity,
                                    apr_interval_time_t hang)
{
    smartsupp_commit_t *commit = NULL;
    smartsupp_commit_config_t config = {
        .lender = {borrow, give_back, NULL},
        .hang = hang,
        .breaker = &breaker,
        .report = report,
        .schema = SMARTSUPP_SCHEMA_CREATE,
        .writers = writers,
        .capacity = capacity,
    };

    memset(&breaker, 0, sizeof(breaker));
    if (smartsupp_commit_create(&commit, &config) != APR_SUCCESS) {
        abort();
    }
    return commit;
}

static smartsupp_commit_t *room(int capacity)
{
    return any_room(1, capacity, LONG);
}

/* A version of a conversation: the end, the number of messages, the bytes. */
static smartsupp_delivery_t *version(const char *channel, int end, int messages,
                                     const char *salt)
{
    smartsupp_delivery_t *delivery;
    smartsupp_problems_t *errors = smartsupp_problems_make(4, pool);
    char text[4096];
    size_t used;

    if (smartsupp_delivery_create(&delivery, allocator) != APR_SUCCESS) {
        abort();
    }
    used = (size_t)snprintf(text, sizeof(text),
                            "{\"accountId\":1,\"beginAt\":%" APR_INT64_T_FMT
                            ",\"endAt\":%d,\"channel\":{\"id\":\"%s\"},"
                            "\"salt\":\"%s\",\"messages\":[",
                            (apr_int64_t)NOW, end, channel, salt);
    while (messages-- > 0) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "{\"type\":\"visitor\",\"content\":\"c%d\"}%s",
                                 end, messages ? "," : "");
    }
    snprintf(text + used, sizeof(text) - used, "]}");
    delivery->body = apr_pstrdup(delivery->pool, text);
    delivery->body_length = strlen(text);
    delivery->received_at = NOW;
    smartsupp_signature_sha256(delivery->body_sha256, delivery->body,
                               delivery->body_length);
    if (smartsupp_conversation_decode(delivery, errors, 10000) != APR_SUCCESS) {
        abort();
    }
    return delivery;
}

/* Submit, wait and let go. */
static const char *deliver_as(smartsupp_commit_mode_e mode,
                              smartsupp_commit_t *commit,
                              smartsupp_delivery_t *delivery,
                              apr_interval_time_t patience)
{
    static const char *const names[] = {"stored", "updated", "duplicate",
                                        "stale"};
    smartsupp_commit_entry_t *entry;
    smartsupp_batch_outcome_t outcome;
    const char *answer;
    apr_status_t rv = smartsupp_commit_submit(&entry, commit, delivery, mode);

    if (rv == APR_SUCCESS) {
        rv = smartsupp_commit_wait(&outcome, commit, entry,
                                   apr_time_now() + patience);
    }
    answer = rv == APR_SUCCESS    ? names[outcome.result]
             : rv == APR_TIMEUP   ? "timeout"
             : rv == APR_EAGAIN   ? "full"
             : rv == APR_EGENERAL ? "failed"
                                  : "closed";
    smartsupp_delivery_release(delivery);
    return answer;
}

static const char *deliver(smartsupp_commit_t *commit,
                           smartsupp_delivery_t *delivery,
                           apr_interval_time_t patience)
{
    return deliver_as(SMARTSUPP_COMMIT_PATIENT, commit, delivery, patience);
}

/* The first column of the first row, straight from the database; only while
 * the writer has nothing to do. */
static int number(const char *text)
{
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    int value = -1;

    if (apr_dbd_select(lender.loan.driver, pool, lender.loan.handle, &results,
                       text, 0) == 0) {
        while (apr_dbd_get_row(lender.loan.driver, pool, results, &row, -1) ==
               0) {
            value = atoi(apr_dbd_get_entry(lender.loan.driver, row, 0));
        }
    }
    return value;
}

static void run_sql(const char *text)
{
    int affected;

    if (apr_dbd_query(lender.loan.driver, lender.loan.handle, &affected,
                      text) != 0) {
        abort();
    }
}

static void test_results(void)
{
    smartsupp_commit_t *commit = room(8);

    tap_is(deliver(commit, version("a", 10, 2, ""), LONG), "stored", "new");
    tap_is(deliver(commit, version("a", 10, 2, ""), LONG), "duplicate",
           "the same bytes");
    tap_is(deliver(commit, version("a", 11, 1, ""), LONG), "updated",
           "a later end");
    tap_is_int(number("SELECT count(*) FROM t_message WHERE channel_id='a'"), 1,
               "its messages replaced the others");
    tap_is(deliver(commit, version("a", 10, 3, ""), LONG), "stale",
           "an earlier end, though more messages");
    tap_is(deliver(commit, version("a", 11, 2, ""), LONG), "updated",
           "the same end, more messages");
    tap_is_int(
        number("SELECT message_rows FROM t_conversation WHERE channel_id='a'"),
        2, "the row is of the newest version");
    tap_is_int(smartsupp_commit_stop(commit, LONG), APR_SUCCESS, "stopped");
}

typedef struct thread_job_t {
    smartsupp_commit_t *commit;
    smartsupp_delivery_t *delivery;
    smartsupp_commit_mode_e mode;
    const char *answer;
    apr_thread_t *thread;
} thread_job_t;

static void *APR_THREAD_FUNC thread_main(apr_thread_t *thread, void *data)
{
    thread_job_t *job = data;

    (void)thread;
    job->answer = deliver_as(job->mode, job->commit, job->delivery, LONG);
    return NULL;
}

/* The answers of many threads, counted. */
static int answers(thread_job_t *jobs, int count, const char *answer)
{
    int found = 0;

    while (count-- > 0) {
        found += !strcmp(jobs[count].answer, answer);
    }
    return found;
}

static void start(thread_job_t *job)
{
    if (apr_thread_create(&job->thread, NULL, thread_main, job, pool) !=
        APR_SUCCESS) {
        abort();
    }
}

static void join(thread_job_t *jobs, int count)
{
    apr_status_t rv;

    while (count-- > 0) {
        apr_thread_join(&rv, jobs[count].thread);
    }
}

/* Submit one delivery to shut the writer in borrow, then let others queue
 * behind it, so that they make one batch. */
static void queue_behind_gate(smartsupp_commit_t *commit, thread_job_t *jobs,
                              int count)
{
    int i;

    set_lender(1, 0);
    for (i = 0; i < count; i++) {
        jobs[i].commit = commit;
        start(&jobs[i]);
        if (i == 0) {
            await_borrower();
        }
    }
    apr_sleep(apr_time_from_msec(200));
}

static void test_versions_in_one_batch(void)
{
    enum { VERSIONS = 20 };
    smartsupp_commit_t *commit = room(64);
    thread_job_t jobs[VERSIONS + 1] = {{0}};
    int i;

    jobs[0].delivery = version("other", 1, 1, "");
    for (i = 1; i <= VERSIONS; i++) {
        jobs[i].delivery = version("b", 100 - i, 3, "");
    }
    queue_behind_gate(commit, jobs, VERSIONS + 1);
    set_lender(0, 0);
    join(jobs, VERSIONS + 1);
    tap_is_int(answers(jobs, VERSIONS + 1, "stored") +
                   answers(jobs, VERSIONS + 1, "updated") +
                   answers(jobs, VERSIONS + 1, "stale"),
               VERSIONS + 1, "versions in one batch: all answered");
    tap_is_int(number("SELECT end_at FROM t_conversation WHERE channel_id='b'"),
               99, "the newest is stored");
    tap_is_int(number("SELECT count(*) FROM t_message WHERE channel_id='b' "
                      "AND content='c99'"),
               3, "with its messages");
    tap_is_int(number("SELECT count(*) FROM t_message WHERE channel_id='b'"), 3,
               "and no others");
    smartsupp_commit_stop(commit, LONG);
}

static void test_one_bad_delivery(void)
{
    enum { DELIVERIES = 12 };
    smartsupp_commit_t *commit = room(64);
    thread_job_t jobs[DELIVERIES] = {{0}};
    int reports;
    int i;

    run_sql("CREATE TRIGGER t_poison BEFORE INSERT ON t_conversation "
            "WHEN new.channel_id = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'poison'); END");
    for (i = 0; i < DELIVERIES; i++) {
        jobs[i].delivery =
            version(i == 5 ? "bad" : apr_psprintf(pool, "good%d", i), 1, 2, "");
    }
    reports = lender.reports;
    queue_behind_gate(commit, jobs, DELIVERIES);
    set_lender(0, 0);
    join(jobs, DELIVERIES);
    tap_is_int(answers(jobs, DELIVERIES, "stored"), DELIVERIES - 1,
               "one bad delivery does not fail the others");
    tap_is(jobs[5].answer, "failed", "the bad one is told");
    tap_is_int(number("SELECT count(*) FROM t_conversation "
                      "WHERE channel_id LIKE 'good%' OR channel_id='bad'"),
               DELIVERIES - 1, "and it is not there");
    tap_is_int(lender.reports, reports, "a refusal is no outage");
    smartsupp_commit_stop(commit, LONG);
    run_sql("DROP TRIGGER t_poison");
}

static void test_capacity(void)
{
    smartsupp_commit_t *commit = room(3);
    thread_job_t jobs[3] = {{0}};
    int i;

    for (i = 0; i < 3; i++) {
        jobs[i].delivery = version("capacity", i, 0, "");
    }
    queue_behind_gate(commit, jobs, 3);
    tap_is(deliver(commit, version("capacity", 9, 0, ""), LONG), "full",
           "one more than the capacity is refused at once");
    set_lender(0, 0);
    join(jobs, 3);
    tap_is(deliver(commit, version("capacity", 9, 0, ""), LONG), "updated",
           "and taken when there is room again");
    smartsupp_commit_stop(commit, LONG);
}

static void test_deadline(void)
{
    smartsupp_commit_t *commit = room(8);
    thread_job_t first = {.delivery = version("first", 1, 0, "")};

    queue_behind_gate(commit, &first, 1);
    tap_is(deliver(commit, version("withdrawn", 1, 0, ""), SHORT), "timeout",
           "a deadline that passes in the queue");
    set_lender(0, 0);
    join(&first, 1);
    tap_is(first.answer, "stored", "the one before it is stored");
    set_lender(1, 0);
    tap_is(deliver(commit, version("late", 1, 0, ""), SHORT), "timeout",
           "a deadline that passes while the writer has it");
    set_lender(0, 0);
    tap_is_int(smartsupp_commit_stop(commit, LONG), APR_SUCCESS, "stopped");
    tap_is_int(number("SELECT count(*) FROM t_conversation "
                      "WHERE channel_id='withdrawn'"),
               0, "what was withdrawn is not stored");
    tap_is_int(number("SELECT count(*) FROM t_conversation "
                      "WHERE channel_id='late'"),
               1, "what the writer had is");
}

static void test_outage(void)
{
    smartsupp_commit_t *commit = room(8);
    int reports = lender.reports;
    int recoveries = lender.recoveries;

    set_lender(0, 1);
    tap_is(deliver(commit, version("outage", 1, 0, ""), LONG), "failed",
           "no connection");
    tap_is(deliver(commit, version("outage", 1, 0, ""), LONG), "failed",
           "and again");
    tap_is_int(lender.reports - reports, 1, "an outage is reported once");
    set_lender(0, 0);
    tap_is(deliver(commit, version("outage", 1, 0, ""), LONG), "stored",
           "a connection again");
    tap_is_int(lender.recoveries - recoveries, 1, "and its end too");
    smartsupp_commit_stop(commit, LONG);
}

static int borrowers(void)
{
    int count;

    apr_thread_mutex_lock(lender.mutex);
    count = lender.borrowers;
    apr_thread_mutex_unlock(lender.mutex);
    return count;
}

/* A database that hangs, while there is a spool. */
static void test_stuck(void)
{
    smartsupp_commit_t *commit = room(8);
    int reports = lender.reports;

    set_lender(1, 0);
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("stuck", 1, 0, ""), IN_VAIN),
           "timeout", "the first waits in vain");
    tap_is_int(lender.reports - reports, 1, "which is reported");
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("stuck", 2, 0, ""), LONG),
           "full", "one that can be spooled is refused at once");
    tap_is(deliver_as(SMARTSUPP_COMMIT_REPLAY, commit,
                      version("stuck", 2, 0, ""), LONG),
           "full", "and so is one from the spool");
    tap_is(deliver(commit, version("stuck", 3, 0, ""), SHORT), "timeout",
           "one that has nowhere else to go waits");
    tap_is_int(lender.reports - reports, 1, "and nothing new is reported");
    set_lender(0, 0);
    tap_is(deliver(commit, version("stuck", 4, 0, ""), LONG), "updated",
           "the database is back");
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("stuck", 5, 0, ""), LONG),
           "updated", "and takes everything again");
    smartsupp_commit_stop(commit, LONG);
}

/* Two writers are stuck one after the other. */
static void test_two_writers(void)
{
    smartsupp_commit_t *commit = any_room(2, 8, LONG);

    set_lender(1, 0);
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("two", 1, 0, ""), IN_VAIN),
           "timeout", "one of two writers hangs");
    tap_is(deliver_as(SMARTSUPP_COMMIT_REPLAY, commit, version("two", 2, 0, ""),
                      IN_VAIN),
           "timeout", "the other one is tried");
    tap_is_int(borrowers(), 2, "both are at work");
    tap_is(deliver_as(SMARTSUPP_COMMIT_REPLAY, commit, version("two", 3, 0, ""),
                      LONG),
           "full", "then none is left");
    set_lender(0, 0);
    tap_is(deliver(commit, version("two", 4, 0, ""), LONG), "updated",
           "both are back");
    tap_is_int(smartsupp_commit_stop(commit, LONG), APR_SUCCESS,
               "and both are stopped");
}

static void test_breaker(void)
{
    smartsupp_commit_t *commit = room(8);
    smartsupp_sql_error_t error = {.code = "08006"};

    smartsupp_breaker_failed(&breaker, &error, apr_time_now() - LONG,
                             apr_time_now());
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("breaker", 1, 0, ""), LONG),
           "full", "an open breaker refuses what can be spooled");
    tap_is(deliver_as(SMARTSUPP_COMMIT_REPLAY, commit,
                      version("breaker", 1, 0, ""), LONG),
           "stored", "a delivery from the spool is a probe");
    tap_is(deliver_as(SMARTSUPP_COMMIT_SPOOLABLE, commit,
                      version("breaker", 2, 0, ""), LONG),
           "updated", "which closes it");
    smartsupp_commit_stop(commit, LONG);
}

/* Submit some, and wait for none yet. */
static void submit_some(smartsupp_commit_t *commit,
                        smartsupp_commit_mode_e mode,
                        smartsupp_commit_entry_t **entries,
                        smartsupp_delivery_t **deliveries, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        deliveries[i] = version(apr_psprintf(pool, "some%d", i), 1, 0, "");
        if (smartsupp_commit_submit(&entries[i], commit, deliveries[i], mode) !=
            APR_SUCCESS) {
            abort();
        }
    }
}

/* @return how many of them are stored */
static int await_some(smartsupp_commit_t *commit,
                      smartsupp_commit_entry_t **entries,
                      smartsupp_delivery_t **deliveries, int count)
{
    smartsupp_batch_outcome_t outcome;
    int stored = 0;
    int i;

    for (i = 0; i < count; i++) {
        stored += smartsupp_commit_wait(&outcome, commit, entries[i],
                                        apr_time_now() + LONG) == APR_SUCCESS;
        smartsupp_delivery_release(deliveries[i]);
    }
    return stored;
}

/* Deliveries from the spool take no place from those that a sender waits for.
 */
static void test_replay_is_not_counted(void)
{
    smartsupp_commit_t *commit = room(1);
    smartsupp_commit_entry_t *entries[4];
    smartsupp_delivery_t *deliveries[4];

    set_lender(1, 0);
    submit_some(commit, SMARTSUPP_COMMIT_REPLAY, entries, deliveries, 4);
    await_borrower();
    apr_sleep(apr_time_from_msec(200));
    tap_is(deliver(commit, version("replay", 1, 0, ""), SHORT), "timeout",
           "the one place is free for a sender");
    set_lender(0, 0);
    tap_is_int(await_some(commit, entries, deliveries, 4), 4,
               "and all from the spool are stored");
    smartsupp_commit_stop(commit, LONG);
}

/* Senders wake one another: one that has gone meanwhile is in nobody's way. */
static void test_all_are_woken(void)
{
    enum { SENDERS = 12, REPLAYS = 3 };
    smartsupp_commit_t *commit = room(64);
    smartsupp_commit_entry_t *entries[REPLAYS + 2];
    smartsupp_delivery_t *deliveries[REPLAYS + 2];
    smartsupp_batch_outcome_t outcome;
    thread_job_t jobs[SENDERS] = {{0}};
    apr_time_t opened;
    int left = 0;
    int i;

    for (i = 0; i < SENDERS; i++) {
        jobs[i].commit = commit;
        jobs[i].delivery = version(apr_psprintf(pool, "woken%d", i), 1, 0, "");
    }
    queue_behind_gate(commit, jobs, 1);
    submit_some(commit, SMARTSUPP_COMMIT_REPLAY, entries, deliveries, REPLAYS);
    /* in the second batch: one that leaves, senders, another one that leaves,
     * senders, replays */
    for (i = 1; i < SENDERS; i++) {
        if (i == 1 || i == SENDERS / 2) {
            apr_sleep(apr_time_from_msec(200));
            submit_some(commit, SMARTSUPP_COMMIT_PATIENT,
                        &entries[REPLAYS + left], &deliveries[REPLAYS + left],
                        1);
            left++;
        }
        start(&jobs[i]);
    }
    apr_sleep(apr_time_from_msec(200));
    pass_one();
    opened = apr_time_now();
    for (i = REPLAYS; i < REPLAYS + 2; i++) {
        left -= smartsupp_commit_wait(&outcome, commit, entries[i], opened) ==
                APR_TIMEUP;
        smartsupp_delivery_release(deliveries[i]);
    }
    tap_is_int(left, 0, "two leave");
    set_lender(0, 0);
    join(jobs, SENDERS);
    tap_ok(apr_time_now() - opened < LONG / 2, "nobody slept to the deadline");
    tap_is_int(answers(jobs, SENDERS, "stored"), SENDERS, "all are answered");
    tap_is_int(await_some(commit, entries, deliveries, REPLAYS), REPLAYS,
               "and the drain");
    smartsupp_commit_stop(commit, LONG);
}

/* An answer that is there counts for more than a deadline that has passed, and
 * whoever depends on it is woken. */
static void test_answer_beats_deadline(void)
{
    smartsupp_commit_t *commit = room(64);
    smartsupp_commit_entry_t *entry;
    smartsupp_batch_outcome_t outcome;
    smartsupp_delivery_t *delivery = version("beats", 1, 0, "");
    thread_job_t jobs[2] = {{0}};
    apr_time_t opened;

    jobs[0].delivery = version("before", 1, 0, "");
    jobs[1].delivery = version("behind", 1, 0, "");
    jobs[1].commit = commit;
    queue_behind_gate(commit, jobs, 1);
    if (smartsupp_commit_submit(&entry, commit, delivery,
                                SMARTSUPP_COMMIT_PATIENT) != APR_SUCCESS) {
        abort();
    }
    start(&jobs[1]);
    apr_sleep(apr_time_from_msec(200));
    pass_one();
    opened = apr_time_now();
    set_lender(0, 0);
    join(jobs, 1);
    tap_is(deliver(commit, version("after", 1, 0, ""), LONG), "stored",
           "the batch is done");
    tap_is_int(smartsupp_commit_wait(&outcome, commit, entry, opened),
               APR_SUCCESS, "an answer after the deadline is an answer");
    smartsupp_delivery_release(delivery);
    join(&jobs[1], 1);
    tap_ok(apr_time_now() - opened < LONG / 2, "and wakes the next");
    smartsupp_commit_stop(commit, LONG);
}

/* Two drains in one batch: one comes late to wait. */
static void test_drains_are_woken(void)
{
    smartsupp_commit_t *commit = room(64);
    smartsupp_commit_entry_t *entries[3];
    smartsupp_delivery_t *deliveries[3];
    thread_job_t jobs[2] = {{0}};
    apr_time_t opened;

    jobs[0].delivery = version("drain0", 1, 0, "");
    jobs[1].delivery = version("drain1", 1, 0, "");
    jobs[1].commit = commit;
    jobs[1].mode = SMARTSUPP_COMMIT_REPLAY;
    queue_behind_gate(commit, jobs, 1);
    submit_some(commit, SMARTSUPP_COMMIT_REPLAY, entries, deliveries, 3);
    start(&jobs[1]);
    apr_sleep(apr_time_from_msec(200));
    opened = apr_time_now();
    set_lender(0, 0);
    join(jobs, 2);
    tap_ok(apr_time_now() - opened < LONG / 2, "no drain waits for another");
    tap_is_int(answers(jobs, 2, "stored"), 2, "all are answered");
    tap_is_int(await_some(commit, entries, deliveries, 3), 3,
               "and the late one");
    smartsupp_commit_stop(commit, LONG);
}

/* A call that nothing ends. */
static void test_left_writer(void)
{
    smartsupp_commit_t *commit = any_room(1, 8, SHORT);
    int i;

    set_lender(1, 0);
    for (i = 0; i < 200 && borrowers() < 3; i++) {
        deliver(commit, version("left", i, 0, ""), SHORT);
    }
    tap_is_int(borrowers(), 3, "a writer that hangs is left, twice");
    for (i = 0; i < 10; i++) {
        deliver(commit, version("left", 200, 0, ""), SHORT);
    }
    tap_is_int(borrowers(), 3, "and not a third time");
    tap_is_int(smartsupp_commit_stop(commit, SHORT), APR_TIMEUP,
               "a stop does not wait for them");
    set_lender(0, 0);
    tap_is_int(smartsupp_commit_stop(commit, LONG), APR_SUCCESS,
               "once they are back, the room is closed");
    tap_is_int(
        number("SELECT count(*) FROM t_conversation WHERE channel_id='left'"),
        1, "and what they had is stored");
}

static void test_tables_dropped(void)
{
    smartsupp_commit_t *commit = room(8);

    tap_is(deliver(commit, version("dropped", 1, 1, ""), LONG), "stored",
           "before");
    run_sql("DROP TABLE t_message");
    run_sql("DELETE FROM t_schema_version WHERE version >= 2");
    tap_is(deliver(commit, version("dropped", 2, 1, ""), LONG), "updated",
           "a table that was dropped is made again");
    tap_is_int(number("SELECT count(*) FROM t_message"), 1, "and filled");
    run_sql("CREATE INDEX t_extra ON t_message (sent_at)");
    tap_is(deliver(commit, version("dropped", 3, 1, ""), LONG), "updated",
           "an index that was added ends all statements, not the deliveries");
    smartsupp_commit_stop(commit, LONG);
    run_sql("DROP INDEX t_extra");
}

static void test_many_threads(void)
{
    enum { THREADS = 16, ROUNDS = 20 };
    smartsupp_commit_t *commit = room(64);
    thread_job_t jobs[THREADS] = {{0}};
    int taken = 0;
    int round;
    int i;

    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < THREADS; i++) {
            jobs[i].commit = commit;
            jobs[i].delivery = version(apr_psprintf(pool, "many%d", i % 4),
                                       (round * 7 + i * 3) % 31, i % 3, "");
            start(&jobs[i]);
        }
        join(jobs, THREADS);
        taken += answers(jobs, THREADS, "stored") +
                 answers(jobs, THREADS, "updated") +
                 answers(jobs, THREADS, "duplicate") +
                 answers(jobs, THREADS, "stale");
    }
    smartsupp_commit_stop(commit, LONG);
    tap_is_int(taken, THREADS * ROUNDS, "many threads: all answered");
    tap_is_int(number("SELECT count(*) FROM t_conversation c WHERE "
                      "channel_id LIKE 'many%' AND message_rows <> (SELECT "
                      "count(*) FROM t_message m WHERE m.channel_id="
                      "c.channel_id AND m.content = 'c' || c.end_at)"),
               0, "each conversation has just its own messages");
    tap_is_int(number("SELECT min(end_at) FROM t_conversation "
                      "WHERE channel_id LIKE 'many%'"),
               30, "and each is the newest");
}

static void test_stop(void)
{
    smartsupp_commit_t *commit = room(8);
    thread_job_t jobs[4] = {{0}};
    int i;

    tap_is_int(smartsupp_commit_stop(room(1), LONG), APR_SUCCESS,
               "a room that never had a delivery stops");
    for (i = 0; i < 4; i++) {
        jobs[i].delivery = version("stop", i, 0, "");
    }
    queue_behind_gate(commit, jobs, 4);
    tap_is_int(smartsupp_commit_stop(commit, SHORT), APR_TIMEUP,
               "a writer that hangs is left behind in time");
    tap_is(deliver(commit, version("stop", 9, 0, ""), LONG), "closed",
           "a room that closes takes nothing more");
    set_lender(0, 0);
    join(jobs, 4);
    tap_is_int(answers(jobs, 4, "stored") + answers(jobs, 4, "updated") +
                   answers(jobs, 4, "stale"),
               4, "what was queued before is still answered");
    tap_is_int(smartsupp_commit_stop(commit, LONG), APR_SUCCESS,
               "and then the room is closed for good");
}

/* A check that finds a column missing, by name. */
static void test_schema_check(void)
{
    smartsupp_commit_t *commit = NULL;
    smartsupp_commit_config_t config = {
        .lender = {borrow, give_back, NULL},
        .hang = LONG,
        .breaker = &breaker,
        .report = report,
        .schema = SMARTSUPP_SCHEMA_CHECK,
        .writers = 1,
        .capacity = 1,
    };
    smartsupp_delivery_t *delivery = version("check", 1, 0, "");
    smartsupp_commit_entry_t *entry;
    smartsupp_batch_outcome_t outcome;

    run_sql("ALTER TABLE t_path RENAME COLUMN title TO heading");
    smartsupp_commit_create(&commit, &config);
    smartsupp_commit_submit(&entry, commit, delivery, SMARTSUPP_COMMIT_PATIENT);
    tap_is_int(
        smartsupp_commit_wait(&outcome, commit, entry, apr_time_now() + LONG),
        APR_EGENERAL, "check: a missing column refuses deliveries");
    tap_is(outcome.error.text, "table path: no such column: title",
           "and is named");
    smartsupp_delivery_release(delivery);
    smartsupp_commit_stop(commit, LONG);
    run_sql("ALTER TABLE t_path RENAME COLUMN heading TO title");
    run_sql("UPDATE t_schema_version SET version = 999 WHERE version = 6");
    commit = room(1);
    tap_is(deliver(commit, version("check", 1, 0, ""), LONG), "failed",
           "create: a database of a newer release is refused");
    smartsupp_commit_stop(commit, LONG);
}

int main(void)
{
    char path[] = "/tmp/smartsupp-commit-XXXXXX";
    const char *error = "";
    apr_thread_mutex_t *mutex;
    int file;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_allocator_create(&allocator);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_allocator_mutex_set(allocator, mutex);
    /* so that sanitizers see what is used after it was freed */
    apr_allocator_max_free_set(allocator, 1);
    apr_thread_mutex_create(&lender.mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_thread_mutex_create(&lender.connection, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_thread_cond_create(&lender.changed, pool);
    file = mkstemp(path);
    close(file);
    apr_dbd_init(pool);
    apr_pool_create(&lender.loan.pool, pool); /* the writer's */
    lender.loan.prepared = apr_hash_make(lender.loan.pool);
    if (apr_dbd_get_driver(pool, "sqlite3", &lender.loan.driver) !=
            APR_SUCCESS ||
        apr_dbd_open_ex(lender.loan.driver, lender.loan.pool, path,
                        &lender.loan.handle, &error) != APR_SUCCESS) {
        fprintf(stderr, "apr_dbd sqlite3: %s\n", error);
        return 1;
    }
    test_results();
    test_versions_in_one_batch();
    test_one_bad_delivery();
    test_capacity();
    test_deadline();
    test_outage();
    test_stuck();
    test_two_writers();
    test_breaker();
    test_replay_is_not_counted();
    test_all_are_woken();
    test_answer_beats_deadline();
    test_drains_are_woken();
    test_left_writer();
    test_tables_dropped();
    test_many_threads();
    test_stop();
    test_schema_check();
    apr_dbd_close(lender.loan.driver, lender.loan.handle);
    unlink(path);
    unlink(apr_pstrcat(pool, path, "-wal", NULL));
    unlink(apr_pstrcat(pool, path, "-shm", NULL));
    apr_pool_destroy(pool);
    apr_allocator_destroy(allocator);
    apr_terminate();
    return tap_done();
}
