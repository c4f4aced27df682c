/*
 * A segment of the spool that waits for long, packed with zstd: blocks of 256 KiB, each packed alone, so that any place can be
 * read without what lies before it.
 *
 *     magic (8) | bytes before packing (u64) | end of each block in this file (u64 each) | blocks
 *
 * Big-endian. What is in a block the spool's own checksums answer for. Files are named relative to a folder's descriptor; errors
 * are those of the operating system, or ERROR_DATA for a packed file that cannot be read. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SPOOL_PACK_BLOCK_BYTES = 256 * 1024 };

/* Writes `to`, made anew, from `from`, and syncs it. */
MUST_USE struct error *spool_pack(int folder, const char *from, const char *to);

/* The other way round. */
MUST_USE struct error *spool_unpack(int folder, const char *from, const char *to);

MUST_USE struct error *spool_packed_size(int fd, uint64_t *out_bytes);

/* Block `i`, to at most SPOOL_PACK_BLOCK_BYTES at `out`; *out_length is 0 behind the last. */
MUST_USE struct error *spool_packed_block(int fd, uint64_t i, char *out, size_t *out_length);
