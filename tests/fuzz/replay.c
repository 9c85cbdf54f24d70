/* replay.c - feeds every file of a corpus to a fuzz target, without a fuzzer
 *
 * Linked with a fuzz_*.c in place of libFuzzer, so that what fuzzing once found
 * is tested by every build.
 */

#include "base/file.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define LARGEST_INPUT ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as many bytes as the file has, so that a sanitizer sees one beyond. */
static int replay_file(const char *path)
{
    struct ce_error err = {.text = ""};
    struct ce_file_map map;

    if (ce_file_map_open(&map, path, &err) != CE_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uint8_t *copy = malloc(map.bytes);

    for (size_t i = 0; copy != NULL && i < map.bytes; i++) {
        copy[i] = map.data[i];
    }
    int result = LLVMFuzzerTestOneInput(copy, map.bytes);

    free(copy);
    ce_file_map_close(&map);
    return result;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int count = argc == 2 ? scandir(argv[1], &entries, is_input, alphasort) : -1;
    int failed = count < 1;

    if (count < 1) {
        (void)fprintf(stderr, "usage: %s CORPUS, a folder with files\n", argv[0]);
    }
    for (int i = 0; i < count; i++) {
        char *path = ce_path_join(argv[1], entries[i]->d_name);

        (void)fprintf(stderr, "%s\n", path);
        failed |= replay_file(path);
        free(path);
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return failed;
}
