#include "ebms_advice.h"

#include <stddef.h>
#include <string.h>

#include "ebms_bytes.h"
#include "ebms_cmac.h"
#include "ebms_port.h"

#define SIGNED_BYTES (EBMS_LENGTH_ADVICE_BYTES - EBMS_MAC_BYTES)
#define NO_SLOT EBMS_KEY_SLOTS

void ebms_authority_init(ebms_authority *authority, uint16_t mcu_id, uint16_t gateway_id, uint32_t session,
                         const ebms_key_slot slots[EBMS_KEY_SLOTS], ebms_store store, void *store_context)
{
    EBMS_REQUIRE(authority != NULL);
    EBMS_REQUIRE(slots != NULL);
    EBMS_REQUIRE(store != NULL);
    (void)memset(authority, 0, sizeof *authority);
    (void)memcpy(authority->slots, slots, sizeof authority->slots);
    authority->mcu_id = mcu_id;
    authority->gateway_id = gateway_id;
    authority->session = session;
    authority->store = store;
    authority->store_context = store_context;
    /* in use: the slot accepted last. A second key was written and not used yet while its freshness is 0. */
    if ((!slots[0].used) || (slots[1].freshness_last > 0u)) {
        authority->slot_in_use = 1u;
    }
}

void ebms_authority_heard(ebms_authority *authority, bool greets, uint32_t now_ms)
{
    EBMS_REQUIRE(authority != NULL);
    ebms_authority_tick(authority, now_ms);
    if (greets) {
        authority->linked = true;
    }
    authority->heard_ms = now_ms;
}

void ebms_authority_drop(ebms_authority *authority)
{
    EBMS_REQUIRE(authority != NULL);
    authority->live = false;
}

static bool expired(const ebms_advice *advice, uint32_t now_ms)
{
    const uint32_t age_ms = now_ms - advice->issued_ms;
    /* slightly ahead of our clock: the gateway's estimate of it may be off */
    if (age_ms >= (0u - EBMS_ISSUED_AHEAD_MAX_MS)) {
        return false;
    }
    return age_ms >= advice->expiry_ms;
}

void ebms_authority_tick(ebms_authority *authority, uint32_t now_ms)
{
    EBMS_REQUIRE(authority != NULL);
    if ((now_ms - authority->heard_ms) >= EBMS_HEARTBEAT_TIMEOUT_MS) {
        authority->linked = false;
        authority->live = false;
    }
    if (expired(&authority->advice, now_ms)) {
        authority->live = false;
    }
}

static uint8_t slot_of(const ebms_authority *authority, uint8_t key_id)
{
    for (uint8_t i = 0u; i < EBMS_KEY_SLOTS; i++) {
        if (authority->slots[i].used && (authority->slots[i].key_id == key_id)) {
            return i;
        }
    }
    return NO_SLOT;
}

static bool is_signed(const ebms_key_slot *slot, const uint8_t *payload)
{
    uint8_t text[2u + SIGNED_BYTES] = {EBMS_VERSION, EBMS_TYPE_ADVICE};
    uint8_t mac[16];
    (void)memcpy(&text[2], payload, SIGNED_BYTES);
    ebms_cmac(slot->key, text, sizeof text, mac);
    return ebms_cmac_same(mac, &payload[SIGNED_BYTES], EBMS_MAC_BYTES);
}

/* What the rest says, once it is known to be from our gateway. */
static uint8_t judge_words(const ebms_authority *authority, const uint8_t *words, ebms_advice *advice, uint32_t now_ms)
{
    const uint8_t *at = words;
    advice->action = (uint8_t)ebms_take(&at, 1u);
    advice->mode = (uint8_t)ebms_take(&at, 1u);
    const uint8_t cool = (uint8_t)ebms_take(&at, 1u);
    advice->cool = (cool == 1u);
    advice->limits.charge_da = (uint16_t)ebms_take(&at, 2u);
    advice->limits.discharge_da = (uint16_t)ebms_take(&at, 2u);
    advice->limits.charge_dv = (uint16_t)ebms_take(&at, 2u);
    advice->limits.discharge_dv = (uint16_t)ebms_take(&at, 2u);
    const uint32_t session = (uint32_t)ebms_take(&at, 4u);
    advice->issued_ms = (uint32_t)ebms_take(&at, 4u);
    advice->expiry_ms = (uint32_t)ebms_take(&at, 4u);
    if (session != authority->session) {
        return EBMS_VERDICT_STALE;
    }
    if ((advice->expiry_ms == 0u) || (advice->expiry_ms > EBMS_EXPIRY_MAX_MS)) {
        return EBMS_VERDICT_BAD_EXPIRY;
    }
    if (expired(advice, now_ms)) {
        return EBMS_VERDICT_STALE;
    }
    if ((advice->action >= EBMS_ACTION_COUNT) || (advice->mode >= EBMS_MODE_COUNT) || (cool > 1u)) {
        return EBMS_VERDICT_BAD_VALUE;
    }
    return authority->linked ? EBMS_VERDICT_ACCEPTED : EBMS_VERDICT_NOT_LINKED;
}

