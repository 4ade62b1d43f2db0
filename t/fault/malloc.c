/*
 * A malloc that tells when a thread enters it again: a library for LD_PRELOAD.
 * A signal handler that allocates or frees memory, on top of a thread that was
 * interrupted while it did so itself, corrupts the heap or waits for its lock
 * for ever, but only if the signal came in one of few instructions. Here those
 * are stretched, for the calls that come from the libraries named.
 *
 * Environment:
 *
 *   SMARTSUPP_MALLOC_FROM   parts of the libraries' file names, with colons
 *                           between
 *   SMARTSUPP_MALLOC_TRACE  a file that is there already and takes a line for
 *                           the first call of a process that is stretched,
 *                           "stretched", and one for each time that such a call
 *                           is entered on top of: "again", and the function
 *                           that the stretched one was called from
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The C library's own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

/* How often a thread has called and not returned yet, and from where, if that
 * call was stretched. In the block that a thread begins with: one made at first
 * use would be malloc's. */
static __thread struct {
    int depth;
    const void *caller;
} inside __attribute__((tls_model("initial-exec")));

static const struct timespec stretch = {0, 500 * 1000};

static void trace(const char *word, const char *function)
{
    const char *path = getenv("SMARTSUPP_MALLOC_TRACE");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    char line[160];
    int length = snprintf(line, sizeof(line), "%s %.100s\n", word, function);

    if (file >= 0) {
        if (write(file, line, (size_t)length) < 0) {
            abort();
        }
        close(file);
    }
}

/* Whether the caller is in one of the libraries. */
static int is_wanted(const void *caller)
{
    const char *names = getenv("SMARTSUPP_MALLOC_FROM");
    char name[64];
    Dl_info info;

    if (!names || !dladdr(caller, &info) || !info.dli_fname) {
        return 0;
    }
    while (*names) {
        size_t length = strcspn(names, ":");

        if (length > 0 && length < sizeof(name)) {
            memcpy(name, names, length);
            name[length] = '\0';
            if (strstr(info.dli_fname, name)) {
                return 1;
            }
        }
        names += length + (names[length] == ':');
    }
    return 0;
}

static void enter(void)
{
    int before = errno;
    Dl_info info = {0};

    if (inside.depth++ > 0 && inside.caller) {
        (void)dladdr(inside.caller, &info);
        trace("again", info.dli_sname ? info.dli_sname : info.dli_fname);
    }
    errno = before;
}

/* The same, and stay there for a while. Not to free memory: a library frees
 * thousands of pieces when its process ends. */
static void enter_slowly(const void *caller)
{
    static pid_t told;
    int before = errno;

    enter();
    if (inside.depth == 1 && is_wanted(caller)) {
        inside.caller = caller;
        if (told != getpid()) {
            told = getpid();
            trace("stretched", "");
        }
        nanosleep(&stretch, NULL); /* a signal ends it */
    }
    errno = before;
}

static void leave(void)
{
    if (--inside.depth == 0) {
        inside.caller = NULL;
    }
}

void *malloc(size_t size)
{
    void *memory;

    enter_slowly(__builtin_return_address(0));
    memory = __libc_malloc(size);
    leave();
    return memory;
}

void *calloc(size_t count, size_t size)
{
    void *memory;

    enter_slowly(__builtin_return_address(0));
    memory = __libc_calloc(count, size);
    leave();
    return memory;
}

void *realloc(void *memory, size_t size)
{
    enter_slowly(__builtin_return_address(0));
    memory = __libc_realloc(memory, size);
    leave();
    return memory;
}

void *memalign(size_t alignment, size_t size)
{
    void *memory;

    enter_slowly(__builtin_return_address(0));
    memory = __libc_memalign(alignment, size);
    leave();
    return memory;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    enter();
    __libc_free(memory);
    leave();
}
