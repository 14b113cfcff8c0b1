#ifndef SHIM_H
#define SHIM_H

#include "ebms_advice.h"
#include "ebms_bytes.h"
#include "ebms_can.h"
#include "ebms_cmac.h"
#include "ebms_contactor.h"
#include "ebms_frame.h"
#include "ebms_link.h"
#include "ebms_port.h"
#include "protection.h"
#include "store.h"

#define SHIM_SENT_BYTES 65536

extern uint8_t shim_sent[SHIM_SENT_BYTES];
extern size_t shim_sent_count;
extern ebms_key_slot shim_stored[EBMS_KEY_SLOTS];
extern uint32_t shim_stores;
extern bool shim_store_works;
extern void *shim_store_context;

/* Where the store keeps its bytes. shim_power: so many more are written; then the power is gone, and the byte at that moment spoiled. */
extern uint8_t shim_kept[512];
extern uint32_t shim_power;

void shim_send(void *context, const uint8_t *bytes, size_t count);
bool shim_store(void *context, const ebms_key_slot slots[EBMS_KEY_SLOTS]);
void shim_coverage(void);

#endif
