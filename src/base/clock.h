/*
 * Time. Everything that measures or waits asks here, so that unit tests own the clock.
 *
 * Thread-safe.
 */
#pragma once

#include <stdint.h>

/* Microseconds on a clock that never goes back; the zero is arbitrary. */
int64_t clock_now_us(void);

/* Microseconds since 1970-01-01 UTC by this machine's wall clock. PostgreSQL counts from 2000-01-01: see below. */
int64_t clock_wall_us(void);

/* Added to a PostgreSQL timestamp (protocol messages, timestamptz_send) it gives Unix microseconds. */
#define CLOCK_PG_EPOCH_US INT64_C(946684800000000)

/* Unit tests only: from now on both clocks answer `us`; a negative value gives the real clocks back. */
void clock_set_for_test(int64_t us);
