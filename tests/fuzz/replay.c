/*
 * Runs a fuzz target over files, without libFuzzer: `fuzz_NAME FILE|FOLDER ...`.
 *
 * Each input stands in memory of exactly its size, so that the address sanitizer sees a read past its end.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static _Noreturn void give_up(const char *what, const char *path)
{
    fprintf(stderr, "could not %s \"%s\": %s\n", what, path, strerrordesc_np(errno));
    exit(EXIT_FAILURE);
}

static unsigned replay_file(const char *path, size_t length)
{
    uint8_t *bytes = malloc(length);
    FILE *file = fopen(path, "rbe");

    if (file == NULL || (bytes == NULL && length > 0) || fread(bytes, 1, length, file) != length)
        give_up("read", path);
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last one is the culprit when the target aborts */
    LLVMFuzzerTestOneInput(bytes, length);
    free(bytes);
    return 1;
}

/* Returns how many inputs there were. */
static unsigned replay(const char *path)
{
    struct dirent **entries = NULL;
    struct stat status;
    unsigned n_inputs = 0;

    if (stat(path, &status) != 0)
        give_up("find", path);
    if (!S_ISDIR(status.st_mode))
        return replay_file(path, (size_t)status.st_size);

    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        give_up("list", path);
    for (int i = 0; i < n; i++) {
        char *below = NULL;

        if (asprintf(&below, "%s/%s", path, entries[i]->d_name) < 0)
            give_up("name what is in", path);
        if (entries[i]->d_name[0] != '.')
            n_inputs += replay(below);
        free(below);
        free(entries[i]);
    }
    free(entries);
    return n_inputs;
}

int main(int argc, char **argv)
{
    unsigned n_inputs = 0;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        n_inputs += replay(argv[i]);
    if (n_inputs == 0)
        fprintf(stderr, "no input to replay\n");
    return n_inputs == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
