/* The reference firmware: front end in, own protection, contactors, the gateway's advice. README.md beside the library says how it is
 * built, run and ported. */
#include <stddef.h>
#include <string.h>

#include "board.h"
#include "ebms_bytes.h"
#include "ebms_contactor.h"
#include "ebms_link.h"
#include "ebms_port.h"
#include "protection.h"
#include "store.h"

/* The emulated front end speaks in the same frames on the second UART, with two types of its own. */
#define FRONT_END_MEASURED 0x70u /* current_ma s32, flags u8 (bit 0: a person's reset), cells x u16 0.1 mV, probes x s16 0.1 degC */
#define FRONT_END_DRIVES 0x71u   /* closed u8, state u8, faults u16, charge_da u16, discharge_da u16 */
#define MEASURED_BYTES (5u + (2u * PROFILE_CELLS) + (2u * PROFILE_PROBES))
#define STEP_MS 10u

static ebms_link link;
static ebms_receiver front_end_receiver;
static front_end measured;
static kept values;

void ebms_assert_failed(const char *file, uint32_t line)
{
    (void)file;
    (void)line;
    board_reset();
}

static void send_to_gateway(void *context, const uint8_t *bytes, size_t count)
{
    (void)context;
    board_send(BOARD_UART_GATEWAY, bytes, count);
}

static bool store_slots(void *context, const ebms_key_slot slots[EBMS_KEY_SLOTS])
{
    kept next = values;
    (void)context;
    (void)memcpy(next.slots, slots, sizeof next.slots);
    if (!store_write(&next)) {
        return false;
    }
    values = next;
    return true;
}

static void start_values(void)
{
    static const uint8_t test_key[EBMS_KEY_BYTES] = PROFILE_TEST_KEY;
    if (!store_read(&values)) {
        (void)memset(&values, 0, sizeof values);
        values.slots[0].used = true;
        values.slots[0].key_id = PROFILE_TEST_KEY_ID;
        (void)memcpy(values.slots[0].key, test_key, sizeof test_key);
    }
    values.resets++;
    if (!store_write(&values)) {
        board_reset();
    }
}

static void take_front_end(uint8_t byte, uint32_t now_ms)
{
    ebms_message message;
    uint8_t verdict;
    if ((ebms_receiver_byte(&front_end_receiver, byte, &message, &verdict) != EBMS_FRAME_MESSAGE) ||
        (message.type != FRONT_END_MEASURED) || (message.payload_bytes != MEASURED_BYTES)) {
        return;
    }
    const uint8_t *at = message.payload;
    measured.current_ma = (int32_t)(uint32_t)ebms_take(&at, 4u);
    measured.persons_reset = (ebms_take(&at, 1u) & 1u) != 0u;
    for (uint32_t i = 0u; i < PROFILE_CELLS; i++) {
        measured.voltage_100uv[i] = (uint16_t)ebms_take(&at, 2u);
    }
    for (uint32_t i = 0u; i < PROFILE_PROBES; i++) {
        measured.temperature_dc[i] = (int16_t)(uint16_t)ebms_take(&at, 2u);
    }
    measured.at_ms = now_ms;
    measured.seen = true;
}

/* At once when something changes, else each PROFILE_SWEEP_MS: the inverter has little time before the contactors open. */
static void drive(const ebms_contactor *contactor, uint16_t faults, ebms_limits limits, uint32_t now_ms)
{
    static uint16_t sequence;
    static uint8_t last[8];
    static uint32_t driven_ms;
    uint8_t payload[8];
    uint8_t frame[EBMS_FRAME_BYTES_MAX];
    uint8_t *at = payload;
    ebms_put(&at, contactor->closed ? 1u : 0u, 1u);
    ebms_put(&at, contactor->state, 1u);
    ebms_put(&at, faults, 2u);
    ebms_put(&at, limits.charge_da, 2u);
    ebms_put(&at, limits.discharge_da, 2u);
    if ((memcmp(payload, last, sizeof last) == 0) && ((now_ms - driven_ms) < PROFILE_SWEEP_MS)) {
        return;
    }
    (void)memcpy(last, payload, sizeof last);
    driven_ms = now_ms;
    board_send(BOARD_UART_FRONT_END, frame, ebms_frame_encode(FRONT_END_DRIVES, 0u, sequence, payload, sizeof payload, frame));
    sequence++;
}

