/* The words of the control protocol, for server and client alone. What they mean is in control/server.h. */
#pragma once

#define PROTOCOL_SOCKET  "control.sock"
#define PROTOCOL_COMMAND "command"
#define PROTOCOL_OK      "ok"
#define PROTOCOL_REPLY   "reply"
#define PROTOCOL_KIND    "kind"
#define PROTOCOL_ERROR   "error"
#define PROTOCOL_HINT    "hint"
