/*
 * What a child of prefork needs beside other children. It has one thread for
 * its requests, and httpd stops it inside a signal handler of that thread,
 * which runs all cleanups on top of whatever was interrupted (just_die in
 * httpd's server/mpm/prefork/prefork.c). Where that was in the middle of malloc
 * or held a lock, no cleanup may allocate, free or wait for another thread.
 */
#ifndef MOD_SMARTSUPP_PREFORK_H
#define MOD_SMARTSUPP_PREFORK_H

#include <apr_pools.h>

/** What a request's thread is at, so far as it is ours. */
typedef enum smartsupp_prefork_phase_e {
    SMARTSUPP_PREFORK_OUTSIDE, /* not in our code: no matter of ours */
    SMARTSUPP_PREFORK_AT_WORK, /* cJSON and OpenSSL allocate, we hold locks */
    SMARTSUPP_PREFORK_WAITING  /* for a commit, or holding the room's mutex */
} smartsupp_prefork_phase_e;

/**
 * Say what the calling thread is at from now on. In every MPM; it costs a
 * store.
 * @return what it was at before
 */
smartsupp_prefork_phase_e
smartsupp_prefork_enter(smartsupp_prefork_phase_e phase);

/**
 * For cleanups: what the calling thread was at when they were run on top of it.
 * In MPMs with threads, where another thread runs them,
 * SMARTSUPP_PREFORK_OUTSIDE.
 */
smartsupp_prefork_phase_e smartsupp_prefork_interrupted(void);

/** A commit room's `waits`: a thread that is at work waits, or goes on. */
void smartsupp_prefork_waits(int begins);

/**
 * In each child, before mod_dbd's pools are used: let the writer's thread take
 * memory from the child's pools too, where they have no mutex yet.
 */
void smartsupp_prefork_child_init(apr_pool_t *pchild);

#endif
