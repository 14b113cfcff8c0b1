#include "ebms_contactor.h"

#include <stddef.h>

#include "ebms_port.h"

void ebms_contactor_init(ebms_contactor *contactor, ebms_contactor_settings settings, bool held_open, uint32_t now_ms)
{
    EBMS_REQUIRE(contactor != NULL);
    contactor->settings = settings;
    contactor->lowering_since_ms = now_ms;
    contactor->good_since_ms = now_ms;
    contactor->state = held_open ? EBMS_MCU_STATE_OPEN_ON_ADVICE : EBMS_MCU_STATE_STARTING;
    contactor->closed = false;
    contactor->under_load = false;
    contactor->held_open = held_open;
}

static bool is_low(const ebms_contactor *contactor, int32_t current_ma)
{
    if (current_ma == EBMS_CURRENT_INVALID_MA) {
        return false;
    }
    const int32_t magnitude_ma = (current_ma < 0) ? -current_ma : current_ma;
    return (uint32_t)magnitude_ma <= contactor->settings.low_current_ma;
}

static void step_closed(ebms_contactor *contactor, bool faulty, bool told_to_open, int32_t current_ma, uint32_t now_ms)
{
    if ((!faulty) && (!told_to_open)) {
        contactor->state = EBMS_MCU_STATE_ALONE;
        return;
    }
    if (contactor->state != EBMS_MCU_STATE_LOWERING) {
        contactor->state = EBMS_MCU_STATE_LOWERING;
        contactor->lowering_since_ms = now_ms;
    }
    const uint32_t longest_ms = faulty ? contactor->settings.lowering_fault_ms : contactor->settings.lowering_advice_ms;
    const bool low = is_low(contactor, current_ma);
    if (low || ((now_ms - contactor->lowering_since_ms) >= longest_ms)) {
        contactor->closed = false;
        contactor->under_load = !low;
        contactor->held_open = told_to_open;
        contactor->state = faulty ? EBMS_MCU_STATE_OPEN_ON_FAULT : EBMS_MCU_STATE_OPEN_ON_ADVICE;
    }
}

static void step_open(ebms_contactor *contactor, bool faulty, bool told_to_open, uint32_t now_ms)
{
    if (told_to_open) {
        contactor->held_open = true;
    }
    if (faulty) {
        contactor->good_since_ms = now_ms;
        /* not while starting: what is not measured yet is no trip */
        if (contactor->state != EBMS_MCU_STATE_STARTING) {
            contactor->state = EBMS_MCU_STATE_OPEN_ON_FAULT;
        }
    }
    if (contactor->state == EBMS_MCU_STATE_OPEN_ON_FAULT) {
        return;
    }
    if (contactor->held_open) {
        contactor->state = EBMS_MCU_STATE_OPEN_ON_ADVICE;
        return;
    }
    contactor->state = EBMS_MCU_STATE_STARTING;
    if ((now_ms - contactor->good_since_ms) >= contactor->settings.close_after_ms) {
        contactor->closed = true;
        contactor->under_load = false;
        contactor->state = EBMS_MCU_STATE_ALONE;
    }
}

void ebms_contactor_step(ebms_contactor *contactor, uint16_t faults, int32_t current_ma, const ebms_advice *advice,
                         bool persons_reset, uint32_t now_ms)
{
    EBMS_REQUIRE(contactor != NULL);
    const bool commanded = (advice != NULL) && (advice->mode == EBMS_MODE_COMMAND);
    const bool told_to_open = commanded && (advice->action == EBMS_ACTION_OPEN_CONTACTORS);
    if (persons_reset || (commanded && (!told_to_open))) {
        if (contactor->held_open) {
            contactor->held_open = false;
            contactor->good_since_ms = now_ms;
        }
    }
    if (persons_reset && (contactor->state == EBMS_MCU_STATE_OPEN_ON_FAULT)) {
        contactor->state = EBMS_MCU_STATE_STARTING;
        contactor->good_since_ms = now_ms;
    }
    if (contactor->closed) {
        step_closed(contactor, faults != 0u, told_to_open, current_ma, now_ms);
    } else {
        step_open(contactor, faults != 0u, told_to_open, now_ms);
    }
    if ((contactor->state == EBMS_MCU_STATE_ALONE) && (advice != NULL)) {
        contactor->state = EBMS_MCU_STATE_ADVISED;
    }
}

ebms_limits ebms_contactor_limits(const ebms_contactor *contactor, ebms_limits own, const ebms_advice *advice)
{
    EBMS_REQUIRE(contactor != NULL);
    ebms_limits limits = ebms_limits_under(own, advice);
    if ((!contactor->closed) || (contactor->state == EBMS_MCU_STATE_LOWERING)) {
        limits.charge_da = 0u;
        limits.discharge_da = 0u;
    }
    return limits;
}
