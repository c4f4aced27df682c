#include "worker/spool_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "base/memory.h"
#include "sys/file.h"

enum {
    LEVEL = 1, /* a segment a quarter of a second: who waits for long waits for a slow target, not for us */
    NUMBER_BYTES = 8,
    HEADER_BYTES = 16,
};

static const char magic[NUMBER_BYTES + 1] = "pgtidez1";

static void free_cleanup_(char **bytes)
{
    free(*bytes);
}

MUST_USE static struct error *damaged(void)
{
    return error_hint(error_new(ERROR_DATA, "a packed segment of the spool is damaged"),
                      "Check the disk that holds the state folder. What the spool has lost the source no longer keeps: "
                      "stop this synchronization with `pgtide stop --force` and start it again.");
}

static void put_number(char *at, uint64_t n)
{
    uint64_t swapped = __builtin_bswap64(n);

    memcpy(at, &swapped, sizeof swapped);
}

static uint64_t get_number(const char *at)
{
    uint64_t n;

    memcpy(&n, at, sizeof n);
    return __builtin_bswap64(n);
}

static uint64_t n_blocks(uint64_t bytes)
{
    return (bytes + SPOOL_PACK_BLOCK_BYTES - 1) / SPOOL_PACK_BLOCK_BYTES;
}

/* ---- files ---- */

