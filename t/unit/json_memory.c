/*
 * The block that stands for malloc while a thread decodes.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "smartsupp_json_memory.h"
#include "tap.h"

static const char text[] = "{\"a\":[1,true,null,\"four\"],\"b\":{\"c\":-5e3}}";
enum { VALUES = 7 };

static cJSON *parse(void)
{
    return cJSON_ParseWithLength(text, sizeof(text) - 1);
}

/* Whether the tree is what the text says. */
static int is_right(const cJSON *tree)
{
    const cJSON *a = cJSON_GetObjectItemCaseSensitive(tree, "a");
    const cJSON *c = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(tree, "b"), "c");

    return cJSON_GetArraySize(a) == 4 &&
           !strcmp(cJSON_GetArrayItem(a, 3)->valuestring, "four") &&
           c->valuedouble < -4999 && c->valuedouble > -5001;
}

static int decodes(apr_size_t values, apr_size_t length)
{
    cJSON *tree;
    int right;

    smartsupp_json_memory_begin(values, length);
    tree = parse();
    right = tree && is_right(tree);
    smartsupp_json_memory_end(tree);
    return right;
}

/* How far two pieces of memory are apart. */
static uintptr_t distance(const void *a, const void *b)
{
    return (uintptr_t)a < (uintptr_t)b ? (uintptr_t)b - (uintptr_t)a
                                       : (uintptr_t)a - (uintptr_t)b;
}

static void *other_user(void *baton)
{
    cJSON *mine = baton;
    cJSON *tree = parse();
    int right = tree && is_right(tree) && is_right(mine);

    cJSON_Delete(tree);
    return right ? baton : NULL;
}

static void test_other_thread(void)
{
    pthread_t thread;
    void *answer = NULL;
    cJSON *tree;

    smartsupp_json_memory_begin(VALUES, sizeof(text) - 1);
    tree = parse();
    tap_ok(!pthread_create(&thread, NULL, other_user, tree) &&
               !pthread_join(thread, &answer) && answer == tree,
           "another thread has malloc's memory meanwhile");
    tap_ok(is_right(tree), "... and leaves this one's alone");
    smartsupp_json_memory_end(tree);
}

static void test_block(void)
{
    cJSON *before = parse();
    char *first;
    char *second;
    char *large;

    smartsupp_json_memory_begin(2, 100);
    first = cJSON_malloc(1);
    second = cJSON_malloc(17);
    large = cJSON_malloc(1000000);
    tap_ok(first && second && large, "there is memory");
    tap_ok((uintptr_t)first % 16 == 0 && (uintptr_t)second % 16 == 0 &&
               distance(first, second) == 16,
           "small pieces are neighbours, aligned for any type");
    memset(large, 1, 1000000);
    cJSON_free(second);
    cJSON_free(large);
    cJSON_free(NULL);
    cJSON_Delete(before);
    tap_ok(cJSON_malloc(17) != second, "what is freed is not used again");
    smartsupp_json_memory_end(NULL);
    before = parse();
    tap_ok(before && is_right(before), "afterwards all is malloc's");
    cJSON_Delete(before);
}

int main(void)
{
    tap_ok(decodes(VALUES, sizeof(text) - 1), "before there are hooks");
    smartsupp_json_memory_install();
    tap_ok(decodes(VALUES, sizeof(text) - 1),
           "in a block that is large enough");
    tap_ok(decodes(3, 10), "in a block that is too small");
    tap_ok(decodes(0, 0), "in a block of no size");
    test_other_thread();
    test_block();
    return tap_done();
}
