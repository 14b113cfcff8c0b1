/* The microcontroller's own protection: compiled limits, no link to the gateway. */
#ifndef PROTECTION_H
#define PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "profile.h"

/* What the front end measured last. seen false: nothing yet. */
typedef struct {
    uint16_t voltage_100uv[PROFILE_CELLS];
    int16_t temperature_dc[PROFILE_PROBES];
    int32_t current_ma;
    uint32_t at_ms;
    bool seen;
    bool persons_reset;
} front_end;

typedef struct {
    uint32_t since_ms[7]; /* of each bit: since when it is beyond its limit without a break */
    uint16_t beyond;      /* bits beyond their limit now */
} protection;

void protection_init(protection *state);

/* The bits of EBMS_FAULT_BIT_ that have been beyond their limits for PROFILE_TRIP_MS. A value that is not known counts as the front
 * end lost: what is not measured is not protected. */
uint16_t protection_step(protection *state, const front_end *measured, uint32_t now_ms);

#endif
