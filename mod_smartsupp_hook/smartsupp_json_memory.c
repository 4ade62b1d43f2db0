#include "smartsupp_json_memory.h"

#include <stdint.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#define ALIGNMENT 16

/* What a value takes at most beside the bytes of its key and its string: its
 * node, and for each of the two a NUL and what aligns it. */
#define VALUE_SIZE (sizeof(cJSON) + 2 * ALIGNMENT)

/* A thread's block. */
typedef struct block_t {
    char *start;
    char *next;
    char *end;
    int outside; /* some of the tree is malloc's */
} block_t;

static int installed;
static __thread block_t block;

static void *allocate(size_t size)
{
    size_t wanted = size > 0 ? size : 1; /* each a place of its own */
    size_t rounded = (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    if (rounded >= wanted && rounded <= (size_t)(block.end - block.next)) {
        block.next += rounded;
        return block.next - rounded;
    }
    block.outside = 1;
    return malloc(wanted);
}

static void release(void *memory)
{
    uintptr_t place = (uintptr_t)memory;

    if (place < (uintptr_t)block.start || place >= (uintptr_t)block.end) {
        free(memory);
    }
}

void smartsupp_json_memory_install(void)
{
    cJSON_Hooks hooks = {allocate, release};

    cJSON_InitHooks(&hooks);
    installed = 1;
}

void smartsupp_json_memory_begin(apr_size_t values, apr_size_t length)
{
    size_t size = values * VALUE_SIZE + length;

    block.start = installed ? malloc(size) : NULL;
    block.next = block.start;
    block.end = block.start ? block.start + size : NULL;
    block.outside = 0;
}

void smartsupp_json_memory_end(cJSON *tree)
{
    block_t none = {0};

    /* nothing taken: the hooks are not, or no longer, ours */
    if (block.outside || block.next == block.start) {
        cJSON_Delete(tree);
    }
    free(block.start);
    block = none;
}