/* All of it, or *out_whole is false at the file's end. */
MUST_USE static struct error *read_at(int fd, uint64_t offset, char *out, size_t length, bool *out_whole)
{
    size_t got = 0;

    while (got < length) {
        ssize_t n = pread(fd, out + got, length - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(errno, "could not read a segment of the spool");
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *out_whole = got == length;
    return NULL;
}

MUST_USE static struct error *write_at(int fd, uint64_t offset, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = pwrite(fd, bytes, length, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(errno, "could not write a segment of the spool");
        bytes += n;
        offset += (size_t)n;
        length -= (size_t)n;
    }
    return NULL;
}

MUST_USE static struct error *open_both(int folder, const char *from, const char *to, int *in, int *out)
{
    *in = openat(folder, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*in < 0)
        return file_error(errno, "could not open \"%s\"", from);
    *out = openat(folder, to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *out < 0 ? file_error(errno, "could not open \"%s\"", to) : NULL;
}

/* ---- reading ---- */

struct error *spool_packed_size(int fd, uint64_t *out_bytes)
{
    char header[HEADER_BYTES];
    bool is_whole = false;

    TRY(read_at(fd, 0, header, sizeof header, &is_whole));
    if (!is_whole || memcmp(header, magic, NUMBER_BYTES) != 0)
        return damaged();
    *out_bytes = get_number(header + NUMBER_BYTES);
    return NULL;
}

/* Where block `i` begins and ends in the file: the first begins behind the table. */
MUST_USE static struct error *find_block(int fd, uint64_t i, uint64_t n, uint64_t *out_begin, uint64_t *out_end)
{
    char numbers[2 * NUMBER_BYTES];
    bool is_whole = false;

    TRY(read_at(fd, HEADER_BYTES + (i - (i > 0)) * NUMBER_BYTES, numbers, i > 0 ? 2 * NUMBER_BYTES : NUMBER_BYTES,
                &is_whole));
    if (!is_whole)
        return damaged();
    *out_begin = i > 0 ? get_number(numbers) : HEADER_BYTES + n * NUMBER_BYTES;
    *out_end = get_number(i > 0 ? numbers + NUMBER_BYTES : numbers);
    return NULL;
}

struct error *spool_packed_block(int fd, uint64_t i, char *out, size_t *out_length)
{
    uint64_t bytes = 0, begin = 0, end = 0;
    bool is_whole = false;

    TRY(spool_packed_size(fd, &bytes));
    *out_length = 0;
    if (i >= n_blocks(bytes))
        return NULL;
    TRY(find_block(fd, i, n_blocks(bytes), &begin, &end));
    if (end < begin || end - begin > ZSTD_compressBound(SPOOL_PACK_BLOCK_BYTES))
        return damaged();

    size_t size = (size_t)(end - begin);
    CLEANUP(free) char *packed = memory_resize(NULL, size + 1, "packed block of the spool");
    TRY(read_at(fd, begin, packed, size, &is_whole));
    uint64_t left = bytes - i * SPOOL_PACK_BLOCK_BYTES;
    size_t expected = left < SPOOL_PACK_BLOCK_BYTES ? (size_t)left : SPOOL_PACK_BLOCK_BYTES;
    size_t got = is_whole ? ZSTD_decompress(out, SPOOL_PACK_BLOCK_BYTES, packed, size) : 0;
    if (ZSTD_isError(got) || got != expected)
        return damaged();
    *out_length = got;
    return NULL;
}

/* ---- packing ---- */

MUST_USE static struct error *pack_blocks(int in, int out, uint64_t bytes, char *table)
{
    const size_t room = ZSTD_compressBound(SPOOL_PACK_BLOCK_BYTES);
    CLEANUP(free) char *plain = memory_resize(NULL, SPOOL_PACK_BLOCK_BYTES, "block of the spool");
    CLEANUP(free) char *packed = memory_resize(NULL, room, "packed block of the spool");
    uint64_t at = HEADER_BYTES + n_blocks(bytes) * NUMBER_BYTES;

    for (uint64_t i = 0; i < n_blocks(bytes); i++) {
        uint64_t left = bytes - i * SPOOL_PACK_BLOCK_BYTES;
        size_t size = left < SPOOL_PACK_BLOCK_BYTES ? (size_t)left : SPOOL_PACK_BLOCK_BYTES;
        bool is_whole = false;

        TRY(read_at(in, i * SPOOL_PACK_BLOCK_BYTES, plain, size, &is_whole));
        size_t n = is_whole ? ZSTD_compress(packed, room, plain, size, LEVEL) : 0;
        if (n == 0 || ZSTD_isError(n))
            return error_new(ERROR_TRANSIENT, "could not pack a segment of the spool");
        TRY(write_at(out, at, packed, n));
        at += n;
        put_number(table + i * NUMBER_BYTES, at);
    }
    return NULL;
}

MUST_USE static struct error *pack_file(int in, int out)
{
    char header[HEADER_BYTES];
    struct stat st;

    if (fstat(in, &st) != 0)
        return file_error(errno, "could not look at a segment of the spool");
    uint64_t bytes = (uint64_t)st.st_size;
    size_t table_bytes = (size_t)n_blocks(bytes) * NUMBER_BYTES;
    CLEANUP(free) char *table = memory_resize(NULL, table_bytes + 1, "table of a packed segment");
    TRY(pack_blocks(in, out, bytes, table));
    memcpy(header, magic, NUMBER_BYTES);
    put_number(header + NUMBER_BYTES, bytes);
    TRY(write_at(out, 0, header, sizeof header));
    TRY(write_at(out, HEADER_BYTES, table, table_bytes));
    return fsync(out) == 0 ? NULL : file_error(errno, "could not fsync a packed segment of the spool");
}

struct error *spool_pack(int folder, const char *from, const char *to)
{
    CLEANUP(fd_close) int in = -1;
    CLEANUP(fd_close) int out = -1;

    TRY(open_both(folder, from, to, &in, &out));
    return pack_file(in, out);
}

MUST_USE static struct error *unpack_file(int in, int out)
{
    CLEANUP(free) char *plain = memory_resize(NULL, SPOOL_PACK_BLOCK_BYTES, "block of the spool");
    uint64_t at = 0;

    for (uint64_t i = 0;; i++) {
        size_t length = 0;

        TRY(spool_packed_block(in, i, plain, &length));
        if (length == 0)
            break;
        TRY(write_at(out, at, plain, length));
        at += length;
    }
    return fsync(out) == 0 ? NULL : file_error(errno, "could not fsync a segment of the spool");
}

struct error *spool_unpack(int folder, const char *from, const char *to)
{
    CLEANUP(fd_close) int in = -1;
    CLEANUP(fd_close) int out = -1;

    TRY(open_both(folder, from, to, &in, &out));
    return unpack_file(in, out);
}
