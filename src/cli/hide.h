/* Connection strings may hold passwords, and everybody on the machine can read a process's arguments. */
#pragma once

#include <stdbool.h>

/*
 * Whether an argument has to be hidden. libpq decodes a lot (percent signs in URIs, sslpassword, spaces around "="), so
 * whatever is not plainly free of a password counts as holding one.
 */
bool argument_may_hold_secret(const char *argument);

/* Overwrites such arguments where they stand, which is what ps and /proc show. Call it once all have been copied. */
void arguments_hide(int argc, char **argv);
