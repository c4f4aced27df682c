#include "cli/exit.h"

const struct exit_meaning exit_meanings[] = {
    {EXIT_DONE, "done; for check: a sync would begin"},
    {EXIT_FAILED, "failed; standard error says why"},
    {EXIT_USAGE, "the command line is wrong"},
    {EXIT_REFUSED, "the precheck found something that must be mended or accepted; nothing was begun"},
    {EXIT_DIFFERENT, "compare: the two sides differ"},
    {EXIT_NOT_COMPARED, "compare: no difference was found, but not everything could be compared"},
    {EXIT_INTERRUPTED, "interrupted; the same command goes on where it was"},
    {0},
};

enum exit_status exit_status(const struct error *err)
{
    static const enum exit_status by_kind[ERROR_KIND_COUNT] = {
        /* clang-format off */
        [ERROR_BUG] = EXIT_FAILED,
        [ERROR_CONFIG] = EXIT_FAILED,
        [ERROR_TRANSIENT] = EXIT_FAILED,
        [ERROR_DATA] = EXIT_FAILED,
        [ERROR_HISTORY] = EXIT_FAILED,
        [ERROR_CANCELLED] = EXIT_INTERRUPTED,
        [ERROR_USAGE] = EXIT_USAGE,
        [ERROR_REFUSED] = EXIT_REFUSED,
        /* clang-format on */
    };

    return err == NULL ? EXIT_DONE : by_kind[error_kind(err)];
}
