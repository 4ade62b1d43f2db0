/*
 * cJSON's memory: while a thread decodes, one block in place of a malloc for
 * each value, key and string, and no walk to free them (at 16 connections, an
 * eighth of what a delivery costs a child).
 *
 * cJSON's hooks are those of the whole process. To other threads, and to other
 * users of cJSON, ours are malloc and free. What cJSON cannot tell is whether
 * some other module has set hooks of its own: only one may.
 */
#ifndef SMARTSUPP_JSON_MEMORY_H
#define SMARTSUPP_JSON_MEMORY_H

#include <apr.h>

struct cJSON;

/**
 * Set the hooks, once and for good: in a child, which keeps the module to its
 * end. Without it all below works as if they were not there.
 */
void smartsupp_json_memory_install(void);

/**
 * Before this thread parses: a block that will do for a tree of so many values
 * out of so many bytes. Where there is no memory for it, cJSON asks malloc.
 * Never twice without smartsupp_json_memory_end.
 */
void smartsupp_json_memory_begin(apr_size_t values, apr_size_t length);

/** Free the tree (NULL: there is none) and the block. */
void smartsupp_json_memory_end(struct cJSON *tree);

#endif
