/* When the main contactors open and close: one's own protection first, then live advice. Pure: the firmware reads its inputs before a
 * step and acts on the state after it. */
#ifndef EBMS_CONTACTOR_H
#define EBMS_CONTACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "ebms_advice.h"

typedef struct {
    uint32_t low_current_ma;       /* at or below it they open without load */
    uint32_t lowering_advice_ms;   /* the longest wait for it when told to open */
    uint32_t lowering_fault_ms;    /* and when one's own protection opens */
    uint32_t close_after_ms;       /* no fault for so long before they close */
} ebms_contactor_settings;

typedef struct {
    ebms_contactor_settings settings;
    uint32_t lowering_since_ms;
    uint32_t good_since_ms;
    uint8_t state; /* EBMS_MCU_STATE_ */
    bool closed;
    bool under_load; /* they stand open, and opened while current flowed or was not known */
    bool held_open;  /* opened on command: keep it over a reset */
} ebms_contactor;

/* held_open: as it was kept. */
void ebms_contactor_init(ebms_contactor *contactor, ebms_contactor_settings settings, bool held_open, uint32_t now_ms);

/* faults: one's own, as bits; any bit opens, and only a person's reset lets them close again. current_ma: EBMS_CURRENT_INVALID_MA where
 * not known. advice: what lives now, or NULL. Call it at least every 100 ms. */
void ebms_contactor_step(ebms_contactor *contactor, uint16_t faults, int32_t current_ma, const ebms_advice *advice,
                         bool persons_reset, uint32_t now_ms);

/* The limits to apply: 0 A while they open or stand open, else the stricter of one's own and the advice. */
ebms_limits ebms_contactor_limits(const ebms_contactor *contactor, ebms_limits own, const ebms_advice *advice);

#endif
