#include "cli/format.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"

struct formatted format_count(uint64_t n)
{
    struct formatted out = {0};
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *to = out.text;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    return out;
}

/* 999, 1.2 k, 12.3 M: cut, never rounded up into the next unit. */
static struct formatted scaled(uint64_t n, unsigned base, const char *const *units, unsigned n_units)
{
    struct formatted out;
    uint64_t whole = n, rest = 0;
    unsigned unit = 0;

    while (whole >= base && unit + 1 < n_units) {
        rest = whole % base;
        whole /= base;
        unit++;
    }
    if (unit == 0 || whole >= 100)
        snprintf(out.text, sizeof out.text, "%" PRIu64 "%s", whole, units[unit]);
    else
        snprintf(out.text, sizeof out.text, "%" PRIu64 ".%" PRIu64 "%s", whole, rest * 10 / base, units[unit]);
    return out;
}

struct formatted format_count_short(uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};

    return n < 10000 ? format_count(n) : scaled(n, 1000, units, COUNT_OF(units));
}

struct formatted format_bytes(uint64_t bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};

    return scaled(bytes, 1024, units, COUNT_OF(units));
}

/* 12.3 from 123 tenths, 0.012 from 12 thousandths. */
static struct formatted decimal(uint64_t n, unsigned scale, int digits, const char *unit)
{
    struct formatted out;

    snprintf(out.text, sizeof out.text, "%" PRIu64 ".%0*u%s", n / scale, digits, (unsigned)(n % scale), unit);
    return out;
}

struct formatted format_rate(double per_second)
{
    if (per_second > 0 && per_second < 9.95)
        return decimal((uint64_t)(per_second * 10 + 0.5), 10, 1, "");
    return format_count(per_second > 0 ? (uint64_t)(per_second + 0.5) : 0);
}

struct formatted format_duration(int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *unit;
        int64_t part;
        const char *part_unit;
    } units[] = {
        {86400, "d", 3600, "h"},
        {3600, "h", 60, "min"},
        {60, "min", 1, "s"},
    };
    struct formatted out;

    for (unsigned i = 0; i < COUNT_OF(units); i++) {
        if (seconds < units[i].seconds)
            continue;
        int used = snprintf(out.text, sizeof out.text, "%" PRId64 " %s", seconds / units[i].seconds, units[i].unit);
        int part = (int)(seconds % units[i].seconds / units[i].part);

        /* "1 h 05 min" and "2 min 05 s", so that the text keeps its length while it counts; days are few. */
        snprintf(out.text + used, sizeof out.text - (size_t)used, " %0*d %s", i == 0 ? 1 : 2, part, units[i].part_unit);
        return out;
    }
    snprintf(out.text, sizeof out.text, "%" PRId64 " s", seconds < 0 ? 0 : seconds);
    return out;
}

struct formatted format_delay(double seconds)
{
    if (seconds >= 9.95)
        return format_duration((int64_t)(seconds + 0.5));
    if (seconds >= 0.095)
        return decimal((uint64_t)(seconds * 10 + 0.5), 10, 1, " s");
    if (seconds >= 0.0005)
        return decimal((uint64_t)(seconds * 1000 + 0.5), 1000, 3, " s");
    return format_duration(0);
}

struct formatted format_percent(double percent)
{
    struct formatted out;

    snprintf(out.text, sizeof out.text, "%3d %%", (int)percent);
    return out;
}
