/*
 * Memory that all children share, and that graceful restarts keep: anonymous,
 * on the process's own pool, found again through httpd's retained data.
 *
 * It is a list of records, each under a key. Nothing in it points anywhere:
 * the module is unloaded at each restart, and may come back as another build.
 * So a key names the layout of its record as well, such as "metrics 1 …", and a
 * record of another size is another record. Records are made in the parent,
 * and never go; what no configuration names any more is just not used.
 */
#ifndef MOD_SMARTSUPP_SHARED_H
#define MOD_SMARTSUPP_SHARED_H

#include <httpd.h>

/**
 * The record of that key and size, aligned for any type: the one that is there
 * already, or a new one of zeros. For post_config. Where the memory is full,
 * more is taken beside it; no record ever moves, so that children of an older
 * generation and of this one count in the same place.
 *
 * @param key any text; it is not kept as such, only its SHA-256
 * @return NULL: the system gives no memory, which is logged
 */
void *smartsupp_shared_record(const char *key, apr_size_t size,
                              server_rec *main_server);

#endif
