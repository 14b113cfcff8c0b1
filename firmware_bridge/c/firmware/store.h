/* What must outlive a reset: keys with their freshness, the count of resets, and whether the contactors were opened on command.
 * Two copies with a CRC and a number, written in turn: a write that is cut off anywhere leaves the other. */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebms_advice.h"

typedef struct {
    ebms_key_slot slots[EBMS_KEY_SLOTS];
    uint32_t resets;
    bool held_open;
} kept;

#define STORE_COPY_BYTES (sizeof(kept) + 8u)
#define STORE_BYTES (2u * STORE_COPY_BYTES)

/* The board gives these two: bytes that outlive a reset, of STORE_BYTES. FRAM or battery-backed RAM as they are; flash needs a layer that
 * erases pages in turn below them. A byte whose write was cut off may hold anything. */
void store_put(size_t at, uint8_t byte);
uint8_t store_get(size_t at);

/* What is kept. False when neither copy holds: an empty board. */
bool store_read(kept *values);

/* Keeps it. True when it reads back the same. */
bool store_write(const kept *values);

#endif
