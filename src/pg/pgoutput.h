/*
 * Decodes the messages of the output plugin pgoutput, protocol versions 1 to 4.
 *
 * Manual: "Logical Replication Message Formats". Streaming of transactions in progress and two-phase messages are
 * refused (ERROR_DATA): we do not ask for them. Pure: bytes in, events out; one thread. Memory: a version of a relation
 * lives as long as the decoder; a RELATION message that says again what an earlier one of its oid said brings that
 * version back.
 */
#pragma once

#include "base/arena.h"
#include "ports/stream.h"

/* Lives as long as `a`. */
struct decoder pgoutput_decoder(struct arena *a);
