/*
 * Named places where a test can make the program fail, wait or die.
 *
 *     FAULT_POINT("apply.before_commit");
 *
 * stands in functions that return `struct error *` and costs nothing unless built with -Dfaults=true. Then
 * PGTIDE_FAULT="apply.before_commit=crash@3" ends the process (as kill -9 would) the third time it gets there,
 * "=error@3" makes that call fail once with ERROR_TRANSIENT, "=fail" makes every call fail with ERROR_DATA,
 * "=wait@1:500" stops that thread there for 500 ms. Several rules are separated by commas; the rules are read once, and one that cannot be read ends the process. Thread-safe.
 */
#pragma once

#include "base/error.h"

#ifdef PGTIDE_FAULTS
MUST_USE struct error *fault_reached(const char *name);
#define FAULT_POINT(name) TRY(fault_reached(name))
#else
#define FAULT_POINT(name) ((void)0)
#endif
