/*
 * The control socket of a running sync: `control.sock` in its state folder.
 *
 * A frame (sys/socket.h) with {"command": NAME, …} is answered by one frame: {"ok": true, "reply": …} or {"ok": false,
 * "kind": …, "error": …, "hint": …}. A connection may ask many times. The commands are status, stop and mark (what wait
 * polls); what they mean is the handler's business.
 *
 * The server has a thread of its own, so that neither a slow client nor garbage ever keeps the worker waiting: at most
 * 16 connections (the one that was silent longest makes room), requests up to 64 KiB, half a second for a frame once it
 * has begun. What is no request is answered by an error where that is possible and ends the connection.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/macros.h"

struct control_handler {
    void *self;

    /*
     * Called in the server's thread, one request at a time; has to answer within a second (start what takes longer,
     * let the client ask again). *out_reply is a new reference. An unknown command is ERROR_USAGE.
     */
    MUST_USE struct error *(*handle)(void *self, const char *command, json_t *request, json_t **out_reply);

    /* About once a second in the server's thread, for what must be looked at even if nobody asks; NULL for none. */
    void (*tick)(void *self);
};

struct control_server;

/* The handler must live until control_server_stop. */
MUST_USE struct error *control_server_start(const char *folder, struct control_handler handler,
                                            struct control_server **out_server);

/* Answers the request in work, closes everything, removes the socket, joins the thread. */
void control_server_stop(struct control_server *server);
DEFINE_CLEANUP(struct control_server, control_server_stop);
