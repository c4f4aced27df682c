#include "control/server.h"

#include <poll.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/json.h"
#include "control/protocol.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "sys/stop.h"
#include "sys/thread.h"

enum {
    CONNECTIONS_MAX = 16,
    REQUEST_BYTES_MAX = 64 * 1024,
    FRAME_TIMEOUT_MS = 500,
    TICK_US = 1000 * 1000,
};

struct connection {
    int fd; /* -1: free */
    int64_t heard_us;
};

struct control_server {
    struct arena *arena;
    char *folder;
    struct control_handler handler;
    struct stop *stop; /* ends our thread; not the worker's */
    struct thread *thread;
    int listener;
    struct connection connections[CONNECTIONS_MAX];
};

static void hang_up(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* A free place, or that of the client which was silent longest: a forgotten one must not shut out the next. */
static struct connection *make_room(struct control_server *s)
{
    struct connection *oldest = &s->connections[0];

    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];

        if (c->fd < 0)
            return c;
        if (c->heard_us < oldest->heard_us)
            oldest = c;
    }
    hang_up(oldest);
    return oldest;
}

static void welcome(struct control_server *s)
{
    int fd = -1;
    struct error *err = socket_accept(s->listener, &fd);

    if (err != NULL) {
        log_debug("control socket: %s", error_message(err));
        error_free(err);
        return;
    }
    if (fd < 0)
        return;
    *make_room(s) = (struct connection){.fd = fd, .heard_us = clock_now_us()};
}

static struct error *parse_request(const char *bytes, size_t length, json_t **out_request, const char **out_command)
{
    json_error_t why;

    if (length > REQUEST_BYTES_MAX)
        return error_new(ERROR_USAGE, "request of %zu bytes: at most %d are accepted", length, REQUEST_BYTES_MAX);
    CLEANUP(json_decref) json_t *request = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &why);
    if (request == NULL)
        return error_new(ERROR_USAGE, "request is not JSON: %s", why.text);
    const char *command = json_string_value(json_object_get(request, PROTOCOL_COMMAND));
    if (command == NULL)
        return error_new(ERROR_USAGE, "request has no \"%s\"", PROTOCOL_COMMAND);
    *out_command = command;
    *out_request = TAKE(request);
    return NULL;
}

static struct error *answer(int fd, json_t *document)
{
    char *text = json_dumps(document, JSON_NUMBERS | JSON_COMPACT | JSON_ENSURE_ASCII);

    if (text == NULL)
        return error_new(ERROR_BUG, "an answer on the control socket cannot be written as JSON");
    struct error *err = frame_write(fd, text, strlen(text), FRAME_TIMEOUT_MS);
    free(text);
    return err;
}

static json_t *refusal(const struct error *err)
{
    return json_pack("{s:b, s:s, s:o, s:o}", PROTOCOL_OK, 0, PROTOCOL_KIND, error_kind_name(error_kind(err)),
                     PROTOCOL_ERROR, json_text(error_message(err)), PROTOCOL_HINT, json_text(error_hint_text(err)));
}

static struct error *handle(struct control_server *s, int fd, const char *command, json_t *request)
{
    json_t *reply = NULL;
    struct error *err = s->handler.handle(s->handler.self, command, request, &reply);
    CLEANUP(json_decref)
    json_t *document = err == NULL ? json_pack("{s:b, s:o}", PROTOCOL_OK, 1, PROTOCOL_REPLY, reply) : refusal(err);

    error_free(err);
    return answer(fd, document);
}

/* False when the connection has ended or must. */
static bool converse(struct control_server *s, int fd)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(s->arena, "control request");
    CLEANUP(json_decref) json_t *request = NULL;
    const char *command = NULL;
    char *bytes = NULL;
    size_t length = 0;

    struct error *err = frame_read(fd, scratch, FRAME_TIMEOUT_MS, &bytes, &length);
    if (err == NULL && bytes == NULL)
        return false;
    if (err == NULL)
        err = parse_request(bytes, length, &request, &command);
    if (err == NULL)
        err = handle(s, fd, command, request);
    if (err == NULL)
        return true;

    /* The other end may be gone or deaf: whether it hears this is its own concern. */
    CLEANUP(json_decref) json_t *document = refusal(err);
    error_free(err);
    error_free(answer(fd, document));
    return false;
}

static struct error *serve(void *self)
{
    struct control_server *s = self;
    int64_t tick_us = clock_now_us();

    while (!stop_requested(s->stop)) {
        struct pollfd fds[CONNECTIONS_MAX + 2] = {
            {.fd = stop_fd(s->stop), .events = POLLIN},
            {.fd = s->listener, .events = POLLIN},
        };

        for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = s->connections[i].fd, .events = POLLIN};
        int n = poll(fds, CONNECTIONS_MAX + 2, TICK_US / 1000);

        for (unsigned i = 0; n > 0 && i < CONNECTIONS_MAX; i++) {
            struct connection *c = &s->connections[i];

            if (fds[i + 2].revents == 0)
                continue;
            c->heard_us = clock_now_us();
            if (!converse(s, c->fd))
                hang_up(c);
        }
        /* After the others: it may take the place of one of them. */
        if (n > 0 && fds[1].revents != 0)
            welcome(s);
        if (s->handler.tick != NULL && clock_now_us() - tick_us >= TICK_US) {
            s->handler.tick(s->handler.self);
            tick_us = clock_now_us();
        }
    }
    return NULL;
}

struct error *control_server_start(const char *folder, struct control_handler handler,
                                   struct control_server **out_server)
{
    struct arena *arena = arena_new(NULL, "control server");
    CLEANUP(control_server_stop) struct control_server *s = ARENA_NEW(arena, struct control_server);

    *s = (struct control_server){.arena = arena, .handler = handler, .listener = -1};
    s->folder = arena_strdup(arena, folder);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        s->connections[i].fd = -1;
    TRY(stop_new(&s->stop));
    TRY(socket_listen(folder, PROTOCOL_SOCKET, &s->listener));
    TRY(thread_start("control", serve, s, &s->thread));
    *out_server = TAKE(s);
    return NULL;
}

void control_server_stop(struct control_server *s)
{
    if (s == NULL)
        return;
    if (s->thread != NULL) {
        stop_request(s->stop);
        error_free(thread_join(TAKE(s->thread)));
    }
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        hang_up(&s->connections[i]);
    if (s->listener >= 0) {
        close(s->listener);
        CLEANUP(error_free)
        struct error *err = file_remove(arena_printf(s->arena, "%s/%s", s->folder, PROTOCOL_SOCKET));
        if (err != NULL)
            log_debug("control socket: %s", error_message(err));
    }
    stop_free(s->stop);
    arena_free(s->arena);
}
