/* Whether a command of the gateway is obeyed, and for how long: protocol.md, "ADVICE". The safety rules of the library stand here and
 * in ebms_contactor.c. No clock of its own: now_ms counts on and wraps at 2^32. */
#ifndef EBMS_ADVICE_H
#define EBMS_ADVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "ebms_codes.h"

/* freshness_last 0: none accepted yet. used false: the slot is free. */
typedef struct {
    uint64_t freshness_last;
    uint8_t key[EBMS_KEY_BYTES];
    uint8_t key_id;
    bool used;
} ebms_key_slot;

#define EBMS_KEY_SLOTS 2u

/* Keeps both slots over a reset. True only when they are kept. */
typedef bool (*ebms_store)(void *context, const ebms_key_slot slots[EBMS_KEY_SLOTS]);

/* A limit of EBMS_LIMIT_UNSTATED is not stated: one's own holds. */
typedef struct {
    uint16_t charge_da;
    uint16_t discharge_da;
    uint16_t charge_dv;
    uint16_t discharge_dv;
} ebms_limits;

typedef struct {
    uint32_t issued_ms;
    uint32_t expiry_ms;
    ebms_limits limits;
    uint8_t action;
    uint8_t mode;
    bool cool;
} ebms_advice;

typedef struct {
    ebms_key_slot slots[EBMS_KEY_SLOTS];
    ebms_store store;
    void *store_context;
    ebms_advice advice;
    uint32_t session;
    uint32_t heard_ms;
    uint16_t mcu_id;
    uint16_t gateway_id;
    uint8_t slot_in_use;
    bool linked;
    bool live;
} ebms_authority;

/* slots: as they were stored. session: the count of resets, so that what was sent before the reset is stale. */
void ebms_authority_init(ebms_authority *authority, uint16_t mcu_id, uint16_t gateway_id, uint32_t session,
                         const ebms_key_slot slots[EBMS_KEY_SLOTS], ebms_store store, void *store_context);

/* The gateway said that it is there and decides. `greets`: in a HELLO, which alone makes the link. */
void ebms_authority_heard(ebms_authority *authority, bool greets, uint32_t now_ms);

/* All advice ends now. */
void ebms_authority_drop(ebms_authority *authority);

/* Ends what is over. Call it at least every 100 ms. */
void ebms_authority_tick(ebms_authority *authority, uint32_t now_ms);

/* One ADVICE: the payload of EBMS_LENGTH_ADVICE_BYTES. Returns an EBMS_VERDICT_; all but ACCEPTED change nothing. */
uint8_t ebms_authority_judge(ebms_authority *authority, const uint8_t payload[EBMS_LENGTH_ADVICE_BYTES], uint32_t now_ms);

/* The advice that lives at now_ms, or NULL. */
const ebms_advice *ebms_authority_advice(const ebms_authority *authority, uint32_t now_ms);

/* How long it lives still; 0 without. */
uint32_t ebms_authority_left_ms(const ebms_authority *authority, uint32_t now_ms);

/* The stricter of `own` and the advice (NULL: own), per limit. stop_charge, stop_discharge and open_contactors in mode command set the
 * currents concerned to 0. */
ebms_limits ebms_limits_under(ebms_limits own, const ebms_advice *advice);

#endif
