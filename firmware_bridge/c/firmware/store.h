/* What must outlive a reset: keys with their freshness, the count of resets, and whether the contactors were opened on command.
 * Here: RAM that the start-up code leaves alone, which QEMU keeps over system_reset. On a board: FRAM, or battery-backed RAM, or flash
 * pages written in turn. Two copies with a CRC and a number: a write that is cut off leaves the other. */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "ebms_advice.h"

typedef struct {
    ebms_key_slot slots[EBMS_KEY_SLOTS];
    uint32_t resets;
    bool held_open;
} kept;

/* What is kept. False when neither copy holds: an empty board. */
bool store_read(kept *values);

/* Keeps it. True when it reads back the same. */
bool store_write(const kept *values);

#endif
