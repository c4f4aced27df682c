/*
 * Talks to the sync that runs on a state folder. Belongs to one thread. Protocol: control/server.h.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/macros.h"

struct control_client;

/* *out_client is NULL when no sync listens there. */
MUST_USE struct error *control_connect(const char *folder, struct control_client **out_client);
void control_close(struct control_client *client);
DEFINE_CLEANUP(struct control_client, control_close);

/*
 * Asks and waits for the answer. `arguments` is an object whose members go into the request, or NULL; it stays the
 * caller's. *out_reply is a new reference. What the other side refused comes back with its kind, message and hint;
 * ERROR_TRANSIENT when it went away or did not answer in time: the connection is then of no more use.
 */
MUST_USE struct error *control_call(struct control_client *client, const char *command, json_t *arguments,
                                    int timeout_ms, json_t **out_reply);
