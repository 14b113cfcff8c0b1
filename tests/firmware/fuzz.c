/* libFuzzer: bytes of the line, raw or framed or signed, and CAN frames, with what must hold after each. */
#include <stdlib.h>
#include <string.h>

#include "ebms_can.h"
#include "ebms_cmac.h"
#include "ebms_contactor.h"
#include "ebms_link.h"
#include "ebms_port.h"

static uint32_t stores;

void ebms_assert_failed(const char *file, uint32_t line)
{
    (void)file;
    (void)line;
    abort();
}

static void hold(bool what)
{
    if (!what) {
        abort();
    }
}

static bool store(void *context, const ebms_key_slot slots[EBMS_KEY_SLOTS])
{
    (void)context;
    (void)slots;
    stores++;
    return (stores % 7u) != 0u;
}

static void sent(void *context, const uint8_t *bytes, size_t count)
{
    (void)context;
    hold(count <= EBMS_FRAME_BYTES_MAX);
    hold(bytes[count - 1u] == 0u);
    hold(memchr(bytes, 0, count - 1u) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ebms_limits own = {800u, 1200u, 672u, 480u};
    const ebms_identity identity = {1u, 16u, 8u, 1u, 0u, 0u};
    const ebms_contactor_settings settings = {1000u, 5000u, 500u, 1000u};
    ebms_key_slot slots[EBMS_KEY_SLOTS] = {{0u, {1u}, 1u, true}, {0u, {2u}, 2u, true}};
    ebms_authority authority;
    ebms_link link;
    ebms_can can;
    ebms_contactor contactor;
    uint32_t now_ms = 0xFFFFF000u;
    stores = 0u;
    ebms_authority_init(&authority, 2u, 1u, 7u, slots, store, NULL);
    ebms_link_init(&link, identity, &authority, sent, NULL, now_ms);
    ebms_can_init(&can);
    ebms_contactor_init(&contactor, settings, false, now_ms);
    while (size >= 3u) {
        const uint8_t how = data[0] % 6u;
        const uint32_t step_ms = data[1];
        size_t count = data[2];
        data += 3;
        size -= 3u;
        count = (count < size) ? count : size;
        now_ms += step_ms;
        const uint64_t before[2] = {link.authority.slots[0].freshness_last, link.authority.slots[1].freshness_last};
        uint8_t frame[EBMS_FRAME_BYTES_MAX];
        uint8_t payload[EBMS_PAYLOAD_BYTES_MAX] = {0u};
        if (how == 0u) {
            for (size_t i = 0u; i < count; i++) {
                ebms_link_byte(&link, data[i], now_ms);
            }
        } else if (how <= 3u) {
            /* 1: any type, 2: HELLO of our gateway, 3: ADVICE, signed with a right key */
            uint8_t type = (count > 0u) ? data[0] : 0u;
            size_t bytes = (count > EBMS_PAYLOAD_BYTES_MAX) ? EBMS_PAYLOAD_BYTES_MAX : count;
            (void)memcpy(payload, data, bytes);
            if (how == 2u) {
                type = EBMS_TYPE_HELLO;
                bytes = EBMS_LENGTH_HELLO_BYTES;
                (void)memcpy(payload, "\0\1\0\1\1", 5u);
            } else if (how == 3u) {
                uint8_t text[36] = {EBMS_VERSION, EBMS_TYPE_ADVICE};
                uint8_t mac[16];
                type = EBMS_TYPE_ADVICE;
                bytes = EBMS_LENGTH_ADVICE_BYTES;
                (void)memcpy(payload, "\1\0\2\0", 4u);
                payload[4] = (uint8_t)(1u + (payload[4] % 2u));
                (void)memcpy(&payload[22], "\7\0\0\0", 4u);
                payload[26] = (uint8_t)now_ms;
                payload[27] = (uint8_t)(now_ms >> 8u);
                payload[28] = (uint8_t)(now_ms >> 16u);
                payload[29] = (uint8_t)(now_ms >> 24u);
                (void)memcpy(&text[2], payload, 34u);
                ebms_cmac(slots[payload[4] - 1u].key, text, sizeof text, mac);
                (void)memcpy(&payload[34], mac, 8u);
            } else {
                /* as it is */
            }
            const size_t length = ebms_frame_encode(type, EBMS_FLAG_ACK_WANTED, 1u, payload, (uint8_t)bytes, frame);
            for (size_t i = 0u; i < length; i++) {
                ebms_link_byte(&link, frame[i], now_ms);
            }
        } else if (how == 4u) {
            uint8_t verdict;
            uint8_t answer[8];
            (void)memcpy(payload, data, (count < 48u) ? count : 48u);
            (void)ebms_can_advice(&can, &link.authority, payload, (count < 48u) ? 8u : 48u, now_ms, &verdict, answer);
        } else {
            ebms_link_tick(&link, now_ms);
        }
        data += count;
        size -= count;
        for (uint32_t i = 0u; i < 2u; i++) {
            /* freshness only rises, until a key is erased */
            hold((!link.authority.slots[i].used) || (link.authority.slots[i].freshness_last >= before[i]));
        }
        const ebms_advice *advice = ebms_authority_advice(&link.authority, now_ms);
        if (advice != NULL) {
            hold(stores > 0u);
            hold((advice->expiry_ms > 0u) && (advice->expiry_ms <= EBMS_EXPIRY_MAX_MS));
            hold(advice->action < EBMS_ACTION_COUNT);
            hold(ebms_authority_left_ms(&link.authority, now_ms) <= (EBMS_EXPIRY_MAX_MS + EBMS_ISSUED_AHEAD_MAX_MS));
        }
        const bool was_closed = contactor.closed;
        ebms_contactor_step(&contactor, (uint16_t)(step_ms == 250u), (int32_t)(step_ms * 20u), advice, false, now_ms);
        const ebms_limits limits = ebms_contactor_limits(&contactor, own, advice);
        hold((limits.charge_da <= own.charge_da) && (limits.discharge_da <= own.discharge_da));
        hold((limits.charge_dv <= own.charge_dv) && (limits.discharge_dv >= own.discharge_dv));
        if (was_closed && (!contactor.closed) && (step_ms != 250u)) {
            hold((advice != NULL) && (advice->action == EBMS_ACTION_OPEN_CONTACTORS) && (advice->mode == EBMS_MODE_COMMAND));
        }
    }
    return 0;
}
