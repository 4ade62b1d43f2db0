#include "mod_smartsupp_shared.h"

#include <string.h>

#include <apr_shm.h>
#include <http_config.h>
#include <http_log.h>

#include "mod_smartsupp_hook.h"
#include "smartsupp_signature.h"

APLOG_USE_MODULE(smartsupp_hook);

/* What httpd keeps for us over restarts is found under this name. */
#define RETAINED "mod_smartsupp_hook shared"

/* Another build of the module may have left it. LAYOUT changes with any of the
 * structs below; then the counting begins anew. */
#define MAGIC 0x534d5348U /* SMSH */
#define LAYOUT 1U

/* Enough for about 2000 virtual hosts. Pages that hold no record yet cost no
 * memory. */
#define SEGMENT_SIZE (1024 * 1024)

/* Of each record, so that it may hold any type. */
#define ALIGNMENT 16

/* What stands before each record. */
typedef struct header_t {
    char key[SMARTSUPP_SIGNATURE_HEX_SIZE];
    apr_size_t size; /* of the record */
} header_t;

/* The parent's notes about a piece of shared memory. */
typedef struct segment_t {
    struct segment_t *older;
    char *base;
    apr_size_t size;
    apr_size_t used;
} segment_t;

typedef struct shared_t {
    apr_uint32_t magic;
    apr_uint32_t layout;
    segment_t *newest;
} shared_t;

static apr_size_t align(apr_size_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static apr_size_t room_for(apr_size_t size)
{
    return align(sizeof(header_t)) + align(size);
}

/* What earlier generations have made, or a new beginning. */
static shared_t *retained(void)
{
    shared_t *shared = ap_retained_data_get(RETAINED);

    if (!shared || shared->magic != MAGIC || shared->layout != LAYOUT) {
        shared = ap_retained_data_create(RETAINED, sizeof(*shared));
        shared->magic = MAGIC;
        shared->layout = LAYOUT;
    }
    return shared;
}

/* The record of that hashed key and size in the segment, or NULL. */
static void *find(const segment_t *segment, const char *key, apr_size_t size)
{
    apr_size_t at = 0;

    while (at < segment->used) {
        header_t *header = (header_t *)(void *)(segment->base + at);

        if (header->size == size && !strcmp(header->key, key)) {
            return segment->base + at + align(sizeof(*header));
        }
        at += room_for(header->size);
    }
    return NULL;
}

/* Add a segment that has room for a record of that size. */
static apr_status_t grow(shared_t *shared, apr_size_t size, apr_pool_t *pool)
{
    apr_size_t wanted =
        room_for(size) > SEGMENT_SIZE ? room_for(size) : SEGMENT_SIZE;
    segment_t *segment;
    apr_shm_t *memory;
    /* APR's own word at the beginning may leave the rest unaligned */
    apr_status_t rv = apr_shm_create(&memory, wanted + ALIGNMENT, NULL, pool);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    segment = apr_pcalloc(pool, sizeof(*segment));
    segment->base = apr_shm_baseaddr_get(memory);
    segment->base +=
        align((apr_size_t)segment->base) - (apr_size_t)segment->base;
    segment->size = wanted;
    segment->older = shared->newest;
    shared->newest = segment;
    return APR_SUCCESS;
}

static void *append(segment_t *segment, const char *key, apr_size_t size)
{
    header_t *header = (header_t *)(void *)(segment->base + segment->used);
    char *record = (char *)header + align(sizeof(*header));

    memcpy(header->key, key, sizeof(header->key));
    header->size = size;
    memset(record, 0, size);
    segment->used += room_for(size);
    return record;
}

void *smartsupp_shared_record(const char *key, apr_size_t size,
                              server_rec *main_server)
{
    shared_t *shared = retained();
    char hashed[SMARTSUPP_SIGNATURE_HEX_SIZE];
    const segment_t *segment;

    smartsupp_signature_sha256(hashed, key, strlen(key));
    for (segment = shared->newest; segment; segment = segment->older) {
        void *record = find(segment, hashed, size);

        if (record) {
            return record;
        }
    }
    segment = shared->newest;
    if (!segment || segment->size - segment->used < room_for(size)) {
        apr_status_t rv = grow(shared, size, main_server->process->pool);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, main_server,
                         "SMARTSUPP0601: the system gives no shared memory for "
                         "counters and states");
            return NULL;
        }
    }
    return append(shared->newest, hashed, size);
}
