/*
 * The main of a fuzz target that is not linked with libFuzzer: gives it each
 * file that is named, and each below a folder that is named. A name is printed
 * before its bytes are used, so that the last one is to blame.
 *
 *   build/replay/json t/fuzz/seeds/json t/corpus/json
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>

static int replayed;

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t room = 4096;
    size_t length = 0;
    char *bytes = malloc(room);
    char *exact;

    must(file && bytes);
    while ((length += fread(bytes + length, 1, room - length, file)) == room) {
        room *= 2;
        bytes = realloc(bytes, room);
        must(bytes);
    }
    must(!ferror(file));
    fclose(file);
    exact = exact_copy(bytes, length);
    free(bytes);
    printf("# %s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput((const uint8_t *)exact, length);
    free(exact);
    replayed++;
}

static void replay(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    char below[4096];

    if (!folder) {
        must(errno == ENOTDIR);
        replay_file(path);
        return;
    }
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] != '.') {
            must(snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) <
                 (int)sizeof(below));
            replay(below);
        }
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    int i;

    LLVMFuzzerInitialize(&argc, &argv);
    for (i = 1; i < argc; i++) {
        replay(argv[i]);
    }
    printf("%d inputs hold\n", replayed);
    return replayed ? 0 : 1;
}
