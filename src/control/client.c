#include "control/client.h"

#include <unistd.h>

#include "base/arena.h"
#include "control/json.h"
#include "control/protocol.h"
#include "sys/socket.h"

struct control_client {
    struct arena *arena;
    int fd;
};

struct error *control_connect(const char *folder, struct control_client **out_client)
{
    int fd = -1;

    TRY(socket_connect(folder, PROTOCOL_SOCKET, &fd));
    if (fd < 0) {
        *out_client = NULL;
        return NULL;
    }
    struct arena *arena = arena_new(NULL, "control client");
    struct control_client *client = ARENA_NEW(arena, struct control_client);
    *client = (struct control_client){.arena = arena, .fd = fd};
    *out_client = client;
    return NULL;
}

void control_close(struct control_client *client)
{
    if (client == NULL)
        return;
    close(client->fd);
    arena_free(client->arena);
}

static struct error *send_request(struct control_client *client, const char *command, json_t *arguments, int timeout_ms)
{
    CLEANUP(json_decref) json_t *request = json_object();

    if (arguments != NULL)
        json_object_update(request, arguments);
    json_object_set_new(request, PROTOCOL_COMMAND, json_string(command));
    char *text = json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (text == NULL)
        return error_new(ERROR_BUG, "the request cannot be written as JSON");
    struct error *err = frame_write(client->fd, text, strlen(text), timeout_ms);
    free(text);
    return err;
}

static enum error_kind kind_of(const char *name)
{
    for (enum error_kind kind = 0; name != NULL && kind < ERROR_KIND_COUNT; kind++) {
        if (strcmp(name, error_kind_name(kind)) == 0)
            return kind;
    }
    return ERROR_BUG;
}

/* The other side's refusal as an error of ours. */
static struct error *refused(const json_t *answer)
{
    const char *message = json_string_value(json_object_get(answer, PROTOCOL_ERROR));
    const char *hint = json_string_value(json_object_get(answer, PROTOCOL_HINT));
    struct error *err = error_new(kind_of(json_string_value(json_object_get(answer, PROTOCOL_KIND))), "%s",
                                  message == NULL ? "it does not say why" : message);

    return hint == NULL ? err : error_hint(err, "%s", hint);
}

static struct error *exchange(struct control_client *client, const char *command, json_t *arguments, int timeout_ms,
                              json_t **out_reply)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(client->arena, "control answer");
    char *bytes = NULL;
    size_t length = 0;
    json_error_t why;

    TRY(send_request(client, command, arguments, timeout_ms));
    TRY(frame_read(client->fd, scratch, timeout_ms, &bytes, &length));
    if (bytes == NULL)
        return error_new(ERROR_TRANSIENT, "it ended without an answer");
    CLEANUP(json_decref) json_t *answer = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &why);
    if (answer == NULL)
        return error_new(ERROR_TRANSIENT, "its answer is not JSON: %s", why.text);
    if (!json_is_true(json_object_get(answer, PROTOCOL_OK)))
        return refused(answer);
    json_t *reply = json_object_get(answer, PROTOCOL_REPLY);
    if (reply == NULL)
        return error_new(ERROR_TRANSIENT, "its answer has no \"%s\"", PROTOCOL_REPLY);
    *out_reply = json_incref(reply);
    return NULL;
}

struct error *control_call(struct control_client *client, const char *command, json_t *arguments, int timeout_ms,
                           json_t **out_reply)
{
    struct error *err = exchange(client, command, arguments, timeout_ms, out_reply);

    return err == NULL ? NULL : error_wrap(err, "asking the running sync for \"%s\"", command);
}
