#include "mod_smartsupp_prefork.h"

#include <signal.h>

#include <apr_thread_mutex.h>

/* Volatile, because the one who reads it is a signal handler. */
static __thread volatile sig_atomic_t at = SMARTSUPP_PREFORK_OUTSIDE;

smartsupp_prefork_phase_e
smartsupp_prefork_enter(smartsupp_prefork_phase_e phase)
{
    smartsupp_prefork_phase_e before = (smartsupp_prefork_phase_e)at;

    at = (sig_atomic_t)phase;
    return before;
}

smartsupp_prefork_phase_e smartsupp_prefork_interrupted(void)
{
    return (smartsupp_prefork_phase_e)at;
}

void smartsupp_prefork_waits(int begins)
{
    smartsupp_prefork_phase_e from =
        begins ? SMARTSUPP_PREFORK_AT_WORK : SMARTSUPP_PREFORK_WAITING;
    smartsupp_prefork_phase_e to =
        begins ? SMARTSUPP_PREFORK_WAITING : SMARTSUPP_PREFORK_AT_WORK;

    if (at == (sig_atomic_t)from) {
        at = (sig_atomic_t)to;
    }
}

/*
 * A child of prefork has an allocator without a mutex, for its one thread, and
 * the pools of mod_dbd's connections take their memory from it too, in the
 * writer's thread. A nested mutex, because the cleanups may interrupt whoever
 * holds it.
 */
static void share_allocator(apr_pool_t *pchild)
{
    apr_allocator_t *allocator = apr_pool_allocator_get(pchild);
    apr_thread_mutex_t *mutex;

    if (!apr_allocator_mutex_get(allocator) &&
        apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_NESTED, pchild) ==
            APR_SUCCESS) {
        apr_allocator_mutex_set(allocator, mutex);
    }
}

void smartsupp_prefork_child_init(apr_pool_t *pchild)
{
    /* the first access allocates it: now, and not in a signal handler */
    at = SMARTSUPP_PREFORK_OUTSIDE;
    share_allocator(pchild);
}
