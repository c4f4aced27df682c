/* One hash for everything in memory and for the spool's checksums: XXH3, 64 bits (libxxhash). Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed);
