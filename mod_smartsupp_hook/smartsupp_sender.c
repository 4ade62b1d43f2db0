#include "smartsupp_sender.h"

#include <string.h>

static const char agent_kind[] = "agent";
static const char visitor_kind[] = "visitor";
static const char system_kind[] = "system";
static const char other_kind[] = "other";
static const char unknown_kind[] = "unknown";

static void read_text(smartsupp_sender_t *sender, smartsupp_reader_t *reader,
                      const smartsupp_place_t *from, const char *type)
{
    const char *id = from->value->valuestring;

    if (!strcmp(id, "system")) {
        sender->kind = system_kind;
        return;
    }
    sender->kind = other_kind;
    if (!strncmp(id, "agent:", 6)) {
        sender->kind = agent_kind;
        id += 6;
    }
    else if (!strncmp(id, "visitor:", 8)) {
        sender->kind = visitor_kind;
        id += 8;
    }
    else if (!strchr(id, ':')) {
        sender->generation = 1;
        if (type && !strcmp(type, "visitor")) {
            sender->kind = visitor_kind;
        }
    }
    if (sender->kind == other_kind) {
        smartsupp_field_warning(reader, "sender", from);
    }
    else if (!*id) {
        smartsupp_field_warning(reader, "format", from);
        return;
    }
    sender->id = smartsupp_field_copy(reader, id);
}

static void read_number(smartsupp_sender_t *sender, smartsupp_reader_t *reader,
                        const smartsupp_place_t *from)
{
    apr_int64_t agent;

    sender->generation = 1;
    sender->id = smartsupp_field_number(reader, from);
    if (!sender->id) {
        return; /* out of range, and warned of */
    }
    if (smartsupp_field_whole(&agent, from->value) && agent >= 0) {
        sender->kind = agent_kind;
        return;
    }
    sender->kind = other_kind;
    smartsupp_field_warning(reader, "sender", from);
}

smartsupp_sender_t smartsupp_sender_read(smartsupp_reader_t *reader,
                                         const smartsupp_place_t *from,
                                         const char *type)
{
    smartsupp_sender_t sender = {.kind = unknown_kind, .generation = 2};

    if (!from->value) {
        smartsupp_field_warning(reader, "missing", from);
    }
    else if (cJSON_IsString(from->value)) {
        read_text(&sender, reader, from, type);
    }
    else if (cJSON_IsNull(from->value)) {
        sender.kind = system_kind;
        sender.generation = 1;
    }
    else if (cJSON_IsNumber(from->value)) {
        read_number(&sender, reader, from);
    }
    else {
        smartsupp_field_warning(reader, "type", from);
    }
    return sender;
}
