/*
 * What the pieces of a copy cost against each other, in one unit: the bytes of a table whose copy would take as long.
 *
 * First guesses, before anything was measured: model/forecast corrects them while a copy runs. Pure.
 */
#pragma once

#include <stdint.h>

/* Round trips, catalog rows and locks of one object, whatever is in it. */
#define COST_OBJECT (UINT64_C(512) * 1024)

/* A large object, whatever is in it. */
#define COST_LARGE_OBJECT (UINT64_C(16) * 1024)

uint64_t cost_rows(uint64_t table_bytes);

/* `index_bytes` on the source; 0: not known, or it is a partitioned one, which holds nothing. */
uint64_t cost_index(uint64_t index_bytes, uint64_t table_bytes);

/* It reads no more of a large table than of one of 240 MB. */
uint64_t cost_analyze(uint64_t table_bytes);

/* VALIDATE of a foreign key: every row is looked up. */
uint64_t cost_foreign_key(uint64_t table_bytes);
