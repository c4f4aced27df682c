#include "base/hash.h"

#define XXH_INLINE_ALL /* a call through the library's table costs as much as hashing the header of a record */
#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, length, seed);
}
