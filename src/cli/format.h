/* Numbers for people. Each returns a small value: `format_bytes(n).text`. Pure, any thread. */
#pragma once

#include <stdint.h>

enum { FORMAT_SIZE = 40 };

struct formatted {
    char text[FORMAT_SIZE];
};

struct formatted format_count(uint64_t n);         /* "12,345,678" */
struct formatted format_count_short(uint64_t n);   /* "12.3 M", as long as that: for narrow places */
struct formatted format_bytes(uint64_t bytes);     /* "1.2 GB"; 1024 to the next unit, as PostgreSQL */
struct formatted format_rate(double per_second);   /* "1,234" */
struct formatted format_duration(int64_t seconds); /* "3 s", "2 min 05 s", "1 h 12 min", "3 d 4 h" */
struct formatted format_delay(double seconds);     /* "0 s", "0.04 s", "1.2 s", "2 min 05 s" */
struct formatted format_percent(double percent);   /* " 57 %", always five columns; "100 %" means done */
