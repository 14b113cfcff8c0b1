/* Built with -fno-tree-loop-distribute-patterns: the compiler must not make these loops into calls of themselves. */
#include <stdint.h>
#include <string.h>

void *memcpy(void *to, const void *from, size_t count)
{
    return memmove(to, from, count);
}

void *memmove(void *to, const void *from, size_t count)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((uintptr_t)target <= (uintptr_t)source) {
        for (size_t i = 0u; i < count; i++) {
            target[i] = source[i];
        }
    } else {
        for (size_t i = count; i > 0u; i--) {
            target[i - 1u] = source[i - 1u];
        }
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t count)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    for (size_t i = 0u; i < count; i++) {
        if (left[i] != right[i]) {
            return (left[i] < right[i]) ? -1 : 1;
        }
    }
    return 0;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *target = to;
    for (size_t i = 0u; i < count; i++) {
        target[i] = (uint8_t)value;
    }
    return to;
}
