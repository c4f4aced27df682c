#include "model/rate.h"

#include <string.h>

static bool is_in(const struct rate_window *w, unsigned minute)
{
    if (w->from_minute < w->until_minute)
        return minute >= w->from_minute && minute < w->until_minute;
    return minute >= w->from_minute || minute < w->until_minute;
}

/* ---- reading ---- */

/* Up to `digits` decimal digits. */
static bool take_number(const char **at, unsigned digits, unsigned *out)
{
    unsigned n = 0, taken = 0;

    for (; taken < digits && **at >= '0' && **at <= '9'; (*at)++, taken++)
        n = n * 10 + (unsigned)(**at - '0');
    *out = n;
    return taken > 0;
}

static bool take(const char **at, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

/* 22:00; 24:00 is the end of the day. */
static bool take_time(const char **at, unsigned *out_minute)
{
    unsigned hour = 0, minute = 0;

    if (!take_number(at, 2, &hour) || !take(at, ":") || !take_number(at, 2, &minute))
        return false;
    *out_minute = hour * 60 + minute;
    return minute < 60 && *out_minute <= MINUTES_A_DAY;
}

static bool take_speed(const char **at, unsigned *out_mb)
{
    enum { DIGITS = 4 };

    *out_mb = 0;
    if (take(at, "off"))
        return true;
    return take_number(at, DIGITS, out_mb) && *out_mb >= 1 && *out_mb <= RATE_MB_MAX;
}

static bool take_window(const char **at, struct rate_window *w)
{
    if (!take_time(at, &w->from_minute) || !take(at, "-") || !take_time(at, &w->until_minute))
        return false;
    w->from_minute %= MINUTES_A_DAY;
    return w->from_minute != w->until_minute;
}

MUST_USE static struct error *malformed(const char *text)
{
    return error_hint(
        error_new(ERROR_USAGE, "\"%s\" is no speed limit", text),
        "A number of MB/s from 1 to %d, or off; with @HH:MM-HH:MM for a part of the day; up to %d parts with commas "
        "between: \"20,50@22:00-06:00\".",
        RATE_MB_MAX, RATE_WINDOWS_MAX);
}

static bool overlaps(const struct rate_plan *plan, const struct rate_window *w)
{
    for (unsigned i = 0; i < plan->n_windows; i++)
        if (is_in(&plan->windows[i], w->from_minute) || is_in(w, plan->windows[i].from_minute))
            return true;
    return false;
}

struct error *rate_plan_parse(const char *text, struct rate_plan *out)
{
    struct rate_plan plan = {0};
    bool has_rest = false;

    for (const char *at = text;;) {
        struct rate_window w = {0};

        if (!take_speed(&at, &w.mb_per_s))
            return malformed(text);
        if (take(&at, "@")) {
            if (!take_window(&at, &w) || plan.n_windows == RATE_WINDOWS_MAX)
                return malformed(text);
            if (overlaps(&plan, &w))
                return error_new(ERROR_USAGE, "\"%s\": two parts of the day overlap", text);
            plan.windows[plan.n_windows++] = w;
        } else if (has_rest) {
            return error_new(ERROR_USAGE, "\"%s\" has two speeds for the rest of the day", text);
        } else {
            plan.mb_per_s = w.mb_per_s;
            has_rest = true;
        }
        if (*at == '\0')
            break;
        if (!take(&at, ","))
            return malformed(text);
    }
    *out = plan;
    return NULL;
}

/* ---- writing ---- */

static char *speed(struct arena *a, unsigned mb_per_s)
{
    return mb_per_s == 0 ? arena_strdup(a, "off") : arena_printf(a, "%u", mb_per_s);
}

char *rate_plan_format(struct arena *a, const struct rate_plan *plan)
{
    char *text = plan->mb_per_s == 0 && plan->n_windows > 0 ? arena_strdup(a, "") : speed(a, plan->mb_per_s);

    for (unsigned i = 0; i < plan->n_windows; i++) {
        const struct rate_window *w = &plan->windows[i];

        text = arena_printf(a, "%s%s%s@%02u:%02u-%02u:%02u", text, *text == '\0' ? "" : ",", speed(a, w->mb_per_s),
                            w->from_minute / 60, w->from_minute % 60, w->until_minute / 60, w->until_minute % 60);
    }
    return text;
}

/* ---- asking ---- */

unsigned rate_plan_at(const struct rate_plan *plan, unsigned minute)
{
    for (unsigned i = 0; i < plan->n_windows; i++)
        if (is_in(&plan->windows[i], minute))
            return plan->windows[i].mb_per_s;
    return plan->mb_per_s;
}

bool rate_plan_limits(const struct rate_plan *plan)
{
    bool limits = plan->mb_per_s > 0;

    for (unsigned i = 0; i < plan->n_windows; i++)
        limits = limits || plan->windows[i].mb_per_s > 0;
    return limits;
}
