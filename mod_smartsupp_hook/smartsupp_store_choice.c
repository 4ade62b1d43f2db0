#include "smartsupp_store_choice.h"

#include <stdlib.h>
#include <string.h>

#include "smartsupp_rows.h"

static int same_conversation(const smartsupp_conversation_t *a,
                             const smartsupp_conversation_t *b)
{
    return a->begin_at == b->begin_at && a->account_id == b->account_id &&
           !strcmp(a->channel_id, b->channel_id);
}

smartsupp_version_t
smartsupp_store_version_of(const smartsupp_delivery_t *delivery)
{
    smartsupp_version_t version = {
        .end_at = delivery->conversation->end_at,
        .message_rows = delivery->conversation->message_rows,
        .received_at = delivery->received_at,
        .body_sha256 = delivery->body_sha256,
    };

    return version;
}

/* The place of the newest version of that delivery's conversation. */
static int newest(smartsupp_delivery_t *const *deliveries, int count, int of)
{
    int best = of;
    int i;

    for (i = 0; i < count; i++) {
        if (i != of && deliveries[i]->conversation &&
            same_conversation(deliveries[i]->conversation,
                              deliveries[of]->conversation)) {
            smartsupp_version_t version =
                smartsupp_store_version_of(deliveries[i]);
            smartsupp_version_t leader =
                smartsupp_store_version_of(deliveries[best]);
            int order = smartsupp_version_compare(&version, &leader);

            /* of two that are wholly equal the first one leads */
            best = order > 0 || (order == 0 && i < best) ? i : best;
        }
    }
    return best;
}

static int by_key(const void *av, const void *bv)
{
    const smartsupp_conversation_t *a =
        ((const smartsupp_store_candidate_t *)av)->delivery->conversation;
    const smartsupp_conversation_t *b =
        ((const smartsupp_store_candidate_t *)bv)->delivery->conversation;
    int order = strcmp(a->channel_id, b->channel_id);

    if (!order) {
        order = (a->begin_at > b->begin_at) - (a->begin_at < b->begin_at);
    }
    return order ? order
                 : (a->account_id > b->account_id) -
                       (a->account_id < b->account_id);
}

void smartsupp_store_choose(smartsupp_store_choice_t *choice, apr_pool_t *pool)
{
    int i;

    choice->leaders =
        apr_palloc(pool, (apr_size_t)choice->given * sizeof(*choice->leaders));
    choice->candidates = apr_palloc(pool, (apr_size_t)choice->given *
                                              sizeof(*choice->candidates));
    for (i = 0; i < choice->given; i++) {
        const smartsupp_delivery_t *delivery = choice->deliveries[i];
        smartsupp_store_candidate_t *candidate =
            &choice->candidates[choice->count];

        choice->leaders[i] =
            delivery->event ? i : newest(choice->deliveries, choice->given, i);
        if (choice->leaders[i] != i || delivery->event) {
            continue;
        }
        candidate->delivery = delivery;
        candidate->result = &choice->results[i];
        *candidate->result = SMARTSUPP_STORE_STORED;
        candidate->key[0] =
            smartsupp_rows_integer(delivery->conversation->account_id, pool);
        candidate->key[1] = delivery->conversation->channel_id;
        candidate->key[2] =
            smartsupp_rows_integer(delivery->conversation->begin_at, pool);
        candidate->stored_sha256 = delivery->body_sha256;
        choice->count++;
    }
    qsort(choice->candidates, (size_t)choice->count,
          sizeof(*choice->candidates), by_key);
}

void smartsupp_store_answer_others(const smartsupp_store_choice_t *choice)
{
    int i;
    int j;

    for (i = 0; i < choice->given; i++) {
        const smartsupp_delivery_t *leader =
            choice->deliveries[choice->leaders[i]];

        for (j = 0; choice->leaders[i] != i && j < choice->count; j++) {
            const smartsupp_store_candidate_t *candidate =
                &choice->candidates[j];

            if (candidate->delivery == leader) {
                choice->results[i] = strcmp(choice->deliveries[i]->body_sha256,
                                            candidate->stored_sha256)
                                         ? SMARTSUPP_STORE_STALE
                                         : SMARTSUPP_STORE_DUPLICATE;
            }
        }
    }
}
