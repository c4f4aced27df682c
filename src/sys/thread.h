/*
 * A thread whose end is a value: its function returns `struct error *`, and who joins it decides.
 *
 *     TRY(thread_start("copy 1", copy_lane_run, lane, &thread));
 *     err = thread_join(TAKE(thread));
 *
 * The name shows in ps -T and in gdb (15 bytes). All signals are blocked in it. A thread must be joined before what it
 * uses is freed.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct thread;

MUST_USE struct error *thread_start(const char *name, struct error *(*run)(void *self), void *self,
                                    struct thread **out_thread);

/* Waits for its end and returns what its function returned. Frees the thread. */
MUST_USE struct error *thread_join(struct thread *t);

/* True once its function has returned: thread_join will not block. */
bool thread_ended(const struct thread *t);

/* The calling thread leaves the processor to whoever else wants it. (Linux: a thread has a niceness of its own.) */
void thread_be_modest(void);

/* Processors that this process may run on; at least 1. */
unsigned thread_processors(void);