static void tell(uint16_t faults, const ebms_contactor *contactor, ebms_limits limits, uint32_t now_ms)
{
    static uint16_t sweep;
    const bool fresh = measured.seen && ((now_ms - measured.at_ms) < PROFILE_FRONT_END_LOST_MS);
    ebms_pack pack = {.time_ms = now_ms, .current_ma = EBMS_CURRENT_INVALID_MA, .voltage_mv = EBMS_PACK_VOLTAGE_INVALID_MV,
                      .sweep = sweep, .faults = faults, .state = contactor->state, .limits = limits,
                      .contactor = contactor->closed ? EBMS_CONTACTOR_CLOSED : EBMS_CONTACTOR_OPEN};
    if (fresh) {
        uint32_t sum_100uv = 0u;
        bool known = true;
        for (uint32_t i = 0u; i < PROFILE_CELLS; i++) {
            sum_100uv += measured.voltage_100uv[i];
            known = known && (measured.voltage_100uv[i] < EBMS_VOLTAGE_SATURATED_100UV);
        }
        if (known) {
            pack.voltage_mv = sum_100uv / 10u;
        }
        pack.current_ma = measured.current_ma;
        ebms_link_send_cells(&link, now_ms, sweep, 0u, measured.voltage_100uv, PROFILE_CELLS);
        ebms_link_send_probes(&link, now_ms, sweep, 0u, measured.temperature_dc, PROFILE_PROBES);
    }
    ebms_link_send_pack(&link, &pack, now_ms);
    sweep++;
}

int main(void)
{
    static const ebms_limits own = {PROFILE_CHARGE_DA, PROFILE_DISCHARGE_DA, PROFILE_CHARGE_DV, PROFILE_DISCHARGE_DV};
    static const ebms_contactor_settings settings = {PROFILE_LOW_CURRENT_MA, PROFILE_LOWERING_ADVICE_MS, PROFILE_LOWERING_FAULT_MS,
                                                     PROFILE_CLOSE_AFTER_MS};
    static const ebms_identity identity = {PROFILE_ID, PROFILE_CELLS, PROFILE_PROBES, 1u, 0u, 0u};
    static ebms_authority authority;
    static ebms_contactor contactor;
    static protection own_protection;
    uint16_t opened_by = 0u; /* what its own protection opened for: told until a person's reset */
    uint32_t stepped_ms = 0u;
    uint32_t told_ms = 0u;
    uint8_t byte;

    board_init();
    start_values();
    ebms_receiver_init(&front_end_receiver);
    protection_init(&own_protection);
    ebms_authority_init(&authority, PROFILE_MCU_ID, PROFILE_GATEWAY_ID, values.resets, values.slots, store_slots, NULL);
    ebms_link_init(&link, identity, &authority, send_to_gateway, NULL, board_now_ms());
    ebms_contactor_init(&contactor, settings, values.held_open, board_now_ms());

    for (;;) {
        const uint32_t now_ms = board_now_ms();
        while (board_receive(BOARD_UART_GATEWAY, &byte)) {
            ebms_link_byte(&link, byte, now_ms);
        }
        while (board_receive(BOARD_UART_FRONT_END, &byte)) {
            take_front_end(byte, now_ms);
        }
        if ((now_ms - stepped_ms) >= STEP_MS) {
            stepped_ms = now_ms;
            ebms_link_tick(&link, now_ms);
            const ebms_advice *advice = ebms_authority_advice(&link.authority, now_ms);
            uint16_t faults = protection_step(&own_protection, &measured, now_ms);
            ebms_contactor_step(&contactor, faults, measured.seen ? measured.current_ma : EBMS_CURRENT_INVALID_MA, advice,
                                measured.persons_reset, now_ms);
            measured.persons_reset = false;
            link.state = contactor.state;
            if (contactor.held_open != values.held_open) {
                values.held_open = contactor.held_open;
                if (!store_write(&values)) {
                    faults |= (uint16_t)(1u << EBMS_FAULT_BIT_STORE_FAILED);
                }
            }
            if ((contactor.state == EBMS_MCU_STATE_LOWERING) || (contactor.state == EBMS_MCU_STATE_OPEN_ON_FAULT)) {
                opened_by |= faults;
                faults |= opened_by;
            } else {
                opened_by = 0u;
            }
            if (contactor.under_load) {
                faults |= (uint16_t)(1u << EBMS_FAULT_BIT_OPENED_UNDER_LOAD);
            }
            const ebms_limits limits = ebms_contactor_limits(&contactor, own, advice);
            if ((now_ms - told_ms) >= PROFILE_SWEEP_MS) {
                told_ms = now_ms;
                tell(faults, &contactor, limits, now_ms);
            }
            drive(&contactor, faults, limits, now_ms);
        }
        if (!board_pump()) {
            board_wait();
        }
    }
}
