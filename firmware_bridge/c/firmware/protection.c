#include "protection.h"

#include <stddef.h>

#include "ebms_codes.h"
#include "ebms_port.h"

#define BIT(name) ((uint16_t)(1u << EBMS_FAULT_BIT_##name))

void protection_init(protection *state)
{
    EBMS_REQUIRE(state != NULL);
    *state = (protection){{0u}, 0u};
}

static uint16_t of_cells(const front_end *measured)
{
    uint16_t bits = 0u;
    for (uint32_t i = 0u; i < PROFILE_CELLS; i++) {
        const uint16_t voltage_100uv = measured->voltage_100uv[i];
        if (voltage_100uv == EBMS_VOLTAGE_INVALID_100UV) {
            bits |= BIT(FRONT_END_LOST);
        } else if (voltage_100uv > PROFILE_OVER_VOLTAGE_100UV) { /* saturated is above it too */
            bits |= BIT(OVER_VOLTAGE);
        } else if (voltage_100uv < PROFILE_UNDER_VOLTAGE_100UV) {
            bits |= BIT(UNDER_VOLTAGE);
        } else {
            /* within */
        }
    }
    return bits;
}

static uint16_t of_probes(const front_end *measured)
{
    uint16_t bits = 0u;
    for (uint32_t i = 0u; i < PROFILE_PROBES; i++) {
        const int16_t temperature_dc = measured->temperature_dc[i];
        if (temperature_dc == (int16_t)EBMS_TEMPERATURE_INVALID_DC) {
            bits |= BIT(FRONT_END_LOST);
        } else if (temperature_dc > PROFILE_OVER_TEMPERATURE_DC) {
            bits |= BIT(OVER_TEMPERATURE);
        } else if (temperature_dc < PROFILE_UNDER_TEMPERATURE_DC) {
            bits |= BIT(UNDER_TEMPERATURE);
        } else {
            /* within */
        }
    }
    return bits;
}

static uint16_t of_current(int32_t current_ma)
{
    if (current_ma == EBMS_CURRENT_INVALID_MA) {
        return BIT(FRONT_END_LOST);
    }
    /* a tenth above the limit that it grants: the inverter follows it with an error of its own */
    if (current_ma > (int32_t)(PROFILE_CHARGE_DA * 110u)) {
        return BIT(OVER_CURRENT_CHARGE);
    }
    if (current_ma < -(int32_t)(PROFILE_DISCHARGE_DA * 110u)) {
        return BIT(OVER_CURRENT_DISCHARGE);
    }
    return 0u;
}

uint16_t protection_step(protection *state, const front_end *measured, uint32_t now_ms)
{
    uint16_t faults = 0u;
    uint16_t beyond;
    EBMS_REQUIRE(state != NULL);
    EBMS_REQUIRE(measured != NULL);
    if ((!measured->seen) || ((now_ms - measured->at_ms) >= PROFILE_FRONT_END_LOST_MS)) {
        beyond = BIT(FRONT_END_LOST);
    } else {
        beyond = (uint16_t)(of_cells(measured) | of_probes(measured) | of_current(measured->current_ma));
    }
    for (uint32_t bit = 0u; bit < 7u; bit++) {
        const uint16_t mask = (uint16_t)(1u << bit);
        if ((beyond & mask) == 0u) {
            continue;
        }
        if ((state->beyond & mask) == 0u) {
            state->since_ms[bit] = now_ms;
        }
        if ((now_ms - state->since_ms[bit]) >= PROFILE_TRIP_MS) {
            faults |= mask;
        }
    }
    state->beyond = beyond;
    return faults;
}
