#include "smartsupp_version.h"

#include <string.h>

static int compare_integers(apr_int64_t a, apr_int64_t b)
{
    return (a > b) - (a < b);
}

int smartsupp_version_compare(const smartsupp_version_t *a,
                              const smartsupp_version_t *b)
{
    int order = compare_integers(a->end_at, b->end_at);

    if (!order) {
        order = compare_integers(a->message_rows, b->message_rows);
    }
    if (!order) {
        order = compare_integers(a->received_at, b->received_at);
    }
    return order ? order : strcmp(a->body_sha256, b->body_sha256);
}