uint8_t ebms_authority_judge(ebms_authority *authority, const uint8_t payload[EBMS_LENGTH_ADVICE_BYTES], uint32_t now_ms)
{
    const uint8_t *at = payload;
    ebms_advice advice;
    ebms_key_slot kept[EBMS_KEY_SLOTS];
    EBMS_REQUIRE(authority != NULL);
    EBMS_REQUIRE(payload != NULL);
    ebms_authority_tick(authority, now_ms);
    const uint16_t gateway_id = (uint16_t)ebms_take(&at, 2u);
    if ((uint16_t)ebms_take(&at, 2u) != authority->mcu_id) {
        return EBMS_VERDICT_OTHER_MCU;
    }
    if (gateway_id != authority->gateway_id) {
        return EBMS_VERDICT_OTHER_GATEWAY;
    }
    const uint8_t slot = slot_of(authority, (uint8_t)ebms_take(&at, 1u));
    if (slot == NO_SLOT) {
        return EBMS_VERDICT_UNKNOWN_KEY;
    }
    if (!is_signed(&authority->slots[slot], payload)) {
        return EBMS_VERDICT_FORGED;
    }
    const uint64_t freshness = ebms_take(&at, 6u);
    if (freshness <= authority->slots[slot].freshness_last) {
        return EBMS_VERDICT_REPLAYED;
    }
    const uint8_t verdict = judge_words(authority, at, &advice, now_ms);
    if (verdict != EBMS_VERDICT_ACCEPTED) {
        return verdict;
    }
    /* stored before it takes effect; the first advice under a new key ends the old one */
    (void)memcpy(kept, authority->slots, sizeof kept);
    kept[slot].freshness_last = freshness;
    if (slot != authority->slot_in_use) {
        (void)memset(&kept[authority->slot_in_use], 0, sizeof kept[0]);
    }
    if (!authority->store(authority->store_context, kept)) {
        return EBMS_VERDICT_STORE_FAILED;
    }
    (void)memcpy(authority->slots, kept, sizeof kept);
    authority->slot_in_use = slot;
    authority->advice = advice;
    authority->live = true;
    return EBMS_VERDICT_ACCEPTED;
}

const ebms_advice *ebms_authority_advice(const ebms_authority *authority, uint32_t now_ms)
{
    return (ebms_authority_left_ms(authority, now_ms) > 0u) ? &authority->advice : NULL;
}

uint32_t ebms_authority_left_ms(const ebms_authority *authority, uint32_t now_ms)
{
    EBMS_REQUIRE(authority != NULL);
    if ((!authority->live) || expired(&authority->advice, now_ms)) {
        return 0u;
    }
    /* may be above expiry_ms by as much as it is ahead of our clock */
    return authority->advice.expiry_ms - (now_ms - authority->advice.issued_ms);
}

static uint16_t lower(uint16_t a, uint16_t b)
{
    return (a < b) ? a : b;
}

ebms_limits ebms_limits_under(ebms_limits own, const ebms_advice *advice)
{
    ebms_limits limits = own;
    if (advice == NULL) {
        return limits;
    }
    /* EBMS_LIMIT_UNSTATED is the greatest number, so that it never lowers one's own */
    limits.charge_da = lower(own.charge_da, advice->limits.charge_da);
    limits.discharge_da = lower(own.discharge_da, advice->limits.discharge_da);
    limits.charge_dv = lower(own.charge_dv, advice->limits.charge_dv);
    if ((advice->limits.discharge_dv != EBMS_LIMIT_UNSTATED) && (advice->limits.discharge_dv > own.discharge_dv)) {
        limits.discharge_dv = advice->limits.discharge_dv;
    }
    if (advice->mode == EBMS_MODE_COMMAND) {
        const bool opens = (advice->action == EBMS_ACTION_OPEN_CONTACTORS);
        if (opens || (advice->action == EBMS_ACTION_STOP_CHARGE)) {
            limits.charge_da = 0u;
        }
        if (opens || (advice->action == EBMS_ACTION_STOP_DISCHARGE)) {
            limits.discharge_da = 0u;
        }
    }
    return limits;
}
